"""Members of the DL4DS family: what they are, what they cost, how far they see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.errors import UsageError
from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds import MEMBERS, Dl4ds, Dl4dsConfig
from gfs_sr.models.dl4ds_blocks import ChannelAttention
from gfs_sr.models.dl4ds_field import Field, Margin
from gfs_sr.models.dl4ds_recurrent import ConvLstm
from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.receptive_field import Reach, probe
from gfs_sr.runtime.backends.shapes import input_shapes, output_shape

# specification section 5.4: C = 1, no statics, s = 4, n = 8, N = 6, recurrent members that upsample at their end N = 4
PARAMETERS = {
    "convnet": {"pin": 116_197, "spc": 282_469, "rc": 136_981, "dc": 334_317},
    "resnet": {"pin": 121_269, "spc": 287_541, "rc": 142_053, "dc": 339_389},
    "densenet": {"pin": 254_430, "spc": 420_702, "rc": 275_214, "dc": 472_550},
    "convnext": {"pin": 61_605, "spc": 227_877, "rc": 82_389, "dc": 279_725},
    "unet": {"pin": 5_704_565},
    "rec-convnet": {"pin": 118_069, "spc": 87_473, "rc": 83_385, "dc": 93_169},
    "rec-resnet": {"pin": 118_069, "spc": 87_473, "rc": 83_385, "dc": 93_169},
    "rec-densenet": {"pin": 118_133, "spc": 101_749, "rc": 85_509, "dc": 124_661},
}
FINITE = [member for member in MEMBERS if member.backbone != "unet"]
TINY = {"n_filters": 4, "n_blocks": 2, "baseline_residual": False, "output_attention": False}


def build(member, **options):
    window = {"time_window": 3} if member.recurrent else {}
    return models.build({"family": "dl4ds", **member.config, **window, **options}).eval()


def randomized(model, seed=0, positive=False):
    """Weights of one sign leave no unit dead."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            draw = torch.rand if positive else torch.randn
            parameter.copy_(0.1 * draw(parameter.shape, generator=generator))
    return model


def random_coarse(model, frames=1, rows=1, columns=1, channels=1, batch=1):
    margin = model.reach if isinstance(model.reach, Reach) else Reach()
    size = (
        batch, frames + margin.before + margin.after, channels,
        rows + margin.north + margin.south, columns + margin.west + margin.east,
    )  # fmt: skip
    return torch.rand(size, generator=torch.Generator().manual_seed(1))


def test_s003_01_there_are_29_members():
    assert len(MEMBERS) == len({member.name for member in MEMBERS}) == 29
    assert sum(member.recurrent for member in MEMBERS) == 12


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_s003_01_every_member_has_the_tabulated_parameters(member):
    key = f"rec-{member.backbone}" if member.recurrent else member.backbone
    model = models.build({"family": "dl4ds", **member.config})
    assert model.parameters_count == PARAMETERS[key][member.upsampling]


@pytest.mark.parametrize(("decoder", "count"), [("rc", 5_704_565), ("spc", 8_654_045), ("dc", 13_565_309)])
def test_s003_01_unet_has_the_tabulated_parameters_with_every_decoder(decoder, count):
    config = Dl4dsConfig(backbone="unet", upsampling="pin", decoder_upsampling=decoder)
    assert Dl4ds(config).parameters_count == count


@pytest.mark.parametrize("scale_factor", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_s003_01_every_member_gives_the_right_shape(member, scale_factor):
    model = build(member, n_filters=2, n_blocks=2, scale_factor=scale_factor)
    with torch.no_grad():
        assert model(torch.randn(2, 3, 1, 5, 7)).shape == (2, 3, 1, 5 * scale_factor, 7 * scale_factor)


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"backbone": "unet", "upsampling": "spc"}, "upsampling is pin"),
        ({"backbone": "unet", "upsampling": "pin", "time_window": 3}, "no recurrent unet"),
        ({"backbone": "convnext", "time_window": 3}, "no recurrent convnext"),
        ({"time_factor": 6}, "refines space alone"),
        ({"activation": "crelu"}, "doubles the channels"),
        ({"backbone": "vgg"}, "convnet, resnet"),
        ({"upsampling": "dc", "scale_factor": 11}, "kernel of 9"),
        ({"output_activation": "relu"}, "direct output"),
        ({"dropout_variant": "mcdrop"}, "dropout_rate above 0"),
        ({"dropout_rate": 1.0}, r"\[0, 1\)"),
        ({"predictor_variables": ["t2m"]}, "others"),
        ({"scale_free": True, "baseline_residual": False}, "baseline_residual: true"),
        ({"localcon_grid": [50.0, 0.0, 1.0]}, "north, west, spacing"),
        ({"dropout_variant": "drop"}, "drop"),
    ],
)
def test_s003_02_illegal_combinations_are_refused_with_the_rule(config, rule):
    with pytest.raises(UsageError, match=rule):
        models.build({"family": "dl4ds", **config})


@pytest.mark.parametrize("upsampling", ["pin", "spc", "rc", "dc"])
def test_s003_23_every_upsampling_at_4_gives_four_times_the_cells(upsampling):
    model = models.build({"family": "dl4ds", "backbone": "convnet", "upsampling": upsampling, "n_blocks": 1})
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 1, 6, 5)).shape[-2:] == (24, 20)


@pytest.mark.parametrize("scale_factor", [3, 4])
@pytest.mark.parametrize("member", FINITE, ids=lambda member: member.name)
def test_the_declared_reach_is_what_gradients_show(member, scale_factor):
    model = randomized(build(member, scale_factor=scale_factor, **TINY), positive=True).double()
    assert probe(model, random_coarse(model).double(), model.reach, scale_factor, 1) == model.reach


@pytest.mark.parametrize("options", [
    {"upsampling": "rc", "rc_interpolation": "lanczos5"}, {"upsampling": "rc", "rc_interpolation": "bicubic"},
    {"upsampling": "rc", "rc_interpolation": "nearest"}, {"upsampling": "dc", "scale_factor": 5},
    {"upsampling": "spc", "scale_factor": 10}, {"upsampling": "pin", "registration": "node"},
    {"time_window": 4, "stitch": "centre"}, {"time_window": 4, "stitch": "first"},
    {"upsampling": "pin", "backbone": "convnext", "scale_factor": 5},
], ids=str)  # fmt: skip
def test_the_declared_reach_of_options_is_what_gradients_show(options):
    model = randomized(models.build({"family": "dl4ds", **TINY, **options}).eval(), positive=True).double()
    scale_factor = model.facts.scale_factor
    assert probe(model, random_coarse(model).double(), model.reach, scale_factor, 1) == model.reach


@pytest.mark.parametrize("member", FINITE, ids=lambda member: member.name)
def test_a_tile_with_its_halo_gives_what_the_whole_gives(member):
    model = randomized(build(member, **TINY))
    coarse = random_coarse(model, 3, 5, 6)
    with torch.no_grad():
        whole, tile = model(coarse), model(coarse[:, 1:, :, 2:-1, 3:-1])
    torch.testing.assert_close(tile, whole[:, 1:, :, 8:-4, 12:-4], rtol=0, atol=1e-5 * float(whole.std()) + 1e-9)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
@pytest.mark.parametrize("scale_free", [False, True])
def test_an_untrained_member_is_the_interpolation(member, scale_free):
    model = build(member, n_filters=2, n_blocks=2, scale_free=scale_free)
    coarse = torch.randn(1, 2, 1, 9, 8)
    with torch.no_grad():
        assert torch.equal(model(coarse), model.base(pad_edges(coarse, model.base.reach)))


@pytest.mark.parametrize("options", [
    {"attention": True}, {"output_attention": True}, {"backbone": "unet", "upsampling": "pin", "n_blocks": 4},
    {"localcon_grid": [50.0, 0.0, 1.0, 6, 5]}, {"padding": "zero"},
], ids=str)  # fmt: skip
def test_what_sees_the_whole_field_says_global(options):
    model = models.build({"family": "dl4ds", "output_attention": False, "n_blocks": 1} | options)
    contract = model.make_contract(name="test")
    assert contract.halo == "global"
    assert contract.zero_padded == ("padding" in options)
    model = randomized(model.eval())
    coarse = torch.rand(1, 1, 1, 6, 5, requires_grad=True)
    model(coarse)[..., 0, 0].sum().backward()
    if "localcon_grid" not in options and "padding" not in options:
        assert (coarse.grad != 0).all()


def test_s003_10_channel_attention_equals_a_computation_by_hand():
    attention = randomized(ChannelAttention(8))
    x = torch.randn(2, 8, 5, 7)
    weights = {name: parameter.detach().numpy().astype(np.float64) for name, parameter in attention.named_parameters()}
    means = x.double().numpy().mean(axis=(2, 3))
    hidden = np.maximum(means @ weights["squeeze.weight"][:, :, 0, 0].T + weights["squeeze.bias"], 0)
    gate = 1 / (1 + np.exp(-(hidden @ weights["excite.weight"][:, :, 0, 0].T + weights["excite.bias"])))
    with torch.no_grad():
        np.testing.assert_allclose(attention(x).numpy(), x.numpy() * gate[:, :, None, None], rtol=1e-5)
    assert weights["squeeze.weight"].shape[0] == 2  # a quarter of the channels


def test_s003_10_the_contract_of_attention_says_global():
    config = {"family": "dl4ds", "attention": True, "output_attention": False}
    assert models.build(config).make_contract(name="test").halo == "global"


def test_s003_11_a_convlstm_cell_is_the_scalar_recurrence_with_a_hard_sigmoid():
    layer = ConvLstm(1, 1, 1, Padding.VALID).double()
    kernel = layer.of_input.conv.weight.detach().flatten().tolist()
    state = layer.of_state.conv.weight.detach().flatten().tolist()
    series = [0.7, -1.3, 2.0, 9.0]
    with torch.no_grad():
        found = layer([Field(torch.full((1, 1, 1, 1), x, dtype=torch.float64), Margin()) for x in series])

    def hard(z):
        return min(1.0, max(0.0, 0.2 * z + 0.5))

    h = c = 0.0
    for x, step in zip(series, found, strict=True):
        zi, zf, zg, zo = (
            w * x + u * h + b for w, u, b in zip(kernel, state, [0.0, 1.0, 0.0, 0.0], strict=True)
        )  # forget bias 1
        c = hard(zf) * c + hard(zi) * np.tanh(zg)
        h = hard(zo) * np.tanh(c)
        assert float(step.values) == pytest.approx(h, rel=1e-12)


@pytest.mark.parametrize(("stitch", "earlier"), [("first", 0), ("centre", 2), ("last", 4)])
def test_s003_16_each_frame_comes_from_the_stated_window(stitch, earlier):
    options = {**TINY, "backbone": "resnet", "time_window": 5, "stitch": stitch}
    model = randomized(models.build({"family": "dl4ds", **options}).eval())
    assert (model.reach.before, model.reach.after) == (earlier, 0)
    whole = models.build({"family": "dl4ds", **options, "padding": "replicate"}).eval()  # all frames are one window
    whole.load_state_dict(model.state_dict())
    n, margin = 7, model.reach
    coarse = random_coarse(model, n, 3, 4)
    with torch.no_grad():
        found = model(coarse)
        assert found.shape[1] == n
        for frame in range(n):
            # the window of this frame alone, its first frame earliest: the state starts at zero there
            window = whole(coarse[:, frame : frame + earlier + 1])
            inner = window[:, -1, :, 4 * margin.north : -4 * margin.south, 4 * margin.west : -4 * margin.east]
            torch.testing.assert_close(found[:, frame], inner, rtol=1e-4, atol=1e-6)


def test_s003_16_a_window_of_a_global_member_is_continued_by_its_first_frame():
    options = {"n_blocks": 1, "n_filters": 4, "backbone": "convnet", "time_window": 3}
    model = randomized(models.build({"family": "dl4ds", **options}).eval())
    coarse = torch.rand(1, 4, 1, 6, 5)
    with torch.no_grad():
        found = model(coarse)
        longer = model(torch.cat([coarse[:, :1], coarse[:, :1], coarse], dim=1))
    assert found.shape[1] == 4
    torch.testing.assert_close(found, longer[:, 2:])


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("options", [
    *({"normalization": norm} for norm in ("bn", "ln")), {"attention": True}, {"depthwise_separable": True},
    *({"activation": act} for act in ("relu", "elu", "gelu", "selu", "leaky_relu")),
    {"output_activation": "relu", "baseline_residual": False},
], ids=str)  # fmt: skip
def test_s003_24_every_option_runs_forward_and_back(options, recurrent):
    window = {"time_window": 3} if recurrent else {}
    model = models.build({"family": "dl4ds", "n_blocks": 2, "n_filters": 4, **window, **options})
    randomized(model)
    fine = model(torch.randn(2, 3, 1, 6, 5))
    fine.square().mean().backward()
    assert torch.isfinite(fine).all()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters() if each.grad is not None)
    assert sum(each.grad is not None for each in model.parameters()) > len(list(model.parameters())) * 0.8


def test_s003_24_separable_convolutions_take_fewer_weights():
    counts = [
        models.build({"family": "dl4ds", "depthwise_separable": separable}).parameters_count
        for separable in (False, True)
    ]
    assert counts[1] < counts[0]


def test_s003_09_equal_inputs_at_two_cells_give_different_outputs_with_local_weights():
    torch.manual_seed(0)  # the local weights start at random: two neighbours may be alike by chance
    grid = [50.0, 0.0, 1.0, 6, 5]
    model = models.build({"family": "dl4ds", "localcon_grid": grid, "baseline_residual": False, "n_blocks": 1}).eval()
    plain = models.build({"family": "dl4ds", "baseline_residual": False, "n_blocks": 1}).eval()
    even = torch.ones(1, 1, 1, 6, 5)
    with torch.no_grad():
        local, same = (fine[0, 0, 0] for fine in (model(even), plain(even)))
    # the same fine cell of two coarse ones, away from the rim
    assert abs(float(local[9, 9] - local[13, 9])) > 1e-3
    assert float(same[9, 9]) == pytest.approx(float(same[13, 9]), abs=1e-6)


def test_s003_09_the_contract_binds_local_weights_to_their_grid():
    model = models.build({"family": "dl4ds", "localcon_grid": [50.0, 0.0, 0.5, 6, 5]})
    grid = model.make_contract(name="test").source_grid
    assert grid.lat == (50.0, 49.5, 49.0, 48.5, 48.0, 47.5)
    assert grid.lon == (0.0, 0.5, 1.0, 1.5, 2.0)


def test_statics_and_season_and_predictors_go_through_their_branches():
    config = {
        "family": "dl4ds", "statics": ["orog", "lsm"], "season": True, "predictor_variables": ["msl"],
        "variables": ["t2m", "wspd"], "scale_factor": 3, "n_blocks": 2, "n_filters": 4, "output_attention": False,
    }  # fmt: skip
    for options in ({}, {"upsampling": "pin"}, {"backbone": "convnext"}, {"time_window": 3}):
        model = randomized(models.build(config | options).eval())
        contract = model.make_contract(name="test")
        assert contract.inputs == ("t2m", "wspd", "msl")
        assert contract.outputs == ("t2m", "wspd")
        assert contract.statics_fine == ("orog", "lsm")
        assert contract.statics_coarse == (("orog", "lsm") if not {"upsampling", "time_window"} & set(options) else ())
        core = (2, 3, 3, 4, 5)
        shapes = input_shapes(contract, core)
        generator = torch.Generator().manual_seed(0)
        inputs = {name: torch.rand(shape, generator=generator, requires_grad=True) for name, shape in shapes.items()}
        fine = model(**inputs)
        assert fine.shape == output_shape(contract, core)
        fine.sum().backward()
        for name, tensor in inputs.items():
            assert tensor.grad is not None, name
            assert tensor.grad.abs().max() > 0, name


def test_flops_grow_with_the_work():
    def flops(**options):
        return models.build({"family": "dl4ds", **options}).flops_per_fine_cell

    assert flops(upsampling="pin") > flops(upsampling="rc") > 0
    assert flops(n_blocks=3) < flops(n_blocks=6)
    # one convolution more is 2·9·48·48 multiply-adds of one variable, five of them, on a 16th of the cells
    wide = flops(upsampling="spc", output_attention=False, scale_factor=2, n_blocks=1)
    first = Dl4dsConfig(upsampling="spc", scale_factor=2, n_blocks=1, output_attention=False)
    conv = 9 * (1 * 8 + 8 * 8 + 8 * 8 + 8 * 8 + 8 * 32) + 8 * 8  # stem, block, close, sub-pixel; the stem's transition
    fine = 8 * 8 + 9 * (8 * 8 * 2 + 8 + 1)
    own = 2 * (conv / 4 + fine)
    base = Dl4ds(replace(first)).base.flops_per_coarse_cell / 4
    assert wide == pytest.approx(5 * (own + base), rel=1e-6)
