"""Where a series changes most: windows that no gap divides, the composite transition index and what it keeps."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gfs_sr.atomic import write_text

FloatArray = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]
KEPT_SHARE: Final = 0.3  # kappa is the 70th percentile of the training set


def regular_runs(times: Times, step: np.timedelta64 | None = None) -> list[range]:
    """Runs of at least two frames that follow each other by one step, in order.

    Args:
        times: rising or not; what repeats or goes back ends a run.
        step: between frames; None takes the step that occurs most.
    """
    steps = np.diff(times)
    if not steps.size:
        return []
    if step is None:
        values, counts = np.unique(steps[steps > np.timedelta64(0, "ns")], return_counts=True)
        if not values.size:
            return []
        step = values[counts.argmax()]
    breaks = np.flatnonzero(steps != step)
    starts, stops = np.append(0, breaks + 1), np.append(breaks, times.size - 1) + 1
    return [range(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True) if stop - start >= 2]


def windows(times: Times, length: int = 3, step: np.timedelta64 | None = None) -> npt.NDArray[np.intp]:
    """(N, length) indices of frames that follow each other by one step: no window crosses a gap or a wrong step."""
    starts = [first for run in regular_runs(times, step) for first in range(run.start, run.stop - length + 1)]
    return np.array(starts, np.intp).reshape(-1, 1) + np.arange(length)


def change_by_time(values: npt.NDArray[Any], lag: int, area: FloatArray | None = None) -> FloatArray:
    """(C, T - lag): root mean square over the cells of X(t + lag) - X(t); NaN where no cell is known at both.

    Args:
        values: (C, T, H, W), NaN where missing.
        lag: frames.
        area: (H,) weights of the rows; None weighs all alike.
    """
    change = np.square(values[:, lag:].astype(np.float64) - values[:, : values.shape[1] - lag])
    weight = np.isfinite(change) * (1.0 if area is None else area[:, None])
    total = weight.sum(axis=(2, 3))
    mean = np.divide(
        (np.nan_to_num(change) * weight).sum(axis=(2, 3)), total, out=np.full(total.shape, np.nan), where=total > 0
    )
    result: FloatArray = np.sqrt(mean)
    return result


def composite_index(
    values: npt.NDArray[Any], lag: int = 1, area: FloatArray | None = None, shares: Sequence[float] | None = None
) -> FloatArray:
    """CI(t) = sum over v of w_v · RMS_x(X_v(t + τ) - X_v(t)) / sd_t(that RMS), (T - lag,).

    A variable whose changes are all alike tells no transition from another and has no part.

    Args:
        values: (C, T, H, W).
        lag: frames of τ.
        area: (H,) weights of the rows.
        shares: (C,) w_v; None is 1/C each.

    Source: specification section 3.2; Wang et al. 2024 name the index, the formula is ours.
    """
    rms = change_by_time(values, lag, area)
    weights = np.full(len(rms), 1 / max(len(rms), 1)) if shares is None else np.asarray(shares, np.float64)
    spread = np.array([np.nanstd(row) if np.isfinite(row).any() else 0.0 for row in rms])
    largest = np.nanmax(rms, 1, keepdims=True, initial=1e-30)
    scaled = np.divide(rms, spread[:, None], out=np.zeros_like(rms), where=spread[:, None] > 1e-9 * largest)
    result: FloatArray = weights @ np.nan_to_num(scaled)
    return result


Index = Callable[[npt.NDArray[Any], int, FloatArray | None], FloatArray]
"""(C, T, H, W) values, lag, weights of the rows -> (T - lag,): how much happens from each time on."""


def threshold(indices: Sequence[FloatArray], share: float = KEPT_SHARE) -> float:
    """Kappa: above it lies this share of all values of a training set."""
    if not indices or not sum(each.size for each in indices):
        return -np.inf
    return float(np.quantile(np.concatenate([*indices]), 1 - share))


@dataclass(frozen=True, eq=False)
class Transitions:
    """The times of a training set from which on much happens."""

    kappa: float
    lag: int  # frames
    values: Mapping[str, FloatArray]  # series -> the index, by frame
    times: Mapping[str, Times] = field(default_factory=dict)  # series -> those of the frames

    @classmethod
    def of(cls, series: Mapping[str, FloatArray], lag: int, share: float, times: Mapping[str, Times]) -> "Transitions":
        """Of the index of every series."""
        return cls(threshold(list(series.values()), share), lag, dict(series), dict(times))

    def kept(self, name: str) -> npt.NDArray[np.intp]:
        """Frames of a series from which on much happens, in order."""
        return np.flatnonzero(self.values[name] > self.kappa)

    def save(self, path: Path) -> None:
        """As JSON: kappa, and the time and index of everything kept and left, so that the subset can be had again."""
        series = {
            name: {
                "times": [str(time) for time in self.times.get(name, np.zeros(0, "datetime64[ns]"))[: values.size]],
                "index": [round(float(value), 6) for value in values],
                "kept": self.kept(name).tolist(),
            }
            for name, values in self.values.items()
        }
        write_text(path, json.dumps({"kappa": self.kappa, "lag": self.lag, "series": series}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Transitions":
        """What `save` wrote."""
        stored = json.loads(path.read_text(encoding="utf-8"))
        series = stored["series"]
        return cls(
            stored["kappa"],
            stored["lag"],
            {name: np.array(each["index"], np.float64) for name, each in series.items()},
            {name: np.array(each["times"], "datetime64[ns]") for name, each in series.items()},
        )
