import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import uniform_filter

from gfs_sr.metrics import neighborhood, registry
from gfs_sr.metrics.ranges import RANGES
from tests.metrics.scenes import rain, rough, scene


def by_scipy(p, y, size):
    # Roberts and Lean 2008 with zeros beyond the edge, which is also what pysteps computes
    fp, fy = (uniform_filter(e.astype(np.float64), size, mode="constant") for e in (p, y))
    return ((fp - fy) ** 2).sum(), (fp**2 + fy**2).sum()


@pytest.mark.parametrize("size", neighborhood.SCALES)
def test_s004_21_fss_agrees_with_scipy(size):
    p, y = rough(70, 81) > 1, rough(70, 81, seed=1) > 0.5
    top, bottom = by_scipy(p, y, size)
    assert neighborhood.fss_sums(p, y, size) == pytest.approx((top, bottom), rel=1e-9)
    assert neighborhood.fss(p, y, size) == pytest.approx(1 - top / bottom, abs=1e-9)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_valid_windows_lie_inside_the_field(size):
    events = rough(12, 9) > 0
    counts = neighborhood.window_counts(events, size, "valid")
    expected = [[events[i : i + size, j : j + size].sum() for j in range(10 - size)] for i in range(13 - size)]
    assert_allclose(counts, expected)


def test_s004_21_fss_of_a_field_with_itself_is_one_at_every_scale():
    truth = rain(2, 70, 80)
    names = [name for name in registry.metrics_of("tp") if name.startswith("FSS")]
    found = registry.score(names, scene(truth, truth, variable="tp"))
    assert set(found.values()) == {1.0}
    assert len(found) == len(neighborhood.SCALES) * (len(RANGES["tp"].thresholds) + len(neighborhood.SHARES))


def test_s004_21_registry_sums_fss_over_frames_and_members():
    truth, members = rain(3, 40, 50), np.stack([rain(3, 40, 50, seed=seed) for seed in (1, 2)])
    found = registry.score(["FSS >= 2 @ 8 cells"], scene(members, truth, variable="tp"))["FSS >= 2 @ 8 cells"]
    parts = np.sum([by_scipy(p >= 2, y >= 2, 8) for m in members for p, y in zip(m, truth, strict=True)], axis=0)
    assert found == pytest.approx(1 - parts[0] / parts[1], abs=1e-9)


def test_a_displaced_object_scores_nothing_until_the_window_spans_the_displacement():
    p, y = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    y[20:24, 20:24] = True
    p[20:24, 30:34] = True
    scores = [neighborhood.fss(p, y, size) for size in (1, 4, 8, 16, 32)]
    assert scores[:2] == [0, 0]
    assert scores == sorted(scores)
    assert scores[-1] > 0.5


def test_fss_without_any_event_is_missing():
    none = np.zeros((8, 8), bool)
    assert np.isnan(neighborhood.fss(none, none, 4))
    dry = scene(np.zeros((20, 20)), np.zeros((20, 20)), variable="tp")
    found = registry.score(["FSS >= 1 @ 4 cells", "FSS highest 10% @ 4 cells"], dry)
    assert np.isnan(list(found.values())).all()


def test_a_bias_does_not_show_in_the_highest_cells():
    truth = rough(2, 30, 30)
    found = registry.score(["FSS highest 10% @ 1 cells", "FSS highest 1% @ 4 cells"], scene(truth + 5, truth))
    assert set(found.values()) == {1.0}


def test_windows_wider_than_the_field_have_no_score():
    truth = rain(1, 20, 40)
    found = registry.score(["FSS >= 1 @ 16 cells", "FSS >= 1 @ 32 cells"], scene(truth, truth, variable="tp"))
    assert found["FSS >= 1 @ 16 cells"] == 1
    assert np.isnan(found["FSS >= 1 @ 32 cells"])


def test_missing_cells_hold_no_event_in_either_field():
    truth = np.full((12, 12), 3.0)
    truth[:6] = np.nan
    found = registry.score(["FSS >= 1 @ 4 cells"], scene(np.full((12, 12), 3.0), truth, variable="tp"))
    assert found["FSS >= 1 @ 4 cells"] == 1
