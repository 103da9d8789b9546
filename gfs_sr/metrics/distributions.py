"""Distributions of values, wherever they occur: histograms and what two of them differ by.

Bins are the variable's (`ranges`): equal in the value, or in its logarithm where values are amounts. Scores take the
logarithm of densities, never of values, so temperatures below zero are as good as any; empty bins get a floor.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.ensemble import crps
from gfs_sr.metrics.metric import Metric, Statistic, Value, by_frame, mean_of, ratio
from gfs_sr.metrics.ranges import Ranges
from gfs_sr.metrics.scene import Frame, Need

GROUP = "distributions"
BINS = 50
COARSE_BINS = 25  # of the distribution bias
BELOW_SMALLEST = 0.5  # of lg density: empty bins lie so far below the emptiest filled one
HALF_A_CELL = 0.5  # what an empty bin of a single frame counts as


def wasserstein(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """First Wasserstein distance of two samples of equal size: the mean difference of values of equal rank."""
    p, y = np.sort(np.ravel(prediction)), np.sort(np.ravel(truth))
    return float(np.abs(p - y).mean(dtype=np.float64)) if p.size else float("nan")


def bin_counts(values: npt.NDArray[Any], edges: FloatArray, weights: npt.NDArray[Any] | None = None) -> FloatArray:
    """(B + 2,) counts: below the first edge, in each bin [low, high), at or above the last; NaN is not counted."""
    flat = np.ravel(values)
    kept = np.isfinite(flat)
    w = None if weights is None else np.ravel(np.broadcast_to(weights, np.shape(values)))[kept]
    counts: FloatArray = np.bincount(np.searchsorted(edges, flat[kept], side="right"), w, edges.size + 1).astype(float)
    return counts


def joint_counts(
    prediction: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    edges: FloatArray,
    weights: npt.NDArray[Any] | None = None,
) -> FloatArray:
    """(B, B) counts of cells by truth (row) and prediction (column); values beyond the edges are left out.

    They add over frames and forecasts.
    """
    p, y = np.ravel(prediction), np.ravel(truth)
    w = None if weights is None else np.ravel(np.broadcast_to(weights, np.shape(truth)))
    kept = np.isfinite(p) & np.isfinite(y)
    counts: FloatArray = np.histogram2d(y[kept], p[kept], (edges, edges), weights=None if w is None else w[kept])[0]
    return counts


def log_density(counts: FloatArray, widths: FloatArray, floor: float = HALF_A_CELL) -> FloatArray:
    """Lg of the density of counts (..., B); an empty bin counts as `floor` of a cell."""
    total = np.maximum(counts.sum(axis=-1, keepdims=True), floor)
    density: FloatArray = np.log10(np.maximum(counts, floor) / (total * widths))
    return density


def distribution_bias(prediction: FloatArray, truth: FloatArray, widths: FloatArray) -> FloatArray:
    """Mean over bins of the absolute difference of lg density, counts (..., B); NaN where either counts nothing.

    Empty bins are set to half a decade below the smallest filled bin of both.
    """
    both = np.stack([prediction, truth])
    density = ratio(both, both.sum(axis=-1, keepdims=True) * widths)
    filled = density > 0
    logs = np.log10(np.where(filled, density, 1.0))
    smallest = np.where(filled, logs, np.inf).min(axis=(0, -1), keepdims=True)
    logs = np.where(filled, logs, np.where(np.isfinite(smallest), smallest, 0.0) - BELOW_SMALLEST)
    apart: FloatArray = np.abs(logs[0] - logs[1]).mean(axis=-1)
    return np.where(filled.any(axis=-1).all(axis=0), apart, np.nan)


def _bin_widths(ranges: Ranges, count: int) -> FloatArray:
    edges = ranges.edges(count)
    return np.diff(np.log10(edges) if ranges.log_bins else edges)


def histogram(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums of the `histogram` statistic (..., K) -> counts (..., B + 2) of the truth and of the forecast."""
    half = sums.shape[-1] // 2
    return sums[..., :half], sums[..., half:]


def total_variation(sums: FloatArray) -> FloatArray:
    """Half the sum of absolute differences of two normalized histograms: 0 equal, 1 nothing in common."""
    truth, prediction = histogram(sums)
    apart = ratio(truth, truth.sum(axis=-1, keepdims=True)) - ratio(prediction, prediction.sum(axis=-1, keepdims=True))
    distance: FloatArray = 0.5 * np.abs(apart).sum(axis=-1)
    return distance


def histogram_of(ranges: Ranges) -> Statistic:
    """Area-weighted counts of truth and forecast in BINS bins and the two open ends."""
    edges = ranges.edges(BINS)

    def sums(frame: Frame) -> npt.ArrayLike:
        truth = bin_counts(frame.truth, edges, frame.weights)
        prediction = sum(bin_counts(field, edges, frame.weights) for field in frame.fields) / len(frame.fields)
        return np.concatenate([truth, prediction])

    return Statistic("histogram", by_frame(sums), frozenset({Need.RANGES}))


def _crps_of(ranges: Ranges) -> Statistic:
    edges, widths = ranges.edges(BINS), _bin_widths(ranges, BINS)

    def sums(frame: Frame) -> npt.ArrayLike:
        truth, *members = (
            log_density(bin_counts(field, edges)[1:-1], widths) for field in (frame.truth, *frame.fields)
        )
        if not frame.valid.any():
            return 0.0, 0.0
        return float(crps(np.stack(members), truth, fair=False).mean()), 1.0

    return Statistic("crps of histograms", by_frame(sums), frozenset({Need.RANGES}))


def _bias_of(ranges: Ranges) -> Value:
    widths = _bin_widths(ranges, COARSE_BINS)

    def value(sums: FloatArray) -> FloatArray:
        truth, prediction = (
            counts[..., 1:-1].reshape(*counts.shape[:-1], COARSE_BINS, BINS // COARSE_BINS).sum(axis=-1)
            for counts in histogram(sums)
        )
        return distribution_bias(prediction, truth, widths)

    return value


def _wasserstein_sums(frame: Frame) -> npt.ArrayLike:
    truth = frame.truth[frame.valid]
    if not truth.size:
        return 0.0, 0.0
    return float(np.mean([wasserstein(field[frame.valid], truth) for field in frame.fields])), 1.0


METRICS: tuple[Metric, ...] = (
    Metric(
        "Wasserstein distance", GROUP, Statistic("wasserstein", by_frame(_wasserstein_sums)), mean_of(), "lower",
        "How far the values of a frame must be moved to have the truth's distribution, wherever they lie.", "{u}",
    ),
)  # fmt: skip


def metrics_of(ranges: Ranges) -> tuple[Metric, ...]:
    """Scores that need the variable's bins."""
    counts = histogram_of(ranges)
    return (
        Metric(
            "histogram distance", GROUP, counts, total_variation, "lower",
            "Share of the cells that would have to change their bin: 0 equal distributions, 1 disjoint ones.",
        ),
        Metric(
            "distribution bias", GROUP, counts, _bias_of(ranges), "lower",
            "Mean difference of the logarithms of density: rare values count as much as common ones.", "lg",
        ),
        Metric(
            "CRPS of histograms", GROUP, _crps_of(ranges), mean_of(), "lower",
            "CRPS of the members' log histograms of each frame, averaged over bins.", "lg",
        ),
    )  # fmt: skip
