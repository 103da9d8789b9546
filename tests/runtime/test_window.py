"""Hull, full extent and boxes: cut by index, never by resizing."""

import numpy as np
import pytest

from gfs_sr.data.grid import Grid, Registration
from gfs_sr.errors import UsageError
from gfs_sr.runtime.window import horizontal_window, parse_extent

INDIA = Grid(40 - 1.5 * np.arange(24), 65 + 1.5 * np.arange(24))
GLOBE = Grid(90 - 2.5 * np.arange(73), 2.5 * np.arange(144))


def test_hull_of_nodes_ends_on_the_last_coarse_point():
    window = horizontal_window(INDIA, 6, Registration.NODE, "hull")
    assert window.fine.shape == (139, 139)
    np.testing.assert_allclose(window.fine.lat[[0, -1]], [40.0, 5.5])
    assert not window.outside_rows.any()


def test_full_extent_marks_what_lies_beyond_the_hull():
    window = horizontal_window(INDIA, 6, Registration.NODE, "full")
    assert window.fine.shape == (144, 144)
    np.testing.assert_array_equal(np.flatnonzero(window.outside_rows), [139, 140, 141, 142, 143])


def test_box_of_the_seed_domain_has_141_cells_a_side():
    window = horizontal_window(INDIA, 6, Registration.NODE, (40.0, 65.0, 5.0, 100.0))
    assert window.fine.shape == (141, 141)
    np.testing.assert_allclose(window.fine.lat, 40 - 0.25 * np.arange(141))
    np.testing.assert_allclose(window.fine.lon, 65 + 0.25 * np.arange(141))
    assert window.outside_rows.sum() == 2


def test_cells_are_centered_on_their_coarse_cell():
    window = horizontal_window(INDIA, 6, Registration.CELL, "hull")
    assert window.fine.shape == (144, 144)
    assert window.fine.lat[0] == pytest.approx(40 + 2.5 * 0.25)
    assert not window.outside_rows.any()


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize(("west", "east"), [(350.0, 10.0), (-10.0, 10.0), (170.0, -170.0), (0.0, 360.0)])
def test_box_across_the_seam_of_a_global_grid_is_one_piece(registration, west, east):
    window = horizontal_window(GLOBE, 5, registration, (50.0, west, -20.0, east))
    lon = window.fine.lon
    np.testing.assert_allclose(np.diff(lon), 0.5)
    assert window.columns.start >= 0
    assert window.columns.start + window.columns.size <= 5 * 144
    width = (east - west) % 360.0
    assert lon.size == {0.0: 720, 20.0: 41}[width]  # half a degree apart, both ends included
    if width:
        np.testing.assert_allclose(np.mod(lon[[0, -1]] - [west, east], 360.0), 0.0, atol=1e-9)


def test_rolled_columns_belong_to_the_rolled_grid():
    window = horizontal_window(GLOBE, 5, Registration.NODE, (50.0, 350.0, -20.0, 10.0))
    # the field is turned by the same count as the axis, so coarse column k of the window is column k + roll of the file
    np.testing.assert_allclose(np.mod(window.coarse.lon, 360.0), np.roll(GLOBE.lon, -window.roll))


@pytest.mark.parametrize("extent", ["hul", "1,2,3", "10,0,20,5", "95,0,5,10", "a,b,c,d", "nan,0,0,1"])
def test_no_extent_is_refused(extent):
    with pytest.raises(UsageError):
        parse_extent(extent)


@pytest.mark.parametrize("box", [(60.0, 65.0, 5.0, 100.0), (40.0, 65.0, 5.0, 140.0), (0.0, 65.0, -5.0, 100.0)])
def test_box_beyond_the_field_is_refused(box):
    with pytest.raises(UsageError):
        horizontal_window(INDIA, 6, Registration.NODE, box)
