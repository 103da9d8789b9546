"""Samples: a window of a field set as the tensors a network takes, and the truth beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Scaling
from gfs_sr.data.grid import Registration
from gfs_sr.data.solar import solar_components
from gfs_sr.data.statics import static_blocks
from gfs_sr.data.variables import VARIABLES, base_name, variable_ids
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.windows import AxisWindow, TimeWindow, View, draw_axis, draw_times

Array = npt.NDArray[Any]
Kind = Literal["space", "space_time", "time"]
UNKNOWN_SUN = 0.03  # share of samples without the sun
UNKNOWN_STATICS = 0.08  # without terrain, so that a network can do without
UNKNOWN_VARIABLE = 0.1  # whose variable is not told


@dataclass(frozen=True)
class StreamConfig:
    """One part of every training step."""

    kind: Kind = "space_time"  # single frames; fine frames between coarse ones; coarse frames between coarse ones
    batch: int = 4
    patch: int = 10  # coarse cells of the core
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

    @classmethod
    def of(cls, contract: Contract, context: Reach) -> "Task":
        """Of a contract, with the context that training gives."""
        return cls(
            variables=contract.inputs,
            scaling=contract.normalization,
            registration=contract.registration,
            scale_factor=contract.scale_factor,
            time_factor=contract.time_factor,
            context=context,
            one_by_one=contract.any_subset,
            statics=contract.statics_coarse or contract.statics_fine,
            sun=bool(contract.predictors),
            fractions_given=contract.family == "fused",
        )


class Sampler:
    """Draws samples of one stream from field sets."""

    def __init__(self, sets: Sequence[FieldSet], task: Task, stream: StreamConfig, own_only: bool = False) -> None:
        """Of the sets that suit the stream; `own_only` draws no variable that the contract does not promise."""
        self.task, self.stream, self.own_only = task, stream, own_only
        self.sets = [each for each in sets if self._fits(each)]
        sizes = np.array([self._size(each) for each in self.sets], float)
        self.chances = sizes / sizes.sum() if len(self.sets) else sizes

    def _fits(self, fields: FieldSet) -> bool:
        _, rows, columns = fields.shape
        stream, task = self.stream, self.task
        if fields.series and not stream.series:
            return False
        if not task.one_by_one and not set(task.variables) <= set(fields.variables):
            return False
        if self.own_only and not set(task.variables) & set(fields.variables):
            return False
        least = max(stream.least_cells, 2 * task.scale_factor + 1)
        if stream.kind != "time" and not least <= min(rows, columns) < stream.most_cells:
            return False
        return stream.kind == "space" or (fields.interval_hours > 0 and bool(self._factors(fields)))

    def _factors(self, fields: FieldSet) -> dict[int, float]:
        wanted = self.stream.time_factors or {self.task.time_factor: 1.0}
        frames, hours = fields.shape[0], fields.interval_hours
        return {
            int(r): share
            for r, share in wanted.items()
            if frames >= int(r) * self.stream.intervals + 1 and int(r) * hours <= self.stream.longest_hours
        }

    def interval_hours(self) -> set[float]:
        """Lengths of the coarse intervals that are drawn at the network's own factor."""
        r = self.task.time_factor
        return {
            r * each.interval_hours for each in self.sets if self.stream.kind != "space" and r in self._factors(each)
        }

    def _size(self, fields: FieldSet) -> float:
        frames, rows, columns = fields.shape
        if self.own_only:  # every variable of every source counts alike
            return len(set(self.task.variables) & set(fields.variables))
        if self.stream.kind == "time":
            return math.pow(min(frames, 1000) * len(fields.variables), 0.3)
        return math.sqrt(rows * columns * math.sqrt(min(frames, 40) * min(len(fields.variables), 8)))

    def draw(self, rng: np.random.Generator, augment: bool = True) -> dict[str, Array]:
        """One sample, without a batch axis: inputs by name, `fine` (T, C, h, w) and `mask` beside them."""
        fields = self.sets[int(rng.choice(len(self.sets), p=self.chances))]
        return self.cut(fields, rng, augment)

    def cut(self, fields: FieldSet, rng: np.random.Generator, augment: bool) -> dict[str, Array]:
        """One sample of these fields."""
        task, stream = self.task, self.stream
        channels = self._channels(fields, rng)
        view = View.draw(rng, transpose=task.one_by_one) if augment else View()
        rows, columns = fields.shape[1:] if not view.transposed else fields.shape[:0:-1]
        margin = task.context
        # a mirrored sliding mean would wrap on the wrong side, so CELL stays away from the seam
        wraps = fields.is_periodic and task.registration is Registration.NODE
        s = 1 if stream.kind == "time" else task.scale_factor
        lat_axis = draw_axis(
            rng, rows, stream.patch, margin.north, margin.south, s, task.registration, wraps and view.transposed
        )
        lon_axis = draw_axis(
            rng, columns, stream.patch, margin.west, margin.east, s, task.registration, wraps and not view.transposed
        )
        times = self._times(fields, rng)
        signs = np.array([view.sign(fields.variables[c]) if not task.one_by_one else 1.0 for c in channels])
        if task.one_by_one and augment and base_name(fields.variables[channels[0]])[0] in "uv":
            signs = rng.choice([1.0, -1.0], size=1)
        sample = self._fields(fields, channels, view, lat_axis, lon_axis, times, signs)
        if task.one_by_one:
            name = fields.variables[channels[0]]
            known = base_name(name) in VARIABLES and not (augment and rng.random() < UNKNOWN_VARIABLE)
            sample["variable"] = np.array(variable_ids([name if known else "w@500"]), np.int64)
        if task.statics:
            told = not (augment and rng.random() < UNKNOWN_STATICS)
            sample |= self._statics(fields, view, lat_axis, lon_axis, told)
        if task.sun and stream.kind != "space":
            told = not (augment and rng.random() < UNKNOWN_SUN)
            sample |= self._sun(fields, view, lat_axis, lon_axis, times, told)
        if task.fractions_given and stream.kind != "space":
            sample["fraction"] = times.fraction.astype(np.float32)
            sample["hours"] = np.array(fields.interval_hours * times.factor, np.float32)
        return sample

    def _channels(self, fields: FieldSet, rng: np.random.Generator) -> list[int]:
        if not self.task.one_by_one:
            return [fields.variables.index(name) for name in self.task.variables]
        other = 0.0 if self.own_only else 1.0
        share = np.array([3.0 if name in self.task.variables else other for name in fields.variables])
        return [int(rng.choice(len(fields.variables), p=share / share.sum()))]

    def _times(self, fields: FieldSet, rng: np.random.Generator) -> TimeWindow:
        stream, margin = self.stream, self.task.context
        if stream.kind == "space":
            frame = np.array([rng.integers(fields.shape[0])])
            return TimeWindow(frame, frame, np.zeros(1), 1)
        factors = self._factors(fields)
        share = np.array(list(factors.values()))
        factor = int(rng.choice(list(factors), p=share / share.sum()))
        return draw_times(
            rng, fields.shape[0], stream.intervals, factor, margin.before, margin.after,
            stream.fractions if self.task.fractions_given else None, stream.repeat_ends,
        )  # fmt: skip

    def _fields(
        self,
        fields: FieldSet,
        channels: list[int],
        view: View,
        lat_axis: AxisWindow,
        lon_axis: AxisWindow,
        times: TimeWindow,
        signs: Array,
    ) -> dict[str, Array]:
        scales = [scaling_for(self.task.scaling, fields, c) for c in channels]
        mean = np.array([scale.mean for scale in scales], np.float32)[:, None, None]
        factor = (signs / np.array([scale.sd for scale in scales])).astype(np.float32)[:, None, None]
        # a component that points the other way has no mean to speak of: vectors are centered at 0
        shift = np.where(signs[:, None, None] < 0, 0.0, mean).astype(np.float32)

        def normalized(source: Array, frames: Array, rows: Array, columns: Array) -> Array:
            seen = view.of(source)
            picked = seen[np.ix_(np.array(channels), frames, rows, columns)]
            return np.ascontiguousarray((picked.swapaxes(0, 1) - shift) * factor, np.float32)

        plain = self.stream.kind == "time"
        s, registration = self.task.scale_factor, self.task.registration
        coarse = fields.filled() if plain else fields.coarse_everywhere(registration, s)
        fine = normalized(fields.values, times.fine, lat_axis.fine, lon_axis.fine)
        valid = lat_axis.valid[:, None] & lon_axis.valid
        return {
            "coarse": normalized(coarse, times.coarse, lat_axis.coarse, lon_axis.coarse),
            "fine": np.nan_to_num(fine),
            "mask": np.isfinite(fine) & valid,
        }

    def _statics(
        self, fields: FieldSet, view: View, lat_axis: AxisWindow, lon_axis: AxisWindow, told: bool
    ) -> dict[str, Array]:
        names, s = self.task.statics, self.task.scale_factor
        size = (lat_axis.cells, lon_axis.cells)
        if not told:
            return {
                "static_coarse": np.zeros((1, len(names), *size), np.float32),
                "static_fine": np.zeros((1, len(names) * s * s, *size), np.float32),
            }
        scales = [self.task.scaling[name] for name in names]
        sd = np.array([scale.sd for scale in scales], np.float32)[:, None, None]
        if self.stream.kind == "time":
            coarse = fine = fields.statics(names)  # the cells of a series are coarse cells
        else:
            coarse, fine = fields_statics(fields, names, self.task.registration, s)
        coarse, fine = view.of(coarse), view.of(fine)
        rows = np.clip(lat_axis.coarse[:, None] + np.arange(s), 0, fine.shape[-2] - 1).ravel()
        columns = np.clip(lon_axis.coarse[:, None] + np.arange(s), 0, fine.shape[-1] - 1).ravel()
        blocks = static_blocks(fine[:, rows[:, None], columns], s)
        picked = coarse[:, lat_axis.coarse[:, None], lon_axis.coarse] / sd
        return {
            "static_coarse": picked[None].astype(np.float32),
            "static_fine": (blocks / np.repeat(sd, s * s, axis=0))[None].astype(np.float32),
        }

    def _sun(
        self,
        fields: FieldSet,
        view: View,
        lat_axis: AxisWindow,
        lon_axis: AxisWindow,
        times: TimeWindow,
        told: bool,
    ) -> dict[str, Array]:
        positions = fields.positions()
        size = (3, lat_axis.cells, lon_axis.cells)
        if positions is None or not told:
            return {
                "predictor_coarse": np.zeros((times.coarse.size, *size), np.float32),
                "predictor_coarse_fine_time": np.zeros((times.fine.size, *size), np.float32),
            }
        rows, columns = (np.clip(np.rint(axis.center), 0, None).astype(np.intp) for axis in (lat_axis, lon_axis))
        seen = [view.of(each) for each in positions]
        rows, columns = np.minimum(rows, seen[0].shape[0] - 1), np.minimum(columns, seen[0].shape[1] - 1)
        lat, lon = (each[rows[:, None], columns] for each in seen)
        return {
            "predictor_coarse": solar_components(fields.times[times.coarse], lat, lon).astype(np.float32),
            "predictor_coarse_fine_time": solar_components(fields.times[times.fine], lat, lon).astype(np.float32),
        }


def fields_statics(
    fields: FieldSet, names: Sequence[str], registration: Registration, scale_factor: int
) -> tuple[Array, Array]:
    """Coarse values at every phase, and fine ones, of terrain and land."""
    from gfs_sr.training.field_set import coarsen_everywhere

    fine = fields.statics(names)
    key = f"coarse {registration} {scale_factor}"
    store = fields._statics
    for number, name in enumerate(names):
        if f"{key} {name}" not in store:
            store[f"{key} {name}"] = coarsen_everywhere(
                fine[number], registration, scale_factor, fields.lat, fields.is_periodic
            )
    return np.stack([store[f"{key} {name}"] for name in names]), fine


def scaling_for(scaling: Mapping[str, Scaling], fields: FieldSet, channel: int) -> Scaling:
    """The network's units of a variable; its own mean and spread where the network does not know it."""
    from gfs_sr.models.fused_variables import scaling_of, unit_of

    name = fields.variables[channel]
    if name in scaling:
        return scaling[name]
    values = fields.values[channel]
    mean, sd = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
    if base_name(name) in VARIABLES:
        # a level far from the typical one has its own mean; the spread is the one the network counts physical units in
        return Scaling(mean=mean, sd=scaling_of(name).sd if unit_of(name) else sd)
    return Scaling(mean=mean, sd=sd)
