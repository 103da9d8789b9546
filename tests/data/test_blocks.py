"""Fields read in blocks: the same values as read whole, and no more of them than asked for."""

import os
import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.chunk_cache import LARGE_BYTES, SMALL_BYTES, ChunkCache, Chunking, read_window
from gfs_sr.data.coarsen import block_mean, footprint, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.sources.blocks import open_blocks
from gfs_sr.errors import MissingVariable
from tests import fields


def dataset(frames=6, rows=12, columns=18, ascending=False, westward=False):
    lat, lon = 50 - 0.25 * np.arange(rows), 5 + 0.25 * np.arange(columns)
    values = (280 + fields.waves(frames, rows, columns)).astype(np.float32)
    u, v = (fields.waves(frames, rows, columns, seed).astype(np.float32) for seed in (1, 2))
    made = xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), values - 273.15, {"units": "degC"}),
            "u10": (("time", "lat", "lon"), u, {"units": "m s-1"}),
            "v10": (("time", "lat", "lon"), v, {"units": "m s-1"}),
        },
        coords={
            "time": np.datetime64("2021-03-01", "ns") + np.arange(frames) * np.timedelta64(1, "h"),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )
    made = made.isel(lat=slice(None, None, -1)) if ascending else made
    return made.isel(lon=slice(None, None, -1)) if westward else made


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("westward", [False, True])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_block_equals_that_part_of_the_frames(tmp_path, ascending, westward, suffix):
    path = tmp_path / f"fields{suffix}"
    made = dataset(ascending=ascending, westward=westward)
    made.to_netcdf(path) if suffix == ".nc" else made.to_zarr(path, consolidated=False)
    (file,) = open_blocks([path], ["t2m", "wspd"])
    forecast = open_forecast(path, ["t2m", "wspd"])
    whole = forecast.load()
    assert (file.variables, file.shape) == (("t2m", "wspd"), (6, 12, 18))
    assert_array_equal(file.grid.lat, forecast.grid.lat)
    for channel, name in enumerate(file.variables):
        block = file.read(name, slice(2, 5), slice(1, 8), slice(11, 18))
        assert_array_equal(block, whole[2:5, channel, 1:8, 11:18])
    assert whole[0, 0].mean() > 270  # K, not degC


@pytest.mark.parametrize("name", ["era5_uk_t2m.grib1", "era5_italy_t2m_packed.nc", "era5_telangana_v2.zarr",
                                  "era5_telangana_v3.zarr"])  # fmt: skip
def test_real_files_in_blocks(golden, name):
    (file,) = open_blocks([golden / name], ["t2m" if "t2m" in name else "d2m"])
    whole = open_forecast(golden / name, file.variables).load()
    last = min(3, file.shape[0])
    block = file.read(file.variables[0], slice(1, last), slice(2, 7), slice(3, 5))
    assert_array_equal(block, whole[1:last, 0, 2:7, 3:5])


def test_daily_files_of_the_seed_system_are_read_in_blocks(tmp_path):
    values = (290 + fields.waves(8, 21, 21)).astype(np.float32)
    lead = np.arange(8) * np.timedelta64(3600 * 10**9, "ns")
    start = np.datetime64("2021-03-01T00", "ns")
    for day in range(2):
        begin = start + day * np.timedelta64(1, "D")
        xr.Dataset(
            {"t2m": (("step", "latitude", "longitude"), values + day, {"units": "K"})},
            coords={
                "time": begin, "step": ("step", lead), "valid_time": ("step", begin + lead),
                "latitude": ("latitude", 40 - 0.25 * np.arange(21), {"units": "degrees_north"}),
                "longitude": ("longitude", 65 + 0.25 * np.arange(21), {"units": "degrees_east"}),
            },
        ).to_netcdf(tmp_path / f"2021030{day + 1}.nc")  # fmt: skip
    found = open_blocks(sorted(tmp_path.glob("*.nc")), ["t2m"])
    assert [str(each.times[0])[:10] for each in found] == ["2021-03-01", "2021-03-02"]
    part = (slice(2, 6), slice(3, 9), slice(0, 21))
    assert_array_equal(found[1].read("t2m", *part), (values + 1)[part])


def test_accumulated_fields_are_read_frame_by_frame(shared_data):
    path = shared_data / "series" / "meteonet_nw" / "arpege_PRECIP_NW_20180501000000.grib"
    (file,) = open_blocks([path])
    whole = open_forecast(path).load()
    assert file.buckets == {"tp": np.timedelta64(3600 * 10**9, "ns")}
    assert_array_equal(file.read("tp", slice(3, 6), slice(10, 20), slice(0, 9)), whole[3:6, 0, 10:20, :9])


def test_files_of_one_grid_and_time_are_joined_and_others_kept_apart(tmp_path):
    dataset()[["t2m"]].to_netcdf(tmp_path / "a.nc")
    dataset()[["u10", "v10"]].to_netcdf(tmp_path / "b.nc")
    later = dataset()
    later.assign_coords(time=later.time + np.timedelta64(1, "D")).to_netcdf(tmp_path / "c.nc")
    found = open_blocks(sorted(tmp_path.glob("*.nc")))
    assert [each.variables for each in found] == [("t2m", "u10", "v10")] * 2
    assert [len(each.paths) for each in found] == [2, 1]
    with pytest.raises(MissingVariable, match="variable d2m is in none"):
        open_blocks([tmp_path / "a.nc"], ["t2m", "d2m"])


def test_files_are_opened_in_the_process_that_reads(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc")
    (file,) = open_blocks([tmp_path / "a.nc"], ["t2m"])
    expected = file.read("t2m", slice(0, 1), slice(0, 2), slice(0, 2))
    assert list(file._opened) == [os.getpid()]
    copy = pickle.loads(pickle.dumps(file))
    assert not copy._opened
    assert_array_equal(copy.read("t2m", slice(0, 1), slice(0, 2), slice(0, 2)), expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_window_over_chunks_is_the_window_over_the_whole(data):
    shape = tuple(data.draw(st.integers(1, 9)) for _ in range(3))
    chunk = tuple(data.draw(st.integers(1, 9)) for _ in range(3))
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    indices = tuple(
        np.array(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=7))) for length in shape
    )
    cache = ChunkCache(data.draw(st.integers(0, 4 * values.size)))
    chunking = Chunking(shape, tuple(min(c, n) for c, n in zip(chunk, shape, strict=True)))
    loaded = []

    def load(ranges):
        loaded.append(ranges)
        return values[tuple(slice(each.start, each.stop) for each in ranges)]

    found = read_window(chunking, load, cache, "x", indices)
    assert_array_equal(found, values[np.ix_(*indices)])
    assert cache.held_bytes <= cache.limit_bytes
    owners = {tuple(i // c for i, c in zip(cell, chunking.chunk, strict=True)) for cell in zip(
        *(each.ravel() for each in np.meshgrid(*indices, indexing="ij")), strict=True)}  # fmt: skip
    assert len(loaded) == len(owners)


def test_the_cache_drops_the_oldest_first():
    cache = ChunkCache(3 * 400)
    block = np.zeros(100, np.float32)
    for key in "abc":
        cache.get(key, lambda: block)
    cache.get("a", lambda: block)
    cache.get("d", lambda: block)
    assert cache.held_bytes == 1200
    assert cache.loads == 4
    cache.get("a", lambda: block)
    assert cache.loads == 4
    cache.get("b", lambda: block)
    assert cache.loads == 5
    large = cache.get("large", lambda: np.zeros(1000, np.float32))
    assert large.size == 1000
    assert cache.held_bytes <= 1200


@pytest.mark.parametrize(
    ("shape", "stored"),
    [((480, 33, 49), None), ((1000, 8, 8), (1, 8, 8)), ((6, 4000, 8000), (1, 4000, 8000)), ((3, 5, 7), (24, 64, 64)),
     ((48, 512, 640), (24, 64, 64)), ((2000, 2000, 2000), (2000, 2000, 2000))],
)  # fmt: skip
def test_chunks_for_reading_are_neither_tiny_nor_huge(shape, stored):
    chunking = Chunking.of(shape, stored)
    size = 4 * np.prod(chunking.chunk)
    assert size <= LARGE_BYTES
    assert size >= SMALL_BYTES // 2 or chunking.chunk[0] == shape[0]
    covered = [chunking.ranges(tuple(n - 1 for n in chunking.counts))[axis].stop for axis in range(3)]
    assert covered == list(shape)


@pytest.mark.parametrize("periodic", [False, True])
def test_the_footprint_of_nodes_is_the_gaussian_of_the_whole(periodic):
    field = fields.waves(1, 40, 48)[0]
    whole = gauss_decimate(field, 3.0, 1, periodic)
    starts = np.array([0, 6, 12, 12, 39, 3])
    rows, by_row = footprint(Registration.NODE, starts, 6, 40)
    columns, by_column = footprint(Registration.NODE, np.array([46, 0, 20]), 6, 48, periodic=periodic)
    found = by_row @ field[np.ix_(rows, columns)] @ by_column.T
    assert_allclose(found, whole[np.ix_(starts, [46, 0, 20])], rtol=1e-12, atol=1e-12)


def test_the_footprint_of_cells_is_the_mean_by_area():
    field, area = fields.waves(1, 24, 30)[0], np.cos(np.deg2rad(np.linspace(60, 30, 24)))
    rows, by_row = footprint(Registration.CELL, np.arange(0, 24, 6), 6, 24, area=area)
    columns, by_column = footprint(Registration.CELL, np.arange(0, 30, 6), 6, 30)
    found = by_row @ field[np.ix_(rows, columns)] @ by_column.T
    assert_allclose(found, block_mean(field, 6, area), rtol=1e-12)
