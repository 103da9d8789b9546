import numpy as np
import pytest

from gfs_sr.errors import UsageError
from gfs_sr.metrics import registry
from tests import fields
from tests.metrics.scenes import rough, scene


def rate(prediction, truth, reference, **more):
    return registry.METRICS["restoration rate"].score(scene(prediction, truth, reference=reference, **more))


@pytest.fixture
def truth():
    return fields.waves(13, 10, 12)


@pytest.fixture
def linear(truth):
    n = np.arange(13)
    columns = truth[::4].reshape(4, -1)
    return np.stack([np.interp(n, n[::4], column) for column in columns.T], axis=-1).reshape(truth.shape)


def test_s001_11_restoration_rate_of_linear_is_zero_and_of_the_truth_one(truth, linear):
    assert rate(linear, truth, linear) == 0
    assert rate(truth, truth, linear) == 1
    assert rate(2 * truth - linear, truth, linear) == pytest.approx(0)  # the same error on the other side
    assert rate(2 * linear - truth, truth, linear) == pytest.approx(-3)  # twice the error


def test_s001_11_restoration_rate_matches_its_formula_over_uneven_areas(truth, linear):
    weights = np.cos(np.linspace(0, 1.4, 10))[:, None]
    prediction = truth + 0.1 * rough(13, 10, 12)
    prediction[2, 3:5] = np.nan
    kept = np.isfinite(prediction)
    w = np.broadcast_to(weights, truth.shape)[kept]
    expected = 1 - (w @ (prediction - truth)[kept] ** 2) / (w @ (linear - truth)[kept] ** 2)
    assert rate(prediction, truth, linear, weights=weights) == pytest.approx(expected)


def test_s001_11_half_the_error_restores_three_quarters(truth, linear):
    assert rate((linear + truth) / 2, truth, linear) == pytest.approx(0.75)


def test_without_a_reference_there_is_no_rate(truth):
    with pytest.raises(UsageError, match="needs what the scene does not have: reference"):
        registry.score(["restoration rate"], scene(truth, truth))
