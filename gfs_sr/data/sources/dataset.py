"""A dataset (NetCDF, Zarr, or one the user opened) as series of fields."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from gfs_sr.data.forecast import Field, ReadBlock, ReadField, SourceLayout, limits
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources.buckets import Bucket, Span, plan_buckets, read_bucket
from gfs_sr.data.sources.field_axes import FieldAxes, field_axes, is_field
from gfs_sr.data.sources.names import match_variable
from gfs_sr.data.sources.series import NO_BUCKET, Series, Source
from gfs_sr.data.time_axis import TimeArray, TimeAxis
from gfs_sr.data.variables import TimeKind, Variable
from gfs_sr.errors import AmbiguousField, InputError, UnsupportedGrid, WrongUnits

REGISTRATION_ATTRIBUTE = "gfs_sr_registration"
NO_UNITS = {"", "unknown", "none", "~", "undefined"}
MEAN_RATES = {"kg m-2 s-1", "kg m**-2 s**-1", "kg/m2/s", "mm s-1", "mm/s"}


def read_dataset(dataset: xr.Dataset, name: str, findings: list[str]) -> Source:
    """What a dataset offers.

    Raises:
        InputError: its coordinates cannot be understood.
    """
    series: list[Series] = []
    unused: list[str] = []
    notes: list[str] = []
    refused: dict[str, InputError] = {}
    matches: dict[str, list[_Match]] = {}
    for key in dataset.data_vars:
        array = dataset[key]
        if not is_field(dataset, array):
            continue
        where = f"{name}, variable {key!r}"
        try:
            axes = field_axes(dataset, array, where)
        except InputError as error:
            row = _row_without_axes(array)
            if row is None:
                unused.append(str(key))
            else:
                refused.setdefault(row, error)
            continue
        match = match_variable(array, has_level=bool(axes.levels), height_m=axes.height_m)
        if match is None:
            unused.append(str(key))
            continue
        for canonical in _canonical_names(match[0], axes):
            matches.setdefault(canonical, []).append(_Match(canonical, match[0], match[1], array, axes, where))
    layout = SourceLayout()
    for canonical, candidates in matches.items():
        best = min(candidate.rank for candidate in candidates)
        chosen = [candidate for candidate in candidates if candidate.rank == best]
        unused += [str(candidate.array.name) for candidate in candidates if candidate.rank != best]
        if len(chosen) > 1:
            rivals = " and ".join(repr(str(candidate.array.name)) for candidate in chosen)
            refused[canonical] = AmbiguousField(f"{rivals} both are {canonical}", name, "keep one, or rename the other")
            continue
        try:
            series.append(_series(chosen[0], notes, findings))
        except InputError as error:
            refused[canonical] = error
            continue
        layout = _extend(layout, chosen[0], first=len(series) == 1)
    registration = dataset.attrs.get(REGISTRATION_ATTRIBUTE)
    return Source(
        name,
        series,
        layout,
        None if registration is None else _registration(str(registration), name),
        sorted(set(unused)),
        notes,
        refused,
    )


@dataclass(frozen=True, eq=False)
class _Match:
    canonical: str
    row: Variable
    rank: int
    array: xr.DataArray
    axes: FieldAxes
    where: str

    @property
    def level_index(self) -> int | None:
        """Which entry of the level dimension, if there is one."""
        if self.axes.level_dim is None or not self.row.on_levels:
            return None
        level = self.canonical.partition("@")[2]
        return [f"{value:g}" for value in self.axes.levels].index(level)


def _row_without_axes(array: xr.DataArray) -> str | None:
    """The row that a variable on an unusable grid is by its name, or one it may be by its standard name."""
    for has_level in (False, True):
        for height_m in (None, 2.0, 10.0):
            match = match_variable(array, has_level=has_level, height_m=height_m)
            if match is not None:
                return match[0].name
    return None


def _canonical_names(row: Variable, axes: FieldAxes) -> list[str]:
    return [f"{row.name}@{level:g}" for level in axes.levels] if row.on_levels else [row.name]


def _series(match: _Match, notes: list[str], findings: list[str]) -> Series:
    row, axes, where = match.row, match.axes, match.where
    times, reference = axes.valid_times, axes.reference_time
    if row.time_kind is not TimeKind.STATIC:
        # order within one file is refused here: between files it does not matter
        TimeAxis.from_times(reference, times, where)
    factor, offset = _conversion(match, times, notes)
    read = _reader(match, factor, offset)
    read_block: ReadBlock | None = _block_reader(match, factor, offset)
    bucket = NO_BUCKET
    if row.time_kind is not TimeKind.INSTANT and row.time_kind is not TimeKind.STATIC:
        if str(match.array.attrs.get("GRIB_stepType", "")) == "accum" and axes.is_lead and reference is not None:
            spans: dict[Span, int] = {(NO_BUCKET, time - reference): index for index, time in enumerate(times)}
            buckets, remarks = plan_buckets(spans, where)
            notes += [f"{match.canonical}: {remark}" for remark in remarks]
            read, read_block = _bucket_reader(read, buckets, match.canonical, findings), None
            times = np.array([reference + one.end for one in buckets], "datetime64[ns]")
        elif axes.is_lead and len(times) > 1:
            notes.append(f"{match.canonical} is taken as amounts per step, not since the start of the run")
        bucket = times[1] - times[0] if len(times) > 1 else NO_BUCKET
    return Series(
        match.canonical, reference, times, axes.orientation.grid, read, where, bucket, read_block, _chunks(match)
    )


def _bucket_reader(read: ReadField, buckets: Sequence[Bucket], name: str, findings: list[str]) -> ReadField:
    return lambda index: read_bucket(buckets[index], read, name, findings)


def _conversion(match: _Match, times: TimeArray, notes: list[str]) -> tuple[float, float]:
    """(factor, offset) to canonical units.

    Raises:
        WrongUnits: units that cannot be converted, or none and values that cannot be canonical.
    """
    row, where = match.row, match.where
    units = str(match.array.attrs.get("units", "")).strip()
    if row.time_kind is TimeKind.ACCUMULATED and units in MEAN_RATES and len(times) > 1:
        seconds = float((times[1] - times[0]) / np.timedelta64(10**9, "ns"))
        notes.append(
            f"{match.canonical} is given as a rate; it is taken as the mean over the step that ends at each time"
        )
        return seconds, 0.0
    if units.lower() not in NO_UNITS or units in row.accepts:
        return row.to_canonical(units, where)
    values = _reader(match, 1.0, 0.0)(0)
    low, high = limits(match.canonical)
    if np.nanmin(values, initial=np.inf) < low or np.nanmax(values, initial=-np.inf) > high:
        raise WrongUnits(
            f"no units are given, and values from {np.nanmin(values):g} to {np.nanmax(values):g} cannot be {row.units}",
            where,
            f"add a units attribute: one of {', '.join([row.units, *row.accepts])}",
        )
    notes.append(f"{match.canonical} has no units; its values fit {row.units}, which is assumed")
    return 1.0, 0.0


def _reader(match: _Match, factor: float, offset: float) -> ReadField:
    read_block = _block_reader(match, factor, offset)
    rows, columns = (slice(0, size) for size in match.axes.orientation.grid.shape)

    def read(index: int) -> Field:
        frame: Field = read_block(slice(index, index + 1), rows, columns)[0]
        return frame

    return read


def _block_reader(match: _Match, factor: float, offset: float) -> ReadBlock:
    axes, array = match.axes, match.array
    fixed = dict(axes.fixed)
    if axes.level_dim is not None:
        fixed[axes.level_dim] = match.level_index or 0
    height, width = axes.orientation.grid.shape

    def read(frames: slice, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        chosen: dict[str, int | slice] = {
            **fixed,
            axes.lat_dim: _turned(rows, height) if axes.orientation.flip_rows else rows,
            axes.lon_dim: _turned(columns, width) if axes.orientation.flip_columns else columns,
        }
        if axes.time_dim is not None:
            chosen[axes.time_dim] = frames
        part = array.isel({dim: position for dim, position in chosen.items() if dim in array.dims})
        dims = [dim for dim in (axes.version_dim, axes.time_dim, axes.lat_dim, axes.lon_dim) if dim is not None]
        values = np.asarray(part.transpose(*dims).values, np.float64)
        if axes.version_dim is not None:
            # final analyses stand before preliminary ones; each time is in one of them
            merged = values[0]
            for version in values[1:]:
                merged = np.where(np.isnan(merged), version, merged)
            values = merged
        block = axes.orientation.apply(values * factor + offset)
        return block if axes.time_dim is not None else block[None]

    return read


def _turned(part: slice, size: int) -> slice:
    return slice(size - part.stop, size - part.start)


def _chunks(match: _Match) -> tuple[int, int, int] | None:
    """(t, h, w) that the file stores together."""
    array, axes = match.array, match.axes
    stored = array.encoding.get("preferred_chunks")
    if not stored:
        return None
    time = int(stored.get(axes.time_dim, 1)) if axes.time_dim is not None else 1
    return time, int(stored.get(axes.lat_dim, array.sizes[axes.lat_dim])), int(
        stored.get(axes.lon_dim, array.sizes[axes.lon_dim]))  # fmt: skip


def _extend(layout: SourceLayout, match: _Match, *, first: bool) -> SourceLayout:
    names = dict(layout.variable_names)
    if not match.row.on_levels:
        names[match.canonical] = str(match.array.name)
    if not first:
        return SourceLayout(names, layout.lat_name, layout.lon_name, layout.lat_ascending, layout.longitudes_from)
    axes = match.axes
    return SourceLayout(
        names, axes.lat_name, axes.lon_name, axes.orientation.flip_rows, axes.orientation.longitudes_from
    )


def _registration(said: str, name: str) -> Registration:
    try:
        return Registration(said)
    except ValueError as error:
        raise UnsupportedGrid(
            f"attribute {REGISTRATION_ATTRIBUTE} is {said!r}", name, f"write one of: {', '.join(Registration)}"
        ) from error
