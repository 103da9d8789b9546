"""Whether the hours of members belong together: measures whose value is known."""

import csv

import numpy as np
import pytest

from crossvalidation.changes import line_of, main, memory_of, score
from export.publication import publish
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import UsageError
from gfs_sr.runtime.upscaler import Upscaler
from tests.crossvalidation.test_samplers import EDM, TRUTH
from tests.export.checkpoints import make_checkpoint

KEPT = 0.9  # of what is left, from one frame to the next


def series(members, frames=12, rows=32, columns=48, kept=KEPT, seed=0):
    """(M, T, H, W) of a process of first order with variance 1: neighbouring frames correlate by `kept`."""
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal((members, rows, columns))]
    for _ in range(frames - 1):
        found.append(kept * found[-1] + np.sqrt(1 - kept**2) * rng.standard_normal((members, rows, columns)))
    return np.stack(found, axis=1)


def test_memory_is_the_correlation_of_a_process_of_first_order():
    assert memory_of(series(4)) == pytest.approx(KEPT, abs=0.01)
    assert memory_of(series(4, kept=0.0)) == pytest.approx(0, abs=0.02)


def test_frames_that_know_nothing_of_each_other_flicker_and_their_changes_score_worse():
    """Frame by frame both ensembles are perfect: only changes tell them apart."""
    truth, mean = series(1, seed=1)[0], np.zeros((12, 32, 48))
    together = line_of("together", "t2m", series(8, seed=2), mean, truth)
    apart = line_of("apart", "t2m", series(8, kept=0.0, seed=3), mean, truth)
    assert together.crps == pytest.approx(apart.crps, rel=0.05)
    assert together.crps == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)  # of a perfect standard normal forecast
    size = np.sqrt(2 - 2 * KEPT)
    assert together.change == pytest.approx(size, rel=0.02)
    assert together.change_truth == pytest.approx(size, rel=0.02)
    assert apart.change == pytest.approx(np.sqrt(2), rel=0.02)
    assert together.crps_of_change == pytest.approx(size / np.sqrt(np.pi), rel=0.05)
    assert apart.crps_of_change > 1.2 * together.crps_of_change
    assert together.change_mean == 0


def test_the_command_compares_models_on_one_series(tmp_path):
    folders = []
    for name, temporal in (("apart", False), ("together", True)):
        checkpoint = make_checkpoint({**EDM, "temporal": temporal}, spread=0.1)
        folders.append(publish(checkpoint, tmp_path / name).artifact.path)
    target = tmp_path / "changes.csv"
    given = [str(TRUTH), "--model", *map(str, folders), "--members", "2", "--frames", "3", "--threads", "1"]
    assert main([*given, "-o", str(target)]) == 0
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variable"] for row in rows] == ["t2m", "t2m"]
    assert len({row["change_truth"] for row in rows}) == 1
    assert len({row["change"] for row in rows}) == 2
    with Upscaler.open(folders[0], threads=1) as upscaler, pytest.raises(UsageError, match="one frame"):
        list(score(open_forecast([TRUTH], ["t2m"]).isel_time(slice(0, 1)), upscaler, 2, 0))
