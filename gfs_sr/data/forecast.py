"""Forecast: fields on a grid at a run of times, read frame by frame in canonical units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import lookup
from gfs_sr.errors import AllMissing, MissingVariable, ShapeMismatch, ValuesOutOfBounds

Field = npt.NDArray[np.float32]  # (H, W), canonical units, north to south, west to east, NaN where missing
ReadField = Callable[[int], Field]
ReadBlock = Callable[[slice, slice, slice], npt.NDArray[np.float32]]  # frames, rows, columns -> (t, h, w), same order

# How far beyond the table's bounds a value may lie, of their width. Packing and supersaturation cross a bound a
# little; a fill value (-99, -9999, 1e20) or another field under the name crosses it far.
BOUND_MARGIN = 0.1
ZERO_MARGIN = 0.02  # the same below a bound that is 0


@dataclass(frozen=True, eq=False)
class SourceLayout:
    """How the user's file names and orders things, so that the output can do the same."""

    variable_names: Mapping[str, str] = field(default_factory=dict)  # canonical -> the user's; absent means the same
    lat_name: str = "lat"
    lon_name: str = "lon"
    lat_ascending: bool = False  # the file stores rows south to north
    longitudes_from: float = 0.0  # west end of the file's range of longitudes: 0 or -180


@dataclass(frozen=True, eq=False)
class Forecast:
    """Frames of several variables on one grid; nothing is read before a frame is asked for.

    Selections are new objects that share the readers; a forecast never changes.
    """

    variables: tuple[str, ...]  # canonical names, in channel order
    grid: Grid
    times: TimeAxis
    readers: tuple[ReadField, ...]  # one per variable: index of a frame -> field
    layout: SourceLayout = field(default_factory=SourceLayout)
    registration: Registration | None = None  # what the source says about itself
    source: str = "arrays"  # for messages
    notes: tuple[str, ...] = ()  # found when the source was opened
    findings: list[str] = field(default_factory=list)  # found while frames are read; shared by all selections
    buckets: Mapping[str, np.timedelta64] = field(default_factory=dict)  # accumulated or averaged: interval per frame
    quality: Callable[[int], npt.NDArray[np.uint8]] | None = None  # frame -> (H, W) flags that its values carry already

    @classmethod
    def from_arrays(
        cls,
        values: npt.ArrayLike,
        variables: Sequence[str],
        grid: Grid,
        times: TimeAxis,
        *,
        layout: SourceLayout | None = None,
        registration: Registration | None = None,
        source: str = "arrays",
        buckets: Mapping[str, np.timedelta64] | None = None,
    ) -> "Forecast":
        """A forecast over (T, C, H, W) values in memory, canonical units.

        Raises:
            ShapeMismatch: values, names, grid and times do not fit together.
        """
        array = np.asarray(values, np.float32)
        expected = (len(times), len(variables), *grid.shape)
        if array.shape != expected:
            raise ShapeMismatch(f"values have shape {array.shape}", source, f"give (T, C, H, W) = {expected}")
        return cls(
            variables=tuple(variables),
            grid=grid,
            times=times,
            readers=tuple(_column(array, channel) for channel in range(len(variables))),
            layout=layout or SourceLayout(),
            registration=registration,
            source=source,
            buckets=dict(buckets or {}),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know: found at opening, then while reading."""
        return (*self.notes, *self.findings)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)."""
        return len(self.times), len(self.variables), *self.grid.shape

    def frame(self, index: int) -> npt.NDArray[np.float32]:
        """(C, H, W) of one lead time, canonical units, NaN where missing.

        Raises:
            AllMissing: a field has no finite value.
            ValuesOutOfBounds: values far outside the variable's bounds.
        """
        if not -len(self.times) <= index < len(self.times):
            raise IndexError(f"frame {index} of {len(self.times)}")
        position = index % len(self.times)
        frame = np.empty((len(self.variables), *self.grid.shape), np.float32)
        for channel, (name, read) in enumerate(zip(self.variables, self.readers, strict=True)):
            frame[channel] = read(position)
            check_values(frame[channel], name, f"{self.source}, {self.describe_time(position)}")
        return frame

    def load(self) -> npt.NDArray[np.float32]:
        """(T, C, H, W): all frames at once."""
        values = np.empty(self.shape, np.float32)
        for index in range(len(self.times)):
            values[index] = self.frame(index)
        return values

    def select(self, variables: Sequence[str]) -> "Forecast":
        """The same forecast with these variables, in this order.

        Raises:
            MissingVariable: one of them is absent.
        """
        for name in variables:
            if name not in self.variables:
                raise MissingVariable(
                    f"variable {name} is not in the input",
                    f"{self.source}, which has {', '.join(self.variables)}",
                    f"add {name} to the input, or do not ask for it",
                )
        readers = tuple(self.readers[self.variables.index(name)] for name in variables)
        return replace(self, variables=tuple(variables), readers=readers)

    def isel_time(self, frames: slice) -> "Forecast":
        """The same forecast with some of its frames, in rising order.

        Raises:
            ShapeMismatch: no frame is left, or the order would be reversed.
        """
        kept = range(len(self.times))[frames]
        if not kept or kept.step < 0:
            raise ShapeMismatch(
                f"slice {frames} keeps no rising run of frames", self.source, f"choose among {len(self.times)} frames"
            )
        times = TimeAxis(self.times.reference_time, self.times.valid_times[frames])
        given = self.quality
        quality = None if given is None else lambda index: given(kept[index])
        return replace(self, times=times, readers=tuple(_shifted(read, kept) for read in self.readers), quality=quality)

    def describe_time(self, index: int) -> str:
        """For messages: `lead time 6 h`, and the valid time."""
        valid = np.datetime_as_string(self.times.valid_times[index], "m")
        return f"lead time {self.times.lead_hours[index]:g} h ({valid})"


def limits(name: str) -> tuple[float, float]:
    """Lowest and highest value that is believed, canonical units: the table's bounds with a margin."""
    low, high = lookup(name).bounds
    width = high - low
    return low - (ZERO_MARGIN if low == 0 else BOUND_MARGIN) * width, high + BOUND_MARGIN * width


def check_values(values: Field, name: str, where: str) -> None:
    """Refuse a field that cannot be what its name says.

    Raises:
        AllMissing: no finite value.
        ValuesOutOfBounds: values far outside the variable's bounds.
    """
    lowest, highest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if np.isnan(lowest):
        raise AllMissing(
            f"every value of {name} is missing", where, "supply a frame with data, or leave the variable or frame out"
        )
    low, high = limits(name)
    if lowest < low or highest > high:
        worst = lowest if lowest < low else highest
        row = lookup(name)
        raise ValuesOutOfBounds(
            f"{name} has the value {worst:g} {row.units}, outside {row.bounds[0]:g} to {row.bounds[1]:g}",
            where,
            "declare the fill value (_FillValue), mend the units, or check that this is the field it is named",
        )


def _column(array: npt.NDArray[np.float32], channel: int) -> ReadField:
    return lambda index: array[index, channel]


def _shifted(read: ReadField, kept: range) -> ReadField:
    return lambda index: read(kept[index])
