import numpy as np
import pytest

from gfs_sr.data.grid import Grid
from gfs_sr.errors import ShapeMismatch
from gfs_sr.runtime.statics import sample

FINE = Grid(50 - 0.25 * np.arange(13), 5 + 0.25 * np.arange(17))  # ends with the fine grid of 3 by 4 cells, s = 4


def fields() -> np.ndarray:
    i, j = np.mgrid[:13, :17]
    return (100 * i + j).astype(np.float32)


def test_fine_cells_of_the_last_coarse_one_hold_the_edge() -> None:
    lat, lon = 50 - 0.25 * np.arange(16), 5 + 0.25 * np.arange(20)  # s·N: three more than the field has
    found = sample(fields(), FINE, lat, lon, (1.0, 1.0))
    np.testing.assert_allclose(found[:13, :17], fields(), atol=1e-4)
    np.testing.assert_allclose(found[13:, :17], np.broadcast_to(fields()[12], (3, 17)), atol=1e-4)
    np.testing.assert_allclose(found[:13, 17:], np.broadcast_to(fields()[:, 16:], (13, 3)), atol=1e-4)


@pytest.mark.parametrize("axis", ["latitude", "longitude"])
def test_fields_that_end_a_coarse_cell_short_are_refused(axis: str) -> None:
    lat, lon = 50 - 0.25 * np.arange(13), 5 + 0.25 * np.arange(17)
    beyond = {"latitude": (lat - 1.5, lon), "longitude": (lat, lon + 1.5)}[axis]
    with pytest.raises(ShapeMismatch, match=f"do not cover the forecast's {axis}s"):
        sample(fields(), FINE, *beyond, (1.0, 1.0))
