import numpy as np
import pytest
from numpy.testing import assert_allclose

from gfs_sr.errors import ShapeMismatch, UsageError
from gfs_sr.metrics import moments, registry
from gfs_sr.metrics.bootstrap import interval, paired_interval, resamples, skill_interval
from tests.metrics.scenes import rough, scene

MEAN = registry.METRICS["bias"].value


def rows_of(errors):
    """Sums of `moments` of one cell a frame."""
    return registry.tally(["bias"], scene(errors[:, None, None], np.zeros((errors.size, 1, 1))))["moments"]


def test_every_resample_has_as_many_rows_and_every_row_the_same_chance():
    drawn = resamples([7, 30, 1, 22], 5, 4000)
    assert (drawn.sum(axis=1) == 60).all()
    assert_allclose(drawn.mean(axis=0), 1, atol=0.12)  # 4000 draws of blocks of 5, of which short forecasts take few


def test_blocks_are_neighbors_within_one_forecast():
    drawn = resamples([10, 10], 10, 200)
    # a block as long as its forecast draws it whole: each forecast 0, 1 or 2 times
    assert set(np.unique(drawn)) <= {0, 1, 2}
    assert (drawn[:, :10] == drawn[:, :1]).all()
    ones = resamples([40], 4, 50, seed=2)
    assert any((row[1:][row[:-1] > 0] > 0).mean() > 0.6 for row in ones)


def test_the_same_seed_draws_the_same_rows():
    assert np.array_equal(resamples([20], 3, 10, seed=1), resamples([20], 3, 10, seed=1))
    assert not np.array_equal(resamples([20], 3, 10, seed=1), resamples([20], 3, 10, seed=2))


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    errors = 2 + 3 * rough(400)
    found = interval(MEAN, rows_of(errors), resamples([400], 1, 4000))
    half = 1.96 * errors.std() / 20
    assert found.value == pytest.approx(errors.mean())
    assert (found.low, found.high) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.1 * half)


def test_blocks_widen_the_interval_of_errors_that_persist():
    # an autoregression of 0.8: the variance of the mean is (1 + 0.8)/(1 - 0.8) = 9 times that of white noise
    noise, errors = rough(4000), np.zeros(4000)
    for t in range(1, 4000):
        errors[t] = 0.8 * errors[t - 1] + noise[t]
    widths = [np.ptp([found.low, found.high]) for found in (
        interval(MEAN, rows_of(errors), resamples([4000], block, 1000)) for block in (1, 50))]  # fmt: skip
    assert widths[1] / widths[0] == pytest.approx(3, rel=0.15)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    covered = 0
    for trial in range(200):
        found = interval(MEAN, rows_of(rough(60, seed=trial)), resamples([60], 1, 300, seed=trial))
        covered += found.low <= 0 <= found.high
    assert covered / 200 == pytest.approx(0.95, abs=0.05)  # sd of 200 trials: 1.5 %


def test_skill_takes_the_same_rows_of_both_methods():
    # errors of the model are half of the baseline's in every frame, however different the frames are
    scale = np.exp(rough(50))
    own, other = rows_of(scale), rows_of(2 * scale)
    drawn = resamples([25, 25], 4)
    found = skill_interval(moments.rmse, own, other, drawn)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    alone = interval(moments.rmse, own, drawn)
    assert alone.high / alone.low > 1.2


def test_any_function_of_scores_has_an_interval():
    a, b = rows_of(1 + rough(40)), rows_of(3 + rough(40, seed=1))
    found = paired_interval(lambda x, y: y - x, [(MEAN, a), (MEAN, b)], resamples([40], 2))
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(float(MEAN(b.sum(axis=0)) - MEAN(a.sum(axis=0))))


def test_one_row_has_no_interval():
    found = interval(MEAN, rows_of(np.array([2.0])), resamples([1], 3))
    assert found.value == 2
    assert np.isnan([found.low, found.high]).all()


def test_rows_and_draws_that_do_not_fit_are_refused():
    with pytest.raises(ShapeMismatch, match="3 rows for draws from 4"):
        interval(MEAN, rows_of(np.ones(3)), resamples([4], 1))
    with pytest.raises(UsageError, match="blocks of 0 rows"):
        resamples([4], 0)
