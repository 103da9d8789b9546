"""One model of space and time against two, one after the other."""

import csv

import numpy as np
import pytest

from crossvalidation.combined import errors, main
from export.publication import publish
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.grid import Grid
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint
from tests.forecasts import make_forecast

GRID = Grid(50 - 0.1 * np.arange(61), 5 + 0.1 * np.arange(67))


def test_errors_leave_out_what_has_no_truth():
    made = np.zeros((2, 1, 2, 2))
    truth = np.array([[[[3.0, np.nan], [3.0, 3.0]]], [[[-3.0, -3.0], [-3.0, -3.0]]]])
    np.testing.assert_allclose(errors(made, truth), [3.0])


def test_x_6_two_models_are_scored_beside_the_one_at_the_frames_between(tmp_path, monkeypatch, capsys):
    """An untrained model of time is the line between the frames, which is easily told by hand."""
    fine = make_forecast(13, ("t2m", "sp"), GRID, interval_hours=1)
    monkeypatch.setattr("crossvalidation.combined.open_forecast", lambda paths: fine)
    publish(make_checkpoint({"family": "temdeep_narrow", "width": 4, "variables": ["t2m", "sp"]}), tmp_path / "time")
    arguments = ["fine.nc", "--time-model", str(tmp_path / "time"), "--threads", "1", "-o", str(tmp_path / "lines.csv")]
    assert main(arguments) == 0
    with (tmp_path / "lines.csv").open() as file:
        lines = {(line["variable"], line["order"]): line for line in csv.DictReader(file)}
    assert len(lines) == 4
    coarse = coarsen(fine, Coarsening(time_factor=6))
    with Upscaler.open("fused-node", threads=1) as both:
        alone = both.upscale_forecast(coarse)
        with both.frames_alone() as frames:
            known = frames.upscale_forecast(coarse).values
    share = (np.arange(12) % 6 / 6)[:, None, None, None]
    first = np.arange(12) // 6
    line = (1 - share) * known[first] + share * known[first + 1]
    truth = fine.load()[:12]
    between = np.arange(12) % 6 > 0
    for channel, name in enumerate(alone.variables):
        for made, key in ((line, "rmse"), (alone.values[:12], "rmse_alone")):
            expected = np.sqrt(np.mean((made[between, channel] - truth[between, channel]) ** 2))
            assert float(lines[name, "space, then time"][key]) == pytest.approx(expected, rel=1e-3)
    assert "space, then time" in capsys.readouterr().out
