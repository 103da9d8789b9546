"""`build-dataset`: sources in, one file out; coarse cells are area means, nothing is missing, nothing half-written."""

import json
import shutil
import subprocess
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.cli.app import app
from gfs_sr.data import build as building
from gfs_sr.data.build import build
from gfs_sr.data.build_config import BuildConfig, read_build_config
from gfs_sr.data.built_file import open_built
from gfs_sr.data.conservative import Cells
from gfs_sr.data.grid import Grid
from gfs_sr.data.regions import Box, part_of
from gfs_sr.data.sources.blocks import open_blocks
from gfs_sr.data.terrain import terrain_on
from gfs_sr.errors import (
    GapInLeadTimes,
    MissingFile,
    MissingVariable,
    OutputExists,
    ShapeMismatch,
    UnsortedTimes,
    UsageError,
)
from tests.cf_checker import complaints

RAIN_LAT, RAIN_LON = 47.95 - 0.1 * np.arange(160), -118.95 + 0.1 * np.arange(190)
AIR_LAT, AIR_LON = 60 - 0.5 * np.arange(81), np.arange(0.0, 360.0, 0.5)
BOX = [44.0, -114.0, 36.0, -104.0]


def rain(days, start="2012-02-26"):
    times = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D")
    values = np.random.default_rng(days).gamma(0.4, 6, (days, RAIN_LAT.size, RAIN_LON.size)).astype(np.float32)
    return xr.Dataset(
        {"precipitation": (("time", "lat", "lon"), values, {"units": "mm"})},
        {"time": times, "lat": ("lat", RAIN_LAT, {"units": "degrees_north"}),
         "lon": ("lon", RAIN_LON, {"units": "degrees_east"})},
    )  # fmt: skip


def air(days, start="2012-02-26"):
    times = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D")
    levels = np.array([500.0, 850.0])
    shape = (days, 2, AIR_LAT.size, AIR_LON.size)
    values = 250 + np.random.default_rng(1).normal(size=shape).cumsum(axis=-1).astype(np.float32) % 30
    return xr.Dataset(
        {"t": (("time", "level", "lat", "lon"), values.astype(np.float32), {"units": "K"})},
        {"time": times, "level": ("level", levels, {"units": "hPa"}),
         "lat": ("lat", AIR_LAT, {"units": "degrees_north"}), "lon": ("lon", AIR_LON, {"units": "degrees_east"})},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Two sources: rain in two files on a regional grid, temperature on levels on half a globe from Greenwich on."""
    whole = rain(6)
    whole.isel(time=slice(0, 2)).to_netcdf(tmp_path / "rain_a.nc")
    whole.isel(time=slice(2, 6)).to_netcdf(tmp_path / "rain_b.nc")
    air(6).to_netcdf(tmp_path / "air.nc")
    return tmp_path


def config(folder, grid=None, **changes):
    made = {
        "output": str(folder / "built.nc"), "folder": str(folder),
        "fine": {"sources": [{"files": ["rain_*.nc"], "variables": ["tp"]}], "box": BOX},
        "coarse": {"sources": [{"files": ["rain_*.nc"], "variables": ["tp"]},
                               {"files": ["air.nc"], "variables": ["t@850", "t@500"]}],
                   "grid": grid or {"spacing": [0.942408, 1.25]}},
    }  # fmt: skip
    return made | changes


def built(folder, grid=None, **changes):
    return open_built(build(BuildConfig.model_validate(config(folder, grid, **changes))))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_s004_01_two_sources_make_one_file_with_exact_area_means_and_statics(folder, suffix):
    found = built(folder, output=str(folder / f"built{suffix}"))
    whole = rain(6)["precipitation"].to_numpy()
    rows, columns = (RAIN_LAT <= 44.001) & (RAIN_LAT >= 35.999), (RAIN_LON >= -114.001) & (RAIN_LON <= -103.999)
    assert found.fine.variables == ("tp",)
    assert found.coarse.variables == ("tp", "t@850", "t@500")
    assert_array_equal(found.fine.grid.lat, RAIN_LAT[rows])
    for k in range(6):
        assert_array_equal(found.fine.frame(k)[0], whole[k][rows][:, columns])
    assert set(found.statics) == {"orog", "lsm", "coarse_orog", "coarse_lsm"}
    assert found.statics["orog"].shape == found.fine.grid.shape
    assert_allclose(found.statics["coarse_orog"], terrain_on(found.coarse.grid)["orog"], rtol=1e-5, atol=1e-2)
    # a coarse cell by hand: shared areas of its edges with those of the fine cells
    edges = np.append(RAIN_LAT + 0.05, RAIN_LAT[-1] - 0.05), np.append(RAIN_LON - 0.05, RAIN_LON[-1] + 0.05)
    fine, coarse = Cells(*edges), Cells.of(found.coarse.grid)
    for row, column in ((3, 4), (0, 0)):
        north, south = coarse.lat_edges[row : row + 2]
        west, east = coarse.lon_edges[column : column + 2] - 360.0 * (coarse.lon_edges[column] > 180)
        high, low = np.minimum(fine.lat_edges[:-1], north), np.maximum(fine.lat_edges[1:], south)
        in_lat = np.clip(np.sin(np.deg2rad(high)) - np.sin(np.deg2rad(low)), 0, None)
        in_lon = np.clip(np.minimum(fine.lon_edges[1:], east) - np.maximum(fine.lon_edges[:-1], west), 0, None)
        area = in_lat[:, None] * in_lon
        assert found.coarse.frame(2)[0, row, column] == pytest.approx((whole[2] * area).sum() / area.sum(), rel=1e-5)
    # the coarse grid goes one cell beyond the fine region
    region = Cells.of(found.fine.grid)
    assert coarse.lat_edges[0] - region.lat_edges[0] > 0.94
    assert region.lon_edges[0] - (coarse.lon_edges[0] - 360.0 * (coarse.lon_edges[0] > 180)) > 1.24


def test_s004_01_the_sum_over_the_region_is_conserved(folder):
    found = built(folder, {"scale_factor": 10})
    fine, coarse = Cells.of(found.fine.grid), Cells.of(found.coarse.grid)
    assert (found.fine.grid.shape, found.coarse.grid.shape) == ((80, 100), (8, 10))
    for k in range(6):
        sums = [(part.frame(k)[0].astype(np.float64) * cells.areas).sum() for part, cells in (
            (found.fine, fine), (found.coarse, coarse))]  # fmt: skip
        assert sums[1] == pytest.approx(sums[0], rel=1e-6)


@pytest.mark.parametrize("variable", ["tp", "t@850"])
def test_s004_01_the_built_file_agrees_with_cdo_remapcon(folder, variable):
    if shutil.which("cdo") is None:
        pytest.skip("needs the command cdo (Debian package cdo)")
    found = built(folder)
    edges = Cells.of(found.coarse.grid)
    lines = ["gridtype = lonlat", f"xsize = {edges.shape[1]}", f"ysize = {edges.shape[0]}"]
    axes = (found.coarse.grid.lon, edges.lon_edges), (found.coarse.grid.lat, edges.lat_edges)
    for letter, (axis, ends) in zip("xy", axes, strict=True):
        lines.append(f"{letter}vals = " + " ".join(f"{value:.12f}" for value in axis))
        lines.append(f"{letter}bounds = " + " ".join(f"{a:.12f} {b:.12f}" for a, b in pairwise(ends)))
    (folder / "grid.txt").write_text("\n".join(lines) + "\n")
    source = rain(6)[["precipitation"]] if variable == "tp" else air(6)[["t"]].sel(level=850.0, drop=True)
    source.to_netcdf(folder / "in.nc")
    subprocess.run(
        ["cdo", "-s", "-b", "F64", f"remapcon,{folder / 'grid.txt'}", str(folder / "in.nc"), str(folder / "out.nc")],
        check=True,
        capture_output=True,
    )
    with xr.open_dataset(folder / "out.nc") as theirs:
        values = theirs["precipitation" if variable == "tp" else "t"].to_numpy()
    channel = found.coarse.variables.index(variable)
    ours = np.stack([found.coarse.frame(k)[channel] for k in range(6)])
    assert_allclose(ours, values, rtol=2e-6, atol=1e-6)  # ours are stored in float32


def test_our_own_readers_read_the_fine_fields(folder):
    path = build(BuildConfig.model_validate(config(folder)))
    (file,) = open_blocks([path], ["tp"])
    found = open_built(path)
    assert file.shape == (6, *found.fine.grid.shape)
    assert_array_equal(file.read("tp", slice(2, 3), slice(0, 5), slice(0, 5))[0], found.fine.frame(2)[0, :5, :5])
    with xr.open_dataset(path) as dataset:
        assert dataset["coarse_t_850"].dims == ("time", "lat_2", "lon_2")
        assert dataset["coarse_tp"].attrs["cell_methods"] == "time: sum area: mean"


def test_the_file_follows_cf(folder):
    path = build(BuildConfig.model_validate(config(folder)))
    assert not complaints(path)


def test_periods_and_leap_days(folder):
    found = built(folder, first="2012-02-27", last="2012-03-01", leap_days=False)
    days = [str(day)[:10] for day in found.fine.times.valid_times]
    assert days == ["2012-02-27", "2012-02-28", "2012-03-01"]
    whole = rain(6)["precipitation"].to_numpy()
    rows, columns = (RAIN_LAT <= 44.001) & (RAIN_LAT >= 35.999), (RAIN_LON >= -114.001) & (RAIN_LON <= -103.999)
    assert_array_equal(found.fine.frame(2)[0], whole[4][rows][:, columns])


def test_statics_may_come_from_files(folder):
    grid = Grid(47 - 0.05 * np.arange(280), -118.0 + 0.05 * np.arange(360))
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    axes = {"lat": ("lat", grid.lat, {"units": "degrees_north"}), "lon": ("lon", grid.lon, {"units": "degrees_east"})}
    dims = ("lat", "lon")
    height, land = (dims, 1000 + 10 * lat, {"units": "m"}), (dims, (lon > -110.0) * 1.0, {"units": "1"})
    xr.Dataset({"orog": height, "lsm": land}, axes).to_netcdf(folder / "statics.nc")
    found = built(folder, statics={"orog": "statics.nc", "lsm": "statics.nc"})
    assert set(np.unique(found.statics["coarse_lsm"])) == {0.0, 1.0}
    lat = np.broadcast_to(found.fine.grid.lat[:, None], found.fine.grid.shape)
    assert_allclose(found.statics["orog"], 1000 + 10 * lat, atol=0.01)
    assert "orog" not in built(folder, statics=None, output=str(folder / "none.nc")).statics


def test_the_coarse_grid_may_be_that_of_a_file(folder):
    found = built(folder, {"file": "air.nc"})
    assert_allclose(np.diff(found.coarse.grid.lat), -0.5)
    assert_allclose(found.coarse.grid.lat[0] % 0.5, 0, atol=1e-9)
    assert found.coarse.grid.lat[0] > 44.5
    # cells of the source itself stay as they are
    whole = air(6)["t"].sel(level=850.0).to_numpy()
    row = int(np.flatnonzero(found.coarse.grid.lat[2] == AIR_LAT)[0])
    column = int(np.flatnonzero(np.isclose(found.coarse.grid.lon[3] % 360, AIR_LON))[0])
    assert found.coarse.frame(1)[1, 2, 3] == pytest.approx(whole[1, row, column], rel=1e-5)


def test_what_does_not_fit_is_refused_before_anything_is_written(folder):
    only_rain = [{"files": ["rain_*.nc"], "variables": ["tp"]}]
    refused = [
        (config(folder, fine={"sources": [{"files": ["snow_*.nc"], "variables": ["tp"]}]}), MissingFile),
        (config(folder, fine={"sources": [{"files": ["rain_*.nc"], "variables": ["t2m"]}]}), MissingVariable),
        (config(folder, fine={"sources": only_rain, "box": [10, 0, 0, 9]}), ShapeMismatch),
        (config(folder, {"spacing": [6.0, 6.0]}), ShapeMismatch),  # the regional source does not cover such cells
        (config(folder, {"scale_factor": 7}), ShapeMismatch),
        (config(folder, first="2012-02-20"), GapInLeadTimes),
        (config(folder, output=str(folder / "built.txt")), UsageError),
    ]  # fmt: skip
    for number, (wanted, error) in enumerate(refused):
        if number == 5:  # the temperature goes on where the rain ends
            shutil.move(folder / "rain_a.nc", folder / "gone.nc")
        with pytest.raises(error):
            build(BuildConfig.model_validate(wanted))
        assert not list(folder.glob("built*")), number
    shutil.move(folder / "gone.nc", folder / "rain_a.nc")
    rain(1).to_netcdf(folder / "rain_c.nc")
    with pytest.raises(UnsortedTimes, match="occurs twice"):
        build(BuildConfig.model_validate(config(folder)))
    (folder / "rain_c.nc").unlink()
    (folder / "built.nc").touch()
    with pytest.raises(OutputExists):
        build(BuildConfig.model_validate(config(folder)))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_failed_build_leaves_nothing(folder, suffix, monkeypatch):
    target = folder / f"built{suffix}"
    wanted = BuildConfig.model_validate(config(folder, output=str(target), memory_mib=1))
    original, calls = building.Slab, []

    def breaking(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("no space left on device")
        return original(*arguments)

    monkeypatch.setattr(building, "Slab", breaking)
    with pytest.raises(OSError, match="no space"):
        build(wanted)
    assert not list(folder.glob("built*"))
    monkeypatch.setattr(building, "Slab", original)
    assert len(open_built(build(wanted)).fine.times) == 6


def test_a_source_that_is_too_small_is_told_how_far_it_must_reach(folder):
    with pytest.raises(ShapeMismatch) as caught:
        build(BuildConfig.model_validate(config(folder, {"spacing": [6.0, 6.0]})))
    # edges at multiples of 6 around 44 to 36 north and 114 to 104 west, and one more cell on each side
    assert "cells from 54, -120 to 30, -96 are needed" in str(caught.value)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_slabs_do_not_change_the_result(folder, suffix):
    one, many = (built(folder, output=str(folder / f"{memory}{suffix}"), memory_mib=memory) for memory in (256, 1))
    assert_array_equal(one.fine.times.valid_times, many.fine.times.valid_times)
    for k in range(6):
        assert_array_equal(one.fine.frame(k), many.fine.frame(k))
        assert_array_equal(one.coarse.frame(k), many.coarse.frame(k))


def test_memory_does_not_grow_with_the_period(tmp_path):
    rain(96, "2012-03-01").to_netcdf(tmp_path / "rain_b.nc")
    peaks = []
    for first, last in (("2012-03-01", "2012-03-12"), ("2012-03-02", "2012-06-02")):
        wanted = config(tmp_path, {"scale_factor": 10}, first=first, last=last, memory_mib=4,
                        output=str(tmp_path / f"{first}.nc"), statics=None)  # fmt: skip
        only_rain = [{"files": ["rain_*.nc"], "variables": ["tp"]}]
        wanted["coarse"]["sources"] = only_rain
        wanted["fine"] = {"sources": only_rain, "box": BOX}
        tracemalloc.start()
        build(BuildConfig.model_validate(wanted))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]  # eight times the frames


def test_the_command_builds_from_a_file(folder):
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump(config(folder)))
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["build-dataset", "-c", str(path), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["fine"] == ["tp"]
    assert report["coarse"] == ["tp", "t@850", "t@500"]
    assert report["frames"] == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [("output: [", "is no YAML"), ("output: a.nc", "fine: Field required"),
     ("output: a.nc\nfine: {sources: [{files: [x], variables: [snow]}]}", "unknown variable 'snow'"),
     ("output: a.nc\nfine: {sources: []}\ncoarse: {sources: [], grid: {}}", "give one of scale_factor, spacing"),
     ("output: a.nc\nfine: {sources: [], box: 3}", "fine.box")],
)  # fmt: skip
def test_a_wrong_configuration_is_named(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_build_config(tmp_path / "c.yaml")
    with pytest.raises(MissingFile):
        read_build_config(tmp_path / "none.yaml")


def test_a_box_may_cross_the_seam_of_a_globe():
    grid = Grid(60 - 0.5 * np.arange(81), np.arange(0.0, 360.0, 0.5))
    part = part_of(grid, Box(50, -2, 48, 3), "test", beyond=1)
    assert part.columns == (slice(715, 720), slice(0, 8))
    assert_allclose(np.concatenate([grid.lon[columns] for columns in part.columns]), part.grid.lon % 360)
    assert (np.diff(part.grid.lon) > 0).all()
    assert part_of(grid, Box(50, 170, 48, 190), "test").columns == (slice(340, 381),)
    assert part_of(grid, None, "test").grid is grid
