"""Forecast: selections, shapes, checks of values; variables computed from others."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.derive import relative_humidity, wind_speed
from gfs_sr.data.forecast import Forecast, check_values, limits
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import VARIABLES, canonical_names, lookup
from gfs_sr.errors import AllMissing, MissingVariable, ShapeMismatch, UnreadableFile, ValuesOutOfBounds, WrongUnits


@pytest.fixture
def forecast() -> Forecast:
    values = 280.0 + np.arange(5 * 2 * 3 * 4, dtype=np.float32).reshape(5, 2, 3, 4) / 100
    grid = Grid.from_axes([50.0, 49.0, 48.0], [1.0, 2.0, 3.0, 4.0], "test")
    times = TimeAxis.from_times(
        None, np.datetime64("2024-01-01T00", "ns") + np.arange(5) * np.timedelta64(1, "h"), "test"
    )
    return Forecast.from_arrays(values, ["t2m", "d2m"], grid, times)


def test_frames_and_the_whole_agree(forecast):
    np.testing.assert_array_equal(forecast.load()[3], forecast.frame(3))
    np.testing.assert_array_equal(forecast.frame(-1), forecast.frame(4))
    with pytest.raises(IndexError):
        forecast.frame(5)


def test_a_selection_leaves_the_forecast_as_it_was(forecast):
    chosen = forecast.select(["d2m"])
    np.testing.assert_array_equal(chosen.load(), forecast.load()[:, 1:])
    assert forecast.variables == ("t2m", "d2m")
    with pytest.raises(MissingVariable):
        forecast.select(["msl"])


def test_slices_of_time_nest(forecast):
    part = forecast.isel_time(slice(1, None)).isel_time(slice(0, 4, 2))
    np.testing.assert_array_equal(part.load(), forecast.load()[[1, 3]])
    np.testing.assert_allclose(part.times.lead_hours, [1, 3])
    for empty in (slice(5, None), slice(None, None, -1)):
        with pytest.raises(ShapeMismatch):
            forecast.isel_time(empty)


def test_arrays_of_another_shape_are_refused(forecast):
    with pytest.raises(ShapeMismatch):
        Forecast.from_arrays(np.zeros((5, 1, 3, 4)), ["t2m", "d2m"], forecast.grid, forecast.times)


@pytest.mark.parametrize("name", list(VARIABLES))
def test_values_at_the_bounds_pass_and_fill_values_do_not(name):
    row = VARIABLES[name]
    check_values(np.array([row.bounds], np.float32), name, "test")
    for fill in (-9999.0, 1e20, np.inf):
        if limits(name)[0] <= fill <= limits(name)[1]:
            continue
        with pytest.raises(ValuesOutOfBounds):
            check_values(np.array([[fill, row.bounds[0]]], np.float32), name, "test")
    with pytest.raises(AllMissing):
        check_values(np.full((1, 2), np.nan, np.float32), name, "test")


def test_no_two_rows_share_a_name():
    spelled = [alias for row in VARIABLES.values() for alias in (row.name, *row.aliases)]
    assert len(spelled) == len(set(spelled)) == len(canonical_names())


def test_every_conversion_of_a_row_is_reached_by_its_spelling():
    for row in VARIABLES.values():
        assert row.to_canonical(row.units, "test") == (1.0, 0.0)
        for units in row.accepts:
            row.to_canonical(units, "test")
        with pytest.raises(WrongUnits):
            row.to_canonical("furlong", "test")


def test_an_unknown_variable_is_refused():
    for name in ("t3m", "t2m@850"):
        with pytest.raises(MissingVariable):
            lookup(name)


def test_wind_speed_is_the_length_of_the_vector():
    np.testing.assert_allclose(wind_speed(np.float32([3, -5]), np.float32([4, 12])), [5, 13])


@pytest.mark.parametrize(
    ("temperature_c", "dew_point_c", "percent"),
    # saturation pressures over water by Goff and Gratch: 23.37 hPa at 20 degC, 12.27 at 10, 6.11 at 0, 42.43 at 30
    [(20, 20, 100), (20, 10, 100 * 12.27 / 23.37), (30, 0, 100 * 6.11 / 42.43), (10, 12, 100)],
)
def test_relative_humidity_follows_the_saturation_pressures(temperature_c, dew_point_c, percent):
    computed = relative_humidity(np.float32(temperature_c + 273.15), np.float32(dew_point_c + 273.15))
    np.testing.assert_allclose(computed, percent, rtol=3e-3)  # of Magnus against Goff and Gratch


def test_computed_humidity_is_near_the_models_own(golden):
    from gfs_sr.data.sources import open_forecast

    given = open_forecast(golden / "gfs_poland.grib2", ["r2", "t2m", "d2m"]).frame(0)
    assert np.abs(relative_humidity(given[1], given[2]) - given[0]).mean() < 1.0  # GFS rounds to 0.1 K and 0.1 %


def test_errors_of_the_readers_carry_no_foreign_traceback_text(tmp_path):
    from gfs_sr.data.sources import open_forecast

    path = tmp_path / "a.grib2"
    path.write_bytes(b"GRIB" + bytes(40))
    with pytest.raises(UnreadableFile) as caught:
        open_forecast(path)
    assert "Traceback" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_dataset_opened_by_the_user_names_its_file(golden):
    from gfs_sr.data.sources import from_dataset

    with xr.open_dataset(golden / "era5_germany_wind.nc") as dataset:
        assert from_dataset(dataset).source == "era5_germany_wind.nc"


def test_importing_the_readers_costs_neither_xarray_nor_eccodes():
    code = "import sys, gfs_sr.data.sources; print([x for x in ('xarray', 'eccodes', 'zarr') if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
