import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from gfs_sr.errors import ShapeMismatch
from gfs_sr.metrics import registry
from gfs_sr.metrics.cell_maps import CellSums
from gfs_sr.metrics.pointwise import interpolation_error
from gfs_sr.metrics.rank_correlation import average_ranks, spearman
from tests import fields
from tests.metrics.scenes import exchangeable, rough, scene


@pytest.fixture
def pair():
    truth = 101325 + 300 * fields.waves(25, 7, 9)
    return truth + 40 * rough(25, 7, 9) + 5, truth


def test_s003_19_maps_over_time_equal_numpy_and_scipy(pair):
    p, y = pair
    maps = CellSums.of(scene(p, y, variable="msl"))
    rmse = np.sqrt(((p - y) ** 2).mean(axis=0))  # the root is taken, and no factor of 100 times the mean
    assert_allclose(maps.rmse(), rmse, rtol=1e-10)
    assert_allclose(maps.mae(), np.abs(p - y).mean(axis=0), rtol=1e-10)
    assert_allclose(maps.bias(), (p - y).mean(axis=0), rtol=1e-9, atol=1e-9)
    assert_allclose(maps.nrmse(), 100 * rmse / y.mean(axis=0), rtol=1e-10)
    assert_allclose(maps.normalized_bias(), 100 * (p - y).sum(axis=0) / y.sum(axis=0), rtol=1e-9, atol=1e-12)
    pearson = [[scipy.stats.pearsonr(p[:, i, j], y[:, i, j])[0] for j in range(9)] for i in range(7)]
    assert_allclose(maps.correlation(), pearson, atol=1e-9)


def test_s003_19_scores_per_time_equal_numpy_and_scipy(pair):
    p, y = pair
    names = ["PSNR", "MAE", "RMSE", "correlation", "rank correlation", "nRMSE"]
    whole = scene(p, y, variable="msl", data_range=900.0)
    rows, table = registry.tally(names, whole), registry.metrics_of("msl")
    found = {name: table[name].value(rows[table[name].statistic.key]) for name in names}
    for t in range(25):
        error = p[t] - y[t]
        assert found["PSNR"][t] == pytest.approx(20 * np.log10(900) - 10 * np.log10((error**2).mean()), abs=1e-9)
        assert found["MAE"][t] == pytest.approx(np.abs(error).mean())
        assert found["RMSE"][t] == pytest.approx(np.sqrt((error**2).mean()))
        assert found["nRMSE"][t] == pytest.approx(100 * np.sqrt((error**2).mean()) / y[t].mean())
        assert found["correlation"][t] == pytest.approx(scipy.stats.pearsonr(p[t].ravel(), y[t].ravel())[0], abs=1e-9)
        expected = scipy.stats.spearmanr(p[t].ravel(), y[t].ravel())[0]
        assert found["rank correlation"][t] == pytest.approx(expected, abs=1e-9)


def test_s003_19_masked_cells_are_nan_in_every_map_and_a_first_value_of_zero_skips_none(pair):
    p, y = pair[0] - pair[1], pair[1] - 101325
    y[0, 2, 2] = 0.0
    y[:, 1, 3] = np.nan
    p[4:6, 5, 5] = np.nan
    maps = CellSums.of(scene(p, y))
    for values in (maps.rmse(), maps.nrmse(), maps.bias(), maps.normalized_bias(), maps.correlation(), maps.mae()):
        assert np.isnan(values[1, 3])
        assert np.isfinite(np.delete(values.ravel(), 1 * 9 + 3)).all()
    kept = np.delete(np.arange(25), [4, 5])
    assert maps.rmse()[5, 5] == pytest.approx(np.sqrt(((p - y)[kept, 5, 5] ** 2).mean()))


def test_maps_of_chunks_add_up_to_those_of_the_whole(pair):
    p, y = pair
    parts = CellSums.of(scene(p[:11], y[:11], variable="msl")) + CellSums.of(scene(p[11:], y[11:], variable="msl"))
    whole = CellSums.of(scene(p, y, variable="msl"))
    assert_allclose(parts.correlation(), whole.correlation(), rtol=1e-12)
    assert_allclose(parts.rmse(), whole.rmse(), rtol=1e-12)
    with pytest.raises(ShapeMismatch, match="maps of"):
        whole + CellSums.of(scene(p[:, 1:], y[:, 1:]))


def test_absolute_bias_does_not_cancel_over_cells():
    truth = np.full((3, 2, 2), 10.0)
    prediction = truth + np.array([[1.0, -1.0], [2.0, -2.0]])
    maps = CellSums.of(scene(prediction, truth))
    assert maps.absolute_bias() == pytest.approx(1.5)
    assert maps.absolute_bias(np.array([[1.0], [3.0]])) == pytest.approx(1.75)
    assert maps.relative_bias() == pytest.approx(0.15)


def test_correlation_of_a_constant_series_is_missing(pair):
    maps = CellSums.of(scene(np.full_like(pair[1], 101325.1), pair[1], variable="msl"))
    assert np.isnan(maps.correlation()).all()


def test_maps_of_an_ensemble_are_those_of_its_mean():
    members, truth = exchangeable(4, 6, 3, 5)
    assert_allclose(
        CellSums.of(scene(members, truth)).rmse(), CellSums.of(scene(members.mean(axis=0), truth)).rmse(), rtol=1e-12
    )


def test_ranks_of_ties_are_those_of_scipy():
    values = np.random.Generator(np.random.PCG64(0)).integers(0, 6, (40, 3)).astype(float)
    assert_allclose(average_ranks(values), scipy.stats.rankdata(values, axis=0))


def test_spearman_agrees_with_scipy_with_ties_and_missing_values():
    generator = np.random.Generator(np.random.PCG64(0))
    p, y = (generator.integers(0, 8, (50, 2, 3)).astype(float) for _ in range(2))
    p[::7, 0, 1] = np.nan
    found = spearman(p, y)
    for i in range(2):
        for j in range(3):
            kept = np.isfinite(p[:, i, j])
            assert found[i, j] == pytest.approx(scipy.stats.spearmanr(p[kept, i, j], y[kept, i, j])[0], abs=1e-12)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_interpolation_error_is_the_mean_length_of_the_error():
    truth = rough(3, 2, 4, 5)
    prediction = truth + np.array([3.0, 4.0])[:, None, None]
    assert interpolation_error(prediction, truth) == pytest.approx(5)
    u, v = (scene(prediction[:, c], truth[:, c]) for c in range(2))
    pair = scene(prediction[:, 0], truth[:, 0], partner=v)
    found = registry.score(["vector error", "vector RMSE"], pair)
    assert found == {"vector error": pytest.approx(5), "vector RMSE": pytest.approx(5)}
    assert "vector error" not in registry.available(u)
