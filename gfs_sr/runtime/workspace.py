"""How much memory an engine works in, beside its inputs and output: measured per family, held by the memory tests."""

from dataclasses import dataclass
from typing import Final

from gfs_sr.contract import Contract


@dataclass(frozen=True)
class Workspace:
    """Bytes of intermediate fields, as ONNX Runtime keeps them."""

    per_fine_byte: float  # of the output's bytes: what is computed on fine cells
    per_value: float = 0.0  # of each variable at each frame of the core, on every coarse cell of the tile with its halo
    per_fine_frame: float = 0.0  # of each fine frame, on the same cells, for all variables together


# peak resident memory of tiles of 24 to 224 cells and 1 to 8 frames, ONNX Runtime 1.32, a fifth added
_MEASURED: Final = {
    "interpolation": Workspace(per_fine_byte=6.0),
    "factorized": Workspace(per_fine_byte=9.0, per_fine_frame=2000.0),
    "fused": Workspace(per_fine_byte=25.0, per_value=600.0),
}
_UNKNOWN: Final = Workspace(per_fine_byte=60.0, per_fine_frame=2000.0)


def workspace_of(contract: Contract) -> Workspace:
    """What an engine needs for this model: as its contract says, or its family's; else a generous guess."""
    memory = contract.memory
    if memory is not None:
        share = memory.per_fine_cell / 4 / max(len(contract.inputs), len(contract.outputs))
        return Workspace(per_fine_byte=share, per_fine_frame=memory.per_coarse_cell / contract.time_factor)
    return _MEASURED.get(contract.family, _UNKNOWN)
