"""Ranks of the truth among the members: rank histograms, and the calibration that follows from them.

A cell counts for a range low <= value < high where the truth or any member lies in it: a rule that treats the truth as
one more member, so that the histogram of exchangeable fields is flat. Values below the range count as equal (a dry cell
is a dry cell), and equal values are ranked at random: by the scene's seed, the frame's number and the range, so that
chunks change nothing.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, Value, ratio
from gfs_sr.metrics.ranges import Ranges
from gfs_sr.metrics.scene import Frame, Need, Scene, stacked

GROUP = "ensemble"
Range = tuple[float, float]


def rank_histogram(
    members: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    generator: np.random.Generator,
    within: Range = (-inf, inf),
    weights: npt.NDArray[Any] | None = None,
    condition: Literal["symmetric", "seed"] = "symmetric",
) -> FloatArray:
    """(M + 1,) weighted counts of cells by how many members lie below the truth.

    Args:
        members: (M, N); NaN cells must have been left out.
        truth: (N,).
        generator: ranks ties.
        within: low <= value < high, which cells count.
        weights: (N,).
        condition: `symmetric` asks that truth or any member lies within; `seed` that the truth does, or that some
            member is at or above `low` and some at or below `high`, which favors the middle of even a perfect ensemble.
    """
    low, high = within
    x, y = np.asarray(members, np.float64), np.asarray(truth, np.float64)
    inside = (y >= low) & (y < high)
    if condition == "symmetric":
        inside |= ((x >= low) & (x < high)).any(axis=0)
    else:
        inside |= (x >= low).any(axis=0) & (x <= high).any(axis=0)
    x, y = x[:, inside], y[inside]
    if low > -inf:
        x, y = np.where(x < low, low - 1, x), np.where(y < low, low - 1, y)
    below, equal = (x < y).sum(axis=0), (x == y).sum(axis=0)
    ranks = below + generator.integers(0, equal + 1)
    w = None if weights is None else weights[inside]
    counts: FloatArray = np.bincount(ranks, w, x.shape[0] + 1).astype(np.float64)
    return counts


def cumulative(counts: FloatArray) -> FloatArray:
    """Cumulative trapezoid of the normalized histogram (..., M + 1) on M + 1 even steps of [0, 1]; starts at 0."""
    density = ratio(counts, counts.mean(axis=-1, keepdims=True))
    steps = (density[..., 1:] + density[..., :-1]) / 2 / (counts.shape[-1] - 1)
    start = np.zeros_like(density[..., :1])
    return np.concatenate([start, np.cumsum(steps, axis=-1)], axis=-1)


def calibration_bias(counts: FloatArray) -> FloatArray:
    """Mean of F(x) - x over the steps: above 0 the truth lies low among the members."""
    bias: FloatArray = (cumulative(counts) - np.linspace(0, 1, counts.shape[-1])).mean(axis=-1)
    return bias


def calibration_error(counts: FloatArray) -> FloatArray:
    """Mean of (F(x) - x)² over the steps; 0 where the histogram is flat."""
    error: FloatArray = ((cumulative(counts) - np.linspace(0, 1, counts.shape[-1])) ** 2).mean(axis=-1)
    return error


def flatness(counts: FloatArray) -> FloatArray:
    """Reliability index: sum over ranks of |share - 1/(M + 1)|; 0 flat (Delle Monache et al. 2006, JGR 111)."""
    share = ratio(counts, counts.sum(axis=-1, keepdims=True))
    index: FloatArray = np.abs(share - 1 / counts.shape[-1]).sum(axis=-1)
    return index


def rank_counts(sums: FloatArray, ranges: int = 1) -> FloatArray:
    """Sums of a rank statistic (..., K) -> counts (..., ranges, M + 1)."""
    return sums.reshape(*sums.shape[:-1], ranges, -1)


def _sums(classes: Sequence[Range], domain: bool) -> Callable[[Scene], FloatArray]:
    def sums(scene: Scene) -> FloatArray:
        return stacked([_frame_counts(frame, classes, scene.seed, domain) for frame in scene.frames()])

    return sums


def _frame_counts(frame: Frame, classes: Sequence[Range], seed: int, domain: bool) -> FloatArray:
    w = frame.weights[frame.valid]
    fields, truth = frame.fields[:, frame.valid], frame.truth[frame.valid]
    if domain:
        total = w.sum()
        fields, truth = ((f @ w / total)[..., None] if total > 0 else f[..., :0] for f in (fields, truth))
        w = np.ones(truth.size)
    found = []
    for number, within in enumerate(classes):
        generator = np.random.Generator(np.random.PCG64([seed, frame.number, number, domain]))
        found.append(rank_histogram(fields, truth, generator, within, w))
    return np.concatenate(found)


def _averaged(score: Callable[[FloatArray], FloatArray], ranges: int) -> Value:
    """Mean over the ranges that hold any cell."""

    def value(sums: FloatArray) -> FloatArray:
        scores = score(rank_counts(sums, ranges))
        found = np.isfinite(scores)
        return ratio(np.where(found, scores, 0.0).sum(axis=-1), found.sum(axis=-1))

    return value


def _rows(prefix: str, statistic: Statistic, count: int, words: str) -> tuple[Metric, ...]:
    return (
        Metric(
            f"{prefix}calibration bias", GROUP, statistic, _averaged(calibration_bias, count), "zero",
            f"Where the truth lies among the members{words}: above 0 low, the forecast being too high.",
        ),
        Metric(
            f"{prefix}calibration error", GROUP, statistic, _averaged(calibration_error, count), "lower",
            f"Mean squared distance of the rank histogram's sum from the diagonal{words}.",
        ),
        Metric(
            f"{prefix}rank flatness", GROUP, statistic, _averaged(flatness, count), "lower",
            f"Sum of the rank histogram's departures from flat{words}.",
        ),
    )  # fmt: skip


RANKS = Statistic("ranks", _sums([(-inf, inf)], False), frozenset({Need.MEMBERS}))
METRICS: tuple[Metric, ...] = _rows("", RANKS, 1, "")


def ranks_by_range(ranges: Ranges) -> Statistic:
    """Rank histograms for each range of the variable, in their order."""
    return Statistic("ranks by range", _sums(ranges.ranges, False), frozenset({Need.MEMBERS, Need.RANGES}))


def ranks_of_domain(ranges: Ranges) -> Statistic:
    """Rank histograms of domain means, for each of the variable's domain ranges."""
    return Statistic("ranks of domain means", _sums(ranges.domain_ranges, True), frozenset({Need.MEMBERS, Need.RANGES}))


def metrics_of(ranges: Ranges) -> tuple[Metric, ...]:
    """Calibration averaged over the variable's ranges, of cells and of domain means."""
    return (
        *_rows("ranged ", ranks_by_range(ranges), len(ranges.ranges), ", mean over ranges of the variable"),
        *_rows("domain ", ranks_of_domain(ranges), len(ranges.domain_ranges), ", of domain means"),
    )
