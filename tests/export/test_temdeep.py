"""Networks of time as ONNX graphs: fractions and hours are inputs, terrain where the variant takes it."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from export.graph import example_inputs, write_graph
from gfs_sr.models.model import Model
from tests.export.checkpoints import make_checkpoint

NARROW = {"family": "temdeep_narrow", "width": 6, "variables": ["t2m", "sp"]}
WIDE = {"family": "temdeep", "widths": [4, 6], "variables": ["t2m", "sp"]}
VARIANTS = {
    "narrow": NARROW,
    "narrow, hard occlusion": NARROW | {"occlusion": "hard", "largest_flow": 2.5},
    "narrow, no terrain": NARROW | {"terrain": False},
    "rife": {"family": "rife", "width": 6, "variables": ["t2m", "sp"]},
    "wide": WIDE,
    "wide, no terrain": WIDE | {"terrain": False},
}


def exported(config, path) -> tuple[Model, ort.InferenceSession, dict[str, torch.Tensor]]:
    checkpoint = make_checkpoint(config, spread=0.1)
    model = checkpoint.model().eval()
    write_graph(model, checkpoint.contract, path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return model, ort.InferenceSession(path, options, ["CPUExecutionProvider"]), example_inputs(checkpoint.contract)


@pytest.mark.parametrize("variant", VARIANTS)
def test_s001_15_the_graph_gives_what_torch_gives_at_any_fractions(variant, tmp_path):
    model, session, given = exported(VARIANTS[variant], tmp_path / "model.onnx")
    assert {"fraction", "hours"} <= {each.name for each in session.get_inputs()}
    batch, intervals = given["fraction"].shape[:2]
    draw = torch.Generator().manual_seed(9)
    for count in (1, 5):  # another number of fields than it was traced with
        asked = dict(
            given, fraction=torch.rand(batch, intervals, count, generator=draw), hours=torch.full((batch,), 3.0)
        )
        if "predictor_coarse_fine_time" in asked:
            shape = list(asked["predictor_coarse_fine_time"].shape)
            shape[1] = intervals * count
            asked["predictor_coarse_fine_time"] = torch.randn(shape, generator=draw)
        with torch.no_grad():
            expected = model(**asked).numpy()
        (fine,) = session.run(
            None, {name: asked[name].numpy() for name in (each.name for each in session.get_inputs())}
        )
        assert fine.shape == expected.shape
        assert np.abs(fine - expected).max() < 1e-4  # standard deviations


@pytest.mark.parametrize("family", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("terrain", [True, False])
def test_s001_13_terrain_is_an_input_of_the_graph_where_it_is_on(family, terrain, tmp_path):
    checkpoint = make_checkpoint(family | {"terrain": terrain}, spread=0.1)
    graph = write_graph(checkpoint.model().eval(), checkpoint.contract, tmp_path / "model.onnx")
    assert ("static_coarse" in {each.name for each in graph.graph.input}) == terrain
    assert bool(checkpoint.contract.statics_coarse) == terrain


def test_warping_is_a_grid_sample_and_nothing_is_a_loop(tmp_path):
    exported(NARROW, tmp_path / "model.onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "GridSample" in operators
    assert not {"Loop", "If", "Scan"} & operators
