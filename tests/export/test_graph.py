"""Networks as ONNX graphs: dynamic shapes, names, and nothing about the machine that wrote them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from export.graph import example_inputs, write_graph
from gfs_sr.contract import Contract, Halo
from gfs_sr.errors import UsageError
from gfs_sr.runtime.backends.shapes import input_shapes, output_shape
from tests.artifacts import repeat_contract


class Shared(nn.Module):
    """A network of every kind of input: shared by the variables, told which one it sees, with sun and terrain."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 4)
        self.time = nn.Linear(3, 2)
        self.head = nn.Conv2d(3, 4, 3)
        self.tail = nn.Conv2d(4, 4, 3)

    def forward(
        self,
        coarse: torch.Tensor,
        variable: torch.Tensor,
        predictor_coarse_fine_time: torch.Tensor,
        predictor_fine: torch.Tensor,
        static_coarse: torch.Tensor,
        static_fine: torch.Tensor,
    ) -> torch.Tensor:
        b, _, c, _, _ = coarse.shape
        x = self.time(torch.stack([coarse[:, :-2], coarse[:, 1:-1], coarse[:, 2:]], dim=-1))  # (B, T, C, H, W, 2)
        x = x.permute(0, 1, 5, 2, 3, 4).flatten(1, 2)  # (B, 2T, C, H, W)
        sun = predictor_coarse_fine_time.expand_as(x)
        terrain = static_coarse.expand_as(x)
        folded = torch.stack([x, sun, terrain], 3).flatten(0, 2)  # (B·2T·C, 3, H, W)
        known = self.embedding(variable).expand(b, x.shape[1], c, 4).reshape(-1, 4, 1, 1)
        y = functional.pixel_shuffle(self.tail(torch.relu(self.head(folded) + known)), 2)
        y = y.reshape(b, x.shape[1], c, y.shape[-2], y.shape[-1])
        ground = functional.pixel_shuffle(static_fine[:, 0], 2)[:, None]
        return y + predictor_fine * ground[..., 4:-4, 4:-4]


@pytest.fixture(scope="module")
def contract() -> Contract:
    return repeat_contract(
        any_subset=True,
        inputs=("t2m", "sp", "d2m"),
        outputs=("t2m", "sp", "d2m"),
        normalization={name: {"mean": 0.0, "sd": 1.0} for name in ("t2m", "sp", "d2m")},
        time_factor=2,
        halo=Halo.symmetric(1, 2),
        statics_coarse=("orog",),
        statics_fine=("orog",),
        predictors=(
            {"name": "cos_solar_zenith", "grid": "coarse_fine_time"},
            {"name": "cos_solar_zenith", "grid": "fine"},
        ),
    )


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(5)
    return Shared().eval()


@pytest.fixture(scope="module")
def path(contract: Contract, model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("graphs") / "deep" / "model.onnx"
    write_graph(model, contract, target)
    return target


@pytest.mark.parametrize(
    "core", [(1, 1, 1, 1, 1), (1, 2, 3, 6, 6), (2, 3, 2, 4, 5), (3, 1, 1, 17, 2), (1, 5, 3, 1, 9)], ids=str
)
def test_the_graph_runs_at_shapes_it_was_not_traced_with(
    contract: Contract, model: nn.Module, path: Path, core: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(sum(core))
    shapes = input_shapes(contract, core)
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items() if name != "variable"}
    inputs["variable"] = torch.arange(core[2]) + 3
    session = onnxruntime.InferenceSession(path)
    (fine,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    assert fine.shape == output_shape(contract, core)
    with torch.inference_mode():
        np.testing.assert_allclose(fine, model(**inputs).numpy(), rtol=0, atol=1e-5)


def test_inputs_and_output_have_the_contract_s_names_in_order(contract: Contract, path: Path) -> None:
    graph = onnx.load(path).graph
    assert tuple(each.name for each in graph.input) == contract.graph_inputs()
    assert [each.name for each in graph.output] == ["fine"]
    coarse = graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param for axis in coarse] == ["B", "T", "C", "H", "W"]


def test_the_graph_tells_nothing_of_the_machine_that_wrote_it(path: Path) -> None:
    raw = path.read_bytes()
    for trace in (str(Path.home()), str(Path.cwd()), "site-packages", ".py"):
        assert trace.encode() not in raw


def test_one_model_gives_one_graph(contract: Contract, model: nn.Module, path: Path, tmp_path: Path) -> None:
    write_graph(model, contract, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_no_axis_is_traced_at_size_one(contract: Contract) -> None:
    assert all(min(tensor.shape[:1] + tensor.shape[3:]) > 1 for tensor in example_inputs(contract).values())


def test_the_exporter_is_quiet(
    contract: Contract, model: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_graph(model, contract, tmp_path / "model.onnx", opset=18)
    assert capfd.readouterr() == ("", "")
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 18


@pytest.mark.parametrize("opset", [9, 99])
def test_an_unknown_operator_set_is_refused(contract: Contract, model: nn.Module, tmp_path: Path, opset: int) -> None:
    with pytest.raises(UsageError, match=f"opset {opset}"):
        write_graph(model, contract, tmp_path / "model.onnx", opset=opset)
