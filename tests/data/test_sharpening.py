import numpy as np
import pytest
from numpy.testing import assert_allclose

from gfs_sr.data.coarsen import block_mean, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import upsample_space
from gfs_sr.data.sharpening import THEORY, fit_sharpening, laplacian, sharpen
from tests import fields

NODE, CELL = Registration.NODE, Registration.CELL


def test_the_laplacian_of_a_paraboloid_is_constant_inside():
    y, x = np.mgrid[:6, :7].astype(float)
    assert_allclose(laplacian(2 * y**2 - 0.5 * x**2)[1:-1, 1:-1], 3.0)


def test_sharpening_undoes_the_damping_of_a_plane_wave_to_second_order():
    k = 0.4  # radians per coarse cell
    x = np.arange(48)
    damping = np.exp(-0.125 * k**2)  # of a Gaussian with sigma²/2 = 0.125 coarse cells²
    coarse = np.tile(damping * np.cos(k * x), (5, 1))
    symbol = 2 - 2 * np.cos(k)  # of minus the 5-point Laplacian
    expected = damping * (1 + 0.125 * symbol + (0.125 * symbol) ** 2 / 2) * np.cos(k * x)
    sharp = sharpen(coarse, 0.125, NODE)
    assert_allclose(sharp[:, 2:-2], np.tile(expected, (5, 1))[:, 2:-2], atol=1e-12)
    assert np.abs(sharp[:, 2:-2] - np.cos(k * x)[2:-2]).max() < 4e-4  # k⁴ a/12 and (k² a)³/6


def test_cell_sharpening_keeps_the_mean_of_the_field():
    coarse = fields.waves(1, 7, 9)[0]
    assert_allclose(sharpen(coarse, 0.1, CELL).mean(), coarse.mean(), atol=1e-14)


@pytest.mark.parametrize("registration", list(Registration))
def test_sharpening_by_zero_and_of_a_constant_changes_nothing(registration):
    coarse = fields.waves(2, 5, 6)
    assert_allclose(sharpen(coarse, 0.0, registration), coarse)
    assert_allclose(sharpen(np.full((4, 4), 3.0), 0.2, registration), 3.0)


@pytest.mark.parametrize("registration", list(Registration))
def test_the_fitted_scalar_lies_near_theory_and_lowers_the_error(registration):
    fine = fields.waves(4, 73, 97, seed=5)
    if registration is NODE:
        coarse = gauss_decimate(fine, 3.0, 6)
    else:
        fine = fine[:, :72, :96]
        coarse = block_mean(fine, 6)
    a = fit_sharpening([(coarse, fine)], 6, registration)
    assert 0.5 * THEORY[registration] < a < 2.5 * THEORY[registration]
    inside = np.s_[:, 12:-12, 12:-12]

    def error(amount):
        sharp = upsample_space(sharpen(coarse, amount, registration), 6, registration)
        return np.square(sharp[:, : fine.shape[1], : fine.shape[2]] - fine)[inside].mean()

    assert error(a) < 0.5 * error(0.0)


def test_the_fit_finds_the_candidate_of_least_error():
    fine = fields.waves(2, 49, 49, seed=2)
    coarse = gauss_decimate(fine, 3.0, 6)
    candidates = np.array([0.0, 0.07, 0.13, 0.2, 0.3])
    errors = [
        np.square(upsample_space(sharpen(coarse, a, NODE), 6, NODE)[:, :49, :49] - fine).mean() for a in candidates
    ]
    assert fit_sharpening([(coarse, fine)], 6, NODE, candidates=candidates) == candidates[np.argmin(errors)]


def test_masked_cells_stay_masked_and_do_not_leak():
    coarse = fields.waves(1, 6, 6)[0]
    coarse[3, 3] = np.nan
    sharp = sharpen(coarse, 0.125, NODE)
    assert np.isnan(sharp).sum() == 1
