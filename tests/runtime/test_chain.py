"""Space by one model and time by another, in one run."""

import json

import numpy as np
import pytest
import xarray as xr

from export.offer import offer
from export.publication import publish
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.errors import RegistrationMismatch, UsageError
from gfs_sr.runtime.chain import run_chain
from gfs_sr.runtime.output_times import OutputTimes
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import MemorySink
from gfs_sr.runtime.upscaler import Upscaler
from tests.artifacts import make_repeat_artifact
from tests.export.checkpoints import make_checkpoint
from tests.forecasts import make_forecast
from tests.interpolating_artifact import interpolation_contract, make_interpolation_artifact
from tests.runtime.test_cli import dataset, run

NARROW = {"family": "temdeep_narrow", "width": 6, "variables": ["t2m", "sp"]}
DRAWN = {
    "family": "edm", "variables": ["t2m", "sp"], "registration": "node", "width": 4, "multipliers": [1], "blocks": 1,
    "dropout": 0.0, "normalization": "cell", "attention": "none", "scale_factor": 2, "factors": [],
    "schedule": {"n": 2, "sigma_min": 0.05, "sigma_max": 10.0},
}  # fmt: skip
HALF_HOURS = OutputTimes.parse("90min")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Artifacts of space alone and of time alone."""
    folder = tmp_path_factory.mktemp("chain")
    publish(make_checkpoint(NARROW, spread=0.1), folder / "time")
    publish(offer(make_checkpoint(DRAWN, spread=0.1), "members", None, ()), folder / "members")
    make_interpolation_artifact(folder / "space", interpolation_contract(3, 1, name="space"))
    return folder


@pytest.fixture(scope="module")
def in_time(folders):
    with Upscaler.open(folders / "time", backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def space(folders):
    with Upscaler.open(folders / "space", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def drawing(folders):
    with Upscaler.open(folders / "members", backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def forecast():
    return make_forecast(3, ("t2m", "sp"), Grid(50 - 1.0 * np.arange(7), 5 + 1.0 * np.arange(9)))


@pytest.mark.parametrize("time_first", [False, True])
def test_x_6_one_run_gives_what_the_two_models_give_one_after_the_other(space, in_time, forecast, time_first):
    sink = MemorySink()
    run_chain(space, in_time, forecast, sink, Request(times=HALF_HOURS), time_first=time_first)
    timed, finer = Request(times=HALF_HOURS), Request()
    steps = [(in_time, timed), (space, finer)] if time_first else [(space, finer), (in_time, timed)]
    field = forecast
    for upscaler, request in steps:
        made = upscaler.upscale_forecast(field, request)
        field = Forecast.from_arrays(made.values, made.variables, made.grid, made.times)
    assert sink.values.shape == (9, 2, 19, 25)
    np.testing.assert_allclose(sink.values, field.load(), rtol=1e-6)
    np.testing.assert_array_equal(field.times.lead_hours, 1.5 * np.arange(9))


def test_x_6_one_command_chains_two_artifacts_and_keeps_units_and_names(folders, tmp_path, capsys, monkeypatch):
    source, output = tmp_path / "coarse.nc", tmp_path / "fine.nc"
    given = dataset()
    given["t2m"] = (given["t2m"].dims, given["t2m"].values - 273.15, {"units": "degC"} | {
        "standard_name": "air_temperature"})  # fmt: skip
    given.to_netcdf(source)
    code, out, err = run(
        ["upscale", source, "-o", output, "--model", folders / "space", "--time-model", folders / "time",
         "--times", "90min", "--threads", "1", "--json"], capsys, monkeypatch,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["model"] == "space, then small"
    with xr.open_dataset(output) as fine:
        assert fine["t2m"].attrs["units"] == "K"
        assert 240 < float(fine["t2m"].mean()) < 320  # degrees were understood once
        assert fine["sp"].attrs["units"] == "Pa"
        assert set(fine["t2m"].dims) == {"time", "latitude", "longitude"}
        assert fine.sizes["time"] == 9
        np.testing.assert_allclose(fine["longitude"], 5 + np.arange(31) / 3)


def test_x_6_models_that_are_not_of_their_kind_are_refused(space, in_time, node, forecast, tmp_path):
    with pytest.raises(UsageError, match="no model of time alone"):
        run_chain(space, node, forecast, MemorySink())
    with pytest.raises(UsageError, match="no graph for frames on their own"):
        run_chain(node, in_time, forecast, MemorySink())
    wind = make_interpolation_artifact(
        tmp_path / "wind",
        interpolation_contract(3, 1, name="wind", inputs=("u10",), outputs=("u10",), any_subset=True),
    )
    with Upscaler.open(wind, threads=1) as other, pytest.raises(UsageError, match="share no variable"):
        run_chain(other, in_time, forecast, MemorySink())


def test_x_6_registration_is_checked_by_the_model_of_space_and_kept_by_that_of_time(space, in_time, tmp_path):
    cells = make_forecast(3, ("t2m", "sp"), registration=Registration.CELL)
    with pytest.raises(RegistrationMismatch):
        run_chain(space, in_time, cells, MemorySink())
    with Upscaler.open(make_repeat_artifact(tmp_path / "repeat"), threads=1) as repeat:  # of cells, s = 2
        sink = MemorySink()
        run_chain(repeat, in_time, cells, sink, Request(times=HALF_HOURS))
    assert sink.values.shape[0] == 9
    assert sink.description.attrs["gfs_sr_model_registration"] == "cell"


def test_x_6_frames_that_stand_alone_have_no_untrained_interval(space, in_time, forecast):
    sink = MemorySink()
    summary = run_chain(space, in_time, forecast, sink, Request(times=HALF_HOURS), time_first=True)
    assert sink.values.shape[0] == 9
    assert summary.frames == 9


def test_x_6_every_member_is_refined_in_time(drawing, in_time, forecast):
    request = Request(times=HALF_HOURS, members=3, seed=4, schedule={"n": 3})
    sink = MemorySink()
    summary = run_chain(drawing, in_time, forecast, sink, request)
    drawn = drawing.upscale_forecast(forecast, Request(members=3, seed=4, schedule={"n": 3}))
    assert sink.values.shape == (3, 9, 2, 13, 17)
    assert summary.fine_cells == sink.values.size
    for member, field in zip(sink.values, drawn.members, strict=True):
        alone = Forecast.from_arrays(field, drawn.variables, drawn.grid, drawn.times)
        np.testing.assert_allclose(member, in_time.upscale_forecast(alone, Request(times=HALF_HOURS)).values, rtol=1e-6)
    assert np.abs(sink.values[0] - sink.values[1]).max() > 0.01


def test_x_6_members_of_frames_that_were_made_in_time_first(drawing, in_time, forecast):
    sink = MemorySink()
    run_chain(drawing, in_time, forecast, sink, Request(times=HALF_HOURS, members=2, seed=4), time_first=True)
    assert sink.values.shape == (2, 9, 2, 13, 17)
    assert sink.description.members == 2


def test_x_6_members_that_wait_between_two_models_are_not_resumed(drawing, in_time, forecast):
    with pytest.raises(UsageError, match="--time-first"):
        run_chain(drawing, in_time, forecast, MemorySink(), Request(times=HALF_HOURS, members=2, resume=True))


@pytest.mark.parametrize("time_first", [False, True])
def test_x_6_the_file_tells_the_work_of_both_models(folders, tmp_path, capsys, monkeypatch, time_first):
    source, output = tmp_path / "coarse.nc", tmp_path / "fine.nc"
    dataset().to_netcdf(source)
    order = ["--time-first"] if time_first else []
    code, out, err = run(
        ["upscale", source, "-o", output, "--model", folders / "members", "--time-model", folders / "time",
         "--times", "90min", "--members", "2", "--seed", "7", "--backend", "onnxruntime", "--threads", "1", "--json",
         *order], capsys, monkeypatch,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["output"] == str(output)
    with xr.open_dataset(output) as fine:
        assert fine["t2m"].dims == ("realization", "time", "latitude", "longitude")
        np.testing.assert_array_equal(fine["realization"], [0, 1])
        assert np.isfinite(fine["t2m"]).all()
        assert fine.attrs["gfs_sr_scale_factor"] == "2"
        assert fine.attrs["gfs_sr_time_factor"] == "4"  # 90 minutes of frames every 6 hours
        names = ("small", "members") if time_first else ("members", "small")
        assert fine.attrs["gfs_sr_model"] == ", then ".join(names)
        assert len(set(fine.attrs["gfs_sr_model_sha256"].split(", then "))) == 2
        assert (fine.attrs["gfs_sr_seed"], fine.attrs["gfs_sr_exact"]) == ("7", "true")
        assert '"n":2' in fine.attrs["gfs_sr_sampling"]
        assert "2 times in space" in fine.attrs["title"]
        assert len(fine.attrs["history"].splitlines()) == 2
