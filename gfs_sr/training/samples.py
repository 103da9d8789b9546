"""Samples: a window of a field set as the tensors a network takes, and the truth beside them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Scaling
from gfs_sr.data.chunk_cache import Ranges
from gfs_sr.data.coarsen import SIGMA, TimeReduction
from gfs_sr.data.grid import Registration
from gfs_sr.data.transitions import Transitions, composite_index
from gfs_sr.data.variables import VARIABLES, base_name, variable_ids
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.conditions import Window
from gfs_sr.training.fields import Fields
from gfs_sr.training.smoothed import SmoothedFields
from gfs_sr.training.units import in_model_units, scaling_for
from gfs_sr.training.windows import TimeWindow, View, draw_axis, draw_cycle, draw_times

Array = npt.NDArray[Any]
Kind = Literal["space", "space_time", "time", "cycle"]
Pool = Sequence[tuple[Fields, Ranges | None]]
Read = Callable[[Sequence[int], Array, Array, Array], Array]
# they follow the ground from cell to cell, however smooth the model's winds are
AT_THE_GROUND = frozenset({"t2m", "d2m", "r2", "sp"})
UNKNOWN_SUN = 0.03  # share of samples without the sun
UNKNOWN_STATICS = 0.08  # without terrain, so that a network can do without
INDEX_CELLS = 2000  # that the transition index of a set is made of
UNKNOWN_VARIABLE = 0.1  # whose variable is not told


@dataclass(frozen=True)
class StreamConfig:
    """One part of every training step."""

    # single frames; fine frames between coarse ones; coarse frames between coarse ones; frames that two passes of a
    # network of time lead back to
    kind: Kind = "space_time"
    batch: int = 4
    patch: int = 10  # coarse cells of the core
    patch_columns: int = 0  # of the core; 0: as many as rows
    intervals: int = 1  # coarse frames of the core
    fractions: int | None = None  # times per interval, the frame itself and random ones; None: all of them
    time_factors: dict[int, float] = field(default_factory=dict)  # r -> how often; empty: the network's
    weight: float = 1.0
    every: int = 1  # only in every n-th step
    offset: int = 0  # the first of them
    least_cells: int = 0  # of a source's smaller side, fine cells
    most_cells: int = 10**6
    series: bool = False  # sources that are good for series alone may be drawn too
    repeat_ends: float = 0.0  # chance that the context in time repeats the end frame
    longest_hours: float = 12.0  # between coarse frames: beyond it a day's course is lost
    pool_blocks: int = 8  # sources read from files: samples of `pool_steps` steps come from this many parts of them
    pool_steps: int = 16
    # sigma of a Gaussian, fine cells -> how often the truth is blurred by it: sources differ in effective resolution
    smoothed: dict[float, float] = field(default_factory=dict)
    transitions: float = 1.0  # share of the times that are drawn from: those at which most happens
    reverse: float = 0.0  # chance that time runs backwards; the sun, which does not, is then unknown
    least_fraction: float = 0.1  # of a cycle: its fraction lies between this and 1 - this
    first_step: int = 0  # of training, in which it takes part
    last_step: int = 0  # and the last one; 0: to the end

    def takes_part(self, step: int) -> bool:
        """Whether it has samples in this step of training."""
        return step >= self.first_step and (not self.last_step or step <= self.last_step)

    @property
    def columns(self) -> int:
        """Coarse cells of the core from west to east."""
        return self.patch_columns or self.patch


@dataclass(frozen=True)
class Task:
    """What a network takes, as far as samples need to know it."""

    variables: tuple[str, ...]
    scaling: Mapping[str, Scaling]
    registration: Registration
    scale_factor: int
    time_factor: int
    context: Reach
    one_by_one: bool  # a sample holds one variable
    statics: tuple[str, ...]
    sun: bool
    fractions_given: bool  # the network is told the fractions and the interval
    sigma: float = SIGMA  # of the Gaussian that makes coarse fields, fine cells; NODE only
    time: TimeReduction = TimeReduction.EVERY  # which fine frames make a coarse one
    area: bool = False  # samples carry the weights of their cells
    outputs: tuple[str, ...] = ()  # what is given out; none: the variables
    season: bool = False
    place: bool = False  # latitude and longitude of the coarse cells
    is_bound: bool = False  # to one coarse grid, which starts at the first fine cell
    is_placed: bool = False  # samples say where on the fine grid they start, and are not mirrored

    @classmethod
    def of(
        cls,
        contract: Contract,
        context: Reach,
        sigma: float = SIGMA,
        time: TimeReduction = TimeReduction.EVERY,
        area: bool = False,
        is_placed: bool = False,
    ) -> "Task":
        """Of a contract, with the context that training gives and the protocol that makes coarse fields.

        `is_placed` is of networks with a `location_grid`.
        """
        return cls(
            variables=contract.inputs,
            scaling=contract.normalization,
            registration=contract.registration,
            scale_factor=contract.scale_factor,
            time_factor=contract.time_factor,
            context=context,
            one_by_one=contract.any_subset,
            statics=contract.statics_coarse or contract.statics_fine,
            sun=any(each.name.startswith("solar_") for each in contract.predictors),
            fractions_given=contract.family == "fused" or contract.any_time or bool(contract.fractions),
            sigma=sigma if contract.scale_factor > 1 else 0.0,  # what keeps its cells is not blurred
            time=time,
            area=area,
            outputs=() if contract.any_subset else contract.outputs,
            season=any(each.name.startswith("season_") for each in contract.predictors),
            place=any(each.name == "latitude" for each in contract.predictors),
            is_bound=contract.source_grid is not None,
            is_placed=is_placed,
        )


class Sampler:
    """Draws samples of one stream from field sets."""

    def __init__(self, sets: Sequence[Fields], task: Task, stream: StreamConfig, own_only: bool = False) -> None:
        """Of the sets that suit the stream; `own_only` draws no variable that the contract does not promise."""
        self.task, self.stream, self.own_only = task, stream, own_only
        self.transitions: dict[int, Transitions] = {}  # by time factor; none where all times are drawn from
        told = [(each, self._obstacle(each)) for each in sets]
        self.refused = [f"{each.source} {why}" for each, why in told if why]  # a sentence each
        self.sets = [each for each, why in told if not why]
        if stream.transitions < 1:
            self._keep_transitions()
        sizes = np.array([self._size(each) for each in self.sets], float)
        self.chances = sizes / sizes.sum() if len(self.sets) else sizes

    def _obstacle(self, fields: Fields) -> str:
        """Why nothing can be drawn from these; empty where something can."""
        frames, rows, columns = fields.shape
        stream, task = self.stream, self.task
        if fields.series and not stream.series:
            return "is for streams with series: true"
        missing = [name for name in dict.fromkeys((*task.variables, *task.outputs)) if name not in fields.variables]
        if not task.one_by_one and missing:
            return f"lacks {', '.join(missing)}"
        if self.own_only and not set(task.variables) & set(fields.variables):
            return "has none of the network's variables"
        least, narrow = max(stream.least_cells, 2 * task.scale_factor + 1), min(rows, columns)
        if stream.kind != "time" and narrow < least:
            return f"is {narrow} cells wide, and {least} are the least"
        if stream.kind != "time" and narrow >= stream.most_cells:
            return f"is {narrow} cells wide, and fewer than {stream.most_cells} are taken"
        if stream.kind == "space" or (fields.interval_hours > 0 and self._factors(fields)):
            return ""
        every = f", {fields.interval_hours:g} h apart," if fields.interval_hours > 0 else " of no even interval"
        return f"has {frames} frames{every} of which no {self._intervals} coarse intervals can be made"

    def _factors(self, fields: Fields) -> dict[int, float]:
        wanted = self.stream.time_factors or {self.task.time_factor: 1.0}
        frames, hours = fields.shape[0], fields.interval_hours
        return {
            int(r): share
            for r, share in wanted.items()
            if frames >= int(r) * self._intervals + 1
            and int(r) * hours <= self.stream.longest_hours
            and (r not in self.transitions or self._starts(fields, int(r)).size)
        }

    @property
    def _intervals(self) -> int:
        """Of a cycle as many as its second pass has frames."""
        if self.stream.kind != "cycle":
            return self.stream.intervals
        return 1 + self.task.context.before + self.task.context.after

    def _keep_transitions(self) -> None:
        """For every factor, the times of the sets at which most happens; sets without any are not drawn from."""
        for factor in self.stream.time_factors or {self.task.time_factor: 1.0}:
            able = [each for each in self.sets if int(factor) in self._factors(each)]
            series = {each.name: transition_index(each, int(factor)) for each in able}
            times = {each.name: each.times for each in able}
            self.transitions[int(factor)] = Transitions.of(series, int(factor), self.stream.transitions, times)
        self.sets = [each for each in self.sets if self._factors(each)]

    def _starts(self, fields: Fields, factor: int) -> Array:
        """Frames of a set from which on much happens, and all intervals of a sample lie in the set."""
        drawn = self.transitions[factor]
        starts = np.asarray(drawn.kept(fields.name) if fields.name in drawn.values else (), np.intp)
        return starts[starts + factor * self._intervals < fields.shape[0]]

    def interval_hours(self) -> set[float]:
        """Lengths of the coarse intervals that are drawn at the network's own factor."""
        r = self.task.time_factor
        return {
            r * each.interval_hours for each in self.sets if self.stream.kind != "space" and r in self._factors(each)
        }

    def all_interval_hours(self) -> set[float]:
        """Lengths of all intervals that are drawn, at any factor."""
        if self.stream.kind == "space":
            return set()
        return {factor * each.interval_hours for each in self.sets for factor in self._factors(each)}

    def _size(self, fields: Fields) -> float:
        frames, rows, columns = fields.shape
        if self.own_only:  # every variable of every source counts alike
            return len(set(self.task.variables) & set(fields.variables))
        if self.stream.kind == "time":
            return math.pow(min(frames, 1000) * len(fields.variables), 0.3)
        return math.sqrt(rows * columns * math.sqrt(min(frames, 40) * min(len(fields.variables), 8)))

    @property
    def reads_files(self) -> bool:
        """Whether some sets are not in memory, so that samples should come from a pool."""
        return not all(each.in_memory for each in self.sets)

    def pool(self, rng: np.random.Generator) -> Pool:
        """Parts of the sets that the samples of some steps share: what is read for one serves the others."""
        stream, s = self.stream, 1 if self.stream.kind == "time" else self.task.scale_factor
        pool = []
        for _ in range(stream.pool_blocks):
            fields = self.sets[int(rng.choice(len(self.sets), p=self.chances))]
            blocks = fields.blocks((1, s * stream.patch, s * stream.columns))
            pool.append((fields, None if blocks is None else blocks[int(rng.integers(len(blocks)))]))
        return pool

    def draw(self, rng: np.random.Generator, augment: bool = True, pool: Pool | None = None) -> dict[str, Array]:
        """One sample, without a batch axis: inputs by name, `fine` (T, C, h, w) and `mask` beside them."""
        if pool is None:
            return self.cut(self.sets[int(rng.choice(len(self.sets), p=self.chances))], rng, augment)
        fields, block = pool[int(rng.integers(len(pool)))]
        return self.cut(fields, rng, augment, block)

    def cut(
        self, fields: Fields, rng: np.random.Generator, augment: bool, block: Ranges | None = None
    ) -> dict[str, Array]:
        """One sample of these fields, its core starting in `block` where one is given."""
        task, stream = self.task, self.stream
        channels = self._channels(fields, rng)
        if augment:
            fields = self._smoothed(fields, channels, rng)
        view = View.draw(rng, transpose=task.one_by_one) if augment and not task.is_placed else View()
        rows, columns = fields.shape[1:] if not view.transposed else fields.shape[:0:-1]
        margin = task.context
        # a mirrored sliding mean would wrap on the wrong side, so CELL stays away from the seam
        wraps = fields.is_periodic and task.registration is Registration.NODE
        s = 1 if stream.kind == "time" else task.scale_factor
        phases = self._phases(fields, view)
        parts = (None, None) if block is None else view.ranges(block[1], block[2], fields.shape[1:])
        lat_axis = draw_axis(
            rng, rows, stream.patch, margin.north, margin.south, s, task.registration,
            wraps and view.transposed, phases[0], parts[0],
        )  # fmt: skip
        lon_axis = draw_axis(
            rng, columns, stream.columns, margin.west, margin.east, s, task.registration,
            wraps and not view.transposed, phases[1], parts[1],
        )  # fmt: skip
        backwards = bool(augment and stream.reverse and rng.random() < stream.reverse)
        times = self._times(fields, rng, None if block is None else block[0])
        if backwards:
            times = times.reversed(fields.shape[0])
        truth = [fields.variables.index(name) for name in task.outputs] or channels
        signs = {c: 1.0 if task.one_by_one else view.sign(fields.variables[c]) for c in (*channels, *truth)}
        if task.one_by_one and augment and base_name(fields.variables[channels[0]])[0] in "uv":
            signs[channels[0]] = float(rng.choice([1.0, -1.0], size=1)[0])
        window = Window(fields, view, lat_axis, lon_axis)
        sample = self._fields(window, channels, truth, times, signs)
        if task.is_placed:
            sample["origin"] = np.array([lat_axis.fine[0], lon_axis.fine[0]])
        if task.area:
            sample["area"] = window.area()
        if task.one_by_one:
            name = fields.variables[channels[0]]
            known = base_name(name) in VARIABLES and not (augment and rng.random() < UNKNOWN_VARIABLE)
            sample["variable"] = np.array(variable_ids([name if known else "w@500"]), np.int64)
        if task.statics:
            told = not (augment and rng.random() < UNKNOWN_STATICS)
            sample |= window.statics(
                task.statics, task.scaling, task.registration, task.scale_factor, stream.kind == "time", told
            )
        maps = [window.season(times)] if task.season else []
        if task.place:
            maps.append(window.place(times))
        if maps:
            sample["predictor_coarse"] = np.concatenate(maps, axis=1)
        if task.sun and stream.kind != "space":
            told = not (augment and rng.random() < UNKNOWN_SUN) and not backwards
            sample |= window.sun(times, told)
        if task.fractions_given and stream.kind != "space":
            sample["fraction"] = times.fraction.astype(np.float32)
            sample["hours"] = np.array(fields.interval_hours * times.factor, np.float32)
        return sample

    def _phases(self, fields: Fields, view: View) -> tuple[int | None, int | None]:
        """At which rows and columns of the view coarse cells start, where they were given."""
        if self.task.is_bound:
            return 0, 0
        if fields.phase is None or self.stream.kind == "time":
            return None, None
        s = self.task.scale_factor
        span = 1 if self.task.registration is Registration.NODE else s
        row, column = fields.phase
        if view.north_south:
            row = fields.shape[1] - span - row
        if view.east_west:
            column = fields.shape[2] - span - column
        return (column % s, row % s) if view.transposed else (row % s, column % s)

    def _channels(self, fields: Fields, rng: np.random.Generator) -> list[int]:
        if not self.task.one_by_one:
            return [fields.variables.index(name) for name in self.task.variables]
        other = 0.0 if self.own_only else 1.0
        share = np.array([3.0 if name in self.task.variables else other for name in fields.variables])
        return [int(rng.choice(len(fields.variables), p=share / share.sum()))]

    def _smoothed(self, fields: Fields, channels: list[int], rng: np.random.Generator) -> Fields:
        """The truth with less detail than it has, in some of the samples."""
        if not self.stream.smoothed or not {fields.variables[each] for each in channels}.isdisjoint(AT_THE_GROUND):
            return fields
        shares = np.array(list(self.stream.smoothed.values()))
        sigma = float(rng.choice([0.0, *self.stream.smoothed], p=[1 - shares.sum(), *shares]))
        # a truth that another source was paired with is not remade
        return SmoothedFields(fields, sigma) if sigma and fields.phase is None else fields

    def _times(self, fields: Fields, rng: np.random.Generator, starts: range | None = None) -> TimeWindow:
        stream, margin = self.stream, self.task.context
        if stream.kind == "space":
            frames = starts or range(fields.shape[0])
            frame = np.array([frames.start + rng.integers(len(frames))])
            return TimeWindow(frame, frame, np.zeros(1), 1)
        factors = self._factors(fields)
        share = np.array(list(factors.values()))
        factor = int(rng.choice(list(factors), p=share / share.sum()))
        first = None
        if self.transitions:
            first = int(rng.choice(self._starts(fields, factor)))
        if stream.kind == "cycle":
            return draw_cycle(
                rng, fields.shape[0], self._intervals, factor, margin.before, margin.after, stream.least_fraction, first
            )
        return draw_times(
            rng, fields.shape[0], stream.intervals, factor, margin.before, margin.after,
            stream.fractions if self.task.fractions_given else None, stream.repeat_ends, starts, first,
            frames_too=self.task.scale_factor > 1,
        )  # fmt: skip

    def _fields(
        self, window: Window, channels: list[int], truth: list[int], times: TimeWindow, signs: Mapping[int, float]
    ) -> dict[str, Array]:
        fields, view, lat_axis, lon_axis = window.fields, window.view, window.lat_axis, window.lon_axis
        task, registration, s = self.task, self.task.registration, self.task.scale_factor

        def seen(read: Read, which: list[int], frames: Array, rows: Array, columns: Array, span: int = 1) -> Array:
            places = view.places(rows, columns, fields.shape[1:], span)
            picked = read(which, frames, *places)
            turned = np.swapaxes(picked, -1, -2) if view.transposed else picked
            scales = [scaling_for(task.scaling, fields, c) for c in which]
            given = [fields.units.get(fields.variables[c]) for c in which]
            return in_model_units(turned.swapaxes(0, 1), scales, np.array([signs[c] for c in which]), given)

        def coarse_of(channels: Sequence[int], frames: Array, rows: Array, columns: Array) -> Array:
            if self.stream.kind == "time":  # the cells of a series are coarse cells
                return fields.read_filled(channels, frames, rows, columns)
            return fields.read_coarse((registration, s, task.sigma), channels, frames, rows, columns)

        def coarse_in_time(channels: Sequence[int], frames: Array, rows: Array, columns: Array) -> Array:
            if task.time is TimeReduction.EVERY or self.stream.kind == "space":
                return coarse_of(channels, frames, rows, columns)
            members = np.clip(frames[:, None] + task.time.offsets(times.factor), 0, fields.shape[0] - 1)
            values = coarse_of(channels, members.ravel(), rows, columns)
            means: Array = values.reshape(len(channels), *members.shape, *values.shape[-2:]).mean(axis=2)
            return means

        fine = seen(fields.read, truth, times.fine, lat_axis.fine, lon_axis.fine)
        finite = np.isfinite(fine)
        span = s if registration is Registration.CELL and self.stream.kind != "time" else 1
        valid = lat_axis.valid[:, None] & lon_axis.valid
        return {
            "coarse": seen(coarse_in_time, channels, times.coarse, lat_axis.coarse, lon_axis.coarse, span),
            "fine": fine if finite.all() else np.where(finite, fine, np.float32(0)),
            "mask": finite & valid,
        }


def transition_index(fields: Fields, lag: int) -> Array:
    """The composite index of a set for intervals of `lag` frames, of some of its cells where they are many."""
    _, rows, columns = fields.shape
    step = max(1, math.isqrt(rows * columns // INDEX_CELLS))
    chosen = np.arange(0, rows, step), np.arange(0, columns, step)
    values = fields.read(range(len(fields.variables)), np.arange(fields.shape[0]), *chosen)
    area = None if fields.lat is None or fields.lat.ndim > 1 else np.cos(np.deg2rad(fields.lat[chosen[0]]))
    return composite_index(values, lag, area)
