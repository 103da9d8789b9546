"""Scores of cell against cell.

Every function takes prediction and truth (..., H, W) in the same units and `weights` that broadcast to them, such as
cos(latitude) as (H, 1); None weighs all cells alike. Cells where either is missing are left out; without any cell left
the score is NaN.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

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
