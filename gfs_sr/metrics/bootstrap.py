"""Confidence intervals by resampling blocks of frames or forecasts.

Neighboring frames err alike, so blocks of them are drawn, not frames: moving blocks that wrap within their own
forecast, which gives every row the same chance (Künsch 1989, Ann. Statist. 17; Politis and Romano 1992). What is
resampled are the rows of sums that a metric is made of; of two methods, as for skill, the same rows are taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.errors import ShapeMismatch, UsageError

CONFIDENCE = 0.95
AT_ONCE = 256  # resamples that are held as float64
Counts = npt.NDArray[np.uint16]
Value = Callable[[npt.NDArray[Any]], FloatArray]


@dataclass(frozen=True)
class Interval:
    """A score with its percentile interval; the ends are NaN where there is nothing to resample."""

    value: float
    low: float
    high: float


def resamples(lengths: Sequence[int], block: int, count: int = 1000, seed: int = 0) -> Counts:
    """(count, N): how often each row is drawn.

    Args:
        lengths: rows of each forecast; N is their sum. Forecasts that are rows themselves are one of length N.
        block: rows that are drawn together, about as many as errors remember; 1 draws rows one by one.
        count: of resamples.
        seed: same seed, same draws.

    Raises:
        UsageError: block or count below 1.
    """
    if block < 1 or count < 1:
        raise UsageError(f"{count} resamples of blocks of {block} rows", "bootstrap", "use at least 1 of each")
    sizes = np.asarray(lengths, np.int64)
    total = int(sizes.sum())
    drawn = np.zeros((count, total), np.uint16)
    if total == 0:
        return drawn
    size = np.repeat(sizes, sizes)  # of each row's forecast
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    generator = np.random.Generator(np.random.PCG64(seed))
    starts = generator.integers(0, total, (count, -(-total // block)))
    for number, chosen in enumerate(starts):
        begin, length = first[chosen, None], size[chosen, None]
        rows = begin + (chosen[:, None] - begin + np.arange(block)) % length
        drawn[number] = np.bincount(rows.ravel()[:total], minlength=total)
    return drawn


def interval(value: Value, rows: FloatArray, drawn: Counts, confidence: float = CONFIDENCE) -> Interval:
    """Of a metric's value: rows (N, K), one per frame or forecast; drawn (R, N)."""
    return paired_interval(lambda score: score, [(value, rows)], drawn, confidence)


def skill_interval(
    value: Value, rows: FloatArray, baseline: FloatArray, drawn: Counts, confidence: float = CONFIDENCE
) -> Interval:
    """Of 1 - score / score of the baseline, both from the same rows of every resample."""
    return paired_interval(lambda own, other: 1 - own / other, [(value, rows), (value, baseline)], drawn, confidence)


def paired_interval(
    combine: Callable[..., FloatArray],
    scores: Sequence[tuple[Value, FloatArray]],
    drawn: Counts,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Of any function of several scores.

    Args:
        combine: takes the scores in their order, each (...), and returns (...).
        scores: a metric's value and its rows (N, K), N alike in all.
        drawn: (R, N) of `resamples`.
        confidence: share of the resamples within the interval.

    Raises:
        ShapeMismatch: rows and draws do not fit together.
    """
    for _, rows in scores:
        if rows.shape[0] != drawn.shape[1]:
            raise ShapeMismatch(
                f"{rows.shape[0]} rows for draws from {drawn.shape[1]}", "bootstrap", "draw for the rows at hand"
            )
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample without any case has no score
        whole = float(combine(*(value(rows.sum(axis=0)) for value, rows in scores)))
        found = np.concatenate(
            [
                np.atleast_1d(combine(*(value(part.astype(np.float64) @ rows) for value, rows in scores)))
                for part in np.split(drawn, range(AT_ONCE, len(drawn), AT_ONCE))
            ]
        )
    kept = found[np.isfinite(found)]
    if kept.size == 0 or (drawn == drawn[0]).all():  # every resample is the same: one block, or one row
        return Interval(whole, float("nan"), float("nan"))
    low, high = np.quantile(kept, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(whole, float(low), float(high))
