"""An engine is not offered before it gave, at its own tile shape, what ONNX Runtime gives for the same graph."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx

from export.divergence import first_divergence, run_onnxruntime
from export.emulation import by_onnxruntime
from export.engine import run_graph, write_engine
from export.members import member_parity
from export.parity import Batch, measure_parity, require_parity
from export.plugins import run_on_references
from export.profiles import Profile
from gfs_sr.contract import Parity
from gfs_sr.errors import ParityFailed
from gfs_sr.runtime.artifact import DENOISER, MEAN, MODEL, PLUGINS, Artifact
from gfs_sr.runtime.backends.base import TOLERANCE_SD
from gfs_sr.runtime.backends.choice import smooth_inputs
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.backends.tensorrt import TensorRtBackend
from gfs_sr.runtime.engines import Device


def engine_parity(
    artifact: Artifact, profile: Profile, plan: bytes, device: Device, *, plugins: bool = False
) -> tuple[Parity, ...]:
    """How far the engine strays, per variable in its own units, on one tile of the profile.

    Raises:
        ParityFailed: beyond the tolerance; names the layer at which the two engines part.
    """
    contract = artifact.contract
    frames, rows, columns = profile.tile
    inputs = smooth_inputs(contract, (profile.batch[0], frames, len(contract.inputs), rows, columns))
    batch = Batch(inputs, contract.inputs if contract.any_subset else contract.outputs)
    with tempfile.TemporaryDirectory() as folder:
        engine = write_engine(artifact, plan, device, Path(folder), plugins=plugins)
        with by_onnxruntime(artifact) as reference, TensorRtBackend(artifact, engine=engine) as candidate:
            lines = measure_parity(contract, [batch], reference, lambda given: candidate.infer(given)["fine"])
    try:
        require_parity(lines, str(artifact.path))
    except ParityFailed as error:
        raise ParityFailed(
            f"the engine strays from ONNX Runtime: {error.what}; {where_they_part(artifact, plugins)}",
            str(artifact.path),
            "the artifact stands without an engine; try another --precision, and report the layer",
        ) from error
    return lines


def member_engine_parity(
    artifact: Artifact, profile: Profile, plans: Mapping[str, bytes], device: Device
) -> tuple[Parity, ...]:
    """As `engine_parity`, of a member that both engines draw: by the recommended sampling and fixed noise, on one tile.

    Raises:
        ParityFailed: beyond the tolerance.
    """
    contract = artifact.contract
    frames, rows, columns = profile.tile
    inputs = smooth_inputs(contract, (profile.batch[0], frames, len(contract.inputs), rows, columns), MEAN)
    batch = Batch(inputs, contract.inputs if contract.any_subset else contract.outputs)
    reference = {role: OnnxRuntimeBackend(artifact, role=role) for role in plans}
    with tempfile.TemporaryDirectory() as folder:
        candidate = {
            role: TensorRtBackend(
                artifact, role=role, engine=write_engine(artifact, plan, device, Path(folder), role=role)
            )
            for role, plan in plans.items()
        }
        with reference[MEAN], reference[DENOISER], candidate[MEAN], candidate[DENOISER]:
            lines = member_parity(contract, [batch], reference, candidate)
    require_parity(lines, str(artifact.path))
    return lines


def where_they_part(artifact: Artifact, plugins: bool = False) -> str:
    """The first layer whose output TensorRT computes differently, on a core of one frame and 2 by 2 cells."""
    contract = artifact.contract
    inputs = smooth_inputs(contract, (1, 1, len(contract.inputs), 2, 2))
    tolerance = TOLERANCE_SD[contract.precision]
    graph = onnx.load(artifact.graph(PLUGINS if plugins else MODEL))
    reference = run_on_references if plugins else run_onnxruntime  # ONNX Runtime knows no nodes of ours
    found = first_divergence(graph, inputs, reference, run_graph, tolerance)
    if found is None:
        return "with every layer's output exposed they agree: layers that TensorRT fuses are what differs"
    return str(found)
