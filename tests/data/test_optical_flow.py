import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES
from gfs_sr.data.optical_flow import displacement, frames_at, sample
from gfs_sr.data.time_interpolation import TIME, split_buckets

H, W = 40, 48
SOUTH, EAST = 1.5, 3.0  # cells per frame


def moving(t: float, periodic: bool = False) -> np.ndarray:
    """A pattern without symmetry that moves and does not change; periodic in the longitudes where asked."""
    i, j = np.mgrid[:H, :W].astype(float)
    i, j = i - SOUTH * t, j - EAST * t
    turn = 2 * np.pi / W
    across = turn * np.round(0.3 / turn) if periodic else 0.3
    return np.sin(0.25 * i + across * j) + 0.7 * np.sin(0.4 * i - 2 * across * j + 1) + 0.5 * np.cos(across * j)


@pytest.mark.parametrize("periodic", [False, True])
def test_a_pattern_that_moves_has_its_own_displacement(periodic):
    flow = displacement(moving(0, periodic), moving(1, periodic), periodic)
    inner = np.s_[10:-10] if periodic else np.s_[10:-10, 10:-10]
    assert_allclose(flow[0][inner], SOUTH, atol=0.3)
    assert_allclose(flow[1][inner], EAST, atol=0.3)


@pytest.mark.parametrize("periodic", [False, True])
def test_frames_between_lie_nearer_the_truth_than_any_interpolation_at_a_point(periodic):
    coarse = np.stack([moving(t, periodic) for t in range(4)])
    truth = np.stack([moving(n / 6, periodic) for n in range(19)])
    inner = np.s_[:19, 8:-8, 8:-8]

    def error(name: str) -> float:
        from gfs_sr.data.resampling import Closure

        return float(np.sqrt(((TIME[name](coarse, 6, Closure.RAMP, periodic)[inner] - truth[inner]) ** 2).mean()))

    others = [error(name) for name in TIME if name != "optical_flow"]
    assert error("optical_flow") < 0.25 * min(others)


def test_what_has_no_motion_in_it_is_linear_in_time():
    frames = np.random.Generator(np.random.PCG64(2)).normal(size=(2, H, W))
    expected = 0.75 * frames[0] + 0.25 * frames[1]
    found = frames_at(frames, np.array([0.25]))[0]
    assert ((found - expected) ** 2).mean() < 0.005  # of a variance of 1: here and there chance looks like motion


def test_the_frames_themselves_are_kept_and_the_last_is_held():
    coarse = np.stack([moving(t) for t in range(3)])
    fine = TIME["optical_flow"](coarse, 4, None, False)
    assert_array_equal(fine[::4], coarse)
    assert_array_equal(fine[9:], np.repeat(coarse[2:], 3, axis=0))


def test_it_is_the_same_twice_and_rolls_with_a_periodic_field():
    coarse = np.stack([moving(t, periodic=True) for t in range(2)])
    fine = frames_at(coarse, np.array([0.5]), periodic=True)
    assert_array_equal(fine, frames_at(coarse, np.array([0.5]), periodic=True))
    # by a multiple of what the pyramid decimates by
    rolled = frames_at(np.roll(coarse, 8, axis=2), np.array([0.5]), periodic=True)
    assert_allclose(rolled, np.roll(fine, 8, axis=2), atol=1e-10)


def test_missing_cells_stay_missing_and_do_not_spread():
    coarse = np.stack([moving(t) for t in range(2)])
    coarse[:, 10:14, 20:25] = np.nan
    fine = frames_at(coarse, np.array([0.5]))[0]
    assert_array_equal(np.isnan(fine), np.isnan(coarse[0]))


def test_cubic_samples_are_exact_on_a_ramp_up_to_the_rim():
    i, j = np.mgrid[:7, :9].astype(float)
    rows, cols = np.meshgrid(np.linspace(0, 6, 13), np.linspace(0, 8, 11), indexing="ij")
    assert_allclose(sample(2 * i - 3 * j, rows, cols), 2 * rows - 3 * cols, atol=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("method", TIME)
def test_buckets_keep_their_amounts(method, averaged):
    coarse = np.maximum(np.stack([moving(t) for t in range(4)]), 0)
    fine = split_buckets(coarse, 6, method, averaged=averaged)
    assert fine.shape == (24, H, W)
    grouped = fine.reshape(4, 6, H, W)
    assert_allclose(grouped.mean(axis=1) if averaged else grouped.sum(axis=1), coarse, atol=1e-12)
    if method in ("hold", "linear", "pchip", "optical_flow"):
        assert fine.min() >= -1e-12


def test_an_even_rain_is_split_evenly_and_a_rising_one_rises():
    even = split_buckets(np.full((3, 10, 10), 6.0), 6, "natural_spline")
    assert_allclose(even, 1.0, atol=1e-12)
    rising = split_buckets(np.array([0.0, 6.0, 30.0])[:, None, None] + np.zeros((3, 10, 10)), 6, "pchip")[:, 0, 0]
    assert (np.diff(rising[6:12]) > 0).all()


def test_a_pair_with_optical_flow_is_a_baseline_like_any_other():
    coarse = np.stack([moving(t)[::2, ::2] for t in range(3)])
    made = BASELINES["bicubic/optical_flow"](coarse, 3, 2, Registration.NODE)
    assert made.shape == (6, 3 * H // 2, 3 * W // 2)
    assert_allclose(made[::2, ::3, ::3], coarse, atol=1e-12)


def test_what_grows_as_it_moves_is_as_far_grown_as_the_time_is():
    frames = np.stack([moving(0), 1.3 * moving(1)])
    inner = np.s_[10:-10, 10:-10]
    for theta in (0.25, 0.75):
        found, pattern = frames_at(frames, np.array([theta]))[0][inner], moving(theta)[inner]
        factor = (found * pattern).sum() / (pattern**2).sum()
        assert_allclose(factor, 1 + 0.3 * theta, atol=0.02)


def test_what_comes_from_outside_is_linear_in_time():
    frames = np.stack([moving(0), moving(1)])
    found = frames_at(frames, np.array([0.5]))[0]
    linear = frames.mean(axis=0)
    assert_array_equal(found[:, [0, -1]], linear[:, [0, -1]])
    assert np.abs(found - linear)[:, W // 2].max() > 0.1
