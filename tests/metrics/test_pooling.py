import numpy as np
import pytest

from gfs_sr.errors import ShapeMismatch
from gfs_sr.metrics import registry
from gfs_sr.metrics.pooling import Pool, pooled_max, pooled_mean, pooled_weights
from tests.metrics.scenes import rough, scene


def test_blocks_are_area_weighted_means():
    field, weights = rough(6, 8), np.linspace(1, 3, 6)[:, None]
    whole = np.broadcast_to(weights, field.shape)
    for i, j in ((0, 0), (2, 4), (4, 6)):
        block = slice(i, i + 2), slice(j, j + 2)
        expected = np.average(field[block], weights=whole[block])
        assert pooled_mean(field, 2, weights)[i // 2, j // 2] == pytest.approx(expected)


def test_ragged_blocks_keep_every_cell_and_weigh_what_they_hold():
    field = rough(7, 10)
    means, weights = pooled_mean(field, 4), pooled_weights(None, (7, 10), 4)
    assert means.shape == (2, 3)
    assert means[1, 2] == pytest.approx(field[4:, 8:].mean())
    assert weights.tolist() == [[16, 16, 8], [12, 12, 6]]
    assert (means * weights).sum() == pytest.approx(field.sum())


def test_a_block_misses_only_where_all_its_cells_do():
    field = rough(4, 4)
    field[:2, :2] = np.nan
    field[0, 2] = np.nan
    means, highest = pooled_mean(field, 2), pooled_max(field, 2)
    assert np.isnan(means[0, 0])
    assert np.isnan(highest[0, 0])
    assert means[0, 1] == pytest.approx(np.nanmean(field[:2, 2:]))
    assert highest[0, 1] == np.nanmax(field[:2, 2:])


def test_maxima_of_stacks_are_those_of_each_field():
    fields = rough(3, 2, 9, 5)
    assert pooled_max(fields, 4)[2, 1, 2, 1] == fields[2, 1, 8, 4]
    assert pooled_max(fields, 4)[1, 0, 0, 0] == fields[1, 0, :4, :4].max()


def test_a_field_smaller_than_a_block_is_refused_and_not_offered():
    with pytest.raises(ShapeMismatch, match="hold no block of 16"):
        pooled_mean(rough(12, 40), 16)
    offered = registry.available(scene(rough(12, 40), rough(12, 40)))
    assert "RMSE @ mean 4" in offered
    assert "RMSE @ mean 16" not in offered


def test_prediction_and_truth_are_pooled_over_the_same_cells():
    truth = np.arange(16.0).reshape(4, 4)
    prediction = truth + 1
    prediction[0, 0] = np.nan
    pooled = Pool("mean", 4).of(scene(prediction, truth))
    assert pooled.prediction[0, 0, 0] - pooled.truth[0, 0, 0] == pytest.approx(1)


@pytest.mark.parametrize("size", [4, 16])
def test_bias_survives_mean_pooling_and_rmse_falls(size):
    prediction, truth = rough(2, 37, 50) + 0.5, rough(2, 37, 50, seed=1)
    weights = np.cos(np.linspace(0, 1, 37))[:, None]
    whole = scene(prediction, truth, weights=weights)
    found = registry.score(["bias", "RMSE", f"bias @ mean {size}", f"RMSE @ mean {size}"], whole)
    assert found[f"bias @ mean {size}"] == pytest.approx(found["bias"], abs=1e-12)
    assert found[f"RMSE @ mean {size}"] < found["RMSE"]
