"""Space by one model and time by another, in one run."""

import json

import numpy as np
import pytest
import xarray as xr

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
HALF_HOURS = OutputTimes.parse("90min")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Artifacts of space alone and of time alone."""
    folder = tmp_path_factory.mktemp("chain")
    publish(make_checkpoint(NARROW, spread=0.1), folder / "time")
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
