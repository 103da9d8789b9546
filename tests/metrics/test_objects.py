import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from gfs_sr.metrics import registry
from gfs_sr.metrics.objects import label, sal
from tests import fields
from tests.metrics.scenes import rain, scene


@given(st.integers(1, 14), st.integers(1, 14), st.floats(0.05, 0.95), st.integers(0, 10**6))
def test_labels_are_those_of_scipy_with_corners(height, width, share, seed):
    mask = np.random.Generator(np.random.PCG64(seed)).uniform(size=(height, width)) < share
    ours, (theirs, count) = label(mask), scipy.ndimage.label(mask, np.ones((3, 3)))
    assert ours.max(initial=0) == count
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(theirs))  # one to one


def test_a_snake_is_one_object():
    mask = np.zeros((9, 9), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    assert label(mask).max() == 1


def box(top, left, height=4, width=4, value=3.0, shape=(40, 50)):
    field = np.zeros(shape)
    field[top : top + height, left : left + width] = value
    return field


def test_equal_fields_have_no_error():
    found = sal(rain(1, 30, 40)[0], rain(1, 30, 40)[0])
    assert (found.structure, found.amplitude, found.location) == (0, 0, 0)


def test_amplitude_of_the_double_is_two_thirds_and_nothing_else_moves():
    truth = box(10, 10)
    found = sal(2 * truth, truth)
    assert found.amplitude == pytest.approx(2 / 3)  # (2 - 1) / (0.5 · 3)
    assert found.structure == pytest.approx(0)  # volumes are scaled by the maximum
    assert found.location == pytest.approx(0)


def test_location_of_a_displaced_object_is_its_share_of_the_diagonal():
    found = sal(box(10, 22), box(10, 10))
    assert found.location == pytest.approx(12 / np.hypot(39, 49))
    assert found.structure == pytest.approx(0)
    assert found.amplitude == pytest.approx(0)


def test_location_counts_objects_that_lie_farther_from_the_center():
    # same center: one object of 8 by 8 against two halves 10 cells to its left and right
    truth = box(16, 21, 8, 8)
    halves = box(16, 11, 8, 4) + box(16, 35, 8, 4)
    away = 12.0  # centers of the halves at columns 12.5 and 36.5, of all at 24.5
    assert sal(halves, truth).location == pytest.approx(2 * away / np.hypot(39, 49))


def test_structure_of_a_flatter_object_is_positive():
    # same amount: 16 cells of 4 against 64 cells of 1; V = R·R/max/R: 16 against 64
    found = sal(box(10, 10, 8, 8, 1.0), box(12, 12, 4, 4, 4.0))
    assert found.amplitude == pytest.approx(0)
    assert found.structure == pytest.approx((64 - 16) / (0.5 * (64 + 16)))


def test_only_cells_above_a_fifteenth_of_the_maximum_are_objects():
    strong = box(5, 5, 2, 2, 15.0)
    weak = box(30, 40, 2, 8, 0.99)
    assert sal(strong + weak, strong).structure == pytest.approx(0)
    assert sal(strong + weak, strong).amplitude > 0
    visible = box(30, 40, 2, 8, 1.01)
    assert sal(strong + visible, strong).location > sal(strong + weak, strong).location


def test_dry_fields_leave_undefined_components_out():
    dry = np.zeros((20, 20))
    found = sal(dry, dry)
    assert np.isnan([found.structure, found.amplitude, found.location]).all()
    missed = sal(dry, box(3, 3, shape=(20, 20)))
    assert (missed.structure, missed.amplitude) == (-2, -2)
    assert np.isnan(missed.location)
    wet = box(3, 3, shape=(20, 20))
    two_frames = scene(np.stack([wet, dry]), np.stack([wet, dry]), variable="tp")
    assert registry.score(["SAL sum"], two_frames)["SAL sum"] == 0


def test_distances_are_kilometers_on_the_grid():
    grid = fields.grid(40, 50, north=60.0)
    near = registry.score(["SAL location"], scene(box(10, 22), box(10, 10), variable="tp", grid=grid))
    dlat, dlon = 1, np.cos(np.deg2rad(grid.lat)).mean()
    expected = 12 * dlon / np.hypot(39 * dlat, 49 * dlon)
    assert near["SAL location"] == pytest.approx(expected)


def test_objects_are_asked_of_amounts_only():
    field = rain(1, 20, 20)
    assert "SAL sum" in registry.available(scene(field, field, variable="tp"))
    assert "SAL sum" not in registry.available(scene(field, field, variable="t2m"))
