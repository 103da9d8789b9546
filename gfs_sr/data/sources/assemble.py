"""Joining what the files offer, by lead time and by variable, to one forecast."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gfs_sr.data.derive import RECIPES
from gfs_sr.data.forecast import Field, Forecast, ReadField, SourceLayout
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.sources.series import NO_BUCKET, Series, Source, describe
from gfs_sr.data.time_axis import TimeArray, TimeAxis
from gfs_sr.data.variables import VARIABLES, TimeKind, base_name, lookup
from gfs_sr.errors import (
    AmbiguousField,
    GapInLeadTimes,
    MissingVariable,
    RegistrationMismatch,
    ShapeMismatch,
    UnsortedTimes,
)

TIMELESS = np.datetime64(0, "ns")
SAME_AXIS_DEG = 1e-4  # GRIB1 keeps millidegrees, float32 five digits behind the point


@dataclass(frozen=True, eq=False)
class _Frames:
    """All fields of one variable in the order of time."""

    name: str
    reference_time: np.datetime64 | None
    valid_times: TimeArray
    readers: Sequence[tuple[ReadField, int]]
    grid: Grid
    bucket: np.timedelta64

    @property
    def is_static(self) -> bool:
        return lookup(self.name).time_kind is TimeKind.STATIC


def assemble(
    sources: Sequence[Source], variables: Sequence[str] | None, *, derive: bool, findings: list[str]
) -> Forecast:
    """One forecast from files that hold some of its lead times or some of its variables, in any order.

    Args:
        sources: what the files offer.
        variables: canonical names in the order wanted; None takes what there is, static fields apart.
        derive: compute wind speed and relative humidity where asked for and absent.
        findings: where the readers report what they notice while reading.

    Raises:
        MissingVariable: a variable is in none of the files.
        AmbiguousField: several forecasts, members or fields compete.
        ShapeMismatch: the variables lie on different grids.
        GapInLeadTimes: a frame is missing.
        UnsortedTimes: a frame occurs twice.
        RegistrationMismatch: the files contradict each other.
    """
    where = describe([source.name for source in sources])
    offered: dict[str, list[Series]] = {}
    for series in (series for source in sources for series in source.series):
        offered.setdefault(series.variable, []).append(series)
    notes = [note for source in sources for note in source.notes]
    names, derived, excuses = _choose(offered, sources, variables, derive, where)
    notes += excuses
    parts = list(
        dict.fromkeys(part for name in names for part in (RECIPES[name].inputs if name in derived else [name]))
    )
    frames = {name: _join(name, offered[name], where) for name in parts}
    times, left_out = _common_times(frames, where, everything=variables is None)
    notes += left_out.values()
    names = [name for name in names if name not in left_out]
    frames = {name: run for name, run in frames.items() if name not in left_out}
    grid = _common_grid(frames, where)
    notes += _unused(sources, offered, [*parts, *names], asked=variables is not None)
    readers = {name: _reader(run, times.valid_times) for name, run in frames.items()}
    for name in derived:
        notes.append(f"{name} is not in the input; it is computed from {RECIPES[name].note}")
        readers[name] = _computed(RECIPES[name].compute, [readers[part] for part in RECIPES[name].inputs])
    return Forecast(
        variables=tuple(names),
        grid=grid,
        times=times,
        readers=tuple(readers[name] for name in names),
        layout=_merge_layouts([source.layout for source in sources]),
        registration=_registration(sources, where),
        source=where,
        notes=tuple(dict.fromkeys(notes)),
        findings=findings,
        buckets={name: frames[name].bucket for name in names if name in frames and frames[name].bucket != NO_BUCKET},
    )


def _choose(
    offered: Mapping[str, Sequence[Series]],
    sources: Sequence[Source],
    variables: Sequence[str] | None,
    derive: bool,
    where: str,
) -> tuple[list[str], list[str], list[str]]:
    """(names to give, those of them to compute, notes)."""
    refused = {name: error for source in sources for name, error in source.refused.items() if name not in offered}
    unused = sorted({name for source in sources for name in source.unused})
    found = ", ".join([*offered, *refused, *(f"{name} (not in the table)" for name in unused[:20])]) or "nothing"
    if variables is None:
        names = sorted(
            (name for name in offered if lookup(name).time_kind is not TimeKind.STATIC),
            key=lambda name: (list(VARIABLES).index(base_name(name)), -float(name.partition("@")[2] or 0)),
        )
        fatal = [error for error in refused.values() if not names or not isinstance(error, AmbiguousField)]
        if fatal:
            raise fatal[0]
        if not names:
            raise MissingVariable(
                "none of the fields is in the variable table",
                f"{where}, which has {found}",
                "give a file with one of the table's variables",
            )
        return names, [], [f"{name} is left out: {error.what}" for name, error in refused.items()]
    derived = []
    for name in variables:
        lookup(name)
        if name in offered:
            continue
        for spelled in (name, base_name(name)):
            if spelled in refused:
                raise refused[spelled]
        recipe = RECIPES.get(name)
        if not derive or recipe is None or not all(part in offered for part in recipe.inputs):
            raise MissingVariable(
                f"variable {name} is not in the input",
                f"{where}, which has {found}",
                f"add {name} to the input, or do not ask for it",
            )
        derived.append(name)
    return list(dict.fromkeys(variables)), derived, []


def _join(name: str, runs: Sequence[Series], where: str) -> _Frames:
    """All fields of one variable; times rise and none occurs twice."""
    first = runs[0]
    for run in runs[1:]:
        if not _same_grid(run.grid, first.grid):
            raise AmbiguousField(
                f"{name} lies on two grids: {_name_grid(first.grid)} and {_name_grid(run.grid)}",
                f"{first.where}; {run.where}",
                "give the fields of one grid only",
            )
    buckets = {run.bucket for run in runs}
    if len(buckets) > 1:
        hours = ", ".join(f"{bucket / np.timedelta64(3600 * 10**9, 'ns'):g} h" for bucket in sorted(buckets))
        raise AmbiguousField(f"{name} covers intervals of {hours}", where, "give buckets of one length only")
    times = np.concatenate([run.valid_times for run in runs]).astype("datetime64[ns]")
    readers = [(run.read, index) for run in runs for index in range(len(run.valid_times))]
    owners = [run for run in runs for _ in run.valid_times]
    if lookup(name).time_kind is TimeKind.STATIC:
        # every frame says the same, and when it says so does not matter
        times, readers = np.array([TIMELESS]), readers[:1]
    order = np.argsort(times, kind="stable")
    doubled = np.flatnonzero(np.diff(times[order]) == np.timedelta64(0, "ns"))
    if doubled.size:
        one, other = owners[order[doubled[0]]], owners[order[doubled[0] + 1]]
        raise UnsortedTimes(
            f"the frame of {name} for {np.datetime_as_string(times[order[doubled[0]]], 'm')} occurs twice",
            f"{one.where}; {other.where}" if one is not other else one.where,
            "give each frame once",
        )
    return _Frames(
        name,
        _one_reference(name, runs, where),
        times[order],
        [readers[index] for index in order],
        first.grid,
        first.bucket,
    )


def _one_reference(name: str, runs: Sequence[Series], where: str) -> np.datetime64 | None:
    if lookup(name).time_kind is TimeKind.STATIC:
        return None
    known = {run.reference_time for run in runs if run.reference_time is not None}
    if len(known) <= 1:
        return next(iter(known), None)
    # analyses, each its own reference, are one series of valid times
    if all(run.reference_time is None or (run.valid_times == run.reference_time).all() for run in runs):
        return None
    starts = ", ".join(np.datetime_as_string(time, "m") for time in sorted(known)[:4])
    raise AmbiguousField(
        f"{name} comes from {len(known)} forecasts, started at {starts}{', …' if len(known) > 4 else ''}",
        where,
        "give the lead times of one forecast",
    )


def _common_times(frames: Mapping[str, _Frames], where: str, *, everything: bool) -> tuple[TimeAxis, dict[str, str]]:
    """(time axis of all, why a variable is left out)."""
    moving = {name: run for name, run in frames.items() if not run.is_static} or dict(frames)
    leading = {name: run for name, run in moving.items() if run.bucket == NO_BUCKET} or moving
    union = np.unique(np.concatenate([run.valid_times for run in leading.values()]))
    references = {run.reference_time for run in moving.values() if run.reference_time is not None}
    if len(references) > 1:
        starts = ", ".join(np.datetime_as_string(time, "m") for time in sorted(references))
        raise AmbiguousField(
            f"the variables come from forecasts started at {starts}", where, "give the fields of one forecast"
        )
    left_out = {}
    for name, run in moving.items():
        absent = np.setdiff1d(union, run.valid_times)
        if not absent.size:
            continue
        says = f"{name} has no frame for {np.datetime_as_string(absent[0], 'm')}"
        if name in leading or not everything:
            others = ", ".join(other for other in moving if other != name)
            raise GapInLeadTimes(
                f"{says}, which {others} {'have' if ',' in others else 'has'}"
                + (f" ({absent.size} such frames)" if absent.size > 1 else ""),
                where,
                f"supply the frame, or ask for {name} and the others one after the other",
            )
        left_out[name] = f"{says}, since it covers intervals: ask for it alone"
    reference = next(iter(references), None)
    return TimeAxis.from_times(reference, union, where), left_out


def _common_grid(frames: Mapping[str, _Frames], where: str) -> Grid:
    runs = list(frames.values())
    for run in runs[1:]:
        if not _same_grid(run.grid, runs[0].grid):
            raise ShapeMismatch(
                f"{runs[0].name} lies on {_name_grid(runs[0].grid)}, {run.name} on {_name_grid(run.grid)}",
                where,
                "ask for the variables of one grid at a time",
            )
    return runs[0].grid


def _same_grid(one: Grid, other: Grid) -> bool:
    return one is other or (
        one.shape == other.shape
        and np.allclose(one.lat, other.lat, rtol=0, atol=SAME_AXIS_DEG)
        and np.allclose(one.lon, other.lon, rtol=0, atol=SAME_AXIS_DEG)
    )


def _name_grid(grid: Grid) -> str:
    return (
        f"{grid.shape[0]}x{grid.shape[1]} points from {grid.lat[0]:g}N {grid.lon[0]:g}E to "
        f"{grid.lat[-1]:g}N {grid.lon[-1]:g}E"
    )


def _unused(
    sources: Sequence[Source], offered: Mapping[str, Sequence[Series]], used: Sequence[str], *, asked: bool
) -> list[str]:
    notes = []
    unknown = sorted({name for source in sources for name in source.unused})
    if unknown:
        notes.append(f"not read, since the variable table has no row for them: {', '.join(unknown)}")
    statics = [name for name in offered if name not in used and lookup(name).time_kind is TimeKind.STATIC]
    if statics and not asked:
        notes.append(f"not read, since they are static and were not asked for by name: {', '.join(statics)}")
    others = [name for name in offered if name not in used and name not in statics]
    if others and asked:
        notes.append(f"not read, since not asked for: {', '.join(others)}")
    return notes


def _merge_layouts(layouts: Sequence[SourceLayout]) -> SourceLayout:
    first = layouts[0]
    names = {name: theirs for layout in reversed(layouts) for name, theirs in layout.variable_names.items()}
    return SourceLayout(names, first.lat_name, first.lon_name, first.lat_ascending, first.longitudes_from)


def _registration(sources: Sequence[Source], where: str) -> Registration | None:
    said = {source.registration for source in sources if source.registration is not None}
    if len(said) > 1:
        raise RegistrationMismatch("some files are registered by node, others by cell", where, "give files of one kind")
    return next(iter(said), None)


def _reader(run: _Frames, valid_times: TimeArray) -> ReadField:
    if run.is_static:
        read, index = run.readers[0]
        return lambda _: read(index)
    positions = np.searchsorted(run.valid_times, valid_times)
    chosen: list[tuple[ReadField, int]] = [run.readers[position] for position in positions]

    def read_frame(frame: int) -> Field:
        read, index = chosen[frame]
        return read(index)

    return read_frame


def _computed(compute: Callable[..., Field], readers: Sequence[ReadField]) -> ReadField:
    def read_frame(frame: int) -> Field:
        computed: Field = compute(*(read(frame) for read in readers))
        return computed

    return read_frame
