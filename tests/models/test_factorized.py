import math

import pytest
import torch

from gfs_sr import models
from gfs_sr.data.grid import Registration
from gfs_sr.models.blocks import Padding
from gfs_sr.models.factorized import Factorized, FactorizedConfig
from gfs_sr.models.folding import fold
from gfs_sr.models.interpolation import Interpolation
from gfs_sr.models.receptive_field import Reach, probe
from tests.models.networks import coarse_input, shake


def small(**changes: object) -> Factorized:
    return Factorized(FactorizedConfig(**({"width": 8, "blocks": 2} | changes)))


SEED_LAYERS = {  # specification 2.3, table by table
    "temporal.look.0": 1_024, "temporal.look.1": 12_352, "temporal.look.2": 12_352, "temporal.up": 24_640,
    "temporal.out": 325, "spatial.head": 2_944, "spatial.blocks": 1_477_120, "spatial.tail.up": 1_329_408,
    "spatial.tail.tail": 2_885,
}  # fmt: skip


def test_s000_07_the_seeds_network_has_its_layers_parameters_and_shapes():
    model = models.build({"family": "factorized", "baseline_residual": False, "padding": "zero"})
    assert model.parameters_count == 2_863_050
    counts = {name: sum(p.numel() for p in model.residual.get_submodule(name).parameters()) for name in SEED_LAYERS}
    assert counts == SEED_LAYERS
    with torch.inference_mode():
        assert model(torch.randn(1, 8, 5, 24, 24)).shape == (1, 48, 5, 144, 144)
    assert model.flops_per_fine_cell == pytest.approx(161.3e9 / (48 * 144 * 144), rel=1e-3)
    contract = model.make_contract(name="seed")
    assert contract.halo == "global"
    assert contract.zero_padded


def test_s000_08_the_spatial_stage_gives_each_frame_what_it_gives_it_alone():
    stage = shake(small()).residual.spatial
    x = coarse_input(stage.reach, frames=3, rows=4, columns=5, batch=2)
    with torch.inference_mode():
        together = stage(x)
        alone = torch.stack([stage(x[b : b + 1, t : t + 1])[0, 0] for b in range(2) for t in range(3)])
    torch.testing.assert_close(together.flatten(0, 1), alone, rtol=0, atol=2e-6)  # another batch, another kernel
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


def test_s000_08_a_coarse_frame_moves_only_the_fine_frames_within_seven_of_it():
    model = shake(small())
    x = coarse_input(model.margin, frames=17)
    moved = x.clone()
    coarse_frame = 9
    moved[:, model.margin.before + coarse_frame] += 1
    with torch.inference_mode():
        change = (model(moved) - model(x)).abs().amax(dim=(0, 2, 3, 4))
    index = change.nonzero().flatten()
    assert (int(index.min()), int(index.max())) == (6 * (coarse_frame - 7), 6 * (coarse_frame + 7) + 5)


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("padding", list(Padding))
def test_s000_09_untrained_it_equals_the_registered_baseline_bitwise(registration, padding):
    model = small(registration=registration, padding=padding, sharpening=0.1, time="catmull_rom")
    x = coarse_input(model.margin, frames=6, rows=10, columns=9)
    twin = Interpolation(6, 6, registration, "bicubic", "catmull_rom", 0.1)
    with torch.inference_mode():
        if padding is Padding.VALID:
            assert torch.equal(model(x), twin.within(x, model.margin))
        else:
            inner = twin(x)  # without a halo the twin gives less: the middle must be the same
            first = (twin.reach.before, twin.reach.north, twin.reach.west)
            t, y, x0 = (6 * each for each in first)
            whole = model(x)[:, t : t + inner.shape[1], :, y : y + inner.shape[3], x0 : x0 + inner.shape[4]]
            torch.testing.assert_close(whole, inner, rtol=0, atol=1e-6)


@pytest.mark.parametrize("s", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("r", [1, 2, 3, 6])
def test_s000_10_any_factor_gives_its_shape(s, r):
    model = small(scale_factor=s, time_factor=r)
    x = coarse_input(model.margin, frames=2, rows=3, columns=4)
    with torch.inference_mode():
        assert model(x).shape == (1, 2 * r, 5, 3 * s, 4 * s)


def positive(model: torch.nn.Module) -> torch.nn.Module:
    """Weights of one sign: no unit is dead and nothing cancels, so that gradients show the whole reach."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1.5).div_(math.sqrt(parameter[0].numel()))
    return model


@pytest.mark.parametrize(("s", "r"), [(6, 6), (1, 1), (2, 3)])
def test_s000_10_gradients_confirm_the_declared_reach(s, r):
    model = positive(small(scale_factor=s, time_factor=r, baseline_residual=False)).double()
    assert model.reach == Reach.time(7) + Reach.space(7)
    x = coarse_input(model.margin).double().abs()
    assert probe(model, x, model.margin, s, r) == model.reach


def test_s000_10_the_seeds_depth_reaches_43_cells_and_7_frames():
    model = models.build({"family": "factorized", "scale_factor": 2, "width": 2, "time_factor": 2})
    assert model.make_contract(name="deep").halo.model_dump() == {
        "before": 7, "after": 7, "north": 43, "south": 43, "west": 43, "east": 43,
    }  # fmt: skip
    positive(model).double()
    x = coarse_input(model.margin).double().abs()
    assert probe(model, x, model.margin, 2, 2) == model.reach


@pytest.mark.parametrize(("s", "r"), [(6, 6), (1, 1), (2, 3), (3, 1)])
def test_folding_changes_nothing_but_the_operations(s, r):
    model = shake(small(scale_factor=s, time_factor=r, statics_coarse=("orog",), statics_fine=("lsm", "orog")))
    margin = model.margin
    x = coarse_input(margin, frames=3, rows=4, columns=5, batch=2)
    static_coarse, static_fine = x[:, :1, :1] + 1, torch.randn(2, 1, 2 * s * s, *x.shape[3:])
    folded = fold(model)
    with torch.inference_mode():
        truth = model(x, static_coarse, static_fine)
        torch.testing.assert_close(folded(x, static_coarse, static_fine), truth, rtol=0, atol=3e-6)  # values to 3
    assert not isinstance(folded, Factorized)


def test_statics_are_named_in_the_contract_and_move_the_output():
    model = shake(small(statics_coarse=("orog",), statics_fine=("lsm",)))
    contract = model.make_contract(name="terrain")
    assert contract.graph_inputs() == ("coarse", "static_coarse", "static_fine")
    x = coarse_input(model.margin)
    coarse, fine = torch.zeros_like(x[:, :1, :1]), torch.zeros(1, 1, 36, *x.shape[3:])
    with torch.inference_mode():
        assert not torch.equal(model(x, coarse, fine), model(x, coarse + 1, fine))
        assert not torch.equal(model(x, coarse, fine), model(x, coarse, fine + 1))


def test_replicate_padding_equals_valid_where_no_edge_is_in_reach():
    valid, padded = shake(small()), shake(small(padding=Padding.REPLICATE))
    x = coarse_input(valid.margin, frames=2, rows=3, columns=4)
    with torch.inference_mode():
        inner, whole = valid(x), padded(x)
    m = valid.margin
    middle = whole[:, 6 * m.before : -6 * m.after, :, 6 * m.north : -6 * m.south, 6 * m.west : -6 * m.east]
    torch.testing.assert_close(middle, inner, rtol=0, atol=2e-6)


def test_a_tile_equals_the_whole_field():
    model = shake(small())
    m = model.margin
    x = coarse_input(m, frames=4, rows=9, columns=10)
    with torch.inference_mode():
        whole = model(x)
        tile = model(x[:, 1 : 3 + m.before + m.after, :, 2 : 5 + m.north + m.south, 4 : 9 + m.west + m.east])
    torch.testing.assert_close(whole[:, 6:18, :, 12:30, 24:54], tile, rtol=0, atol=2e-6)
