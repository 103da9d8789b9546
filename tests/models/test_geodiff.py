"""Columns of temperature: what they start from, what the prior tells, and what both graphs hold."""

import math

import pytest
import torch

from gfs_sr import models
from gfs_sr.contract import Halo
from gfs_sr.errors import MissingVariable, UsageError
from gfs_sr.models.column_physics import EARTH_RADIUS, KAPPA
from gfs_sr.models.edm import DenoiserGraph, MeanGraph
from gfs_sr.models.geodiff import OWN_FIELDS, PER_LEVEL, STABILITY_SIZE, TENDENCY_SIZE, standard_temperature
from gfs_sr.sampling import sample
from tests.models.networks import shake

TINY = {"width": 4, "multipliers": [1, 2], "head_width": 4, "stem": 3, "scale_factor": 2}
LEVELS = ["t@1000", "t@850", "t@700"]


def build(family="geodiff", **options):
    heads = {"heads": 2} if family == "geodiff" else {"attention_heads": 2}
    return models.build({"family": family, **TINY, **heads, "variables": LEVELS, **options}).eval()


def given(model, frames=2, rows=5, columns=6):
    """Random fields of half a degree around 50 degrees north, on a regular grid."""
    generator = torch.Generator().manual_seed(1)
    contract = model.make_contract(name="x")
    lat = torch.linspace(50, 50 - (rows - 1) / 2, rows).deg2rad()
    lon = torch.linspace(4, 4 + (columns - 1) / 2, columns).deg2rad()
    place = torch.stack(torch.meshgrid(lat, lon, indexing="ij"))
    inputs = {"coarse": torch.randn(1, frames, len(contract.inputs), rows, columns, generator=generator)}
    if contract.predictors:
        inputs["predictor_coarse"] = place.expand(1, frames, -1, -1, -1)
    if contract.statics_fine:
        s = contract.scale_factor
        count = len(contract.statics_fine) * s * s
        inputs["static_fine"] = torch.randn(1, 1, count, rows, columns, generator=generator)
    return inputs


@pytest.mark.parametrize("depth", ["level", "time"])
def test_s002_4_an_untrained_column_is_the_interpolation_bit_by_bit(depth):
    model = build(depth=depth)
    inputs = given(model)
    fine, base = model.learn("space", inputs)
    expected = model.base.within(torch.nn.functional.pad(inputs["coarse"][0, :, :3], (2,) * 4, mode="replicate")[None],
                                 model.base.reach)  # fmt: skip
    assert torch.equal(model(**inputs), base)
    assert torch.equal(fine, base)
    torch.testing.assert_close(base, expected)


def test_s002_4_the_prior_of_an_untrained_network_changes_nothing_whatever_the_rest_has_learned():
    model = build()
    shake(model.volume.network.out)
    inputs = given(model)
    moved = {**inputs, "coarse": inputs["coarse"].clone()}
    moved["coarse"][:, :, 3:] += 2.0
    with torch.no_grad():
        assert torch.equal(model(**inputs), model(**moved))


@pytest.mark.parametrize("depth", ["level", "time"])
def test_s002_5_steps_move_the_convolutions_that_start_at_zero_and_reach_the_priors_encoder(depth):
    torch.manual_seed(0)
    model = build(depth=depth).train()
    inputs, truth = given(model, rows=4, columns=4), torch.randn(1, 2, 3, 8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(50):
        optimizer.zero_grad()
        (model(**inputs) - truth).square().mean().backward()
        optimizer.step()
    assert all(each.weight.any() for each in model.volume.network.zero)
    assert all(each.grad.any() for each in model.volume.network.prior.stages.parameters() if each.requires_grad)


def test_the_prior_is_the_tendency_in_typical_sizes():
    """A linear temperature in a wind without divergence: advection alone, and the stability of the column."""
    model = build(omega="continuity")
    physics, inputs = model.guiding.physics, given(model)
    place = inputs["predictor_coarse"]
    lat = place[:, :, :1]
    temperature = 270 + 50.0 * (lat - lat.mean()).expand(-1, -1, 3, -1, -1)
    v = torch.full_like(temperature, 8.0)
    physical = torch.cat([temperature, 0 * v, v / lat.cos()], dim=2)  # v cos(lat) is even: no divergence
    found = physics((physical - physics.mean) / physics.sd, place).unflatten(2, (3, PER_LEVEL))[..., 1:-1, 1:-1]
    advection = (-(v / lat.cos()) * 50.0 / EARTH_RADIUS)[..., 1:-1, 1:-1]
    torch.testing.assert_close(found[:, :, :, 0] * TENDENCY_SIZE, advection, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(found[:, :, :, 1], torch.zeros_like(advection), rtol=0, atol=0.02)
    sigma = KAPPA * temperature / physics.pressure
    torch.testing.assert_close(found[:, :, :, 3] * STABILITY_SIZE, sigma[..., 1:-1, 1:-1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "letters"),
    [({}, "tuv"), ({"omega": "given"}, "tuvw"), ({"omega": "none"}, "tuv"), ({"prior": False}, "t")],
    ids=str,
)
def test_s002_18_a_forecast_without_vertical_motion_or_winds_is_served_and_the_manifest_says_so(options, letters):
    model = build(**options)
    contract = model.make_contract(name="x")
    assert contract.inputs == tuple(f"{letter}@{level}" for letter in letters for level in (1000, 850, 700))
    assert model.config["omega"] == options.get("omega", "continuity")
    assert model.config["prior"] == options.get("prior", True)
    assert model(**given(model)).shape == (1, 2, 3, 10, 12)


def test_every_ablation_has_the_same_number_of_parameters():
    counts = {build(**options).parameters_count for options in ({}, {"prior": False}, {"omega": "none"})}
    assert len(counts) == 1


@pytest.mark.parametrize("prior", [True, False])
def test_a_network_sees_detail_of_any_size_alike(prior):
    """A tenth of the detail around another mean: the same local form, a tenth of the spread, and of what is added."""
    model = shake(build(prior=prior, omega="none"), std=0.2)
    inputs = given(model)
    inputs["coarse"] = 4.0 * inputs["coarse"]  # far above the least spread
    small = {**inputs, "coarse": inputs["coarse"].clone()}
    small["coarse"][:, :, :3] = 0.5 + 0.1 * small["coarse"][:, :, :3]
    with torch.no_grad():
        large, little = (
            model.guiding(each["coarse"], each.get("predictor_coarse"), each["static_fine"]) for each in (inputs, small)
        )
    torch.testing.assert_close(little.local, large.local, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(little.spread, 0.1 * large.spread, rtol=1e-3, atol=0)
    with torch.no_grad():
        added = model.refined(little) - little.base
        torch.testing.assert_close(added, little.spread * model.detail(little), rtol=1e-4, atol=1e-6)


def test_the_encoder_of_an_ablation_reads_the_temperature_and_learns():
    model = shake(build(prior=False), std=0.2)
    inputs = given(model)
    assert set(inputs) == {"coarse", "static_fine"}  # no winds, no places
    model(**inputs).square().mean().backward()
    encoder = model.volume.network.prior
    assert all(each.grad.any() for each in encoder.stages.parameters())
    guides = model.guiding(inputs["coarse"], None, inputs["static_fine"])
    assert torch.equal(guides.prior[:, :, :PER_LEVEL], guides.local[:, :, :1].expand(-1, -1, PER_LEVEL, -1, -1))


def test_one_level_alone_has_advection_and_no_vertical():
    model = build(variables=["t@850"])
    inputs = given(model)
    found = model.guiding.physics(inputs["coarse"], inputs["predictor_coarse"])
    assert found[:, :, 0].any()
    assert not found[:, :, 1].any()
    assert not found[:, :, 3].any()


def test_the_standard_atmosphere_is_the_standards():
    """ISO 2533: 15 degC at 1013.25 hPa, 250 K lower by 6.5 K a kilometer, even above 226.32 hPa."""
    assert standard_temperature(101_325.0) == pytest.approx(288.15)
    assert standard_temperature(54_019.9) == pytest.approx(255.65, abs=0.01)  # 5 km
    assert standard_temperature(10_000.0) == 216.65


@pytest.mark.parametrize("depth", ["level", "time"])
def test_s002_20_both_graphs_of_either_depth_give_what_the_contract_says(depth):
    mean = {"family": "geodiff", **TINY, "heads": 2, "variables": LEVELS, "depth": depth}
    model = shake(build("geodiff_members", mean=mean))
    contract = model.make_contract(name="x")
    assert contract.halo == contract.denoising.halo == "global"
    assert contract.denoising.temporal == (depth == "time")
    inputs = given(model)
    with torch.no_grad():
        fine, unit, condition = MeanGraph(model)(**inputs)
        z = DenoiserGraph(model)(torch.randn(1, 2, 3, 10, 12), condition, torch.ones(1))
    assert fine.shape == unit.shape == z.shape == (1, 2, 3, 10, 12)
    assert condition.shape[2] == contract.denoising.condition == 3 * (1 + OWN_FIELDS) + 2 + 3 * PER_LEVEL
    assert not isinstance(contract.halo, Halo)


def test_s002_10_members_differ_by_their_noise_alone():
    model = shake(build("geodiff_members"), std=0.05)
    inputs = given(model, frames=1)
    config = model.settings.sampling.changed({}, {"n": 3})

    def member(seed):
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            made = model.conditions(**inputs)
            z = sample(
                lambda x, sigma: model.denoise(x, made.fields, x.new_full((1,), sigma)),
                lambda _: torch.randn(made.mean.shape, generator=rng), config, model.settings.vp,
            )  # fmt: skip
            return made.mean + made.unit * z

    assert torch.equal(member(0), member(0))
    assert float((member(0) - member(1)).std()) > 0


def test_a_members_expected_residual_stays_within_its_envelope():
    model = shake(build("geodiff_members", clip=0.5))
    made = model.conditions(**given(model))
    assert (
        float(model.denoise(9 * torch.randn(made.mean.shape), made.fields, torch.ones(1)).detach().abs().max()) == 0.5
    )


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("geodiff", {"variables": ["t@700", "t@850"]}, "falling"),
        ("geodiff", {"variables": ["t2m"]}, "temperatures on levels"),
        ("geodiff", {"depth": "width"}, "depth"),
        ("geodiff", {"omega": "guessed"}, "omega"),
        ("geodiff", {"time_factor": 3}, "time_factor is 1"),
        ("geodiff_members", {"dropout": 0.5}, "dropout has no part"),
        ("geodiff_members", {"mean": {"family": "unet"}}, "family geodiff"),
        ("geodiff_members", {"mean": {"family": "geodiff", "scale_factor": 3}}, "the mean's"),
        ("geodiff_members", {"clip": 0.0}, "clip"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(family, options, said):
    with pytest.raises(UsageError, match=said):
        build(family, **options)


def test_s002_18_a_static_that_no_table_knows_is_named():
    with pytest.raises((UsageError, MissingVariable), match="slope"):
        build(statics=["slope"])


@pytest.mark.parametrize("family", ["geodiff", "geodiff_members"])
def test_the_configuration_is_found_again(family):
    model = build(family)
    again = models.build(model.config)
    assert again.settings == model.settings
    again.load_state_dict(model.state_dict())
    assert math.isfinite(again.flops_per_fine_cell)
