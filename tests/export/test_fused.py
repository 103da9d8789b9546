"""`fused` through the exporter: every kind of graph input, any subset of variables, half precision."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graph import write_graph
from export.operators import tensorrt_objections
from export.precision import lower_residual
from export.publication import publish
from gfs_sr.contract import Contract
from gfs_sr.data.variables import variable_ids
from gfs_sr.models.folding import fold
from gfs_sr.models.model import Model
from gfs_sr.runtime.backends.shapes import input_shapes, output_shape
from tests.export.checkpoints import make_checkpoint

SMALL = {
    "family": "fused", "variables": ["t2m", "u10", "sp"], "width": 8, "blocks": 1, "scale_factor": 3, "time_factor": 2
}  # fmt: skip


def random_inputs(contract: Contract, core: tuple[int, ...], names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(core))
    shapes = input_shapes(contract, core)
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items() if name != "variable"}
    if contract.time_factor > 1:  # at the frames themselves there is one sun
        frames = inputs["predictor_coarse"][:, contract.halo.before : -contract.halo.after]
        inputs["predictor_coarse_fine_time"][:, :: contract.time_factor] = frames
    return inputs | {"variable": torch.tensor(variable_ids(names))}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Contract, Path]:
    checkpoint = make_checkpoint(SMALL, spread=0.05)
    path = tmp_path_factory.mktemp("graphs") / "model.onnx"
    write_graph(fold(checkpoint.model()), checkpoint.contract, path)
    return checkpoint.model(), checkpoint.contract, path


@pytest.mark.parametrize(
    ("core", "names"),
    [
        ((1, 1, 1, 1, 1), ("sp",)),
        ((2, 3, 2, 5, 4), ("u10", "t2m")),
        ((1, 4, 3, 3, 11), ("t2m", "u10", "sp")),
    ],
    ids=str,
)
def test_s000_24_fused_in_onnx_runtime_agrees_with_torch_for_any_b_t_c_h_w(
    exported: tuple[Model, Contract, Path], core: tuple[int, ...], names: tuple[str, ...]
) -> None:
    model, contract, path = exported
    inputs = random_inputs(contract, core, names)
    session = onnxruntime.InferenceSession(path)
    (fine,) = session.run(["fine"], {name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.inference_mode():
        truth = model(**inputs).numpy()
    assert fine.shape == output_shape(contract, core)
    np.testing.assert_allclose(fine, truth, rtol=0, atol=1e-4)


def test_the_graph_takes_what_the_contract_names_and_suits_tensorrt(exported: tuple[Model, Contract, Path]) -> None:
    _, contract, path = exported
    graph = onnx.load(path)
    assert tuple(each.name for each in graph.graph.input) == contract.graph_inputs()
    assert tensorrt_objections(graph) == ()


def test_fused_is_published_from_its_own_sample(tmp_path: Path) -> None:
    artifact = publish(make_checkpoint(SMALL, spread=0.05), tmp_path / "fused", precision="fp16").artifact
    assert {line.variable for line in artifact.manifest.parity} == {"t2m", "u10", "sp"}
    assert artifact.contract.precision == "fp16"


@pytest.mark.parametrize("time_factor", [1, 2])
def test_an_untrained_fused_interpolates_bitwise_alike_in_half_precision(time_factor: int) -> None:
    checkpoint = make_checkpoint(SMALL | {"time_factor": time_factor})
    model = fold(checkpoint.model())
    inputs = random_inputs(checkpoint.contract, (1, 2, 3, 4, 5), ("t2m", "u10", "sp"))
    with torch.inference_mode():
        assert torch.equal(lower_residual(model, "fp16")(**inputs), model(**inputs))
