"""One forecast with fitted noise, as the rival of members: its scores where they are known."""

import numpy as np
import pytest

from crossvalidation.dressed import compare, dress, pooled

SIGMA = 0.7
NORMAL_CRPS = 1 / np.sqrt(np.pi)  # expected, of a perfect standard normal forecast (Gneiting and Raftery 2007)


@pytest.fixture
def truth():
    return 280 + np.random.default_rng(0).standard_normal((3, 64, 96))


def test_noise_of_the_size_of_the_error_is_found(truth):
    """The error is normal: the fitted forecast is perfect, and its fair CRPS that of a normal distribution."""
    field = truth + SIGMA * np.random.default_rng(1).standard_normal(truth.shape)
    dressed = dress(field, truth, 8, seed=2)
    assert dressed.std(axis=0, ddof=1).mean() == pytest.approx(SIGMA, rel=0.1)
    line = next(iter(compare("t2m", dressed, field, truth, seed=2)))
    assert line.crps_dressed == pytest.approx(SIGMA * NORMAL_CRPS, rel=0.03)
    assert line.ratio == pytest.approx(1)


def test_members_that_know_how_errors_hang_together_win_where_cells_are_pooled(truth):
    """Errors of 16 by 16 cells at once: noise of single cells averages out, and is too sure of itself."""
    rng = np.random.default_rng(3)

    def blocks(*shape):
        return SIGMA * np.kron(rng.standard_normal((*shape, 4, 6)), np.ones((16, 16)))

    field = truth + blocks(3)
    members = field - blocks(8, 3)
    lines = {line.pool: line for line in compare("t2m", members, field, truth, seed=2)}
    assert lines[1].ratio == pytest.approx(1, abs=0.15)  # cell by cell both are as good
    assert lines[16].ratio < 0.9
    assert lines[16].energy < lines[16].energy_dressed


def test_pooling_is_a_mean_of_whole_blocks():
    field = np.arange(42.0).reshape(1, 6, 7)
    np.testing.assert_allclose(pooled(field, 3)[0, 0, 0], field[0, :3, :3].mean())
    assert pooled(field, 3).shape == (1, 2, 2)


def test_members_as_rough_as_the_truth_have_its_spectrum_and_a_smooth_field_has_not(truth):
    rng = np.random.default_rng(5)
    members = 280 + rng.standard_normal((8, 3, 64, 96))  # as the truth was drawn
    field = 280 + 0.1 * (truth - 280)  # a tenth of its amplitude: 20 dB
    line = next(iter(compare("t2m", members, field, truth, seed=2)))
    assert line.ralsd < 2.5
    assert line.ralsd_field == pytest.approx(20, abs=0.1)
