"""Artifacts that draw members: two graphs in place of one, and the whole sampled field as their proof."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from export.graph import write_graph
from export.parity import Batch, measure_parity
from gfs_sr.contract import Contract, Parity
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import DENOISER, MEAN, Artifact
from gfs_sr.runtime.backends.base import Array, Backend
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.backends.torch import TorchBackend
from gfs_sr.runtime.members import draw_field

FloatField = npt.NDArray[np.float32]
ROLES = (MEAN, DENOISER)


def write_member_graphs(folder: Path, graphs: Mapping[str, nn.Module], contract: Contract, opset: int) -> None:
    """Both graphs into `folder`.

    Raises:
        UsageError: another precision than fp32: an error made at every step is no rounding any more.
    """
    if contract.precision != "fp32":
        raise UsageError(
            f"{contract.name} draws members, in fp32 alone",
            f"--precision {contract.precision}",
            "give --precision fp32",
        )
    for role in ROLES:
        write_graph(graphs[role].eval(), contract, folder / f"{role}.onnx", opset, role)


def compare_members(artifact: Artifact, batches: Sequence[Batch]) -> tuple[Parity, ...]:
    """One member of every batch by the recommended sampling and fixed noise, PyTorch against ONNX Runtime."""
    torch_twins = {role: TorchBackend(artifact, role=role) for role in ROLES}
    exported = {role: OnnxRuntimeBackend(artifact, role=role) for role in ROLES}
    with torch_twins[MEAN], torch_twins[DENOISER], exported[MEAN], exported[DENOISER]:
        return member_parity(artifact.contract, batches, torch_twins, exported)


def member_parity(
    contract: Contract, batches: Sequence[Batch], reference: Mapping[str, Backend], candidate: Mapping[str, Backend]
) -> tuple[Parity, ...]:
    """How far the member of `candidate` strays from that of `reference`, both running, by role."""

    def sampled(backends: Mapping[str, Backend], inputs: Mapping[str, Array]) -> FloatField:
        rng = np.random.default_rng(0)
        draws: dict[int, FloatField] = {}

        def noise(number: int, shape: tuple[int, ...]) -> FloatField:
            return draws.setdefault(number, rng.standard_normal(shape, np.float32))

        return draw_field(backends[MEAN], backends[DENOISER], inputs, noise)

    return measure_parity(
        contract, batches, lambda inputs: sampled(reference, inputs), lambda inputs: sampled(candidate, inputs)
    )
