"""One forecast with fitted noise, as the rival of members: its scores where they are known."""

import csv

import numpy as np
import pytest

from crossvalidation.dressed import best_size, compare, main, pooled, training_sets
from crossvalidation.rival import dress, fitted_size, fitted_sizes, normal_crps
from export.publication import publish
from gfs_sr.errors import UsageError
from gfs_sr.metrics.ensemble import crps
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.training.field_set import FieldSet, write_packed
from tests.crossvalidation.test_samplers import EDM, TRUTH
from tests.export.checkpoints import make_checkpoint

SIGMA = 0.7
NORMAL_CRPS = 1 / np.sqrt(np.pi)  # expected, of a perfect standard normal forecast (Gneiting and Raftery 2007)


@pytest.fixture
def truth():
    return 280 + np.random.default_rng(0).standard_normal((3, 64, 96))


def test_noise_of_the_size_of_the_error_is_found(truth):
    """The error is normal: the fitted forecast is perfect, and its fair CRPS that of a normal distribution."""
    field = truth + SIGMA * np.random.default_rng(1).standard_normal(truth.shape)
    dressed = dress(field, best_size(field, truth, 8, seed=2), 8, seed=2)
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


def rough_plane(source, size, rows=61, columns=73):
    """A plane, which cubic interpolation leaves alone, and noise of `size`, which no interpolation knows."""
    rng = np.random.default_rng(6)
    plane = 280 + 0.01 * np.arange(rows)[:, None] + 0.02 * np.arange(columns)
    return FieldSet(
        name=f"{source}-0",
        source=source,
        variables=("t2m",),
        values=(plane + size * rng.standard_normal((2, rows, columns)))[None].astype(np.float32),
        times=np.array(["2020-01-01T00", "2020-01-01T06"], "datetime64[ns]"),
        lat=50 - 0.1 * np.arange(rows),
        lon=0.1 * np.arange(columns),
    )


def test_the_crps_of_a_normal_distribution_is_that_of_many_members_of_it():
    members = 0.6 * np.random.default_rng(7).standard_normal((200_000, 1))
    for off in (0.0, 0.4, -2.0):
        assert normal_crps(np.array([off]), 0.6)[0] == pytest.approx(crps(members, np.array([off]))[0], abs=3e-3)


def test_every_source_counts_alike_however_many_cells_it_has():
    rng = np.random.default_rng(8)
    small, large = rng.standard_normal(2000), 3 * rng.standard_normal(2000)
    size = fitted_size([small, large])
    assert 1 < size < 3
    assert fitted_size([np.tile(small, 50), large]) == pytest.approx(size)


def test_the_noise_of_a_user_is_the_error_left_on_other_sources():
    with Upscaler.open("interpolation-cell", threads=1) as model:
        sizes = fitted_sizes([rough_plane("one", SIGMA)], model)
        tiny = rough_plane("tiny", SIGMA, rows=9, columns=9)  # no two coarse cells: nothing is refined between them
        assert fitted_sizes([tiny], model) == {}
    # means of 6 by 6 cells, which the interpolation carries over, add 1/36 of the variance or less
    assert sizes == {"t2m": pytest.approx(SIGMA, rel=0.08)}  # steps of 10 % are tried


def test_a_rival_that_was_fitted_elsewhere_has_columns_of_its_own(truth):
    field = truth + SIGMA * np.random.default_rng(1).standard_normal(truth.shape)
    members = dress(field, SIGMA, 8, seed=9)
    known, wrong, nothing = (
        next(iter(compare("t2m", members, field, truth, 2, size))) for size in (SIGMA, 4 * SIGMA, float("nan"))
    )
    assert known.ratio_user == pytest.approx(known.ratio, rel=0.02)
    assert wrong.crps_dressed == known.crps_dressed  # of the noise that was fitted to the truth
    # Gneiting et al. 2005, equation 5, expected for errors of SIGMA under noise of 4 SIGMA
    expected = SIGMA * (np.sqrt(2 / np.pi) * np.sqrt(17) - 4 / np.sqrt(np.pi))
    assert wrong.crps_user == pytest.approx(expected, rel=0.03)
    assert wrong.energy_user > wrong.energy_dressed
    assert np.isnan(nothing.ratio_user)
    assert nothing.ratio == known.ratio


def test_a_source_that_is_not_in_the_packed_set_is_refused(tmp_path):
    write_packed([rough_plane("one", 0.1), rough_plane("other", 0.1)], tmp_path / "set.npz")
    assert [each.source for each in training_sets(tmp_path / "set.npz", ["one"])] == ["other"]
    with pytest.raises(UsageError, match="no source another"):
        training_sets(tmp_path / "set.npz", ["another"])


def test_the_command_tells_both_rivals(tmp_path):
    model = publish(make_checkpoint({**EDM, "scale_factor": 6, "patch_size": 3}, spread=0.1), tmp_path / "edm").artifact
    write_packed([rough_plane("one", SIGMA)], tmp_path / "set.npz")
    target = tmp_path / "dressed.csv"
    given = [str(TRUTH), "--model", str(model.path), "--against", "interpolation-cell", "--members", "2", "--frames"]
    given += ["1", "--threads", "1", "--packed", str(tmp_path / "set.npz"), "-o", str(target)]
    assert main(given) == 0
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["pool"] for row in rows] == ["1", "4", "16"]
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["crps"]) / float(row["crps_dressed"]))
        assert float(row["ratio_user"]) == pytest.approx(float(row["crps"]) / float(row["crps_user"]))
        assert float(row["noise_user"]) == pytest.approx(SIGMA, rel=0.08)
