"""What members cost and what for: every way to draw them has its line, with the scores of the members it drew."""

import csv
from importlib.resources import files

import numpy as np
import pytest
import scores.probability
import xarray as xr

from crossvalidation.samplers import main, sweep, table, ways
from export.publication import publish
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import UsageError
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.sampling import SamplingConfig
from tests.export.checkpoints import make_checkpoint

TRUTH = files("gfs_sr.demo") / "sample" / "arpege_2m_NW_20180501000000.grib"
EDM = {
    "family": "edm", "variables": ["t2m"], "registration": "cell", "width": 4, "multipliers": [1], "blocks": 1,
    "dropout": 0.0, "attention_heads": 2, "normalization": "cell", "attention": "none", "scale_factor": 4,
    "time_factor": 1, "factors": [], "schedule": {"n": 4, "sigma_min": 0.05, "sigma_max": 10.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small artifact."""
    return publish(make_checkpoint(EDM, spread=0.1), tmp_path_factory.mktemp("sweep") / "edm").artifact.path


def test_every_solver_has_every_number_of_levels_and_churn_where_it_takes_any():
    every = ways(SamplingConfig(), ["dpmpp_2m", "heun"], [3, 5], [0.0, 10.0])
    asked = [(each.config.sampler.integrator, each.config.schedule.n, each.config.sampler.s_churn) for each in every]
    assert asked[:2] == [("dpmpp_2m", 3, 0), ("dpmpp_2m", 5, 0)]
    assert asked[2:] == [("heun", 3, 0), ("heun", 3, 10), ("heun", 5, 0), ("heun", 5, 10)]
    assert [each.config.evaluations for each in every] == [3, 5, 5, 5, 9, 9]  # n, and 2n - 1
    assert all(each.config.sampler.s_noise == SamplingConfig().sampler.s_noise for each in every)


@pytest.mark.parametrize(("samplers", "levels"), [(["rk4"], [3]), (["euler"], [0])])
def test_what_cannot_be_drawn_is_refused(samplers, levels):
    with pytest.raises(UsageError, match="cannot be"):
        ways(SamplingConfig(), samplers, levels, [0.0])


def test_a_line_has_the_scores_of_the_members_that_were_drawn(model):
    fine = open_forecast([TRUTH], ["t2m"]).isel_time(slice(0, 2))
    ticks = iter(range(100))
    with Upscaler.open(model, backend="onnxruntime", threads=1) as upscaler:
        lines = list(sweep(fine, upscaler, ["heun", "euler"], [2], [0.0], 3, 7, clock=lambda: 10.0 * next(ticks)))
        coarse = coarsen(fine, Coarsening(Registration.CELL, 4, 1, crop=True))
        drawn = upscaler.upscale_forecast(
            coarse, Request(members=3, seed=7, sampler={"integrator": "heun", "s_churn": 0.0}, schedule={"n": 2})
        )
    assert [(line.sampler, line.evaluations, line.seconds) for line in lines] == [("euler", 2, 10), ("heun", 3, 10)]
    rows, columns = drawn.grid.shape
    dims = ("realization", "time", "lat", "lon")
    members = xr.DataArray(drawn.members[:, :, 0].astype(np.float64), dims=dims)
    truth = xr.DataArray(fine.load()[:, 0, :rows, :columns].astype(np.float64), dims=dims[1:])
    area = xr.DataArray(np.cos(np.deg2rad(drawn.grid.lat)), dims="lat")
    fair = scores.probability.crps_for_ensemble(members, truth, "realization", method="fair", preserve_dims="all")
    assert lines[1].crps == pytest.approx(float(fair.weighted(area).mean()), rel=1e-3)
    error = np.sqrt(((members.mean("realization") - truth) ** 2).weighted(area).mean())
    assert lines[1].error == pytest.approx(float(error), rel=1e-3)
    assert (lines[1].frames, lines[1].members) == (2, 3)


def test_the_command_writes_a_line_for_every_way_the_cheapest_first(model, tmp_path, capsys):
    target = tmp_path / "curve" / "sweep.csv"
    given = [str(TRUTH), "--model", str(model), "--samplers", "heun", "dpmpp_2m", "--levels", "3", "2", "--churn", "0"]
    given += ["4", "--members", "2", "--frames", "1", "--variables", "t2m", "--threads", "1", "-o", str(target)]
    assert main(given) == 0
    with target.open() as file:
        rows = list(csv.DictReader(file))
    costs = [int(row["evaluations"]) for row in rows]
    assert costs == sorted(costs) == [2, 3, 3, 3, 5, 5]
    for name in ("crps", "crps_4", "crps_16", "energy", "spread", "error", "spread_skill", "ralsd", "seconds"):
        assert all(np.isfinite(float(row[name])) for row in rows), name
    assert target.with_suffix(".md").read_text() == capsys.readouterr().out


def test_bold_is_what_no_cheaper_way_reached(model):
    fine = open_forecast([TRUTH], ["t2m"]).isel_time(slice(0, 1))
    with Upscaler.open(model, backend="onnxruntime", threads=1) as upscaler:
        lines = list(sweep(fine, upscaler, ["euler"], [1, 2, 3], members=2))
    best = float("inf")
    for line, row in zip(lines, table(lines).splitlines()[2:], strict=True):
        assert ("**" in row) == (line.crps < best)
        best = min(best, line.crps)


def test_a_model_that_asks_no_denoiser_has_no_curve():
    fine = open_forecast([TRUTH], ["t2m"])
    with Upscaler.open("interpolation-cell") as upscaler, pytest.raises(UsageError, match="draws nothing"):
        next(iter(sweep(fine, upscaler)))


def test_one_member_is_refused(model, tmp_path):
    given = [str(TRUTH), "--model", str(model), "--members", "1", "-o", str(tmp_path / "x.csv")]
    assert main(given) == UsageError.exit_code
