import numpy as np
import pytest
import scipy.interpolate
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES, HEADLINE, SEED_METHODS, upsample_mask, upsample_space
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.resampling import SPACE, Closure, keys_weights, positions
from gfs_sr.data.time_interpolation import TIME, natural_spline, pchip
from tests import fields

NODE, CELL = Registration.NODE, Registration.CELL
EXACT_IN_SPACE, EXACT_IN_TIME = ("bilinear", "bicubic"), ("linear", "catmull_rom", "natural_spline", "pchip")


def fine_ramp(T, H, W, s, r, registration):
    """The ramp of the coarse indices, read at the fine ones."""
    v, u = positions(T, r, NODE), positions(H, s, registration)
    w = positions(W, s, registration)
    return 280 + 0.5 * v[:, None, None] + u[:, None] - 2 * w / 3


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("time", EXACT_IN_TIME)
@pytest.mark.parametrize("space", EXACT_IN_SPACE)
@pytest.mark.parametrize(("s", "r"), [(6, 6), (3, 1), (2, 4)])
def test_s000_17_a_ramp_is_exact_inside_the_hull(space, time, registration, s, r):
    T, H, W = 4, 5, 7
    fine = BASELINES[f"{space}/{time}"](fields.ramp(T, H, W), s, r, registration)
    truth = fine_ramp(T, H, W, s, r, registration)
    frames = r * (T - 1) + 1
    assert_allclose(fine[:frames], truth[:frames], rtol=0, atol=1e-10)


@pytest.mark.parametrize("time", ["linear", "catmull_rom", "natural_spline", "pchip"])
def test_s000_17_under_edge_closure_a_ramp_is_exact_one_cell_off_the_rim(time):
    T, H, W, s = 6, 7, 8, 6
    fine = BASELINES[f"bicubic/{time}"](fields.ramp(T, H, W), s, s, NODE, closure=Closure.EDGE)
    inside = np.s_[s : s * (T - 2) + 1, s : s * (H - 2) + 1, s : s * (W - 2) + 1]
    assert_allclose(fine[inside], fine_ramp(T, H, W, s, s, NODE)[inside], rtol=0, atol=1e-10)


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("name", BASELINES)
def test_a_constant_stays_constant(name, registration):
    fine = BASELINES[name](np.full((3, 4, 5), 7.25), 5, 2, registration)
    assert fine.shape == (6, 20, 25)
    assert_allclose(fine, 7.25, rtol=1e-12)


@pytest.mark.parametrize("name", BASELINES)
def test_node_registration_keeps_coarse_values_on_every_sth_point(name):
    coarse = fields.waves(4, 6, 5)
    assert_allclose(BASELINES[name](coarse, 6, 3, NODE)[::3, ::6, ::6], coarse, atol=1e-12)


def test_bicubic_weights_are_the_published_ones_at_the_middle():
    assert_allclose(keys_weights(np.array([0.5])), [[-0.0625, 0.5625, 0.5625, -0.0625]])  # Keys 1981, a = -1/2


def test_bicubic_is_exact_on_a_parabola_inside():
    x = np.arange(9.0)
    fine = upsample_space((x**2)[None, :] + np.zeros((5, 1)), 4, NODE)[8]
    u = positions(9, 4, NODE)
    inside = slice(4, 29)
    assert_allclose(fine[inside], (u**2)[inside], atol=1e-10)


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("method", SPACE)
def test_rolling_a_periodic_field_rolls_the_fine_one(method, registration):
    coarse = fields.waves(1, 5, 8)[0]
    fine = upsample_space(coarse, 3, registration, method, periodic=True)
    rolled = upsample_space(np.roll(coarse, 2, axis=1), 3, registration, method, periodic=True)
    # positions far from 0 round differently in their last digit
    assert_allclose(rolled, np.roll(fine, 6, axis=1), atol=1e-12)


@pytest.mark.parametrize("frames", [3, 4, 8])
def test_natural_spline_and_pchip_agree_with_scipy(frames):
    coarse = fields.waves(frames, 3, 4)
    at = np.minimum(np.arange(6 * frames) / 6, frames - 1)
    knots = np.arange(frames)
    spline = scipy.interpolate.CubicSpline(knots, coarse, axis=0, bc_type="natural")(at)
    assert_allclose(natural_spline(coarse, 6), spline, atol=1e-12)
    # scipy weighs secants by spacing: on even knots that is the harmonic mean
    assert_allclose(pchip(coarse, 6), scipy.interpolate.PchipInterpolator(knots, coarse, axis=0)(at), atol=1e-12)


@pytest.mark.parametrize("time", TIME)
@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_are_enough(time, frames):
    fine = TIME[time](fields.ramp(frames, 2, 2), 3, Closure.RAMP, False)
    assert fine.shape == (3 * frames, 2, 2)
    assert_allclose(fine[0], fields.ramp(frames, 2, 2)[0])
    assert_allclose(fine[-3], fields.ramp(frames, 2, 2)[-1])


def test_s000_18_the_five_methods_are_five_tensors_without_padding_zeros():
    coarse = 280 + fields.waves(8, 5, 6)
    made = {name: method(coarse, 6, 6, NODE) for name, method in SEED_METHODS.items()}
    assert list(made) == ["bicubic", "tempinterp", "st_combined", "linear", "monotone"]
    names = list(made)
    for first, name in enumerate(names):
        assert made[name].min() > 200  # zeros would be far below
        for other in names[first + 1 :]:
            assert np.abs(made[name] - made[other]).max() > 1e-3


def test_headline_holds_the_six_of_the_specification():
    assert len(HEADLINE) == 6
    assert set(HEADLINE) <= set(BASELINES)


@pytest.mark.parametrize("periodic", [False, True])
def test_missing_cells_are_filled_from_the_nearest_valid_one(periodic):
    generator = np.random.Generator(np.random.PCG64(3))
    field = generator.normal(size=(7, 9))
    field[generator.random((7, 9)) < 0.7] = np.nan
    filled, mask = fill_nearest(field, periodic)
    rows, cols = np.nonzero(np.isfinite(field))
    for i, j in zip(*np.nonzero(mask), strict=True):
        dx = np.abs(cols - j)
        distance = (rows - i) ** 2 + (np.minimum(dx, 9 - dx) if periodic else dx) ** 2
        nearest = field[rows, cols][distance == distance.min()]
        assert filled[i, j] in nearest


def test_a_masked_cell_masks_its_own_fine_cells_and_no_others():
    coarse = fields.waves(1, 4, 5)[0]
    coarse[1, 2] = np.nan
    fine = upsample_space(coarse, 4, CELL)
    expected = np.zeros((16, 20), bool)
    expected[4:8, 8:12] = True
    assert_array_equal(np.isnan(fine), expected)
    assert_array_equal(upsample_mask(np.isnan(coarse), 4, CELL), expected)


def test_values_under_a_mask_change_nothing():
    coarse = fields.waves(2, 5, 5)
    coarse[:, 2, 2] = np.nan
    assert np.isfinite(upsample_space(coarse, 3, NODE)[:, 0]).all()
    assert np.isnan(upsample_space(coarse, 3, NODE)).sum() == 2 * 9
