"""Scores of cell against cell.

Every function takes prediction and truth (..., H, W) in the same units and `weights` that broadcast to them, such as
cos(latitude) as (H, 1); None weighs all cells alike. Cells where either is missing are left out; without any cell left
the score is NaN.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, ratio
from gfs_sr.metrics.scene import Need, Scene, stacked

Values = npt.NDArray[Any]


def weighted_mean(values: Values, weights: Values | None = None) -> float:
    """Mean over the finite values."""
    valid = np.isfinite(values)
    if weights is None:
        return float(values[valid].mean(dtype=np.float64)) if valid.any() else float("nan")
    used = np.where(valid, np.broadcast_to(weights, values.shape), 0.0)
    total = used.sum(dtype=np.float64)
    return float((np.where(valid, values, 0.0) * used).sum(dtype=np.float64) / total) if total > 0 else float("nan")


def mse(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """Mean squared error, units squared."""
    return weighted_mean(_error(prediction, truth) ** 2, weights)


def rmse(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(prediction, truth, weights)))


def mae(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """Mean absolute error."""
    return weighted_mean(np.abs(_error(prediction, truth)), weights)


def bias(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """Mean of prediction minus truth."""
    return weighted_mean(_error(prediction, truth), weights)


def correlation(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """Pearson's correlation over all cells; NaN where either field is constant."""
    error = _error(prediction, truth)
    p = np.where(np.isfinite(error), prediction, np.nan).astype(np.float64)
    y = np.where(np.isfinite(error), truth, np.nan).astype(np.float64)
    p, y = p - weighted_mean(p, weights), y - weighted_mean(y, weights)
    scale = np.sqrt(weighted_mean(p * p, weights) * weighted_mean(y * y, weights))
    return float(weighted_mean(p * y, weights) / scale) if scale > 0 else float("nan")


def psnr(prediction: Values, truth: Values, data_range: float, weights: Values | None = None) -> float:
    """Peak signal-to-noise ratio, dB: 20 lg R - 10 lg MSE; infinite without error."""
    error = mse(prediction, truth, weights)
    if error == 0:
        return float("inf")
    return float(20 * np.log10(data_range) - 10 * np.log10(error)) if data_range > 0 else float("nan")


def nrmse(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """RMSE in percent of the truth's mean."""
    return 100 * rmse(prediction, truth, weights) / weighted_mean(np.asarray(truth, np.float64), weights)


def _error(prediction: Values, truth: Values) -> npt.NDArray[np.float64]:
    difference: npt.NDArray[np.float64] = np.subtract(prediction, truth, dtype=np.float64)
    return difference


def interpolation_error(prediction: Values, truth: Values, weights: Values | None = None) -> float:
    """Mean over cells of the norm of the error over channels, (..., C, H, W).

    Source: Baker et al. 2011 (IJCV 92).
    """
    return weighted_mean(np.sqrt((_error(prediction, truth) ** 2).sum(axis=-3)), weights)


def _psnr_sums(scene: Scene) -> FloatArray:
    if not scene.data_range > 0:
        return np.zeros((len(scene), 2))
    rows = []
    for frame in scene.frames():
        error = (frame.prediction - frame.truth)[frame.valid] / scene.data_range
        rows.append((frame.weights[frame.valid] @ error**2, frame.weights.sum()))
    return stacked(rows)


def _psnr_value(sums: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):  # no error at all: infinite
        decibels: FloatArray = -10 * np.log10(ratio(sums[..., 0], sums[..., 1]))
    return decibels


def _vector_sums(scene: Scene) -> FloatArray:
    assert scene.partner is not None  # Need.PARTNER was checked
    rows = []
    for frame, other in zip(scene.frames(), scene.partner.frames(), strict=True):
        used = frame.valid & other.valid
        squared = (frame.prediction - frame.truth)[used] ** 2 + (other.prediction - other.truth)[used] ** 2
        w = frame.weights[used]
        rows.append((w @ np.sqrt(squared), w @ squared, w.sum()))
    return stacked(rows)


PSNR = Statistic("psnr", _psnr_sums)
VECTOR = Statistic("vector", _vector_sums, frozenset({Need.PARTNER}))

METRICS: tuple[Metric, ...] = (
    Metric(
        "PSNR", "cell by cell", PSNR, _psnr_value, "higher",
        "Peak signal-to-noise ratio: the truth's range over the RMSE, on a logarithmic scale.", "dB",
    ),
    Metric(
        "vector error", "cell by cell", VECTOR, lambda sums: ratio(sums[..., 0], sums[..., 2]), "lower",
        "Mean length of the error of the wind vector (interpolation error of two channels).", "{u}",
    ),
    Metric(
        "vector RMSE", "cell by cell", VECTOR, lambda sums: np.sqrt(ratio(sums[..., 1], sums[..., 2])), "lower",
        "Root of the mean squared length of the error of the wind vector.", "{u}",
    ),
)  # fmt: skip
