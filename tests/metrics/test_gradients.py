import numpy as np
import pytest
from numpy.testing import assert_allclose

from gfs_sr.data.grid import EARTH_RADIUS_M, Grid
from gfs_sr.metrics import registry
from gfs_sr.metrics.extremes import quantile_errors
from gfs_sr.metrics.gradients import gradient_magnitude
from gfs_sr.metrics.outliers import local_range
from tests import fields
from tests.metrics.scenes import rough, scene


def test_gradient_of_a_harmonic_is_that_of_calculus():
    # f = cos φ sin λ: |∇f| = sqrt(sin²φ sin²λ + cos²λ) / a
    grid = Grid(80 - 0.5 * np.arange(321), 0.5 * np.arange(720))
    phi, lam = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)[None]
    expected = np.sqrt(np.sin(phi) ** 2 * np.sin(lam) ** 2 + np.cos(lam) ** 2) / (EARTH_RADIUS_M / 1e5)
    found = gradient_magnitude(np.cos(phi) * np.sin(lam), grid)
    assert_allclose(found[1:-1], expected[1:-1], atol=2e-5 * expected.max())  # step²/6 of half a degree
    assert_allclose(found[:, 0], found[:, 360], rtol=1e-9)  # no rim where longitudes are periodic


def test_gradients_at_a_pole_and_beside_missing_cells_are_left_out():
    grid = Grid(np.array([90.0, 89.0, 88.0, 87.0]), np.arange(5.0))
    field = rough(4, 5)
    field[3, 4] = np.nan
    found = gradient_magnitude(field, grid)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[3, 4])
    assert np.isnan(found[2, 4])
    assert np.isfinite(found[1:3, :3]).all()


def test_gradient_ratio_of_a_flattened_field_is_the_flattening():
    truth, grid = fields.waves(2, 20, 30), fields.grid(20, 30)
    found = registry.score(["gradient ratio", "gradient RMSE"], scene(0.6 * truth + 8, truth, grid=grid))
    assert found["gradient ratio"] == pytest.approx(0.6)
    lengths = gradient_magnitude(truth, grid)
    assert found["gradient RMSE"] == pytest.approx(0.4 * np.sqrt((lengths**2).mean()))


def test_gradients_need_a_grid():
    assert "gradient RMSE" not in registry.available(scene(rough(8, 8), rough(8, 8)))


def test_quantile_errors_are_those_of_numpy_and_mean_over_frames_and_members():
    truth = rough(2, 30, 40)
    members = np.stack([truth + 1, 2 * truth])
    found = registry.score(
        ["minimum error", "q0.1 error", "q1 error", "q99 error", "q99.9 error", "maximum error"], scene(members, truth)
    )
    levels = [0, 0.001, 0.01, 0.99, 0.999, 1]
    expected = np.mean(
        [np.quantile(m, levels) - np.quantile(y, levels) for p in members for m, y in zip(p, truth, strict=True)],
        axis=0,
    )
    assert_allclose(list(found.values()), expected, atol=1e-12)
    assert quantile_errors(truth[0] + 3, truth[0]) == pytest.approx(np.full(6, 3.0))


@pytest.mark.parametrize("radius", [1, 3, 6])
def test_local_range_agrees_with_scipy(radius):
    from scipy.ndimage import maximum_filter, minimum_filter

    field = rough(17, 23)
    low, high = local_range(field, radius)
    assert_allclose(low, minimum_filter(field, 2 * radius + 1, mode="nearest"))
    assert_allclose(high, maximum_filter(field, 2 * radius + 1, mode="nearest"))


def test_outlier_rate_is_the_share_of_cells_outside_the_range_around():
    truth = fields.ramp(1, 20, 20)
    prediction = truth.copy()
    prediction[0, 10, 10:14] += 100
    prediction[0, 4, 4] += 0.5  # within what lies a few cells away
    found = registry.score(["outlier rate"], scene(prediction, truth, scale_factor=2))["outlier rate"]
    assert found == pytest.approx(4 / 400)
    assert registry.score(["outlier rate"], scene(truth, truth, scale_factor=2))["outlier rate"] == 0
