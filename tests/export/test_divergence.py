"""Where two engines part, with ONNX Runtime as both sides; and engines that are not offered before they agree."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import engine_parity as subject
from export.divergence import expose, first_divergence, run_onnxruntime
from export.profiles import plan_profile
from export.publication import publish
from gfs_sr.errors import ParityFailed
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends.choice import smooth_inputs
from gfs_sr.runtime.backends.torch import TorchBackend
from gfs_sr.runtime.engines import Device
from tests.export.checkpoints import make_checkpoint

SMALL = {"family": "factorized", "variables": ["t2m", "sp"], "width": 8, "blocks": 2, "scale_factor": 3,
         "time_factor": 2}  # fmt: skip
DEVICE = Device(gpu="NVIDIA H100", compute_capability="9.0", driver="580.1", tensorrt="11.4.0")


@pytest.fixture(scope="module", params=["fp32", "fp16", "bf16"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("divergence") / request.param
    return publish(make_checkpoint(SMALL, spread=0.05), folder, precision=request.param).artifact


def spoilt(graph: onnx.ModelProto, turn: int) -> tuple[onnx.ModelProto, str]:
    """The `turn`-th convolution of `graph` with one weight changed; its output's name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    node = [each for each in copy.graph.node if each.op_type == "Conv"][turn]
    (weight,) = (each for each in copy.graph.initializer if each.name == node.input[1])
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return copy, node.output[0]


@pytest.mark.parametrize("turn", [0, 4, -2])
def test_the_first_layer_that_differs_is_named_and_none_after_it(artifact: Artifact, turn: int) -> None:
    graph = onnx.load(artifact.graph())
    _, changed = spoilt(graph, turn)
    found = first_divergence(
        graph,
        smooth_inputs(artifact.contract, (1, 1, 2, 2, 2)),
        run_onnxruntime,
        lambda exposed, inputs: run_onnxruntime(spoilt(exposed, turn)[0], inputs),
        1e-4,
    )
    assert found is not None
    assert (found.operator, found.tensor) == ("Conv", changed)
    assert found.inputs_stray == 0
    assert changed in str(found)


def test_engines_that_agree_part_nowhere(artifact: Artifact) -> None:
    graph = onnx.load(artifact.graph())
    inputs = smooth_inputs(artifact.contract, (1, 1, 2, 2, 2))
    assert first_divergence(graph, inputs, run_onnxruntime, run_onnxruntime, 0.0) is None


def test_what_is_no_number_strays(artifact: Artifact) -> None:
    def broken(graph: onnx.ModelProto, inputs: object) -> dict[str, np.ndarray]:
        return {name: np.full_like(array, np.nan) for name, array in run_onnxruntime(graph, inputs).items()}  # type: ignore[arg-type]

    graph = onnx.load(artifact.graph())
    inputs = smooth_inputs(artifact.contract, (1, 1, 2, 2, 2))
    assert first_divergence(graph, inputs, run_onnxruntime, broken, 1.0) is not None


def test_every_convolution_is_exposed(artifact: Artifact) -> None:
    exposed = expose(onnx.load(artifact.graph())).graph
    given = {each.name for each in exposed.output}
    convolutions = [node.output[0] for node in exposed.node if node.op_type == "Conv"]
    assert len(convolutions) > 8
    assert all(name in given or f"{name}/exposed" in given for name in convolutions)


class Engine(TorchBackend):
    """Stands in for TensorRT: the fp32 network, which strays by what the test says."""

    error = 0.0

    def __init__(self, artifact: Artifact, *, engine: Path) -> None:
        assert engine.read_bytes() == b"plan"
        super().__init__(artifact)

    def _infer(self, inputs):  # type: ignore[no-untyped-def]
        return {name: array + self.error for name, array in super()._infer(inputs).items()}


def test_an_engine_that_agrees_passes_with_its_figures(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "TensorRtBackend", Engine)
    lines = subject.engine_parity(artifact, plan_profile(artifact.contract, (1, 3, 3), (1, 1, 1)), b"plan", DEVICE)
    assert [line.variable for line in lines] == ["t2m", "sp"]
    assert artifact.engines() == ()


def test_an_engine_that_strays_is_refused_with_the_layer(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "TensorRtBackend", Engine)
    monkeypatch.setattr(Engine, "error", 0.1)
    monkeypatch.setattr(subject, "run_graph", lambda graph, inputs: run_onnxruntime(spoilt(graph, 4)[0], inputs))
    profile = plan_profile(artifact.contract, (1, 3, 3), (1, 1, 1))
    with pytest.raises(ParityFailed, match=r"t2m by .* part at Conv"):
        subject.engine_parity(artifact, profile, b"plan", DEVICE)
    monkeypatch.setattr(subject, "run_graph", run_onnxruntime)
    with pytest.raises(ParityFailed, match="layers that TensorRT fuses"):
        subject.engine_parity(artifact, profile, b"plan", DEVICE)
