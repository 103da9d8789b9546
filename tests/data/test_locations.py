"""Three ways to place samples on the training grid."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.locations import (
    LOCATIONS,
    FixedLocation,
    LocatedSet,
    Upsample,
    VariableLocation,
    Window,
)
from gfs_sr.data.regions import Box
from gfs_sr.data.scalers import make_scaler
from gfs_sr.errors import ShapeMismatch, UsageError
from tests import fields

FINE = Grid(45.95 - 0.1 * np.arange(160), -115.95 + 0.1 * np.arange(160))
COARSE = Grid(47.12 - 0.942408 * np.arange(21), -117.5 + 1.25 * np.arange(17))  # of a climate model, no whole factor


def forecast_on(grid, variables, frames=4, function=lambda lat, lon: 2 * lat + lon):
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    values = 200 + function(lat, lon) + np.arange(frames)[:, None, None]
    stacked = np.stack([values] * len(variables), axis=1).astype(np.float32)
    return Forecast.from_arrays(stacked, variables, grid, fields.times(frames, 24, "1985-01-01"), source="analytic.nc")


TRUTH = forecast_on(FINE, ("t2m",))
PREDICTORS = forecast_on(COARSE, ("t@850", "t@500"))


def test_s004_03_the_shapes_of_the_three_datasets():
    assert set(LOCATIONS) == {"upsample", "variable_location", "fixed_location"}
    period = (np.datetime64("1985-01-01"), np.datetime64("2015-01-01"))
    for location, size in (
        (Upsample(), (160, 160)), (VariableLocation((32, 48)), (32, 48)), (FixedLocation("colorado"), (128, 128)),
        (FixedLocation("colorado", buffer=5), (138, 138)),
    ):  # fmt: skip
        found = LocatedSet(TRUTH, PREDICTORS, location, period=period).sample(2)
        assert found.coarse.shape == (1, 2, *size)
        assert found.fine.shape == found.mask.shape == (1, 1, *size)
        assert found.time.shape == (1, 3, *size)
        assert found.grid.shape == size
        assert np.isfinite(found.coarse).all()


def test_s004_03_the_window_origin_is_where_the_coordinates_are():
    located = LocatedSet(TRUTH, PREDICTORS, VariableLocation((32, 48)), method="bilinear")
    for epoch in range(5):
        found = located.sample(1, epoch)
        window = found.window
        assert_array_equal(found.grid.lat, FINE.lat[window.row : window.row + 32])
        assert_array_equal(found.grid.lon, FINE.lon[window.col : window.col + 48])
        lat, lon = np.meshgrid(found.grid.lat, found.grid.lon, indexing="ij")
        assert_allclose(found.fine[0, 0], 201 + 2 * lat + lon, rtol=1e-6)
        assert_allclose(found.coarse[0, 1], 201 + 2 * lat + lon, rtol=1e-6)  # between points a plane is a plane
        again = located.sample(1, epoch)
        assert again.window == window
        assert_array_equal(again.fine, found.fine)


def test_s004_03_nearest_up_sampling_takes_the_nearest_point():
    found = LocatedSet(TRUTH, PREDICTORS).sample(0)
    rows = np.abs(COARSE.lat[:, None] - FINE.lat).argmin(axis=0)
    columns = np.abs(COARSE.lon[:, None] - FINE.lon).argmin(axis=0)
    assert_array_equal(found.coarse[0, 0], PREDICTORS.frame(0)[0][rows[:, None], columns])
    smooth = LocatedSet(TRUTH, PREDICTORS, method="bicubic").sample(0).coarse[0, 0]
    lat, lon = np.meshgrid(FINE.lat, FINE.lon, indexing="ij")
    assert_allclose(smooth, 200 + 2 * lat + lon, rtol=1e-6)


def test_s004_03_a_named_region_is_its_nearest_cells():
    window = FixedLocation("colorado").window(FINE)
    lat, lon = (
        FINE.lat[[window.row, window.row + window.rows - 1]],
        FINE.lon[[window.col, window.col + window.cols - 1]],
    )
    assert_allclose([*lat, *lon], [44.05, 31.35, -114.25, -101.55])
    box = FixedLocation(box=Box(north=44.02, west=-114.21, south=41.97, east=-112.0), buffer=2).window(FINE)
    nearest = [np.abs(FINE.lat - lat).argmin() for lat in (44.02, 41.97)]
    assert (box.row, box.row + box.rows - 1) == (nearest[0] - 2, nearest[1] + 2)
    assert FixedLocation("colorado").window(Grid(FINE.lat, FINE.lon + 360)) == window
    assert FixedLocation("colorado").window(FINE, 1, 2, 3) == window


def test_s004_03_every_origin_is_reached():
    grid = Grid(50 - np.arange(6.0), np.arange(7.0))
    location = VariableLocation((3, 5))
    drawn = {location.window(grid, 42, 0, index) for index in range(400)}
    assert drawn == {Window(row, col, 3, 5) for row in range(4) for col in range(3)}
    assert {VariableLocation((6, 7)).window(grid, index) for index in range(5)} == {Window(0, 0, 6, 7)}


def test_places_that_do_not_fit_are_refused():
    with pytest.raises(ShapeMismatch, match="does not fit"):
        VariableLocation((161, 10)).window(FINE, 0)
    with pytest.raises(ShapeMismatch, match="rows -"):
        FixedLocation("colorado", buffer=40).window(FINE)
    with pytest.raises(UsageError, match="no region 'utah'"):
        FixedLocation("utah")
    with pytest.raises(UsageError, match="a named region or a box"):
        FixedLocation()
    with pytest.raises(ShapeMismatch, match="do not cover"):
        LocatedSet(TRUTH, forecast_on(Grid(COARSE.lat[5:], COARSE.lon), ("t@850",))).sample(0)


def test_units_and_time_inputs():
    z = make_scaler("z").fit([TRUTH.load()])
    period = (np.datetime64("1985-01-01"), np.datetime64("1985-01-05"))
    located = LocatedSet(TRUTH, PREDICTORS, period=period, units={"t2m": z})
    found = located.sample(3)
    assert len(located) == 4
    assert_allclose(found.fine[0, 0], z.apply(TRUTH.frame(3)[0]), rtol=1e-6, atol=1e-7)
    assert_allclose(
        found.time[0, :, 0, 0], [0.75, np.sin(2 * np.pi * 3 / 365.25), np.cos(2 * np.pi * 3 / 365.25)], rtol=1e-6
    )
