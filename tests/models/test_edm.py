"""Diffusion models: what members are drawn around, in which unit, and by what."""

import math

import pytest
import torch

from gfs_sr import models
from gfs_sr.contract import Halo
from gfs_sr.data.variables import variable_ids
from gfs_sr.errors import UsageError
from gfs_sr.models.diffusion import PRECONDITIONING
from gfs_sr.models.edm import DenoiserGraph, Edm, MeanGraph
from gfs_sr.models.receptive_field import Reach, crop
from gfs_sr.sampling import sample
from tests.models.networks import coarse_input, shake

TINY = {"width": 4, "multipliers": [1, 2], "blocks": 1, "dropout": 0.0, "attention_heads": 2}
FINITE = {**TINY, "normalization": "cell", "attention": "none", "scale_factor": 2, "factors": [2]}
SHARED = {**FINITE, "scale_factor": 6, "patch_size": 3, "shared": True, "variables": ["t2m", "msl", "u10"]}
MEAN = {"family": "unet", **FINITE, "variables": ["t2m"]}


def build(family="edm", **options):
    return models.build({"family": family, **options}).eval()


def shared_inputs(model, rows=3, columns=2, names=("t2m", "msl")):
    coarse = coarse_input(model.reach, channels=len(names), rows=rows, columns=columns)
    generator = torch.Generator().manual_seed(7)
    s = model.facts.scale_factor
    statics = [torch.rand((1, 1, 2 * count, *coarse.shape[-2:]), generator=generator) for count in (1, s * s)]
    return {"coarse": coarse, "variable": torch.tensor(variable_ids(names)), "static_coarse": statics[0],
            "static_fine": statics[1]}  # fmt: skip


@pytest.mark.parametrize("family", ["edm", "vp"])
def test_an_untrained_denoiser_expects_what_its_preconditioning_says(family):
    model = build(family, **FINITE)
    made = model.conditions(coarse_input(model.reach, channels=1, rows=3, columns=4))
    noisy, sigma = torch.randn(made.mean.shape), torch.tensor([0.7])
    how = PRECONDITIONING[family](sigma, 1.0)
    torch.testing.assert_close(model.denoise(noisy, made.fields, sigma), how.skip * noisy)


def test_members_lie_around_the_interpolation_where_there_is_no_network():
    model = build(**FINITE, sharpening=0.1)
    coarse = coarse_input(model.reach, channels=1, rows=3, columns=4)
    made = model.conditions(coarse)
    torch.testing.assert_close(made.mean, model.base.within(coarse, model.reach))
    assert (made.unit == 1).all()


def test_without_a_baseline_members_lie_around_0():
    model = build(**FINITE, baseline_residual=False, own_coarse=False, predictor_variables=["d2m"])
    assert not model.conditions(coarse_input(model.reach, channels=1)).mean.any()
    assert model.make_contract(name="direct").inputs == ("d2m",)


def test_s004_14_the_mean_network_and_what_diffusion_leaves_make_the_target():
    """A truth of known spread around a mean network; a denoiser that knows that spread."""
    mean = shake(build("unet", **{k: v for k, v in MEAN.items() if k != "family"}))
    model = build(**FINITE, mean=mean.config)
    model.conditions.mean.load_state_dict(mean.state_dict())
    coarse = coarse_input(model.reach, channels=1, rows=24, columns=24)
    regression = mean(crop(coarse, model.reach - mean.reach)).detach()
    model.conditions.sizes.fill_(0.3)
    with torch.no_grad():
        made = model.conditions(coarse)
    torch.testing.assert_close(made.mean, regression)
    torch.testing.assert_close(made.fields[:, :, -1:], regression)  # the denoiser is told what it completes
    target = regression + 0.3 * torch.randn(regression.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(made.mean + made.unit * ((target - made.mean) / made.unit), target)
    rng = torch.Generator().manual_seed(4)
    z = sample(
        lambda x, sigma: x / (1 + sigma * sigma), lambda _: torch.randn(regression.shape, generator=rng),
        model.settings.sampling, model.settings.vp,
    )  # fmt: skip
    member = made.mean + made.unit * z
    assert float((member - regression).std()) == pytest.approx(float((target - regression).std()), rel=0.05)


def test_a_mean_is_not_trained():
    model = build(**FINITE, mean=MEAN)
    assert not any(each.requires_grad for each in model.conditions.mean.parameters())
    assert all(each.requires_grad for each in model.backbone.out.parameters())


@pytest.mark.parametrize("scale", [1e-2, 1.0, 50.0])
def test_a_shared_denoiser_counts_in_the_local_spread(scale):
    """Its fields do not know the units, and its unit grows with the field."""
    model = build(**{**SHARED, "floor": 1e-9})
    inputs = shared_inputs(model)
    plain = model.conditions(**inputs)
    other = model.conditions(**{**inputs, "coarse": 3.0 + scale * inputs["coarse"]})
    torch.testing.assert_close(other.unit, scale * plain.unit, rtol=1e-4, atol=0)
    K = model.conditions.channels
    fields, moved = (each.fields.unflatten(2, (2, K)) for each in (plain, other))
    torch.testing.assert_close(moved[:, :, :, 0], fields[:, :, :, 0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved[:, :, :, 1], fields[:, :, :, 1] + math.log10(scale), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved[:, :, :, 2:], fields[:, :, :, 2:])


def test_a_shared_denoiser_takes_variables_alone_or_together():
    model = shake(build(**SHARED))
    inputs = shared_inputs(model)
    made = model.conditions(**inputs)
    noisy, sigma = torch.randn(made.mean.shape), torch.tensor([0.5])
    both = model.denoise(noisy, made.fields, sigma, inputs["variable"])
    for k in range(2):
        one = {**inputs, "coarse": inputs["coarse"][:, :, k : k + 1], "variable": inputs["variable"][k : k + 1]}
        alone = model.conditions(**one)
        found = model.denoise(noisy[:, :, k : k + 1], alone.fields, sigma, one["variable"])
        torch.testing.assert_close(found, both[:, :, k : k + 1], rtol=0, atol=1e-5)


def test_terrain_says_nothing_of_pressure_at_sea_level():
    model = shake(build(**SHARED))
    inputs = shared_inputs(model)
    fields = model.conditions(**inputs).fields.unflatten(2, (2, model.conditions.channels))
    assert fields[:, :, 0, 2:].any()
    assert not fields[:, :, 1, 2:].any()


def test_a_shared_denoiser_stands_around_the_default_model():
    model = build(**SHARED, mean={"family": "fused", "time_factor": 1, "width": 8, "blocks": 1})
    inputs = shared_inputs(model)
    mean = model.conditions.mean
    given = {name: crop(each, model.reach - mean.reach) if each.dim() == 5 else each for name, each in inputs.items()}
    torch.testing.assert_close(model.conditions(**inputs).mean, mean(**given))


@pytest.mark.parametrize("mean", [{}, MEAN], ids=["around the interpolation", "around a network"])
@pytest.mark.parametrize("scale", [0.1, 40.0])
def test_a_denoiser_in_local_units_makes_of_a_field_times_a_number_the_same(scale, mean):
    model = build(**FINITE, scale_free=True, mean=mean and {**mean, "scale_free": True})
    model.conditions.sizes.fill_(0.3)
    coarse = 300 * coarse_input(model.reach, channels=1, rows=3, columns=4)  # far above the floor of the spread
    plain, other = model.conditions(coarse), model.conditions(scale * coarse)
    torch.testing.assert_close(other.unit, scale * plain.unit, rtol=1e-3, atol=0)
    assert plain.fields.shape[2] == model.conditions.channels == 3
    freed, spread, share = (slice(k, k + 1) for k in range(3))
    torch.testing.assert_close(other.fields[:, :, freed], plain.fields[:, :, freed], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(other.fields[:, :, share], plain.fields[:, :, share], rtol=1e-3, atol=1e-3)
    moved = plain.fields[:, :, spread] + math.log10(scale)
    torch.testing.assert_close(other.fields[:, :, spread], moved, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(plain.unit, 0.3 * 10 ** plain.fields[:, :, spread])


def test_amounts_in_local_units_tell_where_nothing_lies():
    """A mean of nothing is told as 0, one far above it as nearly 1."""
    model = build(**FINITE, scale_free=True)
    coarse = coarse_input(model.reach, channels=1, rows=3, columns=4)
    share = model.conditions(0 * coarse).fields[:, :, 2]
    assert not share.any()
    assert float(model.conditions(500 + coarse).fields[:, :, 2].min()) > 0.9


@pytest.mark.parametrize(
    "options", [FINITE, SHARED, {**FINITE, "scale_free": True}], ids=["plain", "shared", "local units"]
)
def test_the_conditions_see_as_far_as_they_say(options):
    model = shake(build(**options))
    inputs = shared_inputs(model, 1, 1) if model.any_subset else {"coarse": coarse_input(model.reach, channels=1)}
    coarse = inputs["coarse"].clone().requires_grad_()
    made = model.conditions(**{**inputs, "coarse": coarse})
    (gradient,) = torch.autograd.grad((made.mean.sum() + made.unit.sum() + made.fields.square().sum()), coarse)
    rows = gradient.abs().sum(dim=(0, 1, 2, 4)).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (0, model.reach.north + model.reach.south)


def test_both_graphs_give_what_the_contract_says():
    model = shake(build(**SHARED))
    contract = model.make_contract(name="x")
    assert isinstance(contract.denoising.halo, Halo)
    inputs = shared_inputs(model, rows=4, columns=3)
    mean, unit, condition = MeanGraph(model)(**inputs)
    assert mean.shape == unit.shape == (1, 1, 2, 24, 18)
    assert condition.shape == (1, 1, 2 * contract.denoising.condition, 24, 18)
    graph = DenoiserGraph(model)
    halo = graph.reach
    size = (6 * (4 + halo.north + halo.south), 6 * (3 + halo.west + halo.east))
    z = graph(torch.randn(1, 1, 2, *size), torch.randn(1, 1, 2 * 6, *size), torch.ones(1), inputs["variable"])
    assert z.shape == (1, 1, 2, 24, 18)


def test_the_denoisers_halo_is_its_reach():
    model = shake(build(**FINITE))
    reach = model.denoiser_reach
    assert reach == Reach(north=reach.north, south=reach.south, west=reach.north, east=reach.south)
    size = 2 * (1 + reach.north + reach.south)
    noisy = torch.randn(1, 1, 1, size, size, requires_grad=True)
    out = DenoiserGraph(model)(noisy, torch.randn(1, 1, 1, size, size), torch.ones(1))
    (gradient,) = torch.autograd.grad(out.sum(), noisy)
    rows = gradient[0, 0, 0].abs().sum(dim=1).nonzero().flatten()
    assert (int(rows.min()) // 2, int(rows.max()) // 2) == (0, reach.north + reach.south)


def test_place_travels_with_the_fields():
    model = shake(build(**{**TINY, "scale_factor": 2}, side=True))
    coarse = torch.randn(1, 1, 1, 4 + model.reach.north + model.reach.south, 4 + model.reach.west + model.reach.east)
    shape = (1, 1, 2, *coarse.shape[-2:])
    made = [model.conditions(coarse, predictor_coarse=torch.full(shape, value)) for value in (0.2, 0.9)]
    noisy = torch.randn(made[0].mean.shape)
    found = [model.denoise(noisy, each.fields, torch.ones(1)) for each in made]
    assert made[0].fields.shape[2] == model.conditions.channels == 1 + 4
    assert not torch.allclose(*found)


def test_space_and_time_are_drawn_together():
    model = shake(build(**FINITE, temporal=True, time_factor=3, predictor_variables=["d2m"]))
    reach = model.denoiser_reach
    assert (reach.before, reach.after) == (3, 3)  # eight blocks of one fine frame each, three to a coarse one
    made = model.conditions(coarse_input(model.reach, frames=2, channels=2, rows=2, columns=2))
    assert made.mean.shape == (1, 6, 1, 4, 4)
    noisy = torch.zeros(made.mean.shape, requires_grad=True)
    out = model.denoise(noisy, made.fields, torch.ones(1))
    (gradient,) = torch.autograd.grad(out[:, 2].sum(), noisy)
    assert (gradient.abs().sum(dim=(0, 2, 3, 4)) > 0).all()  # frames know each other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weighting": "snr2"}, "weighting"),
        ({"noise": "sine"}, "distribution"),
        ({"sigma_data": 0.0}, "sigma_data"),
        ({"shared": True, "predictor_variables": ["d2m"]}, "takes each variable alone"),
        ({"shared": True, "baseline_residual": False}, "around a mean"),
        ({"shared": True, "scale_free": True}, "leave scale_free out"),
        ({"mean": {"family": "unet", "scale_factor": 4}}, "scale_factor is 4"),
        ({"mean": {"family": "unet", "variables": ["d2m"], "scale_factor": 2, **TINY}}, "does not give t2m"),
        ({"sampler": {"integrator": "rk4"}}, "integrator"),
        ({"schedule": {"sigma_min": 100.0}}, "sigma_min"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        build(**{**FINITE, **options})


def test_the_configuration_is_found_again():
    model = build(**SHARED, mean={"family": "fused", "time_factor": 1, "width": 8, "blocks": 1})
    again = models.build(model.config)
    assert isinstance(again, Edm)
    assert again.settings == model.settings
    again.load_state_dict(model.state_dict())
