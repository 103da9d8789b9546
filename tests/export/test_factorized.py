"""`factorized` through the exporter: dynamic shapes, and the folded graph of the seed's settings."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graph import write_graph
from export.operators import tensorrt_objections
from gfs_sr import models
from gfs_sr.contract import Contract
from gfs_sr.models.folding import fold
from gfs_sr.models.model import Model
from gfs_sr.runtime.backends.shapes import input_shapes, output_shape
from tests.export.checkpoints import make_checkpoint

SMALL = {
    "family": "factorized", "variables": ["t2m", "sp"], "width": 8, "blocks": 2, "scale_factor": 3, "time_factor": 2
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Contract, Path]:
    checkpoint = make_checkpoint(SMALL, spread=0.1)
    path = tmp_path_factory.mktemp("graphs") / "model.onnx"
    write_graph(fold(checkpoint.model()), checkpoint.contract, path)
    return checkpoint.model(), checkpoint.contract, path


@pytest.mark.parametrize("core", [(1, 1, 2, 1, 1), (2, 3, 2, 5, 4), (1, 8, 2, 3, 11), (3, 2, 2, 7, 7)], ids=str)
def test_s000_24_onnx_runtime_agrees_with_torch_for_any_b_t_h_w(
    exported: tuple[Model, Contract, Path], core: tuple[int, ...]
) -> None:
    model, contract, path = exported
    coarse = torch.randn(input_shapes(contract, core)["coarse"], generator=torch.Generator().manual_seed(sum(core)))
    (fine,) = onnxruntime.InferenceSession(path).run(["fine"], {"coarse": coarse.numpy()})
    with torch.inference_mode():
        truth = model(coarse).numpy()
    assert fine.shape == output_shape(contract, core)
    assert np.abs(truth - model.base.within(coarse, model.margin).numpy()).max() > 0.05  # the residual took part
    np.testing.assert_allclose(fine, truth, rtol=0, atol=1e-4)


def test_a_ramp_is_exact_through_the_exported_graph_with_zero_residual(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(SMALL)
    write_graph(fold(checkpoint.model()), checkpoint.contract, tmp_path / "model.onnx")
    halo = checkpoint.contract.halo
    frames, rows, columns, s, r = 2, 3, 4, 3, 2
    t = np.arange(-halo.before, frames + halo.after)[:, None, None, None]
    y = np.arange(-halo.north, rows + halo.south)[:, None]
    x = np.arange(-halo.west, columns + halo.east)
    slope = np.array([1.0, -0.5])[:, None, None]
    coarse = (slope * (0.1 * x - 0.2 * y + 0.3 * t)).astype(np.float32)[None]
    (fine,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["fine"], {"coarse": coarse})
    fine_t = (np.arange(r * frames) / r)[:, None, None, None]
    fine_y, fine_x = (np.arange(s * rows) / s)[:, None], np.arange(s * columns) / s
    np.testing.assert_allclose(fine[0], slope * (0.1 * fine_x - 0.2 * fine_y + 0.3 * fine_t), rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    "blocks", [2, pytest.param(20, marks=pytest.mark.slow)], ids=["two blocks", "the seed's settings"]
)
def test_the_graph_is_folded_and_fit_for_tensorrt(tmp_path: Path, blocks: int) -> None:
    model = models.build({"family": "factorized", "blocks": blocks})
    assert blocks != 20 or model.parameters_count == 2_863_050
    graph = write_graph(fold(model.eval()), model.make_contract(name="seed"), tmp_path / "model.onnx")
    operators = [node.op_type for node in graph.graph.node]
    assert operators.count("DepthToSpace") == 1  # residual and base are added before one pixel shuffle
    assert "ConvTranspose" not in operators  # folded with the 1×1 convolution behind it
    assert "Resize" not in operators  # the cubic interpolation is a convolution
    shapes = {tuple(each.dims) for each in graph.graph.initializer}
    assert (5 * 36, 64, 5, 5) in shapes  # the 3×3, shuffle, 3×3 tail as one convolution
    # specification 2.3: the two tails of 1,329,408 + 2,885 and 24,640 + 325 become 288,180 and 1,950
    parameters = model.parameters_count - 1_329_408 - 2_885 - 24_640 - 325 + 288_180 + 1_950
    size = (tmp_path / "model.onnx").stat().st_size
    assert 4 * parameters < size < 4 * parameters + 100_000  # the rest is structure and the fixed kernels
    assert tensorrt_objections(onnx.load(tmp_path / "model.onnx")) == ()


@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_a_network_that_pads_is_exported_without_a_halo(tmp_path: Path, padding: str) -> None:
    checkpoint = make_checkpoint(SMALL | {"padding": padding}, spread=0.1)
    assert checkpoint.contract.halo == "global"
    write_graph(fold(checkpoint.model()), checkpoint.contract, tmp_path / "model.onnx")
    coarse = torch.randn((1, 4, 2, 6, 5), generator=torch.Generator().manual_seed(4))
    (fine,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["fine"], {"coarse": coarse.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(fine, checkpoint.model()(coarse).numpy(), rtol=0, atol=1e-4)  # sd, row S000-24
