"""Objects of precipitation: structure, amplitude and location (SAL).

Source: Wernli, Paulat, Hagen and Frei 2008 (MWR 136). Objects are 8-connected cells at or above a
fifteenth of the field's maximum. Positions are in km on the plane where there is a grid, else in cells; amounts are
weighted by area.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, Value, ratio
from gfs_sr.metrics.scene import Frame, Need, Scene, stacked
from gfs_sr.metrics.spectra import spacing_km

GROUP = "objects"
SHARE_OF_MAXIMUM = 1 / 15


@dataclass(frozen=True)
class SAL:
    """Each 0 where the fields agree; NaN where a component is not defined (a dry field)."""

    structure: float  # -2 ... 2: above 0 objects are too large or too flat
    amplitude: float  # -2 ... 2: above 0 too much in all
    location: float  # 0 ... 2: centers of mass apart, and objects gathered or scattered otherwise


def label(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(H, W) -> (H, W): 0 outside, 1, 2, ... on each set of true cells that touch at sides or corners."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, first = np.nonzero(steps == 1)  # runs of true cells, in reading order
    last = np.nonzero(steps == -1)[1] - 1
    labels = np.zeros(mask.shape, np.int64)
    if not rows.size:
        return labels
    stride = width + 2  # of positions: a run's next row cannot be taken for another
    starts, ends = rows * stride + first, rows * stride + last
    # the runs of the row below that reach from one column before a run to one after it
    lowest = np.searchsorted(ends, starts + stride - 1, side="left")
    beyond = np.searchsorted(starts, ends + stride + 1, side="right")
    counts = beyond - lowest
    upper = np.repeat(np.arange(rows.size), counts)
    lower = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - lowest, counts)
    labels[mask] = np.repeat(_components(rows.size, upper, lower) + 1, last - first + 1)
    return labels


def sal(
    prediction: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    spacing: tuple[float, float] = (1.0, 1.0),
    weights: npt.NDArray[Any] | None = None,
) -> SAL:
    """Structure, amplitude and location of two fields (H, W) of amounts; missing cells hold nothing.

    Args:
        prediction: zero or more.
        truth: zero or more, same units.
        spacing: (lat, lon) distance of cells, any unit of length.
        weights: area of each cell, broadcasts to (H, W).
    """
    height, width = truth.shape
    area = np.ones(truth.shape) if weights is None else np.broadcast_to(weights, truth.shape)
    rows, cols = np.arange(height)[:, None] * spacing[0], np.arange(width)[None] * spacing[1]
    longest = float(np.hypot(rows[-1, 0], cols[0, -1]))
    p, y = (
        _Field.of(np.nan_to_num(np.asarray(f, np.float64)) * (area > 0), area, rows, cols) for f in (prediction, truth)
    )
    apart = np.hypot(p.center[0] - y.center[0], p.center[1] - y.center[1]) / longest if longest else np.nan
    scatter = 2 * abs(p.scatter - y.scatter) / longest if longest else np.nan
    return SAL(_relative(p.volume, y.volume), _relative(p.mean, y.mean), float(apart + scatter))


@dataclass(frozen=True)
class _Field:
    mean: float  # D(R), the domain's
    center: tuple[float, float]  # x(R), of mass
    scatter: float  # r, mean distance of objects from the center
    volume: float  # V(R), scaled

    @classmethod
    def of(cls, field: FloatArray, area: npt.NDArray[Any], rows: npt.NDArray[Any], cols: npt.NDArray[Any]) -> "_Field":
        peak = float(field.max(initial=0.0))
        if not peak > 0:
            return cls(0.0, (np.nan, np.nan), np.nan, 0.0)
        labels = label(field >= SHARE_OF_MAXIMUM * peak)
        count = int(labels.max())
        amount = field * area
        inside = labels > 0
        index = labels[inside] - 1
        heavy = np.bincount(index, amount[inside], count)  # R_n
        object_rows = np.bincount(index, (amount * rows)[inside], count) / heavy
        object_cols = np.bincount(index, (amount * cols)[inside], count) / heavy
        tops = np.zeros(count)
        np.maximum.at(tops, index, field[inside])
        total = amount.sum()
        center = float((amount * rows).sum() / total), float((amount * cols).sum() / total)
        away = np.hypot(object_rows - center[0], object_cols - center[1])
        return cls(
            float(total / np.sum(area)),
            center,
            float((heavy * away).sum() / heavy.sum()),
            float((heavy * heavy / tops).sum() / heavy.sum()),
        )


def _relative(p: float, y: float) -> float:
    return (p - y) / (0.5 * (p + y)) if p + y > 0 else float("nan")


def _components(count: int, upper: npt.NDArray[np.int64], lower: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of the connected component of each of `count` runs, from pairs that touch."""
    root = np.arange(count)
    while True:
        least = np.minimum(root[upper], root[lower])
        following = root.copy()
        np.minimum.at(following, root[upper], least)
        np.minimum.at(following, root[lower], least)
        while not np.array_equal(following, following[following]):
            following = following[following]
        if np.array_equal(following, root):
            numbers: npt.NDArray[np.int64] = np.unique(root, return_inverse=True)[1]
            return numbers
        root = following


def _sums(scene: Scene) -> FloatArray:
    spacing = spacing_km(scene.grid) if scene.grid is not None else (1.0, 1.0)
    return stacked([_frame_sums(frame, spacing) for frame in scene.frames()])


def _frame_sums(frame: Frame, spacing: tuple[float, float]) -> FloatArray:
    sums = np.zeros((4, 2))  # S, A, L and |S| + |A| + L: sum, count
    for field in frame.fields:
        found = sal(field, frame.truth, spacing, frame.weights)
        parts = [found.structure, found.amplitude, found.location]
        values = np.array([*parts, np.abs(parts).sum()])
        defined = np.isfinite(values)
        sums[defined] += np.stack([values[defined], np.ones(defined.sum())], axis=1)
    return sums.ravel()


def _mean(row: int) -> Value:
    return lambda sums: ratio(sums[..., 2 * row], sums[..., 2 * row + 1])


OBJECTS = Statistic("sal", _sums, frozenset({Need.AMOUNT}))

METRICS: tuple[Metric, ...] = (
    Metric(
        "SAL structure", GROUP, OBJECTS, _mean(0), "zero",
        "Objects too large or flat (above 0) or too small or peaked (below), mean over frames.",
    ),
    Metric("SAL amplitude", GROUP, OBJECTS, _mean(1), "zero", "Too much (above 0) or too little in all."),
    Metric("SAL location", GROUP, OBJECTS, _mean(2), "zero", "Distance of the centers, and of objects from them."),
    Metric("SAL sum", GROUP, OBJECTS, _mean(3), "zero", "Sizes of the three components together."),
)  # fmt: skip
