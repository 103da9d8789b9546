"""Gradients: are fronts and slopes as steep as in the truth?"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import EARTH_RADIUS_M, FloatArray, Grid
from gfs_sr.metrics.metric import Metric, Statistic, mean_of, ratio
from gfs_sr.metrics.scene import Need, Scene, stacked

GROUP = "gradients and extremes"
PER_KM = 100.0  # gradients are per so many km


def gradient_magnitude(field: npt.NDArray[Any], grid: Grid) -> FloatArray:
    """Length of the horizontal gradient on the sphere.

    Args:
        field: (..., H, W) on `grid`.
        grid: central differences inside, one-sided at the rim, around the globe where longitudes are periodic.

    Returns:
        (..., H, W), units of the field per 100 km; NaN beside missing cells and on rows at a pole.
    """
    values = np.asarray(field, np.float64)
    per_km = 1000 / EARTH_RADIUS_M  # radians of a great circle
    dlat, dlon = np.deg2rad(grid.spacing_deg)
    north = _slope(values, -2, False) * per_km / dlat
    cosine = np.cos(np.deg2rad(grid.lat))[:, None]
    along = np.where(cosine > 1e-6, cosine, np.nan)
    east = _slope(values, -1, grid.is_periodic) * per_km / (dlon * along)
    magnitude: FloatArray = PER_KM * np.hypot(north, east)
    return magnitude


def _slope(values: FloatArray, axis: int, periodic: bool) -> FloatArray:
    if periodic:
        return (np.roll(values, -1, axis) - np.roll(values, 1, axis)) / 2
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    slope: FloatArray = np.gradient(values, axis=axis)
    return slope


def _sums(scene: Scene) -> FloatArray:
    assert scene.grid is not None  # Need.GRID was checked
    rows = []
    for frame in scene.frames():
        truth = gradient_magnitude(frame.truth, scene.grid)
        total = np.zeros(4)
        for field in frame.fields:
            magnitude = gradient_magnitude(field, scene.grid)
            used = np.isfinite(magnitude) & np.isfinite(truth)
            w, p, y = frame.weights[used], magnitude[used], truth[used]
            total += (w @ (p - y) ** 2, w @ p, w @ y, w.sum())
        rows.append(total / len(frame.fields))
    return stacked(rows)


GRADIENTS = Statistic("gradients", _sums, frozenset({Need.GRID}))

METRICS: tuple[Metric, ...] = (
    Metric(
        "gradient RMSE", GROUP, GRADIENTS, lambda sums: np.sqrt(ratio(sums[..., 0], sums[..., 3])), "lower",
        "Root of the mean squared error of the gradient's length.", "{u} (100 km)-1",
    ),
    Metric(
        "gradient ratio", GROUP, GRADIENTS, mean_of(1, 2), "one",
        "Mean length of the gradient over the truth's: below 1 the forecast is too smooth.",
    ),
)  # fmt: skip
