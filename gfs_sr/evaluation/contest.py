"""All methods on one variable of one case: sums of errors by frame, region and block."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.resampling import Closure
from gfs_sr.evaluation.baselines import Rival
from gfs_sr.evaluation.cases import BUCKETS
from gfs_sr.evaluation.records import Task
from gfs_sr.evaluation.regions import BoolArray
from gfs_sr.evaluation.view import VariableView, View

Read = Callable[[slice], FloatArray]  # chunk -> (t, H, W)
Name = TypeVar("Name", bound=Hashable)

WEIGHT, ERROR, ABSOLUTE, SQUARED = range(4)  # columns of the sums
BLOCK_CELLS = 4  # coarse cells per side of a block, at least
MOST_BLOCKS = 6  # per axis
UNIT_HOURS = 6.0


@dataclass(frozen=True, eq=False)
class Contest:
    """Sums of one variable of one case: weight, weighted error, its absolute value, its square."""

    task: Task
    variable: str
    lead_hours: FloatArray  # (T,)
    classes: Mapping[str, slice]  # of lead time -> frames
    units: npt.NDArray[np.int64]  # (T,) the coarse interval of each frame; what lies after the last is one more
    regions: tuple[str, ...]
    place: str  # forecasts of one place are cut into the same blocks
    frames: dict[str, FloatArray]  # method -> (T, 4), everywhere
    by_region: dict[str, FloatArray]  # models and headline -> (T, R, 4)
    by_block: dict[str, FloatArray]  # models and headline -> (units, R, blocks, 2): weight, weighted square
    closures: dict[str, Closure]  # rival -> the one that suits it

    def unit_classes(self) -> dict[str, npt.NDArray[np.int64]]:
        """Class of lead time -> its units."""
        return {name: np.unique(self.units[frames]) for name, frames in self.classes.items()}


def hold_contest(fields: VariableView, rivals: Sequence[Rival], regions: Mapping[str, BoolArray]) -> Contest:
    """Score every model and rival on one variable.

    At the rim of a domain neither closure is better everywhere: each rival is given the one that suits it.
    """
    view = fields.view
    reads = {model: _mean_of(fields, model) for model in fields.models}
    tried = {(rival, closure): _of(fields, rival, closure) for rival in rivals for closure in rival.closures}
    found = _by_frame(fields, {**reads, **tried})
    frames = {model: found[model] for model in reads}
    closures: dict[str, Closure] = {}
    interpolated = slice(0, view.window.interpolated)
    for rival in rivals:
        best = min(rival.closures, key=lambda closure: _mse(found[rival, closure][interpolated]))
        frames[rival.name], closures[rival.name] = found[rival, best], best
        if rival.headline:
            reads[rival.name] = tried[rival, best]
    units = _units(view)
    by_region, by_block = _by_region(fields, reads, _Labels(view, regions), units)
    return Contest(
        task=view.task,
        variable=fields.variable,
        lead_hours=view.case.truth.times.lead_hours[list(view.window.frames)],
        classes=view.window.lead_classes(),
        units=units,
        regions=tuple(regions),
        place=_place(view),
        frames=frames,
        by_region=by_region,
        by_block=by_block,
        closures=closures,
    )


def _mean_of(fields: VariableView, model: str) -> Read:
    return lambda chunk: fields.members(model, chunk).mean(axis=0)


def _of(fields: VariableView, rival: Rival, closure: Closure) -> Read:
    return lambda chunk: fields.rival(rival, closure, chunk)


def _mse(sums: FloatArray) -> float:
    total = sums.sum(axis=0)
    return float(total[SQUARED] / total[WEIGHT]) if total[WEIGHT] > 0 else float("inf")


def _by_frame(fields: VariableView, reads: Mapping[Name, Read]) -> dict[Name, FloatArray]:
    """(T, 4) of each; all that is wanted of a chunk is done while it is there."""
    weights = fields.view.window.weights[:, 0]
    rows: dict[Name, list[FloatArray]] = {name: [] for name in reads}
    for chunk in fields.view.chunks:
        truth = fields.truth(chunk)
        for name, read in reads.items():
            rows[name].append(_frame_sums(read(chunk) - truth, weights))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _frame_sums(error: FloatArray, weights: FloatArray) -> FloatArray:
    """(t, 4) of errors (t, H, W), which are overwritten."""
    valid = np.isfinite(error)
    if valid.all():
        weight = np.full(len(error), weights.sum() * error.shape[2])
    else:
        weight = valid.sum(axis=2) @ weights
        error[~valid] = 0.0
    first, square = error.sum(axis=2) @ weights, np.einsum("thw,thw->th", error, error) @ weights
    return np.stack([weight, first, np.abs(error).sum(axis=2) @ weights, square], axis=1)


class _Labels:
    """Which cells belong to which region and block: one flat index, cells of several regions repeated."""

    def __init__(self, view: View, regions: Mapping[str, BoolArray]) -> None:
        s, shape = view.case.how.scale_factor, view.window.shape
        side = [max(BLOCK_CELLS * s, -(-size // MOST_BLOCKS)) for size in shape]
        rows, cols = (np.arange(size) // step for size, step in zip(shape, side, strict=True))
        self.blocks = (int(rows[-1]) + 1) * (int(cols[-1]) + 1)
        self.regions = len(regions)
        block = (rows[:, None] * (int(cols[-1]) + 1) + cols).ravel()
        inside = [np.flatnonzero(mask.ravel()) for mask in regions.values()]
        self.cells = np.concatenate(inside)
        self.labels = np.concatenate([number * self.blocks + block[cells] for number, cells in enumerate(inside)])
        self.weights = np.broadcast_to(view.window.weights, shape).ravel()[self.cells]

    def sums(self, values: FloatArray) -> FloatArray:
        """(H, W) -> (R, blocks) weighted sums."""
        found: FloatArray = np.bincount(
            self.labels, values.ravel()[self.cells] * self.weights, self.regions * self.blocks
        ).astype(np.float64)
        return found.reshape(self.regions, self.blocks)


def _by_region(
    fields: VariableView, reads: Mapping[str, Read], labels: _Labels, units: npt.NDArray[np.int64]
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """((T, R, 4), (units, R, blocks, 2)) of each."""
    frames = {name: np.zeros((units.size, labels.regions, 4)) for name in reads}
    blocks = {name: np.zeros((int(units.max()) + 1, labels.regions, labels.blocks, 2)) for name in reads}
    full = labels.sums(np.ones(fields.view.window.shape))
    for chunk in fields.view.chunks:
        truth = fields.truth(chunk)
        for name, read in reads.items():
            errors = read(chunk) - truth
            for frame, error in zip(range(chunk.start, chunk.stop), errors, strict=True):
                valid = np.isfinite(error)
                whole = bool(valid.all())
                error = error if whole else np.where(valid, error, 0.0)
                weight = full if whole else labels.sums(valid.astype(np.float64))
                square = labels.sums(error**2)
                parts = (weight, labels.sums(error), labels.sums(np.abs(error)), square)
                frames[name][frame] = np.stack([part.sum(axis=1) for part in parts], axis=1)
                blocks[name][units[frame]] += np.stack([weight, square], axis=2)
    return frames, blocks


def _units(view: View) -> npt.NDArray[np.int64]:
    """(T,) runs of frames whose errors belong together: coarse intervals, or `UNIT_HOURS` where there are none.

    The frame on a coarse one belongs to the interval that it ends, frames after the last coarse one are a run of their
    own.
    """
    count = len(view.window.frames)
    if view.time_factor == 1:
        times = view.case.truth.times.lead_hours[list(view.window.frames)]
        step = (times[-1] - times[0]) / max(count - 1, 1)
        return np.arange(count) // max(1, round(UNIT_HOURS / step) if step > 0 else 1)
    first = 0 if view.case.kind in BUCKETS else 1
    interval = np.maximum(np.arange(count) - first, 0) // view.time_factor
    last = view.window.interpolated
    if last < count:
        interval[last:] = interval[:last].max(initial=0) + 1
    return interval


def _place(view: View) -> str:
    lat, lon = view.window.grid.lat, view.window.grid.lon
    return f"{lat[0]:.3f} {lat[-1]:.3f} {lon[0]:.3f} {lon[-1]:.3f} {lat.size} {lon.size}"


def region_of(contest: Contest, region: str) -> int | None:
    """Its index; None where this forecast has none of it."""
    return contest.regions.index(region) if region in contest.regions else None
