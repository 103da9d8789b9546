"""A folder of daily files in the schema of the GFS archive: (step, latitude, longitude), 48 hourly leads."""

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.sources import open_archive, open_forecast
from gfs_sr.errors import MissingFile, MissingVariable, UnreadableFile, UnsortedTimes

VARIABLES = ("t2m", "d2m", "r2", "sp", "wspd")
LEVELS = {"t2m": 290.0, "d2m": 280.0, "r2": 50.0, "sp": 95000.0, "wspd": 5.0}
UNITS = {"t2m": "K", "d2m": "unknown", "r2": "%", "sp": "Pa", "wspd": None}  # as the archive has them


def write_day(path, day, without=()):
    """One file, with the coordinates and attributes that cfgrib leaves in such an archive."""
    start = np.datetime64(day, "ns")
    steps = np.arange(48) * np.timedelta64(1, "h")
    shape = (48, 9, 11)
    ramp = np.arange(48, dtype=np.float32)[:, None, None] / 100 + np.zeros(shape, np.float32)
    fields = {
        name: (
            ("step", "latitude", "longitude"),
            LEVELS[name] + ramp,
            {} if UNITS[name] is None else {"units": UNITS[name], "standard_name": "unknown"},
        )
        for name in VARIABLES
        if name not in without
    }
    coords = {
        "time": ((), start, {"standard_name": "time", "long_name": "initial time of forecast"}),
        "step": ("step", steps.astype("timedelta64[ns]"), {"standard_name": "forecast_period"}),
        "valid_time": ("step", start + steps, {"standard_name": "time"}),
        "latitude": ("latitude", 40.0 - 0.25 * np.arange(9), {"units": "degrees_north"}),
        "longitude": ("longitude", 65.0 + 0.25 * np.arange(11), {"units": "degrees_east"}),
        "heightAboveGround": ((), 10.0),
        "surface": ((), 0.0),
        "gribfile_projection": ((), 0, {"grid_mapping_name": "latitude_longitude"}),
    }
    xr.Dataset(fields, coords=coords).to_netcdf(path)
    return path


def test_s000_01_a_folder_of_daily_files_gives_five_variables_at_48_leads(tmp_path):
    (tmp_path / "2021").mkdir()
    write_day(tmp_path / "2021" / "gfs_20210302.nc", "2021-03-02")
    write_day(tmp_path / "gfs_2021-03-01_india.nc", "2021-03-01")
    archive = open_archive(tmp_path)
    assert [str(day) for day, _ in archive] == ["2021-03-01", "2021-03-02"]
    for day, path in archive:
        forecast = open_forecast(path, VARIABLES)
        assert forecast.variables == VARIABLES
        assert forecast.shape == (48, 5, 9, 11)
        assert forecast.times.reference_time == day
        np.testing.assert_allclose(forecast.times.lead_hours, np.arange(48))
        np.testing.assert_allclose(forecast.frame(7)[:, 0, 0], [LEVELS[name] + 0.07 for name in VARIABLES], rtol=1e-6)


def test_s000_01_a_file_without_r2_is_an_error_that_names_file_and_variable(tmp_path):
    path = write_day(tmp_path / "gfs_20210301.nc", "2021-03-01", without=("r2",))
    with pytest.raises(MissingVariable, match=r"variable r2[\s\S]*gfs_20210301\.nc"):
        open_forecast(path, VARIABLES, derive=False)


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(MissingFile):
        open_archive(tmp_path)
    with pytest.raises(MissingFile):
        open_archive(tmp_path / "absent")


def test_names_without_a_date_and_doubled_dates_are_refused(tmp_path):
    (tmp_path / "20219999.nc").touch()
    with pytest.raises(UnreadableFile, match="no date"):
        open_archive(tmp_path)
    (tmp_path / "20219999.nc").unlink()
    for name in ("a_20210301.nc", "b_20210301.nc"):
        (tmp_path / name).touch()
    with pytest.raises(UnsortedTimes, match="2021-03-01"):
        open_archive(tmp_path)
