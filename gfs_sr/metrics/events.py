"""Events: how often they are forecast, how well their probabilities hold, and the highest of a period.

Probabilities are shares of members; of a single forecast, shares of the cells within `WINDOW` cells a side (a
neighborhood probability, Schwartz and Sobash 2017).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.errors import ShapeMismatch
from gfs_sr.metrics.metric import Metric, Statistic, Value, by_frame, ratio
from gfs_sr.metrics.neighborhood import window_counts
from gfs_sr.metrics.ranges import Ranges
from gfs_sr.metrics.scene import Frame, Need

GROUP = "events"
WINDOW = 9  # cells per side: odd, so that it is centered
PROBABILITY_BINS = 11  # 0, 0.1, ... 1, each with what rounds to it
HIGHEST = 5


@dataclass(frozen=True, eq=False)
class Reliability:
    """Of the forecasts that said p, what share came true? All (..., thresholds, 11)."""

    forecast: FloatArray  # mean probability in each bin
    observed: FloatArray  # share of events
    count: FloatArray  # weight of the cells


def _share_sums(ranges: Ranges) -> Callable[[Frame], npt.ArrayLike]:
    def sums(frame: Frame) -> npt.ArrayLike:
        w, fields, truth = frame.weights[frame.valid], frame.fields[:, frame.valid], frame.truth[frame.valid]
        rows: list[float] = []
        for low, high in ranges.ranges:
            forecast = ((fields >= low) & (fields < high)).mean(axis=0)
            observed = (truth >= low) & (truth < high)
            rows += [float(w @ forecast), float(w @ observed), float(observed[w > 0].sum())]
        return rows

    return sums


def event_table(sums: FloatArray, ranges: int) -> FloatArray:
    """Sums of the `events` statistic (..., K) -> (..., ranges, 3): weight of forecast, of observed, observed cells."""
    return sums.reshape(*sums.shape[:-1], ranges, 3)


def _event_ratio(row: int, ranges: int) -> Value:
    def value(sums: FloatArray) -> FloatArray:
        table = event_table(sums, ranges)[..., row, :]
        return ratio(table[..., 0], table[..., 1])

    return value


def _probability_sums(ranges: Ranges) -> Callable[[Frame], npt.ArrayLike]:
    def sums(frame: Frame) -> npt.ArrayLike:
        found = []
        for threshold in ranges.thresholds:
            events = frame.valid & (frame.fields >= threshold)
            probability = events.mean(axis=0) if len(events) > 1 else _neighborhood(events[0], frame.valid)
            p, w = probability[frame.valid], frame.weights[frame.valid]
            observed = frame.truth[frame.valid] >= threshold
            bins = np.rint(p * (PROBABILITY_BINS - 1)).astype(np.int64)
            squared = w * (p - observed) ** 2
            found += [np.bincount(bins, each, PROBABILITY_BINS) for each in (w, w * p, w * observed, squared)]
        return np.concatenate(found)

    return sums


def _neighborhood(events: npt.NDArray[np.bool_], valid: npt.NDArray[np.bool_]) -> FloatArray:
    return ratio(window_counts(events, WINDOW), window_counts(valid, WINDOW))


def _probability_table(sums: FloatArray) -> FloatArray:
    return sums.reshape(*sums.shape[:-1], -1, 4, PROBABILITY_BINS)


def reliability_curve(sums: FloatArray) -> Reliability:
    """Of sums (..., K) of the `probabilities` statistic, thresholds in the variable's order."""
    table = _probability_table(sums)
    count = table[..., 0, :]
    return Reliability(ratio(table[..., 1, :], count), ratio(table[..., 2, :], count), count)


def _brier(row: int) -> Value:
    def value(sums: FloatArray) -> FloatArray:
        table = _probability_table(sums)[..., row, :, :]
        return ratio(table[..., 3, :].sum(axis=-1), table[..., 0, :].sum(axis=-1))

    return value


def _unreliability(row: int) -> Value:
    """Reliability term of the Brier score (Murphy 1973, J. Appl. Meteor. 12)."""

    def value(sums: FloatArray) -> FloatArray:
        table = _probability_table(sums)[..., row, :, :]
        count = table[..., 0, :]
        off = ratio(table[..., 1, :] - table[..., 2, :], count)
        return ratio(np.where(count > 0, count * off**2, 0.0).sum(axis=-1), count.sum(axis=-1))

    return value


def period_maxima(values: npt.NDArray[Any], periods: npt.NDArray[Any]) -> FloatArray:
    """Highest value of each period: (..., T) and (T,) labels -> (..., P), periods in rising order.

    Of domain means (M, T) by year this gives the annual maxima of each member; of maps, put time last.

    Raises:
        ShapeMismatch: there are not as many labels as times.
    """
    values = np.asarray(values, np.float64)
    if values.shape[-1] != len(periods):
        raise ShapeMismatch(
            f"{values.shape[-1]} times have {len(periods)} labels", "period maxima", "give each time its period"
        )
    labels, index = np.unique(periods, return_inverse=True)
    highest = np.full((*values.shape[:-1], labels.size), -np.inf)
    for place in range(values.shape[-1]):
        np.fmax(highest[..., index[place]], values[..., place], out=highest[..., index[place]])
    return np.where(np.isfinite(highest), highest, np.nan)


def highest_observed(truth: npt.NDArray[Any], periods: npt.NDArray[Any], count: int = HIGHEST) -> FloatArray:
    """The `count` highest period maxima of a true series (T,), falling: what members' maxima are held against."""
    maxima = period_maxima(truth, periods)
    highest: FloatArray = np.sort(maxima[np.isfinite(maxima)])[::-1][:count]
    return highest


def events_of(ranges: Ranges) -> Statistic:
    """How often forecast and truth lie in each range."""
    return Statistic("events", by_frame(_share_sums(ranges)), frozenset({Need.RANGES}))


def probabilities_of(ranges: Ranges) -> Statistic:
    """Forecast probabilities of the variable's thresholds and what came of them."""
    return Statistic("probabilities", by_frame(_probability_sums(ranges)), frozenset({Need.RANGES}))


def metrics_of(ranges: Ranges) -> tuple[Metric, ...]:
    """A row per range and threshold."""
    shares, probabilities = events_of(ranges), probabilities_of(ranges)
    rows = [
        Metric(
            f"event ratio {low:g} to {high:g}",
            GROUP,
            shares,
            _event_ratio(row, len(ranges.ranges)),
            "one",
            "How often the forecast lies in the range, over how often the truth does.",
            title="event ratio",
            scale=f"{low:g} to {high:g}",
        )
        for row, (low, high) in enumerate(ranges.ranges)
    ]
    for row, threshold in enumerate(ranges.thresholds):
        for title, value, words in (
            ("Brier score", _brier(row), "Mean squared error of the probability of the event."),
            ("unreliability", _unreliability(row), "How far events come as often as their probability says."),
        ):
            rows.append(
                Metric(
                    f"{title} >= {threshold:g}",
                    GROUP,
                    probabilities,
                    value,
                    "lower",
                    words,
                    title=title,
                    threshold=threshold,
                )
            )
    return tuple(rows)
