"""Our kernels as nodes of a graph and as plugins of TensorRT, as far as a machine without a GPU can tell."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from export import engine_parity
from export.engine import write_engine
from export.graph import residual_dtypes
from export.operators import tensorrt_objections
from export.plugins import run_on_references, write_plugin_graph
from export.precision import DTYPES
from export.profiles import plan_profile
from export.sample import sample_batches
from export.trt import app
from gfs_sr.errors import EngineMismatch, ParityFailed, UsageError
from gfs_sr.kernels import packed, reference
from gfs_sr.kernels.digest import kernels_digest
from gfs_sr.kernels.launch import computed
from gfs_sr.models.on_kernels import on_kernels
from gfs_sr.runtime import engines
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.engines import Device, check_engine
from tests.export.checkpoints import make_checkpoint, write_checkpoint
from tests.export.test_divergence import Engine
from tests.export.test_tensorrt_bindings import null_libraries
from tests.export.test_tensorrt_bindings import pytestmark as needs_bindings
from tests.kernels.specimens import CASES, arguments

SMALL = {"width": 8, "blocks": 2, "variables": ["t2m", "sp"], "scale_factor": 2, "time_factor": 2}
NODES = {
    "fused": ["packed_residual_block"] * 2 + ["packed_between_frames"],
    "factorized": ["packed_temporal_stack"] + ["packed_residual_block"] * 2 + ["packed_conv_shuffle_fine"],
}
SCRIPT = Path(__file__).with_name("plugin_contract.py")
PRODUCTS = {"ieee": set(), "fp16": {"f32.f16.f16"}, "bf16": {"f32.bf16.bf16"}}
DEVICE = Device(gpu="NVIDIA H100", compute_capability="9.0", driver="580.1", tensorrt="11.4.0")


@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
def test_packed_operators_equal_their_references(name, shape):
    given = arguments(name, shape)
    got, want = getattr(packed, name)(*given, "ieee"), getattr(reference, name)(*given)
    for one, other in zip(*(each if isinstance(each, tuple) else (each,) for each in (got, want)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.fixture(scope="module", params=[(family, kind) for family in NODES for kind in DTYPES], ids="-".join)
def exported(request, tmp_path_factory):
    """A checkpoint, its contract in a precision, and its graph on plugins."""
    family, precision = request.param
    checkpoint = make_checkpoint(
        SMALL | {"family": family}, spread={"fp32": 0.1, "fp16": 0.02, "bf16": 0.05}[precision]
    )
    contract = checkpoint.contract.model_copy(update={"precision": precision})
    path = tmp_path_factory.mktemp("exported") / "plugins.onnx"
    return checkpoint, contract, write_plugin_graph(checkpoint, contract, path, "test")


def kinds_of(graph):
    """By tensor, the name of its type."""
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    kinds = {each.name: each.type.tensor_type.elem_type for each in values}
    kinds |= {each.name: each.data_type for each in inferred.initializer}
    return {name: onnx.helper.tensor_dtype_to_np_dtype(kind).name for name, kind in kinds.items()}


def ours(graph):
    return [node for node in graph.graph.node if node.domain == "gfs_sr"]


def test_the_graph_with_our_nodes_is_the_network(exported):
    checkpoint, contract, graph = exported
    assert [node.op_type for node in ours(graph)] == NODES[contract.family]
    onnx.checker.check_model(graph, full_check=True)
    model = checkpoint.model()
    lowered = on_kernels(model, DTYPES[contract.precision], packed)
    ulp = {"fp32": 1e-5, "fp16": 2**-10, "bf16": 2**-7}[contract.precision]  # of the network that passed the gate
    allowed = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 3e-2}[contract.precision]
    for batch in sample_batches(checkpoint.sample, contract):
        given = run_on_references(graph, batch.inputs)["fine"]
        inputs = {name: torch.from_numpy(each) for name, each in batch.inputs.items()}
        with torch.inference_mode():
            truth, gate = model(**inputs).numpy(), lowered(**inputs).numpy()
        largest = max(1.0, np.abs(truth).max())
        assert np.abs(given - gate).max() <= ulp * largest
        assert np.abs(given - truth).max() <= allowed * largest


def test_references_are_given_what_the_nodes_are(exported, monkeypatch):
    checkpoint, contract, graph = exported
    kinds, called = kinds_of(graph), []

    def spy(name, operator):
        def call(*given):
            tensors = [each for each in given if isinstance(each, torch.Tensor)]
            called.append((name, [str(each.dtype).removeprefix("torch.") for each in tensors]))
            return operator(*given)

        return call

    for name in packed.PACKED:
        monkeypatch.setattr(packed, f"packed_{name}", spy(f"packed_{name}", getattr(packed, f"packed_{name}")))
    run_on_references(graph, sample_batches(checkpoint.sample, contract)[2].inputs)
    assert called == [(node.op_type, [kinds[name] for name in node.input]) for node in ours(graph)]


def test_references_sum_in_fp32_whatever_they_give():
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["low"], to=onnx.TensorProto.BFLOAT16),
        onnx.helper.make_node("ReduceSum", ["low"], ["sum"], keepdims=0),
        onnx.helper.make_node("Cast", ["sum"], ["fine"], to=onnx.TensorProto.FLOAT),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "fine")]
    graph = onnx.helper.make_graph(nodes, "sum", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)])
    # in bf16, ones would add up to 256: from there on 1 is half of its last bit
    assert run_on_references(model, {"x": np.ones(1024, np.float32)})["fine"] == 1024


@pytest.mark.parametrize("exported", [("fused", kind) for kind in DTYPES], ids="-".join, indirect=True)
def test_weights_of_our_nodes_are_constants_as_the_kernels_read_them(exported):
    checkpoint, contract, graph = exported
    constants, kinds = {each.name: each for each in graph.graph.initializer}, kinds_of(graph)
    dtype = DTYPES[contract.precision]
    blocks = [node for node in ours(graph) if node.op_type == "packed_residual_block"]
    for number, layer in product(range(len(blocks)), ("first", "second")):
        key = f"residual.trunk.blocks.{number}.{layer}"
        weight, bias = torch.zeros(9, 16, 16, dtype=dtype), torch.zeros(16)
        for row, column in np.ndindex(3, 3):
            weight[3 * row + column, :8, :8] = checkpoint.state_dict[f"{key}.weight"][:, :, row, column].T
        bias[:8] = checkpoint.state_dict[f"{key}.bias"].to(dtype)
        names = blocks[number].input[1:3] if layer == "first" else blocks[number].input[3:]
        for name, want in zip(names, (weight, bias), strict=True):
            assert kinds[name] == str(want.dtype).removeprefix("torch.")
            found = onnx.numpy_helper.to_array(constants[name]).astype(np.float32)
            assert np.array_equal(found, want.float().numpy())


def test_tensorrt_takes_every_node_that_is_not_ours(exported):
    _, _, graph = exported
    assert tensorrt_objections(graph, "gfs_sr") == ()
    unknown = {name for node in graph.graph.node for name in node.output} - set(kinds_of(graph))
    # what has no type is not checked: scratch memory of the block, which nobody reads
    assert unknown == {node.output[1] for node in ours(graph) if node.op_type == "packed_residual_block"}


@pytest.mark.parametrize("exported", [("fused", "fp32")], ids="-".join, indirect=True)
def test_blocks_hand_on_images_as_they_lie(exported):
    first, second = (node for node in ours(exported[2]) if node.op_type == "packed_residual_block")
    assert second.input[0] == first.output[0]


@pytest.mark.parametrize(("family", "precision"), [("interpolation", "fp32"), ("fused", "int8")])
def test_what_the_plugins_do_not_take_is_refused(family, precision, tmp_path):
    config = {"family": family, "variables": ["t2m"], "scale_factor": 2, "time_factor": 2}
    checkpoint = make_checkpoint(config)
    contract = checkpoint.contract.model_copy(update={"precision": precision})
    with pytest.raises(UsageError, match="no plugins take"):
        write_plugin_graph(checkpoint, contract, tmp_path / "plugins.onnx", "test")


@pytest.fixture(scope="module", params=[("fused", "bf16"), ("factorized", "fp32")], ids="-".join)
def published(request, tmp_path_factory):
    """What the command leaves where there is no TensorRT."""
    family, precision = request.param
    folder = tmp_path_factory.mktemp("published")
    ckpt = write_checkpoint(folder / "small.ckpt", SMALL | {"family": family}, spread=0.02)
    options = ["--plugins", "--precision", precision, "--tile", "1,4,4", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", None)
        result = CliRunner().invoke(app, ["--ckpt", str(ckpt), *options])
    assert result.exit_code == 5
    assert "TensorRT is not installed" in json.loads(result.stdout)["error"]["what"]
    return Artifact.open(folder / "small")


def test_without_tensorrt_both_graphs_are_published(published, tmp_path, monkeypatch):
    assert published.has_graph("model")
    assert published.has_graph("plugins")
    kind = DTYPES[published.contract.precision]
    assert str(kind).removeprefix("torch.") in residual_dtypes(onnx.load(published.graph("plugins")))
    engine = write_engine(published, b"plan", DEVICE, tmp_path, plugins=True)
    assert check_engine(published, engine, DEVICE).kernels_sha256 == kernels_digest()
    monkeypatch.setattr(engines, "kernels_digest", lambda: "another")
    with pytest.raises(EngineMismatch, match="kernels of another version") as caught:
        check_engine(published, engine, DEVICE)
    assert "--plugins" in caught.value.mend


def test_an_engine_whose_kernel_differs_is_refused_with_its_name(published, monkeypatch):
    def spoilt(graph, inputs):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(graph)
        bias = next(node for node in ours(wrong) if node.op_type == "packed_residual_block").input[4]
        next(each for each in wrong.graph.initializer if each.name == bias).raw_data = np.ones(16, "<f4").tobytes()
        return run_on_references(wrong, inputs)

    profile = plan_profile(published.contract, (1, 3, 3), (1, 1, 1))
    monkeypatch.setattr(engine_parity, "TensorRtBackend", Engine)
    lines = engine_parity.engine_parity(published, profile, b"plan", DEVICE, plugins=True)
    assert [line.variable for line in lines] == ["t2m", "sp"]
    monkeypatch.setattr(Engine, "error", 0.1)
    monkeypatch.setattr(engine_parity, "run_graph", spoilt)
    with pytest.raises(ParityFailed, match=r"t2m by .* part at packed_residual_block"):
        engine_parity.engine_parity(published, profile, b"plan", DEVICE, plugins=True)
    monkeypatch.setattr(engine_parity, "run_graph", run_on_references)
    assert "they agree" in engine_parity.where_they_part(published, plugins=True)


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
    assert len(handed_over) == len(PRODUCTS) * len(packed.PACKED)
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


def test_products_are_taken_in_the_precision_with_sums_in_fp32(handed_over):
    for each in handed_over:  # types as the PTX manual writes them: of the sum, then of what is multiplied
        kinds = {found[:13] for found in each["products"]}
        assert kinds == PRODUCTS[each["precision"]], each["plugin"]


def test_kernels_are_compiled_for_the_types_that_the_nodes_carry(handed_over, exported):
    _, contract, graph = exported
    compiled = {
        each["plugin"]: each["kinds"]
        for each in handed_over
        if computed(each["precision"]) == DTYPES[contract.precision]
    }
    kinds = kinds_of(graph)
    for node in ours(graph):
        assert [kinds[name] for name in node.input] == compiled[node.op_type.removeprefix("packed_")]
