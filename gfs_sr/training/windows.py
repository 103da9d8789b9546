"""Where training samples are cut: registered windows of a fine field with their coarse context, drawn by counter."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Registration
from gfs_sr.data.patches import generator

__all__ = ["AxisWindow", "TimeWindow", "View", "axis_window", "draw_axis", "draw_times", "generator"]

Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AxisWindow:
    """One axis of a window: where its coarse cells start, which fine cells it holds, which of those count."""

    coarse: Index  # (P + context,) fine index at which each coarse cell starts; repeated beyond the ends
    fine: Index  # (s·P,) fine cells of the core, kept inside the field
    valid: Mask  # (s·P,) inside the field and between its outermost coarse cells
    center: npt.NDArray[np.float64]  # (P + context,) fractional fine index of the coarse cells' centers

    @property
    def cells(self) -> int:
        """P and context."""
        return int(self.coarse.size)


def coarse_count(length: int, origin: int, scale_factor: int, registration: Registration) -> int:
    """Coarse cells that a fine axis holds from `origin` on."""
    if registration is Registration.NODE:
        return (length - 1 - origin) // scale_factor + 1
    return (length - origin) // scale_factor


def draw_axis(
    rng: np.random.Generator,
    length: int,
    patch: int,
    before: int,
    after: int,
    scale_factor: int,
    registration: Registration,
    periodic: bool = False,
    phase: int | None = None,
    starts: range | None = None,
) -> AxisWindow:
    """A window of `patch` coarse cells at a random phase and place; smaller fields are continued by their edge.

    Args:
        rng: of this sample.
        length: fine cells of the axis.
        patch: coarse cells of the core.
        before: coarse cells of context before the core.
        after: and after it.
        scale_factor: s.
        registration: where fine cells lie.
        periodic: the axis goes once around the globe.
        phase: fine cell at which the first coarse cell starts, where that is no matter of choice.
        starts: fine cells in which the core starts, if a window can start there; anywhere where None.
    """
    s = scale_factor
    if phase is not None:
        periodic, origin, count = False, phase, coarse_count(length, phase, s, registration)
    elif periodic and length % s == 0:
        origin, count = int(rng.integers(s)), length // s
    else:
        periodic = False
        spare = length - s if registration is Registration.NODE else length - 2 * s
        origin = int(rng.integers(max(1, min(s, spare))))
        count = coarse_count(length, origin, s, registration)
    first = _start(rng, count if periodic else max(1, count - patch + 1), origin, s, starts)
    return axis_window(length, first, origin, patch, before, after, s, registration, periodic)


def _start(rng: np.random.Generator, choices: int, origin: int, step: int, starts: range | None) -> int:
    """A coarse index below `choices`; within a part of the fine axis where one is asked for and has any."""
    if starts is None:
        return int(rng.integers(choices))
    low = min(max(0, -((origin - starts.start) // step)), choices - 1)
    high = min(max(low + 1, -((origin - starts.stop) // step)), choices)
    return low + int(rng.integers(high - low))


def axis_window(
    length: int,
    first: int,
    origin: int,
    patch: int,
    before: int,
    after: int,
    scale_factor: int,
    registration: Registration,
    periodic: bool = False,
) -> AxisWindow:
    """The window whose core starts at coarse cell `first` of those that start at fine cells origin, origin + s, ..."""
    s = scale_factor
    count = length // s if periodic else coarse_count(length, origin, s, registration)
    cells = np.arange(first - before, first + patch + after)
    inside = cells % count if periodic else np.clip(cells, 0, count - 1)
    coarse = origin + s * inside
    fine = origin + s * first + np.arange(s * patch)
    shift = 0.0 if registration is Registration.NODE else (s - 1) / 2
    if periodic:
        coarse, fine = coarse % length, fine % length
        valid = np.ones(fine.size, bool)
    else:
        place = first + (np.arange(s * patch) - shift) / s
        valid = (place >= 0) & (place <= count - 1) & (fine < length)
        fine = np.clip(fine, 0, length - 1)
    return AxisWindow(coarse.astype(np.intp), fine.astype(np.intp), valid, coarse.astype(np.float64) + shift)


@dataclass(frozen=True)
class TimeWindow:
    """Frames of a sample."""

    coarse: Index  # (T + context,) fine frames that are coarse ones; repeated beyond the ends
    fine: Index  # (T·M,)
    fraction: npt.NDArray[np.float64]  # (M,) of the coarse interval
    factor: int  # r
    cycle: Index | None = None  # (T,) frames at which the intervals of a cycle begin; `fine` is where it leads back to

    def moments(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
        """(T·M,) times between the frames, of a series with these times."""
        if self.cycle is None:
            return times[self.fine]
        begin, end = times[self.cycle], times[self.cycle + self.factor]
        share: npt.NDArray[np.datetime64] = (begin[:, None] + (end - begin)[:, None] * self.fraction).ravel()
        return share

    def reversed(self, frames: int) -> "TimeWindow":
        """The same window of a series of so many frames that runs backwards."""
        last = frames - 1
        # a cycle's intervals then begin where they ended; nobody asks for their moments
        cycle = None if self.cycle is None else last - self.cycle - self.factor
        return TimeWindow(last - self.coarse, last - self.fine, self.fraction, self.factor, cycle)


def draw_times(
    rng: np.random.Generator,
    frames: int,
    intervals: int,
    factor: int,
    before: int,
    after: int,
    fractions: int | None = None,
    repeat: float = 0.0,
    starts: range | None = None,
    first_frame: int | None = None,
    frames_too: bool = True,
) -> TimeWindow:
    """`intervals` coarse intervals at a random phase and place.

    Args:
        rng: of this sample.
        frames: fine frames of the series; at least factor·intervals + 1.
        intervals: T, coarse frames of the core.
        factor: r.
        before: coarse frames of context before the core.
        after: and after it.
        fractions: M times of every interval, the frame itself and M - 1 at random; None: all r in order.
        repeat: chance, at each end, that the context repeats the frame next to it as at the ends of a forecast.
        starts: frames in which the core starts, as in `draw_axis`.
        first_frame: at which the core starts, in place of chance.
        frames_too: `fractions` count the frame itself; else all of them are between frames.
    """
    origin = int(rng.integers(min(factor, frames - factor * intervals)))
    if first_frame is not None:
        origin = first_frame % factor
    count = (frames - 1 - origin) // factor + 1
    first = _start(rng, max(1, count - intervals), origin, factor, starts)
    if first_frame is not None:
        first = first_frame // factor
    low = first if rng.random() < repeat else 0
    high = min(first + intervals, count - 1) if rng.random() < repeat else count - 1
    coarse = np.clip(np.arange(first - before, first + intervals + after), low, max(high, low))
    if fractions is None:
        within = np.arange(factor)
    elif factor == 1:
        within = np.zeros(fractions, np.intp)
    else:
        own = [0] if frames_too else []
        within = np.concatenate([own, rng.integers(1, factor, fractions - len(own))]).astype(np.intp)
    fine = origin + factor * (first + np.arange(intervals))[:, None] + within
    inside = np.minimum(fine.ravel(), frames - 1)
    return TimeWindow(origin + factor * coarse, inside, within / factor, factor)


def draw_cycle(
    rng: np.random.Generator,
    frames: int,
    intervals: int,
    factor: int,
    before: int,
    after: int,
    least: float,
    first_frame: int | None = None,
) -> TimeWindow:
    """`intervals` coarse intervals, one fraction in all of them, and the frame that lies between the fields at it.

    Args:
        rng: of this sample.
        frames: fine frames of the series; at least factor·intervals + 1.
        intervals: before + 1 + after, so that the fields at the fraction are what a second pass takes in.
        factor: frames per interval.
        before: frames of context before an interval.
        after: and from its end on.
        least: the fraction lies between this and 1 - this.
        first_frame: at which the first interval starts, in place of chance.
    """
    first = int(rng.integers(frames - factor * intervals)) if first_frame is None else first_frame
    begin = first + factor * np.arange(intervals)
    low, high = first % factor, frames - 1 - (frames - 1 - first) % factor
    coarse = np.clip(first + factor * np.arange(-before, intervals + after), low, high)
    target = np.array([first + factor * (before + 1)])
    return TimeWindow(coarse, target, np.array([rng.uniform(least, 1 - least)]), factor, begin)


@dataclass(frozen=True)
class View:
    """A field as seen in a mirror or turned: the eight symmetries of the square."""

    north_south: bool = False
    east_west: bool = False
    transposed: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, transpose: bool) -> "View":
        """One of them; without transpositions where vectors could not follow."""
        flips = rng.integers(2, size=3)
        return cls(bool(flips[0]), bool(flips[1]), bool(flips[2]) and transpose)

    def of(self, field: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(..., H, W) mirrored, then transposed; a view of the same memory."""
        if self.north_south:
            field = field[..., ::-1, :]
        if self.east_west:
            field = field[..., ::-1]
        return np.swapaxes(field, -1, -2) if self.transposed else field

    def places(self, rows: Index, columns: Index, shape: tuple[int, int], span: int = 1) -> tuple[Index, Index]:
        """Rows and columns of the field (H, W) that lie at these of its view.

        `span` is the number of cells that start at each of them: in a mirror they start at their other end.
        """
        if self.transposed:
            rows, columns = columns, rows
        if self.north_south:
            rows = shape[0] - span - rows
        if self.east_west:
            columns = shape[1] - span - columns
        return rows, columns

    def ranges(self, rows: range, columns: range, shape: tuple[int, int]) -> tuple[range, range]:
        """Where a part of the field (H, W) lies in its view."""
        if self.north_south:
            rows = range(shape[0] - rows.stop, shape[0] - rows.start)
        if self.east_west:
            columns = range(shape[1] - columns.stop, shape[1] - columns.start)
        return (columns, rows) if self.transposed else (rows, columns)

    def sign(self, variable: str) -> float:
        """What a mirror does to the component of a vector across it."""
        eastward, northward = variable.startswith("u"), variable.startswith("v") and not variable.startswith("vo")
        return -1.0 if (eastward and self.east_west) or (northward and self.north_south) else 1.0
