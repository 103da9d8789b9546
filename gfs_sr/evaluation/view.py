"""One way to look at a case: which frames are scored, and the fields of truth, models and rivals on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import FloatArray
from gfs_sr.data.interpolation import READ_BEYOND
from gfs_sr.data.resampling import Closure
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.evaluation.baselines import Rival, Setting
from gfs_sr.evaluation.cases import BUCKETS, Case
from gfs_sr.evaluation.prediction import Prediction, Values
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.records import Task
from gfs_sr.evaluation.subject import Subject
from gfs_sr.evaluation.window import Window, hull

SPACE_FRAMES = 12  # at most so many single frames, evenly spread, make the score of space alone
CHUNK_CELLS = 1 << 22  # fine cells of one variable that are worked on at a time
TRUTH_BYTES = 1 << 28  # of one variable's truth that are kept between rivals
LEAST_REACH = 3  # coarse frames: what a local interpolation in time reads, and one more
REACH_IN_TIME = {"natural_spline": 26}  # a knot counts 2 - sqrt(3) of the one before: 1e-15 so far away


@dataclass(frozen=True, eq=False)
class View:
    """The frames of one task, and what each model makes of them."""

    task: Task
    case: Case
    time_factor: int  # fine frames per coarse one among `coarse_frames`; 1 of single frames
    coarse_frames: tuple[int, ...]  # that the rivals are given
    window: Window
    predictions: dict[str, Prediction]  # by model
    subjects: tuple[Subject, ...]

    @cached_property
    def chunks(self) -> list[slice]:
        """Frames of the window in whole coarse intervals."""
        return self.window.chunks(self.time_factor, CHUNK_CELLS)

    def of(self, variable: str) -> "VariableView":
        """One variable of it."""
        return VariableView(self, variable)


@dataclass(frozen=True, eq=False)
class VariableView:
    """One variable: fields (T, H, W) on the window, chunk by chunk."""

    view: View
    variable: str
    _truths: dict[int, Values] = field(default_factory=dict)
    _frames: dict[tuple[object, ...], FloatArray] = field(default_factory=dict)  # of the chunk that was read last

    @property
    def models(self) -> list[str]:
        """That can do the variable."""
        return [subject.name for subject in self.view.subjects if subject.offers(self.variable)]

    @property
    def setting(self) -> Setting:
        """What the rivals are told."""
        case = self.view.case
        kind = lookup(self.variable).time_kind
        return Setting(
            case.how.scale_factor,
            self.view.time_factor,
            case.registration,
            case.coarse.grid.is_periodic,
            kind if self.view.time_factor > 1 else TimeKind.INSTANT,
            None if case.native is None else (case.native.grid, case.coarse.grid),
        )

    @cached_property
    def coarse(self) -> Values:
        """(Tc, Hc, Wc) of the whole coarse forecast of this view."""
        return self._all_of(self.view.case.coarse)

    @cached_property
    def _given(self) -> Values:
        """The same on cells of its own, where it has any: what the rivals are given."""
        native = self.view.case.native
        return self.coarse if native is None else self._all_of(native)

    def _all_of(self, forecast: Forecast) -> Values:
        read = forecast.readers[forecast.variables.index(self.variable)]
        return np.stack([read(frame) for frame in self.view.coarse_frames])

    def truth(self, chunk: slice) -> FloatArray:
        """(t, H, W), float64."""
        if chunk.start not in self._truths:
            window = self.view.window
            read = self.view.case.truth.readers[self.view.case.truth.variables.index(self.variable)]
            values = np.stack([read(frame)[window.cells] for frame in window.frames[chunk]])
            kept = sum(part.nbytes for part in self._truths.values())
            if kept + values.nbytes > TRUTH_BYTES:
                return values.astype(np.float64)
            self._truths[chunk.start] = values
        return self._truths[chunk.start][: chunk.stop - chunk.start].astype(np.float64)

    def members(self, model: str, chunk: slice) -> FloatArray:
        """(M, t, H, W) of a model, float64."""
        subject = next(subject for subject in self.view.subjects if subject.name == model)
        values = self.view.predictions[model].read(subject.channel(self.view.case, self.variable), chunk)
        return values[(..., *self.view.window.cells)].astype(np.float64)

    def rival(self, rival: Rival, closure: Closure, chunk: slice) -> FloatArray:
        """(t, H, W) of an interpolation."""
        # only the wide stencil in time reads beyond the ends
        key = (chunk.start, chunk.stop, rival.a, rival.time, closure if rival.time in READ_BEYOND else None)
        if key not in self._frames:
            if any(other[:2] != key[:2] for other in self._frames):
                self._frames.clear()
            self._frames[key] = self._in_time(rival, closure, chunk)
        fine = rival.in_space(self._frames[key], self.setting, closure)
        return fine[(..., *self.view.window.cells)]

    def _in_time(self, rival: Rival, closure: Closure, chunk: slice) -> FloatArray:
        """(t, h, w) from the coarse frames that can move it, so that a long forecast takes no more than a short one."""
        r = self.view.time_factor
        margin = 0 if rival.time is None else REACH_IN_TIME.get(rival.time, LEAST_REACH)
        first = max(chunk.start // r - margin, 0)
        part = self._given[first : (chunk.stop - 1) // r + 1 + margin]
        return rival.frames(part, self.setting, closure)[chunk.start - r * first : chunk.stop - r * first]


def views(case: Case, subjects: Sequence[Subject], tasks: Sequence[Task], protocol: Protocol) -> Iterable[View]:
    """The tasks a case has: the whole series in space and time, and single frames in space alone.

    A model that refines space only is given the whole series too; that is its task in space. One of time has none.
    """
    r = case.how.time_factor
    given = {subject.name: subject.inputs(case) for subject in subjects}
    found = False
    if "joint" in tasks and len(case.coarse.times) > 1:
        predictions = {subject.name: subject.run(given[subject.name]) for subject in subjects}
        frames = min(len(case.truth.times), *(prediction.frames for prediction in predictions.values()))
        window = hull(case, case.how.scale_factor, r, tuple(range(frames)), protocol.area_weighted)
        task: Task = "joint" if r > 1 else "space"
        yield View(task, case, r, tuple(range(len(case.coarse.times))), window, predictions, tuple(subjects))
        found = True
    if found and (1 in (r, case.how.scale_factor) or "space" not in tasks or case.kind in BUCKETS):
        return  # one coarse amount is not an amount of its last fine interval
    count = len(case.coarse.times)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SPACE_FRAMES)).round().astype(int)).tolist()
    parts = {
        subject.name: SingleFrames([subject.run(given[subject.name].isel_time(slice(k, k + 1))) for k in chosen])
        for subject in subjects
    }
    window = hull(case, case.how.scale_factor, r, tuple(k * r for k in chosen), protocol.area_weighted)
    yield View("space", case, 1, tuple(chosen), replace(window, interpolated=len(chosen)), dict(parts), tuple(subjects))


@dataclass(frozen=True, eq=False)
class SingleFrames:
    """What a model makes of single coarse frames, as one prediction of as many frames."""

    parts: Sequence[Prediction]

    @property
    def members(self) -> int:
        """1 for a single forecast."""
        return self.parts[0].members

    @property
    def frames(self) -> int:
        """As many as there are parts."""
        return len(self.parts)

    @property
    def tile(self) -> tuple[int, int] | None:
        """Of the first: all have one grid."""
        return self.parts[0].tile

    def read(self, channel: int, frames: slice) -> Values:
        """(M, t, H, W) of one variable."""
        return np.concatenate([part.read(channel, slice(0, 1)) for part in self.parts[frames]], axis=1)
