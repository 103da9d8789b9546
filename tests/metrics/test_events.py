import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import uniform_filter

from gfs_sr.errors import ShapeMismatch
from gfs_sr.metrics import events, registry
from gfs_sr.metrics.ranges import RANGES
from tests.metrics.scenes import exchangeable, rain, rough, scene


def test_s004_21_event_ratio_is_the_share_forecast_over_the_share_observed():
    truth = np.full((1, 10, 10), 0.5)
    truth[0, :2] = 5  # 20 cells from 1 to 10
    members = np.full((2, 1, 10, 10), 0.5)
    members[0, 0, :5] = 5  # 50 of 200
    found = registry.score(["event ratio 1 to 10", "event ratio 10 to 25"], scene(members, truth, variable="tp"))
    assert found["event ratio 1 to 10"] == pytest.approx(25 / 20)
    assert np.isnan(found["event ratio 10 to 25"])
    rows = registry.tally(["event ratio 1 to 10"], scene(members, truth, variable="tp"))["events"]
    assert events.event_table(rows[0], 5)[:2].tolist() == [[75, 80, 80], [25, 20, 20]]


def test_ranges_share_no_value_and_leave_none_out():
    for ranges in RANGES.values():
        assert [high for _, high in ranges.ranges[:-1]] == [low for low, _ in ranges.ranges[1:]]
        assert list(ranges.thresholds) == sorted(set(ranges.thresholds))


def test_probabilities_that_hold_are_reliable():
    generator = np.random.Generator(np.random.PCG64(0))
    chance = generator.integers(0, 6, (60, 60)) / 5
    truth = np.where(generator.uniform(size=(400, 60, 60)) < chance, 3.0, 0.0)
    members = np.where(np.arange(5)[:, None, None, None] < 5 * chance, 3.0, 0.0) * np.ones((5, 400, 60, 60))
    rows = registry.tally(["Brier score >= 1"], scene(members, truth, variable="tp"))["probabilities"]
    curve = events.reliability_curve(rows.sum(axis=0))
    said = curve.count[1] > 0
    assert said.sum() == 6
    assert_allclose(curve.observed[1][said], curve.forecast[1][said], atol=5e-3)  # 240,000 cases a bin
    found = registry.values(["unreliability >= 1", "Brier score >= 1"], {"probabilities": rows.sum(axis=0)}, "tp")
    assert found["unreliability >= 1"] == pytest.approx(0, abs=1e-5)
    assert found["Brier score >= 1"] == pytest.approx((chance * (1 - chance)).mean(), abs=1e-3)


def test_brier_score_is_the_mean_squared_error_of_the_probability():
    members, truth = exchangeable(4, 2, 20, 20)
    weights = np.linspace(1, 3, 20)[:, None]
    found = registry.score(["Brier score >= 5.5"], scene(5 + members, 5 + truth, variable="wspd", weights=weights))
    p, o = (5 + members >= 5.5).mean(axis=0), 5 + truth >= 5.5
    assert found["Brier score >= 5.5"] == pytest.approx(((p - o) ** 2 * weights / 2).mean())


def test_unreliability_is_the_weighted_squared_distance_from_the_diagonal():
    members, truth = exchangeable(4, 1, 30, 30)
    weights = np.linspace(1, 3, 30)[:, None]
    members = members + 1
    found = registry.score(["unreliability >= 5.5"], scene(5 + members, 5 + truth, variable="wspd", weights=weights))
    p, o = (5 + members >= 5.5).mean(axis=0), 5 + truth >= 5.5
    w = np.broadcast_to(weights, p.shape)
    expected = sum(
        w[p == level].sum() * (level - np.average(o[p == level], weights=w[p == level])) ** 2 for level in np.unique(p)
    )
    assert found["unreliability >= 5.5"] == pytest.approx(expected / w.sum())


def test_a_single_forecast_has_probabilities_of_its_neighborhood():
    prediction, truth = rain(1, 40, 40), rain(1, 40, 40, seed=1)
    found = registry.score(["Brier score >= 1"], scene(prediction, truth, variable="tp"))
    size = events.WINDOW
    masks = (prediction[0] >= 1).astype(float), np.ones((40, 40))
    share, inside = (uniform_filter(mask, size, mode="constant") for mask in masks)
    assert found["Brier score >= 1"] == pytest.approx(((share / inside - (truth[0] >= 1)) ** 2).mean())


def test_period_maxima_are_those_of_each_year():
    series = rough(3, 40)
    series[1, 4] = np.nan
    years = np.repeat([2001, 2000, 2001, 2003], 10)
    found = events.period_maxima(series, years)
    assert_allclose(found[:, 0], series[:, 10:20].max(axis=1))
    assert_allclose(found[:, 1], np.nanmax(series[:, (years == 2001)], axis=1))
    assert_allclose(found[:, 2], series[:, 30:].max(axis=1))
    assert_allclose(events.highest_observed(series[0], years, 2), np.sort(found[0])[::-1][:2])
    maps = np.moveaxis(rough(40, 4, 5), 0, -1)
    assert_allclose(events.period_maxima(maps, years)[..., 0], maps[..., 10:20].max(axis=-1))


def test_each_time_needs_its_period():
    with pytest.raises(ShapeMismatch, match="40 times have 39 labels"):
        events.period_maxima(rough(40), np.zeros(39))
