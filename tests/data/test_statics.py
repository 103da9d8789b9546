"""Static fields as networks take them."""

import numpy as np
import pytest

from gfs_sr.data.coarsen import block_mean, gauss_decimate
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.statics import coarse_statics, fine_cells, static_blocks


def test_blocks_are_in_the_order_of_pixel_unshuffle() -> None:
    torch = pytest.importorskip("torch")
    fine = np.random.default_rng(0).standard_normal((2, 12, 18)).astype(np.float32)
    expected = torch.nn.functional.pixel_unshuffle(torch.from_numpy(fine), 6).numpy()
    np.testing.assert_array_equal(static_blocks(fine, 6), expected)


@pytest.mark.parametrize(
    ("registration", "first", "last"), [(Registration.NODE, 50.0, 44.25), (Registration.CELL, 50.625, 44.875)]
)
def test_fine_cells_lie_where_the_registration_puts_them(registration: Registration, first: float, last: float) -> None:
    grid = Grid.from_axes([50.0, 48.5, 47.0, 45.5], [0.0, 1.5], "test")
    lat, lon = fine_cells(grid, 6, registration)
    assert lat.size == 24
    assert lon.size == 12
    np.testing.assert_allclose([lat[0], lat[-1]], [first, last])


def test_coarse_statics_follow_the_protocol_of_the_forecast() -> None:
    fine = np.random.default_rng(1).standard_normal((1, 24, 36))
    node = coarse_statics(fine, 6, Registration.NODE, periodic=True)
    np.testing.assert_allclose(node, gauss_decimate(fine, 3.0, 6, True), rtol=1e-6)
    np.testing.assert_allclose(coarse_statics(fine, 6, Registration.CELL), block_mean(fine, 6), rtol=1e-6)
