"""GRIB editions 1 and 2: headers once, values frame by frame; no index files are left behind."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gfs_sr.data.forecast import Field, SourceLayout
from gfs_sr.data.sources.buckets import plan_buckets, read_bucket
from gfs_sr.data.sources.grib_field import GribField, read_grid_values, read_headers, read_orientation
from gfs_sr.data.sources.orientation import Orientation
from gfs_sr.data.sources.series import NO_BUCKET, Series, Source, describe
from gfs_sr.data.variables import VARIABLES, TimeKind, Variable, lookup
from gfs_sr.errors import AmbiguousField, InputError, UnsortedTimes, UnsupportedGrid

PRESSURE_LEVELS_HPA = {"isobaricInhPa": 1.0, "isobaricInPa": 0.01}
STEP_TYPES = {
    TimeKind.INSTANT: {"instant"},
    # ECMWF's edition 1 files call precipitation since the start of the run instant
    TimeKind.ACCUMULATED: {"accum", "instant"},
    TimeKind.AVERAGED: {"avg"},
}


def read_grib(paths: Sequence[Path], findings: list[str]) -> Source:
    """What GRIB files offer, all together: an accumulation may start in one and end in another.

    Raises:
        UnreadableFile: a file is truncated or damaged.
    """
    fields = [field for path in paths for field in read_headers(path)]
    matched: dict[str, dict[int, list[GribField]]] = {}
    unused = []
    for field in fields:
        match = match_field(field)
        if match is None:
            unused.append(field.label)
        else:
            matched.setdefault(match[0], {}).setdefault(match[1], []).append(field)
    reader = _Reader(findings)
    series: list[Series] = []
    notes: list[str] = []
    refused: dict[str, InputError] = {}
    for name, by_rank in matched.items():
        best = min(by_rank)
        unused += [field.label for rank, others in by_rank.items() if rank != best for field in others]
        try:
            series += reader.series(name, by_rank[best], notes)
        except (AmbiguousField, UnsupportedGrid, UnsortedTimes) as error:
            refused[name] = error
    layout = reader.layout()
    return Source(describe([str(path) for path in paths]), series, layout, None, sorted(set(unused)), notes, refused)


def match_field(field: GribField) -> tuple[str, int] | None:
    """(canonical name, rank of the key that fits, 0 the best) or None: the table's time kind decides, too."""
    for row in VARIABLES.values():
        for rank, key in enumerate(row.grib):
            if key.short_name != field.short_name:
                continue
            if row.on_levels:
                if field.type_of_level in PRESSURE_LEVELS_HPA and _time_kind_fits(row, field):
                    return f"{row.name}@{field.level * PRESSURE_LEVELS_HPA[field.type_of_level]:g}", rank
                continue
            at_level = key.type_of_level in {None, field.type_of_level} and key.level in {None, field.level}
            if at_level and _time_kind_fits(row, field):
                return row.name, rank
    return None


def _time_kind_fits(row: Variable, field: GribField) -> bool:
    return row.time_kind is TimeKind.STATIC or field.step_type in STEP_TYPES[row.time_kind]


class _Reader:
    """Turns fields into series; each grid is worked out once."""

    def __init__(self, findings: list[str]) -> None:
        self._findings = findings
        self._grids: dict[str, Orientation | UnsupportedGrid] = {}

    def series(self, name: str, fields: Sequence[GribField], notes: list[str]) -> list[Series]:
        """One series per grid and reference time.

        Raises:
            UnsupportedGrid: none of the fields lies on a regular grid.
            AmbiguousField: fields of one variable and time that differ.
        """
        groups: dict[tuple[int, np.datetime64], list[GribField]] = {}
        problem: UnsupportedGrid | None = None
        static = lookup(name).time_kind is TimeKind.STATIC
        for field in fields:
            try:
                orientation = self.orientation(field)
            except UnsupportedGrid as error:
                problem = error
                continue
            reference = np.datetime64(0, "ns") if static else field.reference_time
            groups.setdefault((id(orientation), reference), []).append(field)
        if not groups and problem is not None:
            raise problem
        if problem is not None:
            notes.append(f"some fields of {name} are left out: {problem.what}")
        return [self._one_run(name, group, notes) for group in groups.values()]

    def orientation(self, field: GribField) -> Orientation:
        """The grid of a field.

        Raises:
            UnsupportedGrid: not a regular grid.
        """
        if field.grid_digest not in self._grids:
            try:
                self._grids[field.grid_digest] = read_orientation(field)
            except UnsupportedGrid as error:
                self._grids[field.grid_digest] = error
        found = self._grids[field.grid_digest]
        if isinstance(found, UnsupportedGrid):
            raise found
        return found

    def layout(self) -> SourceLayout:
        """The first usable grid's order of rows and range of longitudes."""
        usable = [grid for grid in self._grids.values() if isinstance(grid, Orientation)]
        if not usable:
            return SourceLayout(lat_name="latitude", lon_name="longitude")
        return SourceLayout({}, "latitude", "longitude", usable[0].flip_rows, usable[0].longitudes_from)

    def _one_run(self, name: str, fields: Sequence[GribField], notes: list[str]) -> Series:
        row = lookup(name)
        where = f"{fields[0].path}, {fields[0].label}"
        unique = self._drop_equal(name, fields, notes)
        orientation = self.orientation(unique[0])
        if row.time_kind is TimeKind.STATIC:
            unique = unique[:1]
        reads: list[Callable[[], Field]] = [partial(self._read, row, field) for field in unique]
        valid = [field.valid_time for field in unique]
        bucket: np.timedelta64 = NO_BUCKET
        if row.time_kind is TimeKind.ACCUMULATED:
            buckets, remarks = plan_buckets({span(field): index for index, field in enumerate(unique)}, where)
            notes += [f"{name}: {remark}" for remark in remarks]
            whole = tuple(reads)
            reads = [partial(read_bucket, one, lambda index: whole[index](), name, self._findings) for one in buckets]
            valid = [valid[one.later] for one in buckets]
            bucket = buckets[0].length
        elif row.time_kind is TimeKind.AVERAGED:
            bucket = unique[0].end - unique[0].start
        order = np.argsort(np.array(valid, "datetime64[ns]"), kind="stable")
        in_order = [reads[index] for index in order]
        return Series(
            variable=name,
            reference_time=None if np.isnat(unique[0].reference_time) else unique[0].reference_time,
            valid_times=np.array(valid, "datetime64[ns]")[order],
            grid=orientation.grid,
            read=lambda frame: in_order[frame](),
            where=where,
            bucket=bucket,
        )

    def _drop_equal(self, name: str, fields: Sequence[GribField], notes: list[str]) -> list[GribField]:
        """One field per interval of time.

        Raises:
            AmbiguousField: several members, or fields of one time that differ.
            UnsortedTimes: two files hold the same frame.
        """
        kept: dict[tuple[np.datetime64, np.timedelta64], GribField] = {}
        for field in fields:
            other = kept.setdefault((field.valid_time, field.end - field.start), field)
            if other is field or lookup(name).time_kind is TimeKind.STATIC:
                continue
            when = np.datetime_as_string(field.valid_time, "m")
            if other.member != field.member:
                raise AmbiguousField(
                    f"{name} for {when} comes from several members of an ensemble",
                    f"{field.path}, {field.label}",
                    "give one member at a time, for example with `grib_copy -w number=0`",
                )
            if other.path != field.path:
                raise UnsortedTimes(
                    f"the frame of {name} for {when} occurs twice",
                    f"{other.path}; {field.path}",
                    "give each frame once",
                )
            if not np.array_equal(read_grid_values(field), read_grid_values(other), equal_nan=True):
                raise AmbiguousField(
                    f"{name} for {when} occurs twice, with different values",
                    f"{field.path}, {field.label}",
                    "keep the one that is meant",
                )
            notes.append(f"{name} for {when} occurs twice with equal values; one is used")
        return list(kept.values())

    def _read(self, row: Variable, field: GribField) -> Field:
        orientation = self.orientation(field)
        factor, offset = row.to_canonical(field.units, f"{field.path}, {field.label}")
        return orientation.apply(read_grid_values(field) * factor + offset)


def span(field: GribField) -> tuple[np.timedelta64, np.timedelta64]:
    """What an accumulation covers; a field without a range covers all since the start of the run."""
    return (field.end - field.end if field.start == field.end else field.start), field.end
