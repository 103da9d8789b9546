"""One place of the training grid."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gfs_sr.data.grid import Grid
from gfs_sr.data.locations import FixedLocation
from gfs_sr.data.regions import Box
from gfs_sr.errors import ShapeMismatch, UsageError

FINE = Grid(45.95 - 0.1 * np.arange(160), -115.95 + 0.1 * np.arange(160))


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


def test_places_that_do_not_fit_are_refused():
    with pytest.raises(ShapeMismatch, match="rows -"):
        FixedLocation("colorado", buffer=40).window(FINE)
    with pytest.raises(UsageError, match="no region 'utah'"):
        FixedLocation("utah")
    with pytest.raises(UsageError, match="a named region or a box"):
        FixedLocation()
