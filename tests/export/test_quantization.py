"""int8 in the wide convolutions, and in them alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.publication import publish
from export.sample import sample_batches
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import Checkpoint
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.base import TOLERANCE_SD
from tests.export.checkpoints import make_checkpoint

SMALL = {
    "family": "fused", "variables": ["t2m", "u10", "sp"], "width": 16, "blocks": 1, "scale_factor": 3, "time_factor": 2
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint(SMALL, spread=0.02)


@pytest.fixture(scope="module")
def artifact(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return publish(checkpoint, tmp_path_factory.mktemp("published") / "int8", precision="int8").artifact


def test_wide_convolutions_are_int8_and_interpolations_are_not(artifact: Artifact) -> None:
    for role in ("model", "frame"):
        graph = onnx.load(artifact.graph(role)).graph
        made_by = {name: node.op_type for node in graph.node for name in node.output}
        shapes = {each.name: list(each.dims) for each in graph.initializer}
        kinds = Counter()
        for node in graph.node:
            if node.op_type == "Conv":
                quantized = made_by.get(node.input[1]) == "DequantizeLinear"
                kinds[quantized] += 1
                if not quantized and node.input[1] in shapes:
                    channels, size = shapes[node.input[1]][1:3]
                    assert channels < 16 or size == 1
        assert kinds[True] >= 5
        assert kinds[False] >= 3


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_engine_stays_within_the_tolerance(artifact: Artifact, checkpoint: Checkpoint, backend: str) -> None:
    pytest.importorskip(backend)
    with open_backend("torch", artifact) as network, open_backend(backend, artifact) as engine:
        assert (network.precision, engine.precision) == ("fp32", "int8")
        for batch in sample_batches(checkpoint.sample, checkpoint.contract):
            difference = np.abs(engine.infer(batch.inputs)["fine"] - network.infer(batch.inputs)["fine"]).max()
            assert 1e-6 < difference <= TOLERANCE_SD["int8"]


def test_the_manifest_says_what_the_gate_measured(artifact: Artifact) -> None:
    assert artifact.contract.precision == "int8"
    assert {line.variable for line in artifact.manifest.parity} == {"t2m", "u10", "sp"}
    assert all(line.max_abs <= line.tolerance for line in artifact.manifest.parity)


def test_a_model_without_wide_convolutions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no convolution that int8 would speed up"):
        publish(make_checkpoint({"family": "interpolation"}), tmp_path / "a", precision="int8")
    assert list(tmp_path.iterdir()) == []
