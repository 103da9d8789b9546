"""NetCDF, Zarr and datasets in memory: names, units, times, levels, grids, damage."""

import netCDF4
import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import from_dataset, open_forecast
from gfs_sr.data.sources.netcdf3_size import expected_size
from gfs_sr.errors import (
    AllMissing,
    AmbiguousField,
    GapInLeadTimes,
    MissingFile,
    MissingVariable,
    RegistrationMismatch,
    ShapeMismatch,
    UnreadableFile,
    UnsortedTimes,
    UnsupportedGrid,
    ValuesOutOfBounds,
    WrongUnits,
)

TIMES = np.datetime64("2024-01-01T00", "ns") + np.arange(4) * np.timedelta64(6, "h")


def dataset(
    name="t2m", units="K", values=None, lat=(50.0, 49.0, 48.0), lon=(10.0, 11.0, 12.0), times=TIMES, **attrs
) -> xr.Dataset:
    """Four 6-hourly frames on 3x3 points; each value is unique."""
    shape = (len(times), len(lat), len(lon))
    field = 280.0 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 8 if values is None else values
    attributes = attrs if units is None else {"units": units, **attrs}
    return xr.Dataset(
        {name: (("time", "latitude", "longitude"), field, attributes)},
        coords={"time": np.asarray(times), "latitude": list(lat), "longitude": list(lon)},
    )


def test_latitudes_in_either_direction_give_the_same_forecast():
    falling = dataset()
    rising = falling.isel(latitude=slice(None, None, -1))
    one, other = from_dataset(falling), from_dataset(rising)
    np.testing.assert_array_equal(one.load(), other.load())
    np.testing.assert_array_equal(one.grid.lat, other.grid.lat)
    assert (one.layout.lat_ascending, other.layout.lat_ascending) == (False, True)


@pytest.mark.parametrize(
    ("lon", "expected", "longitudes_from"),
    [
        ([0, 120, 240], [0, 120, 240], 0),
        ([-180, -60, 60], [-180, -60, 60], -180),
        ([180, 300, 60], [-180, -60, 60], -180),
        ([350, 355, 0], [-10, -5, 0], -180),
        ([12, 11, 10], [10, 11, 12], 0),
    ],
    ids=["from 0", "from -180", "from 180", "across Greenwich", "east to west"],
)
def test_longitudes_rise_whatever_the_file_starts_from(lon, expected, longitudes_from):
    forecast = from_dataset(dataset(lon=lon))
    np.testing.assert_allclose(forecast.grid.lon, expected)
    assert forecast.layout.longitudes_from == longitudes_from
    columns = [3, 2, 1] if lon == [12, 11, 10] else [1, 2, 3]
    np.testing.assert_array_equal(np.argsort(forecast.frame(0)[0, 0]) + 1, columns)


@pytest.mark.parametrize(
    ("name", "units", "factor", "offset"),
    [("tas", "degC", 1, 273.15), ("t2m", "Celsius", 1, 273.15), ("msl", "hPa", 100, 0), ("si10", "m s**-1", 1, 0)],
)
def test_units_are_converted_to_the_table(name, units, factor, offset):
    values = np.full((4, 3, 3), 1013.0 if name == "msl" else 12.5, np.float32)
    forecast = from_dataset(dataset(name, units, values))
    np.testing.assert_allclose(forecast.frame(0), 1013.0 * 100 if name == "msl" else 12.5 * factor + offset)


def test_units_that_cannot_be_converted_are_refused():
    with pytest.raises(WrongUnits, match="Pa"):
        from_dataset(dataset(units="Pa"))


def test_absent_units_are_assumed_only_where_the_values_fit():
    assert any("has no units" in note for note in from_dataset(dataset(units=None)).warnings)
    with pytest.raises(WrongUnits, match="no units"):
        from_dataset(dataset(units=None, values=np.full((4, 3, 3), 12.5)))


def test_kelvins_labelled_celsius_are_refused():
    with pytest.raises(ValuesOutOfBounds):
        from_dataset(dataset(units="degC")).frame(0)


def test_an_unmasked_fill_value_is_refused():
    values = np.full((4, 3, 3), 280.0)
    values[2, 1, 1] = -9999.0
    forecast = from_dataset(dataset(values=values))
    forecast.frame(1)
    with pytest.raises(ValuesOutOfBounds, match=r"-9999[\s\S]*lead time 12 h"):
        forecast.frame(2)


def test_a_frame_without_values_is_refused():
    values = np.full((4, 3, 3), 280.0)
    values[3] = np.nan
    with pytest.raises(AllMissing):
        from_dataset(dataset(values=values)).frame(3)


def test_missing_points_stay_missing():
    values = np.full((4, 3, 3), 280.0)
    values[:, 0, 0] = np.nan
    frame = from_dataset(dataset(values=values)).frame(0)[0]
    np.testing.assert_array_equal(np.isnan(frame), [[True, False, False], [False] * 3, [False] * 3])


@pytest.mark.parametrize(
    ("order", "error"),
    [([0, 1, 3], GapInLeadTimes), ([0, 2, 1], UnsortedTimes), ([0, 1, 1], UnsortedTimes), ([3, 2, 1], UnsortedTimes)],
    ids=["gap", "unsorted", "doubled", "falling"],
)
def test_times_that_are_no_even_rising_run_are_refused(order, error):
    with pytest.raises(error):
        from_dataset(dataset().isel(time=order))


def test_lead_times_count_from_the_reference_time():
    steps = np.arange(4) * np.timedelta64(6, "h")
    given = dataset().assign_coords(time=steps.astype("timedelta64[ns]")).rename(time="step")
    forecast = from_dataset(given.assign_coords(time=TIMES[0], valid_time=("step", TIMES[0] + steps)))
    np.testing.assert_allclose(forecast.times.lead_hours, [0, 6, 12, 18])
    assert forecast.times.reference_time == TIMES[0]


def test_plain_numbers_are_lead_times_in_hours():
    given = dataset().assign_coords(time=[6.0, 12.0, 18.0, 24.0]).rename(time="step").assign_coords(time=TIMES[0])
    np.testing.assert_allclose(from_dataset(given).times.lead_hours, [6, 12, 18, 24])


def test_the_reference_time_beside_valid_times_is_kept():
    start = TIMES[0] - np.timedelta64(12, "h")
    forecast = from_dataset(dataset().assign_coords(forecast_reference_time=start))
    np.testing.assert_allclose(forecast.times.lead_hours, [12, 18, 24, 30])


def test_dimensions_may_stand_in_any_order():
    plain = dataset()
    turned = plain.transpose("longitude", "time", "latitude").expand_dims({"height": [2.0], "number": [0]})
    np.testing.assert_array_equal(from_dataset(turned).load(), from_dataset(plain).load())


def test_the_two_versions_of_era5_are_merged():
    plain = dataset()
    final, preliminary = plain.t2m.where(plain.time < TIMES[2]), plain.t2m.where(plain.time >= TIMES[2])
    both = xr.concat([final, preliminary], xr.DataArray([1, 5], dims="expver", name="expver")).to_dataset(name="t2m")
    both.t2m.attrs["units"] = "K"
    np.testing.assert_array_equal(from_dataset(both).load(), from_dataset(plain).load())


def test_levels_become_variables():
    levels = xr.concat(
        [dataset("t").t, dataset("t").t - 30], xr.DataArray([85000.0, 50000.0], dims="plev", name="plev")
    )
    given = levels.to_dataset(name="t").assign_attrs()
    given.t.attrs["units"] = "K"
    given.plev.attrs["units"] = "Pa"
    forecast = from_dataset(given)
    assert forecast.variables == ("t@850", "t@500")
    np.testing.assert_allclose(forecast.frame(0)[0] - forecast.frame(0)[1], 30.0)


def test_a_standard_name_with_its_height_is_enough():
    given = dataset("screen", standard_name="air_temperature").assign_coords(
        height=((), 1.5, {"standard_name": "height"})
    )
    forecast = from_dataset(given)
    assert forecast.variables == ("t2m",)
    assert forecast.layout.variable_names == {"t2m": "screen"}


def test_a_standard_name_at_no_height_is_not_guessed():
    with pytest.raises(MissingVariable, match="air"):
        from_dataset(dataset("air", standard_name="air_temperature"))


def test_two_variables_of_one_meaning_are_refused():
    given = dataset("tas").merge(dataset("2t"))
    with pytest.raises(AmbiguousField, match="both are t2m"):
        from_dataset(given, ["t2m"])


def test_the_exact_name_goes_before_an_alias():
    given = dataset("tas", values=np.full((4, 3, 3), 250.0)).merge(dataset("t2m", values=np.full((4, 3, 3), 260.0)))
    forecast = from_dataset(given)
    assert forecast.frame(0).max() == 260.0
    assert any("tas" in note for note in forecast.warnings)


def test_members_are_refused():
    with pytest.raises(AmbiguousField, match="members"):
        from_dataset(dataset().expand_dims(number=[0, 1]))


def test_curvilinear_grids_are_refused():
    lat, lon = np.meshgrid([50.0, 49.0, 48.0], [10.0, 11.0, 12.0], indexing="ij")
    given = xr.Dataset(
        {"t2m": (("time", "y", "x"), np.full((4, 3, 3), 280.0), {"units": "K"})},
        coords={"time": TIMES, "lat": (("y", "x"), lat), "lon": (("y", "x"), lon)},
    )
    with pytest.raises(UnsupportedGrid, match="curvilinear"):
        from_dataset(given)


def test_uneven_latitudes_are_refused():
    with pytest.raises(UnsupportedGrid, match="latitude is not evenly spaced"):
        from_dataset(dataset(lat=(50.0, 49.0, 47.5)))


def test_another_calendar_is_refused():
    given = dataset().assign_coords(
        time=xr.date_range("2024-01-01", periods=4, freq="6h", calendar="noleap", use_cftime=True)
    )
    with pytest.raises(UnsortedTimes, match="calendar"):
        from_dataset(given)


def test_the_registration_of_a_file_is_known():
    assert from_dataset(dataset().assign_attrs(gfs_sr_registration="cell")).registration is Registration.CELL
    assert from_dataset(dataset()).registration is None


def test_wind_speed_and_humidity_are_computed_only_when_asked_for():
    given = dataset("u10", "m s-1", np.full((4, 3, 3), 3.0)).merge(dataset("v10", "m s-1", np.full((4, 3, 3), 4.0)))
    assert from_dataset(given).variables == ("u10", "v10")
    forecast = from_dataset(given, ["wspd"])
    np.testing.assert_allclose(forecast.frame(0), 5.0)
    assert any("wspd is not in the input; it is computed" in note for note in forecast.warnings)
    with pytest.raises(MissingVariable):
        from_dataset(given, ["wspd"], derive=False)


def test_rates_become_amounts_per_step():
    forecast = from_dataset(dataset("pr", "kg m-2 s-1", np.full((4, 3, 3), 1e-4)))
    np.testing.assert_allclose(forecast.frame(0), 1e-4 * 6 * 3600)


def test_accumulations_since_the_start_become_buckets():
    totals = np.cumsum(np.ones((4, 3, 3)), axis=0)
    given = dataset("tp", "mm", totals, GRIB_stepType="accum").assign_coords(time=[6.0, 12.0, 18.0, 24.0])
    forecast = from_dataset(given.rename(time="step").assign_coords(time=TIMES[0]))
    np.testing.assert_allclose(forecast.load(), 1.0)
    assert forecast.buckets == {"tp": np.timedelta64(6, "h")}


@pytest.mark.parametrize("file_format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4"])
def test_every_netcdf_format_is_read(tmp_path, file_format):
    given = dataset()
    path = tmp_path / "a.nc"
    engine = "netcdf4"
    given.to_netcdf(path, format=file_format, engine=engine, unlimited_dims=["time"])
    np.testing.assert_array_equal(open_forecast(path).load(), from_dataset(given).load())


@pytest.mark.parametrize("file_format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("unlimited", [(), ("time",)], ids=["fixed", "records"])
def test_the_promised_size_of_a_netcdf_3_file_is_its_size(tmp_path, file_format, unlimited):
    path = tmp_path / "a.nc"
    dataset().to_netcdf(path, format=file_format, engine="netcdf4", unlimited_dims=unlimited)
    promised = expected_size(path)
    assert promised is not None
    assert 0 <= path.stat().st_size - promised <= 3  # padding to four bytes


@pytest.mark.parametrize("file_format", ["NETCDF3_CLASSIC", "NETCDF4"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, file_format, part):
    whole, cut = tmp_path / "whole.nc", tmp_path / "cut.nc"
    dataset(lat=np.arange(50.0, 20, -1), lon=np.arange(40.0)).to_netcdf(whole, format=file_format, engine="netcdf4")
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UnreadableFile, match=r"cut\.nc"):
        open_forecast(cut)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.nc"
    path.write_text("not a field at all")
    with pytest.raises(UnreadableFile, match="neither GRIB nor NetCDF"):
        open_forecast(path)
    with pytest.raises(MissingFile):
        open_forecast(tmp_path / "absent.nc")
    with pytest.raises(UnreadableFile, match="folder"):
        open_forecast(tmp_path)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_both_zarr_formats_are_read(tmp_path, zarr_format, consolidated):
    if zarr_format == 3 and consolidated:
        pytest.skip("consolidated metadata are not part of the Zarr 3 specification")
    given = dataset()
    path = tmp_path / "a.zarr"
    given.to_zarr(path, zarr_format=zarr_format, consolidated=consolidated)
    np.testing.assert_array_equal(open_forecast(path).load(), from_dataset(given).load())


def test_files_join_by_variable_and_time(tmp_path):
    paths = []
    for name, units in (("t2m", "K"), ("d2m", "K")):
        for part in (slice(2, 4), slice(0, 2)):
            paths.append(tmp_path / f"{name}_{part.start}.nc")
            dataset(name, units).isel(time=part).to_netcdf(paths[-1])
    forecast = open_forecast(paths)
    assert forecast.variables == ("t2m", "d2m")
    np.testing.assert_array_equal(forecast.times.valid_times, TIMES)
    np.testing.assert_array_equal(forecast.load()[:, 1], from_dataset(dataset("d2m")).load()[:, 0])


def test_a_frame_in_two_files_is_refused(tmp_path):
    for name, part in (("a", slice(0, 3)), ("b", slice(2, 4))):
        dataset().isel(time=part).to_netcdf(tmp_path / f"{name}.nc")
    with pytest.raises(UnsortedTimes, match="occurs twice"):
        open_forecast([tmp_path / "a.nc", tmp_path / "b.nc"])


def test_static_fields_of_several_runs_are_one(tmp_path):
    for hour in (0, 6):
        start = TIMES[0] + np.timedelta64(hour, "h")
        given = dataset("orog", "m").assign_coords(forecast_reference_time=start)
        given.isel(time=slice(hour // 6, hour // 6 + 1)).to_netcdf(tmp_path / f"{hour}.nc")
    forecast = open_forecast([tmp_path / "0.nc", tmp_path / "6.nc"], ["orog"])
    assert len(forecast.times) == 1


def test_files_on_two_grids_are_refused(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc")
    dataset("d2m", lat=(60.0, 59.0, 58.0)).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(ShapeMismatch, match="60N"):
        open_forecast([tmp_path / "a.nc", tmp_path / "b.nc"])


def test_files_of_two_registrations_are_refused(tmp_path):
    dataset().assign_attrs(gfs_sr_registration="cell").to_netcdf(tmp_path / "a.nc")
    dataset("d2m").assign_attrs(gfs_sr_registration="node").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(RegistrationMismatch):
        open_forecast([tmp_path / "a.nc", tmp_path / "b.nc"])


def test_one_frame_is_read_at_a_time(golden, monkeypatch):
    read = []
    original = xr.DataArray.isel
    monkeypatch.setattr(
        xr.DataArray, "isel", lambda self, *args, **kw: read.append(args) or original(self, *args, **kw)
    )
    forecast = open_forecast(golden / "era5_germany_wind.nc")
    assert not read
    forecast.select(["v10"]).frame(3)
    assert [arguments[0]["valid_time"] for arguments in read] == [slice(3, 4)]


def test_packed_integers_equal_what_netcdf4_decodes(golden):
    path = golden / "era5_italy_t2m_packed.nc"
    with netCDF4.Dataset(path) as file:
        assert file.data_model == "NETCDF3_64BIT_OFFSET"
        assert file["t2m"].dtype == np.int16
        truth = np.ma.filled(file["t2m"][:], np.nan).astype(np.float32)
    np.testing.assert_array_equal(open_forecast(path).load()[:, 0], truth)


@pytest.mark.parametrize("version", [2, 3])
def test_real_zarr_equals_what_xarray_decodes(golden, version):
    path = golden / f"era5_telangana_v{version}.zarr"
    with xr.open_zarr(path, consolidated=version == 2) as truth:
        forecast = open_forecast(path, ["d2m", "tp"])
        np.testing.assert_array_equal(forecast.load()[:, 0], truth.d2m.values)
        np.testing.assert_allclose(forecast.load()[:, 1], truth.tp.values * 1000, rtol=1e-6)
