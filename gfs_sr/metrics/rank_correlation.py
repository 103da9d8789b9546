"""Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of theirs."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, by_frame, mean_of, ratio
from gfs_sr.metrics.scene import Frame


def average_ranks(values: npt.NDArray[Any]) -> FloatArray:
    """Ranks 1, 2, ... along the first axis; equal values share their mean rank, NaN has none."""
    order = np.argsort(values, axis=0, kind="stable")  # NaN last
    ordered = np.take_along_axis(np.asarray(values, np.float64), order, axis=0)
    size = ordered.shape[0]
    place = np.arange(size).reshape(-1, *(1,) * (ordered.ndim - 1))
    changes = np.ones(ordered.shape, bool)
    changes[1:] = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(changes, place, 0), axis=0)
    ends = np.ones(ordered.shape, bool)
    ends[:-1] = changes[1:]
    last = np.minimum.accumulate(np.where(ends, place, size)[::-1], axis=0)[::-1]
    ranks = np.empty(ordered.shape)
    np.put_along_axis(ranks, order, np.where(np.isnan(ordered), np.nan, (first + last) / 2 + 1), axis=0)
    return ranks


def spearman(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> FloatArray:
    """(N, ...) twice -> (...): correlation along the first axis, pairs with a NaN left out; NaN if one is constant."""
    missing = ~(np.isfinite(prediction) & np.isfinite(truth))
    p, y = (average_ranks(np.where(missing, np.nan, field)) for field in (prediction, truth))
    count = (~missing).sum(axis=0)
    p, y = (np.where(missing, 0.0, ranks - (count + 1) / 2) for ranks in (p, y))  # the mean rank is known
    scale = np.sqrt((p * p).sum(axis=0) * (y * y).sum(axis=0))
    return ratio((p * y).sum(axis=0), scale)


def _sums(frame: Frame) -> npt.ArrayLike:
    used = frame.valid & (frame.weights > 0)
    found = float(spearman(frame.prediction[used], frame.truth[used])) if used.any() else np.nan
    return (found, 1.0) if np.isfinite(found) else (0.0, 0.0)


METRICS: tuple[Metric, ...] = (
    Metric(
        "rank correlation", "cell by cell", Statistic("rank correlation", by_frame(_sums)), mean_of(), "higher",
        "Spearman's over the cells of a frame, mean over frames: are high and low places in the right order?",
    ),
)  # fmt: skip
