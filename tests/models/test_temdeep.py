import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.data.resampling import Closure
from gfs_sr.data.time_interpolation import TIME
from gfs_sr.errors import UsageError
from gfs_sr.models.receptive_field import probe
from gfs_sr.models.temdeep_blocks import Decoder, FieldEncoder, FlowEncoder, RectifiedBlock, Terrain
from gfs_sr.models.temdeep_motion import MOTION_REACH, motion
from gfs_sr.models.warping import agreement, bounded, flows_at, fused_views, seen_from_first, warp
from tests.models.networks import coarse_input, shake

NARROW = {"family": "temdeep_narrow", "width": 6, "variables": ["t2m", "sp"]}
WIDE = {"family": "temdeep", "widths": [4, 6, 6, 8], "variables": ["t2m", "sp"]}
VARIANTS = {
    "narrow": NARROW,
    "narrow, two frames alone": NARROW | {"before": 0},
    "narrow, a frame more": NARROW | {"after": 2},
    "narrow, curved": NARROW | {"after": 2, "curved": True},
    "narrow, no flow": NARROW | {"flow": False},
    "narrow, no correction": NARROW | {"correction": False},
    "narrow, no terrain": NARROW | {"terrain": False, "sun": False},
    "narrow, hard occlusion": NARROW | {"occlusion": "hard", "largest_flow": 2.5},
    "wide": WIDE,
    "wide, no flow": WIDE | {"flow": False},
    "wide, no correction": WIDE | {"correction": False},
    "wide, no terrain": WIDE | {"terrain": False},
    "wide, hard occlusion": WIDE | {"occlusion": "hard"},
    "wide, no skip": WIDE | {"skip": False},
    "wide, periodic": WIDE | {"periodic": True},
}
FRACTIONS = torch.tensor([[[0.0, 0.1, 0.5, 0.97]]])


def count(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def inputs_of(model, frames=2, rows=19, columns=22, batch=2):
    """Whatever the network takes, at random, and the fractions."""
    halo = model.reach
    finite = not isinstance(halo, str)
    draw = torch.Generator().manual_seed(3)
    time = frames + halo.before + halo.after if finite else frames
    size = (rows + 2 * halo.north, columns + 2 * halo.west) if finite else (rows, columns)
    given = {"coarse": torch.randn(batch, time, 2, *size, generator=draw), "fraction": FRACTIONS}
    if model.any_subset:
        given["variable"] = torch.tensor([0, 6])
        given["hours"] = torch.tensor([6.0])
    if model.predictors:
        given["predictor_coarse"] = torch.randn(batch, time, 3, *size, generator=draw)
        moments = frames * FRACTIONS.shape[2]
        given["predictor_coarse_fine_time"] = torch.randn(batch, moments, 3, *size, generator=draw)
    if model.statics_coarse:
        given["static_coarse"] = torch.randn(batch, 1, len(model.statics_coarse), *size, generator=draw)
    return given


def frames_of(model, coarse):
    """(frames before, frames after) on the core, (B, T, C, H, W)."""
    halo = model.reach
    if isinstance(halo, str):
        return coarse, torch.cat([coarse[:, 1:], coarse[:, -1:]], dim=1)
    inner = coarse[..., halo.north : -halo.north, halo.west : -halo.west]
    last = inner.shape[1] - halo.after
    return inner[:, halo.before : last], inner[:, halo.before + 1 : last + 1]


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "curved" not in name])
def test_s001_03_untrained_any_time_is_linear_interpolation(variant):
    model = models.build(VARIANTS[variant]).eval()
    given = inputs_of(model)
    before, after = frames_of(model, given["coarse"])
    t = FRACTIONS[..., None, None, None]
    line = (1 - t) * before[:, :, None] + t * after[:, :, None]
    with torch.no_grad():
        fine = model(**given)
    torch.testing.assert_close(fine, line.flatten(1, 2), rtol=0, atol=1e-6)


def test_an_untrained_network_that_starts_curved_is_the_registered_catmull_rom():
    model = models.build(NARROW | {"after": 2, "curved": True}).eval()
    given = inputs_of(model, frames=3) | {"fraction": torch.arange(6)[None, None] / 6}
    given = {name: x for name, x in given.items() if "predictor" not in name}
    halo = model.reach
    inner = given["coarse"][..., halo.north : -halo.north, halo.west : -halo.west].double().numpy()
    series = np.stack([TIME["catmull_rom"](each, 6, Closure.EDGE, False)[6 : 6 + 18] for each in inner])
    with torch.no_grad():
        fine = model(**given)
    np.testing.assert_allclose(fine, series, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_s001_04_at_the_frames_the_network_gives_the_frames_whatever_it_learned(variant):
    model = shake(models.build(VARIANTS[variant])).eval()
    given = inputs_of(model)
    if "predictor_coarse" in given:  # at a frame the sun is the frame's
        T, halo = 2, model.reach
        own = given["predictor_coarse"][:, halo.before : halo.before + T + 1]
        given["predictor_coarse_fine_time"] = torch.stack([own[:, :T], own[:, 1:]], dim=2).flatten(1, 2)
    given["fraction"] = torch.tensor([[[0.0, 1.0]]])
    before, after = frames_of(model, given["coarse"])
    with torch.no_grad():
        fine = model(**given).unflatten(1, (-1, 2))
        between = model(**given | {"fraction": torch.tensor([[[0.3, 0.6]]])}).unflatten(1, (-1, 2))
    torch.testing.assert_close(fine[:, :, 0], before, rtol=0, atol=1e-5)
    torch.testing.assert_close(fine[:, :, 1], after, rtol=0, atol=1e-5)
    assert (between[:, :, 0] - (0.7 * before + 0.3 * after)).abs().max() > 1e-2  # what it learned is between them


def moving(shift: tuple[float, float], rows=24, columns=28) -> torch.Tensor:
    """A smooth pattern, moved by so many cells to the south and to the east."""
    y = torch.arange(rows, dtype=torch.float64)[:, None] - shift[0]
    x = torch.arange(columns, dtype=torch.float64) - shift[1]
    return (torch.sin(0.21 * x) * torch.cos(0.17 * y) + 0.3 * torch.cos(0.11 * x + 0.19 * y)).float()


@pytest.mark.parametrize("config", [NARROW, NARROW | {"occlusion": "hard"}, WIDE], ids=["narrow", "hard", "wide"])
@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
def test_s001_05_with_the_true_flow_a_moved_pattern_is_moved_by_its_share(config, t):
    model = models.build(config | {"largest_flow": 6.0}).eval()
    fraction = torch.tensor([[[t]]])
    d = torch.tensor([2.0, 3.0])
    if config["family"] == "temdeep":
        first, second = moving((0, 0))[None, None, None], moving((2, 3))[None, None, None]
        pair = [frames.expand(1, 1, 2, -1, -1) for frames in (first, second)]
        forward = d[None, :, None, None].expand(1, 2, 24, 28)
        fine = model.between(*pair, fraction, flows=(forward, -forward))[0, 0]
        truth, rim = moving((2 * t, 3 * t)).expand(2, -1, -1), 3
    else:
        R, ring = model.cells, model.ring
        size = (24 + 2 * R, 28 + 2 * R)
        frames = torch.stack([moving((-2, -3), *size), moving((0, 0), *size), moving((2, 3), *size)])
        forward = d[None, :, None, None].expand(2, 2, 24 + 2 * ring, 28 + 2 * ring)
        given = frames[None, :, None].expand(1, 3, 2, -1, -1)
        fine = model(given, torch.tensor([0, 6]), fraction=fraction, flows=(forward, -forward))[0, 0]
        truth, rim = moving((2 * t, 3 * t), *size)[R:-R, R:-R].expand(2, -1, -1), 0
    inner = (..., slice(rim, -rim or None), slice(rim, -rim or None))
    line = (1 - t) * moving((0, 0)) + t * moving((2, 3))
    error = (fine - truth)[inner].abs().max()
    # bilinear sampling of waves of 0.3 radians a cell: an eighth of the second derivative
    assert error < 0.3**2 / 8 * 1.3 + 1e-4
    assert error < 0.6 * (line - moving((2 * t, 3 * t))).abs().max()


def test_s001_05_flows_at_a_time_are_those_computed_by_hand():
    forward, backward = torch.tensor([2.0, -1.0]), torch.tensor([-1.5, 0.5])
    to_before, to_after = flows_at(forward, backward, torch.tensor(0.25))
    # -(0.75·0.25)·u_f + 0.0625·u_b and 0.5625·u_f - 0.1875·u_b
    torch.testing.assert_close(to_before, torch.tensor([-0.46875, 0.21875]))
    torch.testing.assert_close(to_after, torch.tensor([1.40625, -0.65625]))
    ends = flows_at(forward, backward, torch.tensor(0.0)), flows_at(forward, backward, torch.tensor(1.0))
    assert not ends[0][0].any()
    torch.testing.assert_close(ends[0][1], forward)
    torch.testing.assert_close(ends[1][0], backward)
    assert not ends[1][1].any()


def test_views_are_mixed_by_time_and_by_what_each_frame_shows():
    before, after = torch.tensor(10.0), torch.tensor(20.0)
    assert fused_views(before, after, torch.tensor(0.5), torch.tensor(0.3)).item() == pytest.approx(13.0)
    # [0.7·0.8·10 + 0.3·0.2·20] / [0.7·0.8 + 0.3·0.2]
    assert fused_views(before, after, torch.tensor(0.8), torch.tensor(0.3)).item() == pytest.approx(6.8 / 0.62)


def test_warping_samples_where_the_flow_points_and_holds_the_edge():
    field = torch.arange(12.0).reshape(1, 1, 3, 4)  # value 4·y + x
    flow = torch.zeros(1, 2, 2, 3, 4)
    flow[:, 0, 0], flow[:, 0, 1] = 0.5, -0.25
    flow[:, 1] = 50
    moved = warp(field, flow)[0, :, 0]
    assert moved[0, 1, 2].item() == pytest.approx(4 * 1.5 + 1.75)
    assert moved[0, 2, 0].item() == pytest.approx(8.0)  # beyond the southern and the western edge
    assert (moved[1] == 11).all()
    inner = warp(torch.arange(35.0).reshape(1, 1, 5, 7), torch.full((1, 1, 2, 3, 5), 0.5), margin=1)
    assert inner[0, 0, 0, 0, 0].item() == pytest.approx(7 * 1.5 + 1.5)


def test_a_field_at_rest_stays_to_the_last_bit_however_large():
    field = torch.randn(1, 1, 301, 977, generator=torch.Generator().manual_seed(0))
    assert torch.equal(warp(field, torch.zeros(1, 2, 2, 301, 977))[:, 0], field)


def test_bounded_flows_are_shorter_than_their_bound_and_small_ones_as_they_were():
    flow = torch.tensor([-1e4, -0.01, 0.0, 0.01, 3.0, 1e4])
    limited = bounded(flow, 2.5)
    assert limited.abs().max() <= 2.5
    torch.testing.assert_close(limited[1:4], flow[1:4], rtol=1e-4, atol=0)


def test_what_is_hidden_in_one_frame_is_taken_from_the_other():
    forward, backward = torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9, 9)
    forward[0, 1, 4, 4] = 3.0  # it says it goes east, and nothing comes back
    forward[0, 1, 4, 3], backward[0, 1, 4, 4] = 1.0, -1.0  # what comes there came from the west
    assert agreement(forward, backward, 0)[0, 0, 4, 4] == 0
    assert agreement(forward, backward, 0).sum() == 80
    assert agreement(backward, forward, 0)[0, 0, 4, 4] == 1
    visible = seen_from_first(forward, backward, 0)[0, 0]
    assert visible[4, 4] < 0.01
    assert visible[0, 0] == 0.5
    shift = torch.full((1, 2, 9, 9), 1.0)
    assert agreement(shift, -shift, 1).all()


def test_motion_in_closed_form_finds_a_shift_and_explains_it():
    field = [10 * moving((k * 0.3, k * 0.5), 40, 40)[None, None, None] for k in range(2)]  # slopes of about 1
    found = motion(*field)[0, 0, 0]
    assert found.shape[-2:] == (40 - 2 * MOTION_REACH,) * 2
    down, right, explained = (found[index].median().item() for index in range(3))
    # the ridge shortens both where slopes are small
    assert 0.2 < down < 0.35
    assert 0.35 < right < 0.55
    assert explained > 0.6
    rest = motion(field[0], field[0])
    assert rest[:, :, :, [0, 1, 3, 4]].abs().max() < 1e-6


@pytest.mark.parametrize("occlusion", ["soft", "hard"])
@pytest.mark.parametrize("after", [1, 2])
def test_the_narrow_network_reaches_as_far_as_it_says_and_no_farther(after, occlusion):
    config = NARROW | {"variables": ["t2m"], "after": after, "occlusion": occlusion, "largest_flow": 3.0}
    model = shake(models.build(config), 0.3).eval().double()
    halo = model.reach
    coarse = coarse_input(halo, channels=1).double()
    static = torch.randn(1, 1, 2, *coarse.shape[3:], generator=torch.Generator().manual_seed(2)).double()

    def forward(x):
        return model(x, torch.tensor([0]), static_coarse=static, fraction=torch.tensor([[[0.4]]], dtype=torch.float64))

    seen = probe(forward, coarse, halo, 1, 1)
    for side in ("before", "after", "north", "south", "west", "east"):
        assert getattr(seen, side) <= getattr(halo, side)
    assert (seen.before, seen.after) == (halo.before, halo.after)
    assert seen.north >= 11


def test_flows_never_point_beyond_the_halo_they_are_given():
    model = models.build(NARROW | {"largest_flow": 14.0})
    assert model.reach.north == 14
    hard = models.build(NARROW | {"largest_flow": 14.0, "occlusion": "hard"})
    assert hard.reach.north == 12 + 14


@pytest.mark.parametrize(
    ("block", "parameters"),
    [
        (lambda: FieldEncoder(2), 7_824_320),
        (lambda: Decoder(512, (256, 128, 64, 2), linear_end=True), 2_755_010),
        (lambda: FlowEncoder(2), 1_555_520),
        (lambda: Decoder(512, (256, 128, 64, 32, 2), slope=0.01, linear_end=True), 2_786_786),
        (Terrain, 74_880),
        (lambda: RectifiedBlock(64), 2 * (9 * 64**2 + 64)),
        (lambda: RectifiedBlock(17), 2 * (9 * 17**2 + 17)),
    ],
    ids=["field encoder", "field decoder", "flow encoder", "flow decoder", "terrain", "block of 64", "block of 17"],
)
def test_s001_18_blocks_have_the_published_numbers_of_parameters(block, parameters):
    assert count(block()) == parameters


def test_s001_18_encoders_halve_and_decoders_double_to_the_size_they_began_with():
    stages = FieldEncoder(3, (4, 4, 6, 8))(torch.zeros(1, 3, 48, 80))
    assert [tuple(each.shape[1:]) for each in stages] == [(4, 24, 40), (4, 12, 20), (6, 6, 10), (8, 3, 5)]
    assert Decoder(8, (6, 4, 4, 4))(stages[-1]).shape == (1, 4, 48, 80)


@pytest.mark.parametrize("family", [NARROW, WIDE], ids=["narrow", "wide"])
def test_s001_13_terrain_is_an_input_that_matters_where_it_is_on_and_is_none_where_it_is_off(family):
    on, off = models.build(family), models.build(family | {"terrain": False})
    assert "static_coarse" in on.make_contract(name="on").graph_inputs()
    assert "static_coarse" not in off.make_contract(name="off").graph_inputs()
    model = shake(on).eval()
    given = inputs_of(model)
    with torch.no_grad():
        one, other = model(**given), model(**given | {"static_coarse": given["static_coarse"].flip(-1)})
    assert (one - other).abs().max() > 1e-3


def test_s001_14_a_periodic_field_has_no_seam_however_it_is_turned():
    model = shake(models.build(WIDE | {"periodic": True}), 0.05).eval()
    given = inputs_of(model, columns=96)
    turned = {name: each.roll(40, -1) if each.dim() == 5 else each for name, each in given.items()}
    with torch.no_grad():
        one, other = model(**given), model(**turned)
    rim = models.build(WIDE)
    rim.load_state_dict(model.state_dict())
    with torch.no_grad():
        edge, edge_turned = rim.eval()(**given), rim(**turned)
    # strides of 16 see a turn by 40 as another phase: the seam itself is what must be gone
    columns = [94, 95, 0, 1]
    seam = (one - other.roll(-40, -1))[..., columns].abs().mean()
    middle = (one - other.roll(-40, -1))[..., 40:60].abs().mean()
    with_edges = (edge - edge_turned.roll(-40, -1))[..., columns].abs().mean()
    assert seam < 2 * middle + 1e-6
    assert with_edges > 2 * seam


def test_fractions_that_a_network_is_bound_to_are_its_own_and_are_said_in_the_contract():
    model = models.build(WIDE | {"fractions": [0.0, 0.1, 0.37], "time_factor": 3}).eval()
    contract = model.make_contract(name="bound")
    assert (contract.any_time, contract.fractions) == (False, (0.0, 0.1, 0.37))
    assert "fraction" not in contract.graph_inputs()
    given = inputs_of(model)
    del given["fraction"]
    before, after = frames_of(model, given["coarse"])
    with torch.no_grad():
        fine = model(**given).unflatten(1, (-1, 3))
    torch.testing.assert_close(fine[:, :, 2], 0.63 * before + 0.37 * after, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (NARROW | {"flow": False, "correction": False}, "nothing is left"),
        (NARROW | {"scale_factor": 2}, "keeps the cells"),
        (NARROW | {"before": 2}, "before is 0 or 1"),
        (NARROW | {"largest_flow": 0}, "must be positive"),
        (WIDE | {"fractions": [0.5, 0.2], "time_factor": 2}, "fractions rise"),
        (WIDE | {"fractions": [0.0, 0.5]}, "give as many"),
        (WIDE | {"flow": False, "correction": False}, "nothing is left"),
        (WIDE | {"variables": ["tp"]}, "buckets"),
    ],
)
def test_a_network_of_time_that_cannot_be_is_refused(config, message):
    with pytest.raises(UsageError, match=message):
        models.build(config)


def test_the_narrow_network_does_not_see_how_large_its_fields_are():
    model = shake(models.build(NARROW | {"sun": False, "floor": 1e-6}), 0.05).eval()
    given = inputs_of(model)
    with torch.no_grad():
        one = model(**given)
        other = model(**given | {"coarse": 7 * given["coarse"] + 3})
    np.testing.assert_allclose(other, 7 * one + 3, rtol=0, atol=2e-3)
