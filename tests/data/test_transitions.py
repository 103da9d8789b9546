"""Windows of even series, and the transition index that tells at which of their times most happens."""

import numpy as np
import pytest

from gfs_sr.data.transitions import Transitions, change_by_time, composite_index, regular_runs, threshold, windows
from gfs_sr.errors import UsageError
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.thinning import coarse_in_time

HOUR = np.timedelta64(3600 * 10**9, "ns")
START = np.datetime64("2024-01-01T00", "ns")


def at(*hours: float) -> np.ndarray:
    return START + (np.array(hours) * 60).astype(int) * (HOUR / 60)


def test_s001_01_an_even_series_gives_all_windows_of_three():
    np.testing.assert_array_equal(windows(at(*range(0, 30, 6))), [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    assert windows(at(0, 6)).shape == (0, 3)
    assert windows(at(0)).shape == (0, 3)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ((0, 1, 2, 5, 6, 7, 8), [[0, 1, 2], [3, 4, 5], [4, 5, 6]]),  # a gap
        ((0, 1, 2, 2.5, 3.5, 4.5), [[0, 1, 2], [3, 4, 5]]),  # a wrong step
        ((0, 1, 2, 2, 3, 4), [[0, 1, 2], [3, 4, 5]]),  # a time twice
        ((0, 1, 2, 0, 1, 2), [[0, 1, 2], [3, 4, 5]]),  # another forecast
    ],
    ids=["gap", "wrong step", "repeated", "restarted"],
)
def test_s001_01_no_window_crosses_a_gap_or_a_wrong_step(hours, expected):
    np.testing.assert_array_equal(windows(at(*hours)), expected)


def test_s001_01_a_step_that_is_asked_for_is_the_only_one_kept():
    times = at(0, 1, 2, 3, 6, 9)
    assert regular_runs(times) == [range(4)]
    assert regular_runs(times, 3 * HOUR) == [range(3, 6)]


def series(values: np.ndarray, hours: list[float]) -> FieldSet:
    lat, lon = np.linspace(50, 49, values.shape[2]), np.linspace(5, 6, values.shape[3])
    return FieldSet("here-0", "here", ("t2m",), values.astype(np.float32), at(*hours), lat, lon)


def test_s001_01_an_archive_that_is_coarse_in_time_holds_every_third_hour_and_is_cut_at_gaps():
    hours = [hour for hour in range(1, 30) if hour not in (12, 13)]
    values = np.broadcast_to(np.array(hours, float)[None, :, None, None], (1, len(hours), 3, 4))
    parts = coarse_in_time([series(values, hours)], 3)
    assert [part.values[0, :, 0, 0].tolist() for part in parts] == [[3, 6, 9], [15, 18, 21, 24, 27]]
    assert [part.name for part in parts] == ["here-0@2024-01-01T03", "here-0@2024-01-01T15"]
    with pytest.raises(UsageError, match="no multiple of 5"):
        coarse_in_time(parts, 5)


def jumps(frames: int = 101, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """(2, T, H, W) slowly drifting noise with jumps of the whole field, and the frames before them."""
    rng = np.random.default_rng(5)
    values = 0.1 * rng.standard_normal((2, frames, 6, 7)).cumsum(axis=1)
    places = np.sort(rng.choice(frames - 1, count, replace=False))
    for place in places:
        values[:, place + 1 :] += np.array([3.0, -2.0])[:, None, None, None] * rng.choice([-1, 1])
    return values, places


def test_s001_02_inserted_jumps_are_ranked_highest():
    values, places = jumps()
    index = composite_index(values)
    assert set(np.argsort(index)[-10:]) == set(places)


def test_s001_02_three_tenths_of_the_times_are_kept():
    values, places = jumps()
    index = composite_index(values)
    kept = np.flatnonzero(index > threshold([index]))
    assert abs(kept.size - 0.3 * index.size) <= 1
    assert set(places) <= set(kept)
    # of a training set of several series kappa is that of all of them together
    quiet = np.full(100, index.min() / 2)
    both = Transitions.of({"a": index, "b": quiet}, 1, 0.3, {})
    assert abs(both.kept("a").size - 60) <= 1
    assert both.kept("b").size == 0


def test_s001_02_what_is_kept_is_stored_with_its_times(tmp_path):
    values, _ = jumps()
    index = composite_index(values)
    times = at(*range(101))
    made = Transitions.of({"a": index}, 1, 0.3, {"a": times})
    made.save(tmp_path / "transitions.json")
    again = Transitions.load(tmp_path / "transitions.json")
    assert again.kappa == made.kappa
    np.testing.assert_array_equal(again.times["a"], times[:100])
    np.testing.assert_allclose(again.values["a"], index, atol=1e-6)
    np.testing.assert_array_equal(again.kept("a"), made.kept("a"))


def test_s001_02_the_index_equals_its_formula_by_hand():
    values = np.zeros((2, 4, 2, 1))
    values[0, :, 0, 0], values[0, :, 1, 0] = [0, 1, 1, 3], [0, 1, 1, -1]
    values[1, :, 0, 0], values[1, :, 1, 0] = [0, 0, 2, 2], [5, 5, 5, 5]
    area = np.array([3.0, 1.0])
    rms = np.array([[1, 0, 2], [0, np.sqrt(3), 0]])  # of the second: 3 of 4 parts change by 2
    np.testing.assert_allclose(change_by_time(values, 1, area), rms)
    sd = [np.sqrt(2 / 3), np.sqrt(2 / 3)]  # means 1 and 3^0.5/3
    np.testing.assert_allclose(rms.std(axis=1), sd)
    np.testing.assert_allclose(composite_index(values, 1, area), 0.5 * (rms / np.array(sd)[:, None]).sum(axis=0))
    np.testing.assert_allclose(composite_index(values, 1, area, (1, 0)), rms[0] / sd[0])


def test_a_variable_that_always_changes_alike_has_no_part():
    values = np.zeros((2, 5, 2, 2))
    values[0] = np.arange(5)[:, None, None]
    values[1, 2:] = 1
    np.testing.assert_allclose(np.flatnonzero(composite_index(values)), [1])
