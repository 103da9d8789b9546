"""Fractions skill score: are there as many events near each cell as in the truth?

Windows are squares of cells; beyond the edge there are no events (`padding="zero"`, the convention of pysteps and of
scipy's `uniform_filter(mode="constant")`), and a window of even size reaches one cell farther north and west. With
`padding="valid"` only windows inside the field count. Missing cells hold no event in either field.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, Value, by_frame, ratio
from gfs_sr.metrics.ranges import Ranges
from gfs_sr.metrics.scene import Frame, Need

GROUP = "neighborhoods"
SCALES = (1, 2, 4, 8, 16, 32, 64)  # cells per side
SHARES = (0.1, 0.01)  # of the field: events are the highest so many cells of either field

Padding = Literal["zero", "valid"]


def window_counts(events: npt.NDArray[np.bool_], size: int, padding: Padding = "zero") -> FloatArray:
    """Events within the window of each cell: (H, W) -> (H, W), or (H - size + 1, W - size + 1) for `valid`."""
    return _window_counts(_running(events), size, padding)


def _running(events: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(H + 1, W + 1): events north-west of each corner."""
    table = np.zeros((events.shape[0] + 1, events.shape[1] + 1), np.int64)
    events.cumsum(axis=0, dtype=np.int64).cumsum(axis=1, out=table[1:, 1:])
    return table


def _window_counts(running: npt.NDArray[np.int64], size: int, padding: Padding) -> FloatArray:
    counts = running
    for axis in (0, 1):
        length = running.shape[axis] - 1
        first = np.arange(length) - size // 2 if padding == "zero" else np.arange(length - size + 1)
        last = np.minimum(first + size, length)
        counts = counts.take(last, axis) - counts.take(np.maximum(first, 0), axis)
    return counts.astype(np.float64)


def fss_sums(
    prediction: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    size: int,
    weights: npt.NDArray[Any] | None = None,
    padding: Padding = "zero",
) -> tuple[float, float]:
    """Numerator and denominator of the score of two event fields (H, W): they add over frames, FSS = 1 - N/D.

    N sums the squared difference of the fractions, D the squares of both (Roberts and Lean 2008, MWR 136);
    `weights` broadcast to the windows.
    """
    return _fss_sums(_running(prediction), _running(truth), size, weights, padding)


def _fss_sums(
    prediction: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    size: int,
    weights: npt.NDArray[Any] | None,
    padding: Padding = "zero",
) -> tuple[float, float]:
    p, y = (_window_counts(running, size, padding) for running in (prediction, truth))
    w = 1.0 if weights is None else weights
    area = float(size) ** 4
    return float((w * (p - y) ** 2).sum() / area), float((w * (p * p + y * y)).sum() / area)


def fss(
    prediction: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    size: int,
    weights: npt.NDArray[Any] | None = None,
    padding: Padding = "zero",
) -> float:
    """Fractions skill score: 1 perfect, 0 nothing in common; NaN without any event."""
    top, bottom = fss_sums(prediction, truth, size, weights, padding)
    return 1 - top / bottom if bottom > 0 else float("nan")


Events = Callable[[FloatArray, npt.NDArray[np.bool_]], list[npt.NDArray[np.bool_]]]


def at_least(thresholds: Sequence[float]) -> Events:
    """Cells at or above each threshold."""
    return lambda field, _: [field >= threshold for threshold in thresholds]  # missing cells are NaN


def highest(shares: Sequence[float]) -> Events:
    """The highest cells of a field, by share of the valid ones, so a bias does not show; never its lowest value."""

    def events(field: FloatArray, valid: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
        if not valid.any():
            return [valid for _ in shares]
        found = field[valid]
        return [
            valid & (field >= threshold) & (field > found.min())
            for threshold in np.quantile(found, [1 - share for share in shares])
        ]

    return events


def _sums(events: Events, count: int) -> Callable[[Frame], npt.ArrayLike]:
    def sums(frame: Frame) -> npt.ArrayLike:
        found = np.zeros((count, len(SCALES), 2))
        truths = events(frame.truth, frame.valid)
        for field in frame.fields:
            for row, (p, y) in enumerate(zip(events(field, frame.valid), truths, strict=True)):
                if not (p.any() or y.any()):
                    continue
                forecast, observed = _running(p), _running(y)
                for column, size in enumerate(SCALES):
                    if size <= min(p.shape):
                        found[row, column] += _fss_sums(forecast, observed, size, frame.weights)
        return found.ravel()

    return sums


def fss_table(sums: FloatArray) -> FloatArray:
    """Sums of an FSS statistic (..., K) -> scores (..., thresholds, scales)."""
    parts = sums.reshape(*sums.shape[:-1], -1, len(SCALES), 2)
    return 1 - ratio(parts[..., 0], parts[..., 1])


def _score(row: int, column: int) -> Value:
    return lambda sums: fss_table(sums)[..., row, column]


HIGHEST = Statistic("fss of the highest", by_frame(_sums(highest(SHARES), len(SHARES))))


def statistic_of(ranges: Ranges) -> Statistic:
    """FSS at a variable's thresholds, rows in their order."""
    return Statistic(
        "fss", by_frame(_sums(at_least(ranges.thresholds), len(ranges.thresholds))), frozenset({Need.RANGES})
    )


def metrics_of(ranges: Ranges) -> tuple[Metric, ...]:
    """A row per threshold and scale."""
    statistic = statistic_of(ranges)
    return tuple(
        Metric(
            f"FSS >= {threshold:g} @ {size} cells",
            GROUP,
            statistic,
            _score(row, column),
            "higher",
            f"Does the share of cells at or above the threshold agree within windows of {size} cells?",
            title="FSS",
            scale=f"{size} cells",
            threshold=threshold,
        )
        for row, threshold in enumerate(ranges.thresholds)
        for column, size in enumerate(SCALES)
    )


METRICS: tuple[Metric, ...] = tuple(
    Metric(
        f"FSS highest {share:.0%} @ {size} cells",
        GROUP,
        HIGHEST,
        _score(row, column),
        "higher",
        f"Do the highest {share:.0%} of the cells lie where the truth's do, within windows of {size} cells?",
        title=f"FSS highest {share:.0%}",
        scale=f"{size} cells",
    )
    for row, share in enumerate(SHARES)
    for column, size in enumerate(SCALES)
)
