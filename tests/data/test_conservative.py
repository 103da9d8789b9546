"""Conservative remapping: integrals are kept, means are those of calculus, and CDO agrees."""

import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.coarsen import block_mean
from gfs_sr.data.conservative import Cells, ConservativeRemap, covering
from gfs_sr.data.grid import Grid
from gfs_sr.errors import ShapeMismatch, UnsupportedGrid

RANDOM = np.random.default_rng(11)


def global_cells(rows, columns, west=0.0, uneven=False):
    lat = np.linspace(90, -90, rows + 1)
    if uneven:
        lat[1:-1] += RANDOM.uniform(-0.3, 0.3, rows - 1) * 180 / rows
    return Cells(lat, west + np.linspace(0, 360, columns + 1))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (global_cells(73, 144), global_cells(31, 50)),
        (global_cells(31, 50, west=-180.0), global_cells(73, 144, west=7.3)),
        (global_cells(19, 36, uneven=True), global_cells(40, 17, west=355.0, uneven=True)),
        (global_cells(5, 7), global_cells(1, 1)),
    ],
)
def test_the_integral_over_the_globe_is_kept(source, target):
    field = RANDOM.normal(size=(3, *source.shape)) + 5
    remapped = ConservativeRemap(source, target)(field)
    before, after = ((values * cells.areas).sum(axis=(1, 2)) for values, cells in ((field, source), (remapped, target)))
    assert_allclose(after, before, rtol=1e-13)
    assert_allclose(target.areas.sum(), 4 * np.pi, rtol=1e-14)


def test_a_constant_stays_and_the_cover_is_the_area():
    source, target = global_cells(37, 40), global_cells(11, 13, west=2.0)
    remap = ConservativeRemap(source, target)
    assert_allclose(remap(np.full(source.shape, 7.5)), 7.5, rtol=1e-14)
    assert_allclose(remap.covered(), target.areas, rtol=1e-12)


def test_the_mean_of_sine_latitude_is_that_of_calculus():
    # the mean of sin φ over a band is (sin n + sin s)/2; fine cells hold their own means, so coarse ones are exact
    source, target = global_cells(180, 4), global_cells(12, 3)
    means = [(np.sin(np.deg2rad(each.lat_edges))[:-1] + np.sin(np.deg2rad(each.lat_edges))[1:]) / 2 for each in
             (source, target)]  # fmt: skip
    remapped = ConservativeRemap(source, target)(np.repeat(means[0][:, None], 4, axis=1))
    assert_allclose(remapped, np.repeat(means[1][:, None], 3, axis=1), atol=1e-14)


def test_whole_blocks_are_area_weighted_block_means():
    fine = Grid(60 - 0.25 * np.arange(24), 5 + 0.25 * np.arange(36))
    coarse = Grid(fine.lat.reshape(-1, 4).mean(1), fine.lon.reshape(-1, 4).mean(1))
    field = RANDOM.normal(size=(2, 24, 36))
    field[0, 3:7, 5] = np.nan
    remapped = ConservativeRemap(Cells.of(fine), Cells.of(coarse))(field)
    assert_allclose(remapped, block_mean(field, 4, fine.weights()), rtol=1e-11)


def test_missing_cells_carry_no_weight_and_too_little_cover_is_missing():
    source = Cells(np.array([2.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    target = Cells(np.array([2.0, 0.0]), np.array([0.0, 2.0, 4.0]))
    field = np.array([[1.0, np.nan, 3.0, 3.0], [1.0, 1.0, np.nan, np.nan]])
    assert_allclose(ConservativeRemap(source, target)(field), [[1.0, 3.0]], rtol=1e-12)
    assert_array_equal(np.isnan(ConservativeRemap(source, target, least_cover=0.6)(field)), [[False, True]])
    beside = Cells(np.array([2.0, 0.0]), np.array([3.0, 5.0, 7.0]))
    assert_array_equal(np.isnan(ConservativeRemap(source, beside)(np.ones((2, 4)))), [[False, True]])


def test_longitudes_may_be_counted_from_anywhere():
    target = global_cells(9, 20, west=-180)
    field = RANDOM.normal(size=(18, 36))
    here = ConservativeRemap(global_cells(18, 36), target)(field)
    turned = ConservativeRemap(global_cells(18, 36, west=-170.0), target)(np.roll(field, -19, axis=1))
    assert_allclose(here, turned, rtol=1e-11, atol=1e-13)
    region = Cells(np.array([50.0, 40.0]), np.array([-10.0, 0.0, 10.0]))  # across Greenwich
    alone = ConservativeRemap(global_cells(18, 36), region)(field)
    assert_allclose(alone, [[field[4, 35], field[4, 0]]], rtol=1e-11)


def test_poles_of_a_point_grid_are_half_cells():
    cells = Cells.of(Grid(np.linspace(90, -90, 7), 60.0 * np.arange(6)))
    assert_array_equal(cells.lat_edges, [90, 75, 45, 15, -15, -45, -75, -90])
    assert_array_equal(cells.lon_edges[[0, -1]], [-30, 330])


def test_the_covering_grid_covers_and_goes_one_cell_beyond():
    fine = Cells.of(Grid(44.05 - 0.1 * np.arange(128), -114.25 + 0.1 * np.arange(128)))
    coarse = Cells.of(covering(fine, (0.942408, 1.25)))
    assert coarse.lat_edges[0] > fine.lat_edges[0] + 0.94 - 1e-9
    assert coarse.lat_edges[-1] < fine.lat_edges[-1] - 0.94 + 1e-9
    assert coarse.lon_edges[0] < fine.lon_edges[0] - 1.25 + 1e-9
    assert coarse.lon_edges[-1] > fine.lon_edges[-1] + 1.25 - 1e-9
    assert_allclose((90 - coarse.lat_edges) / 0.942408, np.rint((90 - coarse.lat_edges) / 0.942408), atol=1e-6)
    assert coarse.shape[1] <= 14


def test_cells_out_of_order_and_fields_of_another_grid_are_refused():
    with pytest.raises(UnsupportedGrid, match="do not fall"):
        Cells(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(UnsupportedGrid, match="beyond a pole"):
        Cells(np.array([91.0, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(ShapeMismatch, match="make the weights"):
        ConservativeRemap(global_cells(4, 4), global_cells(2, 2))(np.zeros((3, 4)))


def grid_file(path, cells):
    lat, lon = ((edges[1:] + edges[:-1]) / 2 for edges in (cells.lat_edges, cells.lon_edges))
    lines = ["gridtype = lonlat", f"xsize = {lon.size}", f"ysize = {lat.size}"]
    for name, edges in (("xbounds", cells.lon_edges), ("ybounds", cells.lat_edges)):
        lines.append(f"{name} = " + " ".join(f"{a:.12f} {b:.12f}" for a, b in pairwise(edges)))
    for name, axis in (("xvals", lon), ("yvals", lat)):
        lines.append(f"{name} = " + " ".join(f"{value:.12f}" for value in axis))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("with_gaps", [False, True])
def test_s004_01_agrees_with_cdo_remapcon(tmp_path, with_gaps):
    if shutil.which("cdo") is None:
        pytest.skip("needs the command cdo (Debian package cdo)")
    source, target = global_cells(60, 90), global_cells(22, 31, west=3.0)
    field = RANDOM.normal(size=source.shape)
    if with_gaps:
        field[20:31, 40:60] = np.nan
    lat, lon = ((edges[1:] + edges[:-1]) / 2 for edges in (source.lat_edges, source.lon_edges))
    attributes = [{"units": "degrees_north"}, {"units": "degrees_east"}]
    xr.Dataset(
        {"x": (("lat", "lon"), field)}, coords={"lat": ("lat", lat, attributes[0]), "lon": ("lon", lon, attributes[1])}
    ).to_netcdf(tmp_path / "in.nc")
    grid_file(tmp_path / "target.txt", target)
    subprocess.run(
        [
            "cdo",
            "-s",
            "-b",
            "F64",
            f"remapcon,{tmp_path}/target.txt",
            str(tmp_path / "in.nc"),
            str(tmp_path / "out.nc"),
        ],
        check=True,
        capture_output=True,
    )
    with xr.open_dataset(tmp_path / "out.nc") as written:
        theirs = written["x"].to_numpy()
    ours = ConservativeRemap(source, target)(field)
    assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert_allclose(ours, theirs, atol=1e-11)  # the target's edges are written with 12 digits
