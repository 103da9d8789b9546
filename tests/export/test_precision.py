"""Half precision in the residual branch, and there alone."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from export.emulation import emulate_bf16
from export.graph import residual_dtypes
from export.precision import lower_residual
from export.publication import publish
from export.sample import sample_batches
from gfs_sr.errors import BackendNotInstalled
from gfs_sr.models.folding import fold
from gfs_sr.runtime.backends import open_backend
from tests.export.checkpoints import make_checkpoint

SMALL = {
    "family": "factorized", "variables": ["t2m", "sp"], "width": 8, "blocks": 2, "scale_factor": 3, "time_factor": 2
}  # fmt: skip


@pytest.mark.parametrize(("precision", "kind"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_an_untrained_model_interpolates_bitwise_alike_in_every_precision(precision: str, kind: str) -> None:
    checkpoint = make_checkpoint(SMALL)
    model = fold(checkpoint.model())
    lowered = lower_residual(model, precision)
    batch = sample_batches(checkpoint.sample, checkpoint.contract)[1]
    coarse = torch.from_numpy(batch.inputs["coarse"])
    with torch.inference_mode():
        assert torch.equal(lowered(coarse), model(coarse))  # the residual is zero; a lowered base would differ
    kinds = {str(parameter.dtype) for parameter in lowered.residual.parameters()}
    assert kinds == {f"torch.{kind}"}


@pytest.mark.parametrize(("precision", "kind"), [("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16")])
def test_an_artifact_in_any_precision_agrees_with_its_fp32_network(tmp_path: Path, precision: str, kind: str) -> None:
    checkpoint = make_checkpoint(SMALL, spread=0.05)
    artifact = publish(checkpoint, tmp_path / precision, precision=precision).artifact
    assert artifact.contract.precision == precision
    graph = onnx.load(artifact.graph())
    assert kind in residual_dtypes(graph)
    assert "float32" in residual_dtypes(graph)  # the interpolation's weights
    assert {each.type.tensor_type.elem_type for each in graph.graph.output} == {onnx.TensorProto.FLOAT}
    errors = [line.max_abs / artifact.contract.normalization[line.variable].sd for line in artifact.manifest.parity]
    if precision != "fp32":
        assert max(errors) > 1e-6  # it really computed in fewer bits
    batch = sample_batches(checkpoint.sample, checkpoint.contract)[1]
    if precision == "bf16":
        with pytest.raises(BackendNotInstalled, match="bf16"):
            open_backend("onnxruntime", artifact).activate()
    else:
        with open_backend("torch", artifact) as network, open_backend("onnxruntime", artifact) as engine:
            assert (network.precision, engine.precision) == ("fp32", precision)
            difference = engine.infer(batch.inputs)["fine"] - network.infer(batch.inputs)["fine"]
        assert np.abs(difference).max() < {"fp32": 1e-5, "fp16": 2e-3}[precision]


def test_emulated_bf16_rounds_as_torch_does() -> None:
    """A convolution in bf16 with fp32 sums, by torch and by the emulated graph."""
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    x = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(2))
    initializer = onnx.TensorProto(
        name="w",
        data_type=onnx.TensorProto.BFLOAT16,
        dims=weight.shape,
        raw_data=weight.view(torch.int16).numpy().tobytes(),
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["low"], to=onnx.TensorProto.BFLOAT16),
        helper.make_node("Conv", ["low", "w"], ["y"]),
        helper.make_node("Cast", ["y"], ["fine"], to=onnx.TensorProto.FLOAT),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "fine")]
    shape = [helper.make_tensor_value_info("y", onnx.TensorProto.BFLOAT16, [1, 3, 3, 4]),
             helper.make_tensor_value_info("low", onnx.TensorProto.BFLOAT16, [1, 2, 5, 6])]  # fmt: skip
    body = helper.make_graph(nodes, "one", values[:1], values[1:], [initializer], value_info=shape)
    graph = helper.make_model(body, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(emulate_bf16(graph).SerializeToString())
    (fine,) = session.run(["fine"], {"x": x.numpy()})
    exact = torch.conv2d(x.bfloat16().double(), weight.double())
    np.testing.assert_allclose(fine, exact.numpy(), rtol=2**-8, atol=1e-6)  # one rounding to 8 significant bits
    assert np.array_equal(torch.from_numpy(fine).bfloat16().float().numpy(), fine)


def test_openvino_computes_a_bf16_artifact_within_its_tolerance(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    checkpoint = make_checkpoint(SMALL, spread=0.05)
    artifact = publish(checkpoint, tmp_path / "bf16", precision="bf16").artifact
    batch = sample_batches(checkpoint.sample, checkpoint.contract)[1]
    with open_backend("torch", artifact) as network, open_backend("openvino", artifact) as engine:
        assert engine.precision == "bf16"
        difference = np.abs(engine.infer(batch.inputs)["fine"] - network.infer(batch.inputs)["fine"])
    assert 1e-6 < difference.max() < 3e-2
