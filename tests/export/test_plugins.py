"""Our kernels as nodes of a graph and as plugins of TensorRT, as far as a machine without a GPU can tell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from export.plugins import run_on_references, write_plugin_graph
from export.sample import sample_batches
from export.trt import app
from gfs_sr.errors import EngineMismatch, UsageError
from gfs_sr.kernels import packed, reference
from gfs_sr.kernels.digest import kernels_digest
from gfs_sr.runtime import engines
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.engines import Device, check_engine
from tests.export.checkpoints import make_checkpoint, write_checkpoint
from tests.export.test_tensorrt_bindings import null_libraries
from tests.export.test_tensorrt_bindings import pytestmark as needs_bindings
from tests.kernels.specimens import CASES, arguments

SMALL = {"width": 8, "blocks": 2, "variables": ["t2m", "sp"], "scale_factor": 2, "time_factor": 2}
NODES = {
    "fused": ["packed_residual_block"] * 2 + ["packed_between_frames"],
    "factorized": ["packed_temporal_stack"] + ["packed_residual_block"] * 2 + ["packed_conv_shuffle_fine"],
}
SCRIPT = Path(__file__).with_name("plugin_contract.py")
DEVICE = Device(gpu="NVIDIA H100", compute_capability="9.0", driver="580.1", tensorrt="11.4.0")


@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
def test_packed_operators_equal_their_references(name, shape):
    given = arguments(name, shape)
    got, want = getattr(packed, name)(*given, "ieee"), getattr(reference, name)(*given)
    for one, other in zip(*(each if isinstance(each, tuple) else (each,) for each in (got, want)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("family", "precision", "spread", "allowed"), [
    ("fused", "fp32", 0.1, 1e-5), ("factorized", "fp32", 0.1, 1e-5), ("factorized", "fp16", 0.02, 2e-3),
])  # fmt: skip
def test_the_graph_with_our_nodes_is_the_network(family, precision, spread, allowed, tmp_path):
    checkpoint = make_checkpoint(SMALL | {"family": family}, spread=spread)
    contract = checkpoint.contract.model_copy(update={"precision": precision})
    graph = write_plugin_graph(checkpoint, contract, tmp_path / "plugins.onnx", "test")
    assert [node.op_type for node in graph.graph.node if node.domain == "gfs_sr"] == NODES[family]
    onnx.checker.check_model(graph)
    model = checkpoint.model()
    for batch in sample_batches(checkpoint.sample, contract)[1:]:
        given = run_on_references(graph, batch.inputs)["fine"]
        with torch.inference_mode():
            truth = model(**{name: torch.from_numpy(each) for name, each in batch.inputs.items()}).numpy()
        assert np.abs(given - truth).max() <= allowed * max(1.0, np.abs(truth).max())


def test_weights_of_our_nodes_are_constants_as_the_kernels_read_them(tmp_path):
    checkpoint = make_checkpoint(SMALL | {"family": "factorized"}, spread=0.1)
    graph = write_plugin_graph(checkpoint, checkpoint.contract, tmp_path / "plugins.onnx", "test")
    constants = {each.name: tuple(each.dims) for each in graph.graph.initializer}
    block = next(node for node in graph.graph.node if node.op_type == "packed_residual_block")
    assert [constants[name] for name in block.input[1:]] == [(9, 16, 16), (16,), (9, 16, 16), (16,)]


def test_blocks_hand_on_images_as_they_lie(tmp_path):
    checkpoint = make_checkpoint(SMALL | {"family": "fused"}, spread=0.1)
    graph = write_plugin_graph(checkpoint, checkpoint.contract, tmp_path / "plugins.onnx", "test")
    first, second = (node for node in graph.graph.node if node.op_type == "packed_residual_block")
    assert second.input[0] == first.output[0]


@pytest.mark.parametrize(("family", "precision"), [("interpolation", "fp32"), ("fused", "int8")])
def test_what_the_plugins_do_not_take_is_refused(family, precision, tmp_path):
    config = {"family": family, "variables": ["t2m"], "scale_factor": 2, "time_factor": 2}
    checkpoint = make_checkpoint(config)
    contract = checkpoint.contract.model_copy(update={"precision": precision})
    with pytest.raises(UsageError, match="no plugins take"):
        write_plugin_graph(checkpoint, contract, tmp_path / "plugins.onnx", "test")


def test_without_tensorrt_both_graphs_are_published(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    ckpt = write_checkpoint(tmp_path / "small.ckpt", SMALL | {"family": "fused"})
    result = CliRunner().invoke(app, ["--ckpt", str(ckpt), "--plugins", "--tile", "1,4,4", "--json"])
    assert result.exit_code == 5
    artifact = Artifact.open(tmp_path / "small")
    assert artifact.has_graph("model")
    assert artifact.has_graph("plugins")
    from export.engine import write_engine

    engine = write_engine(artifact, b"plan", DEVICE, plugins=True)
    assert check_engine(artifact, engine, DEVICE).kernels_sha256 == kernels_digest()
    monkeypatch.setattr(engines, "kernels_digest", lambda: "another")
    with pytest.raises(EngineMismatch, match="kernels of another version") as caught:
        check_engine(artifact, engine, DEVICE)
    assert "--plugins" in caught.value.mend


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory):
    """By plugin and precision: shapes, launch and kernel that the real `tensorrt.plugin` takes from our functions."""
    for mark in needs_bindings:
        if mark.args[0]:
            pytest.skip(mark.kwargs["reason"])
    pytest.importorskip("triton")
    folder = null_libraries(tmp_path_factory.mktemp("null"))
    plain = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.export.{SCRIPT.stem}"],
        env=plain | {"LD_LIBRARY_PATH": str(folder), "TRITON_CACHE_DIR": str(folder / "triton")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_kernel_is_handed_over_as_ptx_of_the_architecture(handed_over):
    assert len(handed_over) == 2 * 5
    for each in handed_over:
        assert each["target"] == "sm_90a"
        assert each["entry"] == each["name"]
        # inputs, 32-bit integers, results; then two pointers to memory that no kernel of ours takes
        assert (
            each["parameters"][:-2] == ["u64"] * each["inputs"] + ["u32"] * each["scalars"] + ["u64"] * each["outputs"]
        )
        assert each["read"] == each["inputs"] + each["scalars"] + each["outputs"]


def test_shapes_and_launches_are_those_of_the_launch_from_pytorch(handed_over):
    for each in handed_over:
        assert each["shapes"] == each["expected_shapes"], each["plugin"]
        assert each["grid"] == each["expected_grid"], each["plugin"]
        assert each["values"] == each["expected_values"], each["plugin"]
        assert each["threads"] == each["expected_threads"], each["plugin"]
