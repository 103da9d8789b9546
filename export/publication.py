"""From a checkpoint to a published artifact: rebuild, fold, trace, compare, publish or refuse."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import Tensor

from export.emulation import by_onnxruntime
from export.graph import OPSET, write_graph
from export.members import compare_members, write_member_graphs
from export.parity import Batch, measure_parity, require_parity, worst
from export.precision import lower_residual
from export.quantization import quantize
from export.sample import sample_batches
from gfs_sr import __version__
from gfs_sr.contract import Contract, Parity
from gfs_sr.errors import NegativeSkillWarning
from gfs_sr.models.checkpoint import Checkpoint, load_checkpoint
from gfs_sr.models.folding import fold
from gfs_sr.models.model import Model
from gfs_sr.runtime.artifact import FRAME, MEAN, MODEL, WEIGHTS, Artifact, publish_artifact, write_manifest
from gfs_sr.runtime.backends.base import Array, Precision
from gfs_sr.runtime.card import CARD, model_card

FloatField = npt.NDArray[np.float32]
Extra = Callable[[Path, Contract], None]  # what an engine wants beside the graph, written into the draft


@dataclass(frozen=True)
class Exported:
    """A published artifact and what its making showed."""

    artifact: Artifact
    seconds: float

    def facts(self) -> dict[str, object]:
        """For `--json` and for people."""
        manifest = self.artifact.manifest
        return {
            "output": str(self.artifact.path),
            "model": manifest.contract.name,
            "model_sha256": self.artifact.sha256,
            "family": manifest.contract.family,
            "precision": manifest.contract.precision,
            "parameters": manifest.parameters,
            "graph_bytes": sum(entry.size for name, entry in manifest.files.items() if name.startswith("graphs/")),
            "parity": [line.model_dump() for line in manifest.parity],
            "seconds": round(self.seconds, 2),
        }


def default_target(checkpoint: Path) -> Path:
    """Where an artifact goes that was given no place: the checkpoint's path without `.ckpt`."""
    return checkpoint.with_suffix("") if checkpoint.suffix == ".ckpt" else checkpoint.with_name(checkpoint.name + ".d")


def publish_checkpoint(
    source: Path, target: Path, *, precision: Precision = "fp32", opset: int = OPSET, extra: Extra | None = None
) -> Exported:
    """Export the checkpoint at `source` to an artifact at `target`, or leave nothing.

    Raises:
        CheckpointInvalid: the checkpoint cannot be read.
        ParityFailed: ONNX Runtime strays from the network on the checkpoint's own validation sample.
        OutputExists: `target` is something else than an artifact.
    """
    return publish(load_checkpoint(source), target, precision=precision, opset=opset, extra=extra, where=str(source))


def publish(
    checkpoint: Checkpoint,
    target: Path,
    *,
    precision: Precision = "fp32",
    opset: int = OPSET,
    extra: Extra | None = None,
    where: str = "checkpoint in memory",
) -> Exported:
    """As `publish_checkpoint`, from a checkpoint that was read already."""
    start = time.perf_counter()
    contract = checkpoint.contract.model_copy(update={"precision": precision})
    model = checkpoint.model()
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    draws_members = contract.denoising is not None
    networks = [] if draws_members else [(MODEL, model, contract)]
    alone = model.for_frames()
    if alone is not None:
        networks.append((FRAME, alone, contract.for_frames()))
    batches = {role: sample_batches(checkpoint.sample, promise) for role, _, promise in networks}
    if draws_members:
        batches[MEAN] = sample_batches(checkpoint.sample, contract)
    with publish_artifact(target) as draft:
        (draft / WEIGHTS).write_bytes(save(weights))  # safetensors' own file errors say no reason
        if draws_members:
            write_member_graphs(draft / "graphs", model.graphs(), contract, opset)
        for role, network, promise in networks:
            graph = draft / "graphs" / f"{role}.onnx"
            write_graph(lower_residual(fold(network), precision), promise, graph, opset)
            if precision == "int8":
                quantize(graph, batches[role])
        if extra is not None:
            extra(draft, contract)
        _write_manifest(draft, checkpoint, contract, model, ())
        measured = [_compare(draft, role, network, batches[role]) for role, network, _ in networks]
        if draws_members:
            measured.append(compare_members(_opened(draft), batches[MEAN]))
        parity = worst(measured)
        require_parity(parity, where)
        _write_manifest(draft, checkpoint, contract, model, parity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeSkillWarning)  # whoever opens it is told
        return Exported(Artifact.open(target), time.perf_counter() - start)


def _write_manifest(
    folder: Path, checkpoint: Checkpoint, contract: Contract, model: Model, parity: Sequence[Parity]
) -> None:
    provenance = checkpoint.provenance | {"gfs_sr": __version__, "torch": torch.__version__}
    card = model_card(
        contract,
        parameters=model.parameters_count,
        flops_per_fine_cell=model.flops_per_fine_cell,
        parity=parity,
        skill=checkpoint.skill,
        provenance=provenance,
    )
    (folder / CARD).write_text(card, encoding="utf-8")
    write_manifest(
        folder,
        contract=contract,
        config=checkpoint.config,
        parameters=model.parameters_count,
        flops_per_fine_cell=model.flops_per_fine_cell,
        parity=parity,
        skill=checkpoint.skill,
        provenance=provenance,
    )


def _opened(draft: Path) -> Artifact:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeSkillWarning)
        return Artifact.open(draft)


def _compare(draft: Path, role: str, model: Model, batches: Sequence[Batch]) -> tuple[Parity, ...]:
    """As ONNX Runtime computes it, with the unfolded fp32 network as the truth."""
    artifact = _opened(draft)

    def network(inputs: Mapping[str, Array]) -> FloatField:
        with torch.inference_mode():
            fine: Tensor = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return fine.numpy()

    with by_onnxruntime(artifact, role) as exported:
        return measure_parity(artifact.contract, batches, network, exported)
