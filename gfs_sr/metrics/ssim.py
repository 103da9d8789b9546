"""Structural similarity, over valid windows only."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.metrics.metric import Metric, Statistic, mean_of
from gfs_sr.metrics.pointwise import weighted_mean
from gfs_sr.metrics.scene import Scene, stacked

Values = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

WINDOW = 11  # cells per side
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def ssim_map(
    prediction: Values, truth: Values, data_range: float, border: Literal["valid", "zero"] = "valid"
) -> FloatArray:
    """Local similarity of two fields.

    Args:
        prediction: (..., H, W).
        truth: (..., H, W).
        data_range: R of the constants C_i = (K_i R)².
        border: `valid` keeps windows inside the field, `zero` pads with zeros; the latter is there to reproduce
            published tables.

    Returns:
        (..., H - 10, W - 10) for `valid`, (..., H, W) for `zero`; NaN where a window holds a missing cell.

    Source: Wang et al. 2004 (IEEE TIP 13), Gaussian window of 11 by 11, sigma 1.5, population moments.
    """
    p, y = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    if border == "zero":
        rim = [(0, 0)] * (p.ndim - 2) + [(WINDOW // 2, WINDOW // 2)] * 2
        p, y = np.pad(p, rim), np.pad(y, rim)
    # moments about a common origin near the data: sums of squares of 1e5 Pa lose the digits the variance needs
    origin = 0.0 if border == "zero" else float(np.nanmean(y)) if np.isfinite(y).any() else 0.0
    mean_p, mean_y = _window_mean(p - origin), _window_mean(y - origin)
    var_p = _window_mean((p - origin) ** 2) - mean_p**2
    var_y = _window_mean((y - origin) ** 2) - mean_y**2
    covariance = _window_mean((p - origin) * (y - origin)) - mean_p * mean_y
    mean_p, mean_y = mean_p + origin, mean_y + origin
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    similarity: FloatArray = (
        (2 * mean_p * mean_y + c1) * (2 * covariance + c2) / ((mean_p**2 + mean_y**2 + c1) * (var_p + var_y + c2))
    )
    return similarity


def ssim(
    prediction: Values,
    truth: Values,
    data_range: float,
    weights: Values | None = None,
    border: Literal["valid", "zero"] = "valid",
) -> float:
    """Mean structural similarity of fields (..., H, W).

    `weights` (H, 1) or (H, W) are those of the window's central cell; NaN where the field is smaller than a window.
    """
    if (border == "valid" and min(prediction.shape[-2:]) < WINDOW) or not data_range > 0:
        return float("nan")
    if weights is not None and border == "valid":
        weights = _inner(weights)
    return weighted_mean(ssim_map(prediction, truth, data_range, border), weights)


def _inner(weights: Values) -> Values:
    half = WINDOW // 2
    rows = weights[half : weights.shape[0] - half]
    return rows if weights.shape[1] == 1 else rows[:, half : weights.shape[1] - half]


def _sums(scene: Scene) -> FloatArray:
    if (scene.border == "valid" and min(scene.shape[1:]) < WINDOW) or not scene.data_range > 0:
        return np.zeros((len(scene), 2))
    rows = []
    for frame in scene.frames():
        similarity = ssim_map(frame.prediction, frame.truth, scene.data_range, scene.border)
        weights = _inner(frame.weights) if scene.border == "valid" else frame.weights
        used = np.isfinite(similarity)
        rows.append((weights[used] @ similarity[used], weights[used].sum()))
    return stacked(rows)


METRICS: tuple[Metric, ...] = (
    Metric(
        "SSIM", "cell by cell", Statistic("ssim", _sums), mean_of(), "higher",
        "Structural similarity: level, contrast and pattern within windows of 11 cells; 1 is identity.",
    ),
)  # fmt: skip


def _window_mean(values: FloatArray) -> FloatArray:
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel /= kernel.sum()
    for axis in (-2, -1):
        size = values.shape[axis] - WINDOW + 1
        source = np.moveaxis(values, axis, 0)
        total = np.zeros((size, *source.shape[1:]))
        for tap, weight in enumerate(kernel):
            total += weight * source[tap : tap + size]
        values = np.moveaxis(total, 0, axis)
    return values
