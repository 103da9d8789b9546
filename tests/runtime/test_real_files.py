"""Real GRIB1, GRIB2, NetCDF-3, NetCDF-4 and Zarr files become CF files with the right coordinates and valid times."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.sources import open_forecast
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import open_sink
from tests.runtime.test_cf import complaints


@dataclass(frozen=True)
class RealFile:
    name: str
    variables: dict[str, str]  # canonical name -> name in the output
    lat: tuple[float, float]  # first and last row as the file stores them
    lon: tuple[float, float]
    start: str
    step_hours: int
    frames: int
    lat_name: str = "latitude"
    lon_name: str = "longitude"


# facts of the files, from tests/golden/README.md, grib_ls and ncdump
FILES = (
    RealFile("era5_uk_t2m.grib1", {"t2m": "t2m"}, (58.0, 50.0), (-10.0, 2.0), "2019-03-01T00", 1, 6),
    RealFile("gfs_poland.grib2", {"t2m": "t2m", "u10": "u10"}, (48.0, 56.0), (13.0, 25.0), "2020-08-29T06", 1, 1),
    RealFile("era5_italy_t2m_packed.nc", {"t2m": "t2m"}, (46.9, 36.4), (6.57, 18.32), "2022-05-01T00", 3, 8),
    RealFile("era5_germany_wind.nc", {"u10": "u10", "v10": "v10"}, (55.05, 47.3), (5.9, 14.9), "2025-11-04T00", 1, 24),
    RealFile("era5_telangana_v2.zarr", {"d2m": "d2m", "sp": "sp"}, (20.0, 15.0), (77.0, 82.0), "2023-09-01T00", 1, 12),
    RealFile("era5_telangana_v3.zarr", {"d2m": "d2m", "sp": "sp"}, (20.0, 15.0), (77.0, 82.0), "2023-09-01T00", 1, 12),
)


@pytest.mark.parametrize("real", FILES, ids=lambda real: real.name)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_real_files_keep_their_coordinates_names_and_values(node, golden, tmp_path, real, suffix):
    target = tmp_path / f"fine{suffix}"
    source = open_forecast(golden / real.name, tuple(real.variables))
    node.run(source, open_sink(target))
    with xr.open_dataset(target) as fine:
        frames = 6 * (real.frames - 1) + 1
        step = np.timedelta64(real.step_hours * 3600 * 10**9 // 6, "ns")
        np.testing.assert_array_equal(fine["time"].values, np.datetime64(real.start, "ns") + step * np.arange(frames))
        for name, (first, last) in ((real.lat_name, real.lat), (real.lon_name, real.lon)):
            axis = fine[name].values
            np.testing.assert_allclose([axis[0], axis[-1]], [first, last], atol=2e-3)
            np.testing.assert_allclose(np.diff(axis), (last - first) / (axis.size - 1), rtol=1e-2)
        values = source.load()
        for channel, (name, written) in enumerate(real.variables.items()):
            assert fine[written].dims == ("time", real.lat_name, real.lon_name)
            # under NODE coarse points are fine points, and an interpolation keeps them
            nodes = fine[written].values[::6, ::6, ::6]
            rows = slice(None, None, -1) if real.lat[0] < real.lat[1] else slice(None)
            scale = node.contract.normalization[name].sd
            np.testing.assert_allclose(nodes[:, rows] / scale, values[:, channel] / scale, atol=1e-4)
    if suffix == ".nc":
        assert complaints(target) == []


def test_derived_variables_are_computed_when_asked_for(node, golden, tmp_path):
    source = open_forecast(golden / "gfs_poland.grib2", ("wspd",))
    fine = node.upscale_forecast(source, Request(variables=("wspd",)))
    both = open_forecast(golden / "gfs_poland.grib2", ("u10", "v10")).load()
    np.testing.assert_allclose(fine.values[0, 0, ::6, ::6], np.hypot(both[0, 0], both[0, 1]), atol=1e-3)


def test_a_dataset_opened_by_the_user_gives_what_the_file_gives(node, golden, tmp_path):
    path = golden / "era5_germany_wind.nc"
    with xr.open_dataset(path) as dataset:
        from_dataset = node.upscale(dataset)
    node.run(open_forecast(path), open_sink(tmp_path / "fine.nc"))
    with xr.open_dataset(tmp_path / "fine.nc", decode_coords="all") as from_file:
        for name in ("u10", "v10", "quality_flag"):
            np.testing.assert_array_equal(from_dataset[name].values, from_file[name].values)
        assert set(from_dataset.coords) == set(from_file.coords)
        np.testing.assert_array_equal(from_dataset["time"].values, from_file["time"].values)
