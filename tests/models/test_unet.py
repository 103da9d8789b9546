"""The U-Net: its size, its options, how far it sees."""

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.errors import UsageError
from gfs_sr.models.receptive_field import Reach, probe
from gfs_sr.models.unet import Unet, UnetConfig
from gfs_sr.models.unet_backbone import Backbone, BackboneConfig
from gfs_sr.models.unet_blocks import Conv, Down, GlobalAttention, LocalAttention, Recipe, Span
from gfs_sr.models.unet_embeddings import Fourier, PlaceEmbedding, Positional
from tests.models.networks import coarse_input, shake

PREDICTORS = 14
UNUSED_BRANCH = PREDICTORS * 9 * 32 + 32  # of the cascade: the seed makes four and uses three
# specification section 6.3: what the network takes (targets, cascade, place, a noise level), and how many it gives
PARAMETERS = {
    "diffusion to one": (15, 1, False, ("level",), 60_791_297),
    "diffusion to two": (16, 2, False, ("level",), 60_793_602),
    "with cascade, to one": (15, 1, True, ("level",), 61_185_089 - UNUSED_BRANCH),
    "with cascade, to two": (16, 2, True, ("level",), 61_187_394 - UNUSED_BRANCH),
    "with cascade and place, to one": (15, 1, True, ("level", "place"), 69_984_641 - UNUSED_BRANCH),
    "with cascade and place, to two": (16, 2, True, ("level", "place"), 69_986_946 - UNUSED_BRANCH),
    "regression to one": (14, 1, False, (), 51_596_801),
    "regression to two": (14, 2, False, (), 51_597_954),
}
TINY = {"width": 4, "multipliers": [1, 2], "blocks": 1, "dropout": 0.0, "attention_heads": 2}
FINITE = {**TINY, "normalization": "cell", "attention": "none", "scale_factor": 4}


def build(**options):
    return models.build({"family": "unet", **options}).eval()


@pytest.mark.parametrize(("inputs", "outputs", "cascade", "leads", "count"), PARAMETERS.values(), ids=PARAMETERS)
def test_s004_04_variants_have_the_parameters_of_the_specification(inputs, outputs, cascade, leads, count):
    with torch.device("meta"):
        network = Backbone(inputs, outputs, BackboneConfig(cascade=cascade), PREDICTORS, leads)
    assert sum(each.numel() for each in network.parameters()) == count


def test_s004_04_the_generators_unet_has_the_parameters_of_the_specification():
    with torch.device("meta"):
        network = Backbone(15, 1, BackboneConfig(level_embedding="identity"), PREDICTORS, ("level",))
    assert sum(each.numel() for each in network.parameters()) == 60_725_633


def test_s004_04_the_untrained_network_gives_0():
    network = Backbone(3, 2, BackboneConfig(width=8, multipliers=(1, 2), blocks=1, attention_heads=2), leads=("level",))
    out = network(torch.randn(2, 3, 9, 11), torch.randn(2))
    assert out.shape == (2, 2, 9, 11)
    assert not out.any()


def test_the_untrained_refinement_is_the_interpolation():
    model = build(**FINITE, variables=["t2m", "d2m"])
    coarse = coarse_input(model.reach, channels=2, rows=3, columns=2)
    torch.testing.assert_close(model(coarse), model.base.within(coarse, model.reach))


@pytest.mark.parametrize(
    "options",
    [
        {"factors": [2]},
        {"factors": [4]},
        {"patch_size": 2, "factors": [2]},
        {"multipliers": [1, 1, 2], "factors": [2, 2]},
        {"learned_resampling": False},
        {"attention": "local", "attention_window": 3, "attention_rates": [2]},
        {"cascade": True, "predictor_variables": ["d2m"]},
        {"scale_factor": 6, "patch_size": 3, "statics": ["orog"]},
        {"registration": "cell"},
        {"baseline_residual": False},
        {"scale_free": True},
    ],
    ids=str,
)
def test_a_network_sees_exactly_as_far_as_it_says(options):
    model = shake(build(**{**FINITE, **options}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()  # of one sign, no unit hides what it sees
    channels = len(model.inputs)
    coarse = coarse_input(model.reach, channels=channels).abs()
    s = model.facts.scale_factor
    statics = torch.rand(1, 1, s * s, *coarse.shape[-2:])

    def forward(x):
        return model(x, static_fine=statics if model.statics_fine else None)

    assert probe(forward, coarse, model.reach, s, 1) == model.reach


@pytest.mark.parametrize(("time_factor", "frames"), [(1, 6), (3, 3)])
def test_frames_are_mixed_as_far_as_the_network_says(time_factor, frames):
    model = shake(build(**{**FINITE, "width": 4, "multipliers": [1], "scale_factor": 1}, temporal=True,
                        time_factor=time_factor))  # fmt: skip
    assert (model.reach.before, model.reach.after) == ((5, 5) if time_factor == 1 else (2, 3))
    coarse = coarse_input(model.reach, frames=frames, channels=1)
    whole = model(coarse)
    for frame in range(frames):
        alone = model(coarse[:, frame : frame + 1 + model.reach.before + model.reach.after])
        torch.testing.assert_close(alone, whole[:, time_factor * frame : time_factor * (frame + 1)], rtol=0, atol=2e-6)


@pytest.mark.parametrize("tile", [1, 2])
def test_tiles_of_a_finite_network_make_the_whole(tile):
    model = shake(build(**{**FINITE, "width": 4}, cascade=True, predictor_variables=["d2m"]))
    reach = model.reach
    coarse = coarse_input(reach, channels=2, rows=3, columns=3)
    whole = model(coarse)
    for row in range(0, 3, tile):
        for column in range(0, 3, tile):
            rows, columns = min(tile, 3 - row), min(tile, 3 - column)
            part = coarse[..., row : row + rows + reach.north + reach.south, :]
            part = part[..., column : column + columns + reach.west + reach.east]
            expected = whole[..., 4 * row : 4 * (row + rows), 4 * column : 4 * (column + columns)]
            torch.testing.assert_close(model(part), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 7), (8, 8)])
def test_a_global_network_takes_a_field_of_any_size(rows, columns):
    model = shake(build(**{**TINY, "multipliers": [1, 2, 2]}, scale_factor=3))
    assert model.halo == "global"
    assert model(torch.randn(1, 2, 1, rows, columns)).shape == (1, 2, 1, 3 * rows, 3 * columns)


OPTIONS = {
    "cascade": {"cascade": True},
    "place": {"side": True},
    "location": {"location_parameters": 3, "location_grid": [12, 16]},
    "season": {"season": True},
    "statics": {"statics": ["orog"]},
    "temporal": {"temporal": True},
    "local attention": {"attention": "local", "attention_window": 3},
    "no attention": {"attention": "none"},
    "cell norm": {"normalization": "cell"},
    "patches": {"patch_size": 2},
    "means": {"learned_resampling": False},
    "activation": {"activation": "elu"},
    "width": {"width": 16},
    "local units": {"scale_free": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_s004_13_each_option_changes_what_the_network_computes(options):
    """Same weights wherever both have them, another function."""
    plain, other = (shake(build(**{**TINY, "scale_factor": 4, **each})) for each in ({}, options))
    shared = {name: each for name, each in plain.state_dict().items()
              if name in other.state_dict() and other.state_dict()[name].shape == each.shape}  # fmt: skip
    other.load_state_dict(shared, strict=False)
    coarse = torch.randn(1, 2, 1, 3, 4, generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(plain(coarse), other(coarse, **maps(other, coarse)), atol=1e-4)


def maps(model, coarse):
    """Computed fields and statics that it asks for."""
    given = {}
    if model.predictors:
        shape = (*coarse.shape[:2], len(model.predictors), *coarse.shape[-2:])
        given["predictor_coarse"] = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    if model.statics_fine:
        count = model.facts.scale_factor**2 * len(model.statics_fine)
        given["static_fine"] = torch.rand((1, 1, count, *coarse.shape[-2:]), generator=torch.Generator().manual_seed(4))
    return given


def test_s004_13_location_parameters_are_those_under_the_window():
    model = shake(build(**TINY, scale_factor=4, location_parameters=2, location_grid=[12, 16]))
    seen = {}
    model.backbone.register_forward_pre_hook(lambda _, given: seen.update(x=given[0]))
    model(torch.zeros(2, 1, 1, 1, 2), origin=torch.tensor([[0, 0], [8, 5]]))
    torch.testing.assert_close(seen["x"][0, -2:], model.fields.maps[:, :4, :8])
    torch.testing.assert_close(seen["x"][1, -2:], model.fields.maps[:, 8:12, 5:13])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attention": "rope"}, "global, local, none"),
        ({"activation": "selu"}, "activation 'selu'"),
        ({"normalization": "batch"}, "normalization 'batch'"),
        ({"level_embedding": "learned"}, "level_embedding"),
        ({"location_parameters": 2}, "location_grid"),
        ({"location_grid": [4, 4]}, "there are none"),
        ({"factors": [2, 2]}, "2 levels need 1 factors"),
        ({"dropout": 1.0}, "dropout 1"),
        ({"attention_window": 4}, "not odd"),
        ({"attention_heads": 3}, "3 heads"),
        ({"own_coarse": False}, "name predictor_variables"),
        ({"own_coarse": False, "predictor_variables": ["d2m"]}, "baseline_residual: false"),
        ({"predictor_variables": ["t2m"]}, "t2m are variables already"),
        ({"padding": "zero"}, "valid or replicate"),
        ({"scale_free": True, "baseline_residual": False}, "scale_free is of a residual"),
        ({"scale_factor": 3, "normalization": "cell", "attention": "none"}, "does not divide scale_factor 3"),
        ({"target_grid": [44.0, -114.0, 0.1, 3, 4]}, "scale_factor: 1"),
    ],
    ids=str,
)
def test_s004_13_what_is_not_supported_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        build(**{**TINY, **options})


@pytest.mark.parametrize("options", [{"scale_free": True}, {"scale_free": True, "time_factor": 3}], ids=str)
def test_a_scale_free_network_makes_of_a_field_times_a_number_plus_another_the_same(options):
    """Away from the floor of the spread: units and zero of a field do not matter."""
    model = shake(build(**{**FINITE, **options}))
    coarse = 30 * coarse_input(model.reach, frames=2, channels=1, rows=2, columns=3)
    torch.testing.assert_close(model(4 * coarse + 50), 4 * model(coarse) + 50, rtol=1e-4, atol=1e-2)
    assert (model(coarse) - model.base_of(coarse)).abs().mean() > 0.01


@pytest.mark.parametrize("tile", [1, 2])
def test_tiles_of_a_scale_free_network_make_the_whole(tile):
    model = shake(build(**{**FINITE, "width": 4, "scale_free": True}))
    reach = model.reach
    coarse = coarse_input(reach, rows=3, columns=3, channels=1)
    whole = model(coarse)
    for row in range(0, 3, tile):
        rows = min(tile, 3 - row)
        part = model(coarse[..., row : row + rows + reach.north + reach.south, :])
        torch.testing.assert_close(part, whole[..., 4 * row : 4 * (row + rows), :], rtol=0, atol=2e-5)


def test_side_conditioning_knows_north_from_south_and_east_from_west():
    """The seed took the latitude twice."""
    embedding = PlaceEmbedding(64)
    corners = torch.tensor([[0.7, 0.5, -1.8, -1.6]])
    moved = [corners + torch.eye(4)[k] * 0.1 for k in range(4)]
    features = [embedding(each) for each in (corners, *moved)]
    for k, each in enumerate(features[1:]):
        changed = (each != features[0]).reshape(4, -1).any(dim=1)
        assert changed.tolist() == [index == k for index in range(4)]


def test_level_embeddings_are_their_formulas():
    level = torch.tensor([0.3, -2.0])
    fourier = Fourier(5)
    turns = 2 * np.pi * np.outer(level, fourier.frequencies)
    np.testing.assert_allclose(fourier(level), np.concatenate([np.sin(turns), np.cos(turns)], axis=1), atol=1e-5)
    angles = 1000 * np.outer(level, 1e-4 ** (np.arange(3) / 2))
    np.testing.assert_allclose(
        Positional(6)(level), np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-3
    )


def test_attention_is_softmax_over_what_it_sees():
    """Global, and local with a window as large as the field, agree at the middle cell with the definition."""
    torch.manual_seed(0)
    recipe = Recipe(normalization="cell", embedding=8)
    whole, local = GlobalAttention(4, 2, recipe), LocalAttention(4, 2, 3, recipe)
    local.load_state_dict(shake(whole, 0.5).state_dict(), strict=False)
    x = torch.randn(1, 4, 3, 3)
    q, k, v = (part[0].reshape(2, 2, 9) for part in whole.project(whole.norm(x)).chunk(3, dim=1))
    weights = torch.softmax(torch.einsum("hcq,hck->hqk", q, k) / 2**0.5, dim=-1)
    mixed = torch.einsum("hqk,hck->hcq", weights, v).reshape(1, 4, 3, 3)
    torch.testing.assert_close(whole(x), x + whole.out(mixed))
    torch.testing.assert_close(local(x)[..., 1, 1], whole(x)[..., 1, 1])


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("learned", [True, False])
def test_coarsening_reads_what_it_says(factor, learned):
    layer = Down(1, factor, learned)
    x = torch.randn(1, 1, 6 * factor, 6 * factor, requires_grad=True)
    out = layer(x)
    assert out.shape == (1, 1, 6, 6)
    (gradient,) = torch.autograd.grad(out[0, 0, 3, 3], x)
    rows = gradient[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert Span(int(rows.min()), int(rows.max())) == layer.needs(Span(3, 3))


def test_half_precision_keeps_norms_and_attention_in_float32():
    """The seed cast attention to half precision in every case."""
    recipe = Recipe(embedding=8)
    attention = shake(GlobalAttention(4, 2, recipe), 0.5)
    x = 30 * torch.randn(1, 4, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        low = attention(x)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, attention(x), rtol=0.02, atol=0.5)


def test_a_fixed_target_grid_is_in_the_contract():
    model = build(
        **TINY, scale_factor=1, own_coarse=False, baseline_residual=False, predictor_variables=["d2m", "sp"],
        target_grid=[44.05, -114.25, 0.1, 8, 6],
    )  # fmt: skip
    contract = model.make_contract(name="fixed")
    assert contract.inputs == ("d2m", "sp")
    assert contract.outputs == ("t2m",)
    assert contract.target_grid.lat[0] == 44.05
    assert contract.target_grid.lon[-1] == pytest.approx(-113.75)
    assert model(torch.randn(1, 1, 2, 8, 6)).shape == (1, 1, 1, 8, 6)


def test_convolutions_continue_by_the_edge():
    conv = Conv(1, 1)
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)
    with torch.no_grad():
        conv.weight.copy_(torch.ones(1, 1, 3, 3) / 9)
        conv.bias.zero_()
    torch.testing.assert_close(conv(ramp)[0, 0, 0], torch.tensor([1 / 3, 1.0, 2.0, 3.0, 4 - 1 / 3]))


def test_the_configuration_is_found_again():
    config = UnetConfig(**{key: tuple(value) if isinstance(value, list) else value for key, value in FINITE.items()})
    model = models.build(Unet(config).config)
    assert model.settings == config
    assert isinstance(model.reach, Reach)
