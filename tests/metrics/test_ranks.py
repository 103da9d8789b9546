import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from numpy.testing import assert_allclose

from gfs_sr.metrics import ranks, registry
from gfs_sr.metrics.ranges import RANGES
from tests.metrics.scenes import exchangeable, rough, scene


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def p_of_flat(counts):
    return scipy.stats.chisquare(counts).pvalue


def test_rank_is_the_number_of_members_below_the_truth():
    members, truth = exchangeable(5, 4000)
    expected = np.bincount((members < truth).sum(axis=0), minlength=6)
    assert_allclose(ranks.rank_histogram(members, truth, generator()), expected)


def test_s004_21_rank_histogram_of_exchangeable_members_is_flat():
    members, truth = exchangeable(7, 40_000)
    assert p_of_flat(ranks.rank_histogram(members, truth, generator())) > 1e-3


def test_s004_21_rank_histogram_of_exchangeable_members_is_flat_within_a_range_and_with_ties():
    members, truth = exchangeable(4, 60_000)
    rain, observed = np.maximum(members, 0.3), np.maximum(truth, 0.3)  # more than half are equal
    assert p_of_flat(ranks.rank_histogram(rain, observed, generator())) > 1e-3
    assert p_of_flat(ranks.rank_histogram(rain, observed, generator(), (0.5, 1.5))) > 1e-3


def test_the_seed_s_rule_for_ranges_favors_the_middle_of_a_perfect_ensemble():
    members, truth = rough(2, 60_000), rough(60_000, seed=1)
    ours = ranks.rank_histogram(members, truth, generator(), (0.2, 0.3))
    seed = ranks.rank_histogram(members, truth, generator(), (0.2, 0.3), condition="seed")
    assert p_of_flat(ours) > 1e-3
    assert p_of_flat(seed) < 1e-12  # a truth below the range and both members above it do not count
    assert seed[[0, -1]].max() < seed[1]


def test_an_ensemble_that_is_too_narrow_has_the_truth_at_its_ends():
    members, truth = exchangeable(6, 20_000)
    center = members.mean(axis=0)
    counts = ranks.rank_histogram(center + 0.3 * (members - center), truth, generator())
    assert counts[[0, -1]].min() > 2 * counts[1:-1].max()


def test_ties_are_ranked_by_seed_and_frame_and_the_same_in_chunks():
    members, truth = np.zeros((3, 6, 5, 5)), np.zeros((6, 5, 5))
    whole = registry.tally(["rank flatness"], scene(members, truth, seed=4))["ranks"]
    chunks = [
        registry.tally(["rank flatness"], scene(members[:, a:b], truth[a:b], seed=4, first_frame=a))["ranks"]
        for a, b in ((0, 2), (2, 6))
    ]
    assert_allclose(np.concatenate(chunks), whole)
    other = registry.tally(["rank flatness"], scene(members, truth, seed=5))["ranks"]
    assert not np.array_equal(whole, other)
    assert not np.array_equal(whole[0], whole[1])


def test_values_below_the_range_are_equal():
    members, truth = np.array([[0.1], [0.7]]), np.array([0.2])  # the truth and one member are below 0.5
    found = [ranks.rank_histogram(members, truth, generator(seed), (0.5, 1.5)).argmax() for seed in range(40)]
    assert set(found) == {0, 1}
    assert {ranks.rank_histogram(members, truth, generator(seed)).argmax() for seed in range(40)} == {1}


def test_cumulative_is_scipys_trapezoid_and_the_diagonal_for_flat_counts():
    counts = np.array([5.0, 1, 2, 8, 4])
    x = np.linspace(0, 1, 5)
    expected = scipy.integrate.cumulative_trapezoid(counts / counts.mean(), x, initial=0)
    assert_allclose(ranks.cumulative(counts), expected)
    assert_allclose(ranks.cumulative(np.full(5, 3.0)), x)


def test_s004_21_calibration_bias_and_error_are_means_over_the_steps():
    counts = np.array([5.0, 1, 2, 8, 4])
    off = scipy.integrate.cumulative_trapezoid(counts / 4, np.linspace(0, 1, 5), initial=0) - np.linspace(0, 1, 5)
    assert ranks.calibration_bias(counts) == pytest.approx(off.mean())
    assert ranks.calibration_error(counts) == pytest.approx((off**2).mean())


def test_a_forecast_that_is_too_high_has_a_positive_calibration_bias():
    members, truth = exchangeable(5, 2, 30, 30)
    high = registry.score(["bias", "calibration bias"], scene(members + 1, truth))
    low = registry.score(["calibration bias"], scene(members - 1, truth))
    assert high["bias"] > 0
    assert high["calibration bias"] > 0.05
    assert low["calibration bias"] < -0.05


def test_flatness_is_the_reliability_index():
    assert ranks.flatness(np.array([4.0, 0, 0, 0])) == pytest.approx(0.75 + 3 * 0.25)
    assert ranks.flatness(np.ones(4)) == 0


def test_scores_by_range_are_means_over_the_ranges_that_occur():
    members, truth = exchangeable(4, 3, 20, 20)
    members, truth = 283 + 3 * members, 283 + 3 * truth
    rows = registry.tally(["ranged calibration error"], scene(members, truth, variable="t2m"))["ranks by range"]
    counts = ranks.rank_counts(rows.sum(axis=0), len(RANGES["t2m"].ranges))
    assert counts.shape == (7, 5)
    occurring = counts[counts.sum(axis=1) > 0]
    assert 2 <= len(occurring) < 7
    expected = np.mean([ranks.calibration_error(row) for row in occurring])
    found = registry.score(["ranged calibration error"], scene(members, truth, variable="t2m"))
    assert found["ranged calibration error"] == pytest.approx(expected)


def test_ranks_of_domain_means_count_one_case_a_frame():
    members, truth = exchangeable(3, 9, 8, 8)
    weights = np.linspace(1, 2, 8)[:, None]
    rows = registry.tally(["domain rank flatness"], scene(members, truth, variable="t2m", weights=weights))
    counts = ranks.rank_counts(rows["ranks of domain means"].sum(axis=0))[0]
    means = (members * weights).mean(axis=(2, 3)), (truth * weights).mean(axis=(1, 2))
    assert_allclose(counts, np.bincount((means[0] < means[1]).sum(axis=0), minlength=4))


def test_cells_without_weight_have_no_rank():
    members, truth = exchangeable(3, 1, 4, 4)
    weights = np.ones((4, 4))
    weights[2:] = 0
    rows = registry.tally(["rank flatness"], scene(members, truth, weights=weights))["ranks"]
    assert rows.sum() == 8
    assert_allclose(rows, registry.tally(["rank flatness"], scene(members[:, :, :2], truth[:, :2]))["ranks"])
