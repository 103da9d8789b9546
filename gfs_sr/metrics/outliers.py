"""Outliers: values that the truth has nowhere near."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, mean_of
from gfs_sr.metrics.scene import Scene, stacked

RADIUS = 3  # cells, where the scene does not say how many fine cells make a coarse one


def local_range(field: npt.NDArray[Any], radius: int) -> tuple[FloatArray, FloatArray]:
    """Least and greatest value within `radius` cells along rows and columns: (H, W) twice, NaN without any."""
    values = np.asarray(field, np.float64)
    valid = np.isfinite(values)
    low = -_local_max(np.where(valid, -values, -np.inf), radius)
    high = _local_max(np.where(valid, values, -np.inf), radius)
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)


def _local_max(values: FloatArray, radius: int) -> FloatArray:
    for axis in (0, 1):
        length = values.shape[axis]
        rim = [(0, 0), (0, 0)]
        rim[axis] = (radius, radius)
        padded = np.moveaxis(np.pad(values, rim, constant_values=-np.inf), axis, 0)
        highest = padded[:length].copy()
        for shift in range(1, 2 * radius + 1):
            np.maximum(highest, padded[shift : shift + length], out=highest)
        values = np.moveaxis(highest, 0, axis)
    return values


def _sums(scene: Scene) -> FloatArray:
    radius = scene.scale_factor or RADIUS
    rows = []
    for frame in scene.frames():
        low, high = local_range(frame.truth, radius)
        with np.errstate(invalid="ignore"):  # missing cells weigh nothing
            outside = (frame.fields < low) | (frame.fields > high)
        rows.append(((outside * frame.weights).sum(axis=(1, 2)).mean(), frame.weights.sum()))
    return stacked(rows)


METRICS: tuple[Metric, ...] = (
    Metric(
        "outlier rate", "gradients and extremes", Statistic("outliers", _sums), mean_of(), "lower",
        "Share of cells with a value outside the truth's range within one coarse cell around.",
    ),
)  # fmt: skip
