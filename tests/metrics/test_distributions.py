import numpy as np
import properscoring
import pytest
import scipy.stats

from gfs_sr.metrics import distributions, registry
from gfs_sr.metrics.ranges import RANGES
from tests.metrics.scenes import rain, rough, scene

HISTOGRAMS = ["histogram distance", "distribution bias", "CRPS of histograms"]


def test_wasserstein_agrees_with_scipy():
    p, y = rough(23, 31) * 2 + 1, rough(23, 31, seed=1)
    expected = scipy.stats.wasserstein_distance(p.ravel(), y.ravel())
    assert distributions.wasserstein(p, y) == pytest.approx(expected, abs=1e-12)
    found = registry.score(["Wasserstein distance"], scene(p, y))["Wasserstein distance"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_wasserstein_of_a_shift_is_the_shift_wherever_the_values_lie():
    truth = rough(2, 20, 20)
    moved = np.roll(truth, 7, axis=1) + 0.25
    assert registry.score(["Wasserstein distance"], scene(moved, truth))["Wasserstein distance"] == pytest.approx(0.25)


def test_counts_are_those_of_numpy_with_the_open_ends():
    values, weights = rough(40, 50), np.linspace(1, 2, 40)[:, None]
    edges = np.linspace(-1, 1, 9)
    counts = distributions.bin_counts(values, edges, weights)
    w = np.broadcast_to(weights, values.shape)
    np.testing.assert_allclose(counts[1:-1], np.histogram(values, edges, weights=w)[0])
    assert counts[0] == pytest.approx(w[values < -1].sum())
    assert counts[-1] == pytest.approx(w[values >= 1].sum())


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    assert distributions.bin_counts(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])).tolist() == [0, 1, 1, 1]


def test_distribution_bias_of_the_registry_is_that_of_25_bins():
    truth, prediction = 280 + 6 * rough(2, 40, 40), 282 + 7 * rough(2, 40, 40, seed=1)
    edges = np.linspace(243.15, 315.15, 26)
    counts = [np.histogram(field, edges)[0] for field in (prediction, truth)]
    density = [np.where(c > 0, c, np.nan) / (c.sum() * np.diff(edges)) for c in counts]
    floor = np.nanmin(np.log10(density)) - 0.5
    p, y = (np.where(np.isnan(d), floor, np.log10(d)) for d in density)
    found = registry.score(["distribution bias"], scene(prediction, truth, variable="t2m"))["distribution bias"]
    assert found == pytest.approx(np.abs(p - y).mean(), abs=1e-9)


def test_joint_counts_have_truth_in_rows():
    edges = np.array([0.0, 1.0, 2.0])
    counts = distributions.joint_counts(np.array([0.5, 1.5, 1.5, np.nan]), np.array([0.5, 0.5, 0.5, 0.5]), edges)
    assert counts.tolist() == [[1, 2], [0, 0]]


def test_histogram_distance_is_the_share_of_cells_in_another_bin():
    truth = np.full((1, 10, 10), 280.0)
    prediction = truth.copy()
    prediction[0, :3] = 290.0
    found = registry.score(HISTOGRAMS, scene(prediction, truth, variable="t2m"))
    assert found["histogram distance"] == pytest.approx(0.3)


def test_scores_of_equal_distributions_are_zero():
    truth = 283 + 5 * rough(2, 40, 40)
    shuffled = np.random.Generator(np.random.PCG64(1)).permutation(truth.reshape(2, -1), axis=1).reshape(truth.shape)
    found = registry.score(HISTOGRAMS, scene(shuffled, truth, variable="t2m"))
    assert list(found.values()) == [0, 0, 0]


def test_distribution_bias_is_the_mean_difference_of_log_density():
    # 25 bins: the forecast has 10 times the truth's density in one bin and a tenth in another
    truth, prediction = np.ones(25), np.ones(25)
    truth[3], prediction[3] = 1, 10
    truth[7], prediction[7] = 10, 1
    found = distributions.distribution_bias(prediction, truth, np.ones(25))
    assert found == pytest.approx(2 / 25)


def test_empty_bins_lie_half_a_decade_below_the_smallest_filled_one():
    truth, prediction = np.array([5.0, 5.0, 90.0]), np.array([0.0, 10.0, 90.0])
    # lg density: truth .05 .05 .9; forecast (.05 less half a decade) .1 .9
    expected = (0.5 + np.log10(2) + 0) / 3
    assert distributions.distribution_bias(prediction, truth, np.ones(3)) == pytest.approx(expected)


@pytest.mark.parametrize("prediction", ["below zero", "dry", "beyond the bins"])
def test_s004_22_histogram_metrics_are_finite_for_temperature_below_zero_and_empty_bins(prediction):
    frozen = 263.15 + 3 * rough(2, 20, 20)  # around -10 °C; most bins are empty
    fields = {
        "below zero": (np.stack([frozen - 5, frozen + 1]), frozen, "t2m"),
        "dry": (np.zeros((2, 2, 20, 20)), rain(2, 20, 20), "tp"),
        "beyond the bins": (np.full((2, 2, 20, 20), 400.0), frozen, "t2m"),
    }
    members, truth, variable = fields[prediction]
    found = registry.score(HISTOGRAMS, scene(members, truth, variable=variable))
    if prediction == "below zero":
        assert all(np.isfinite(value) and value > 0 for value in found.values())
    else:  # nothing of the forecast lies in any bin: no density to compare, but never infinite
        assert np.isfinite(found["CRPS of histograms"])
        assert not np.isinf(list(found.values())).any()


def test_s004_22_values_of_the_histogram_crps():
    truth = 270 + 4 * rough(1, 30, 30)
    members = np.stack([truth + shift for shift in (-2.0, 0.5, 3.0)])
    edges = np.linspace(243.15, 315.15, 51)

    def logs(field):  # counts floored at half a cell, density per K
        counts = np.histogram(field, edges)[0]
        return np.log10(np.maximum(counts, 0.5) / (counts.sum() * np.diff(edges)))

    expected = properscoring.crps_ensemble(logs(truth), np.stack([logs(m) for m in members], axis=-1)).mean()
    found = registry.score(["CRPS of histograms"], scene(members, truth, variable="t2m"))["CRPS of histograms"]
    assert found == pytest.approx(expected, abs=1e-9)


def test_bins_of_precipitation_are_even_in_the_logarithm_and_those_of_temperature_in_kelvin():
    np.testing.assert_allclose(np.diff(np.log10(RANGES["tp"].edges(50))), np.log10(400) / 50)
    np.testing.assert_allclose(RANGES["t2m"].edges(50)[[0, -1]], [243.15, 315.15])
    np.testing.assert_allclose(np.diff(RANGES["t2m"].edges(50)), 72 / 50)
