"""The fine truth: which files make one forecast, and the coarse one that belongs to it, made from it or given."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gfs_sr.data.built_file import open_coarse
from gfs_sr.data.coarsen import Coarsening, TimeReduction, coarsen
from gfs_sr.data.derive import RECIPES
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.variables import VARIABLES, TimeKind, base_name, lookup
from gfs_sr.errors import MissingFile, NothingToUpscale
from gfs_sr.evaluation.pairs import align
from gfs_sr.runtime.target_grid import on_grid

EXTENSIONS = (".nc", ".nc4", ".grib", ".grib1", ".grib2", ".grb", ".grb2", ".zarr")
BUCKETS = (TimeKind.ACCUMULATED, TimeKind.AVERAGED)


@dataclass(frozen=True)
class CaseFiles:
    """The files of one forecast; opening them is another step, so that a worker elsewhere can do it."""

    truth: tuple[Path, ...]
    variables: tuple[str, ...]  # instants, or amounts and means: the two have time axes of their own
    coarse: tuple[Path, ...] = ()  # of another model; empty where the truth is coarsened
    inputs: tuple[str, ...] = ()  # that a model cannot do without, beside them
    left_out: tuple[str, ...] = ()  # what is not scored, and why


@dataclass(frozen=True, eq=False)
class Case:
    """One forecast: its truth and what the model is given."""

    label: str
    truth: Forecast
    coarse: Forecast
    left_out: tuple[str, ...]  # what was not scored, and why
    how: Coarsening  # what made the coarse field; of a real pair its factors and registration
    is_pair: bool = False  # the coarse field comes from another model
    native: Forecast | None = None  # `coarse` before it came to the truth's cells, where no whole factor joins the two
    scored: tuple[str, ...] | None = None  # of the truth's variables; None is all

    @property
    def variables(self) -> tuple[str, ...]:
        """What is scored."""
        return self.truth.variables if self.scored is None else self.scored

    @property
    def registration(self) -> Registration:
        """Of the coarse field."""
        return self.how.registration

    @property
    def kind(self) -> TimeKind:
        """INSTANT, or that of the first of the amounts and means, which share a time axis."""
        return lookup(self.truth.variables[0]).time_kind


def group_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Files that belong together: same grid and model start, but other variables.

    A folder stands for the files in it. Everything else is a forecast of its own.

    Raises:
        MissingFile: a path does not exist.
    """
    return [files for files, _, _ in _groups(paths)]


def list_cases(
    paths: Sequence[Path],
    coarse: Sequence[Path] = (),
    variables: Sequence[str] | None = None,
    offered: Sequence[str] | None = None,
    needed: Sequence[str] = (),
) -> list[CaseFiles]:
    """What there is to score, a case per forecast and kind of time.

    Args:
        paths: fine truth.
        coarse: of another model; a forecast belongs to the truth that starts when it does.
        variables: to score; None is all that truth and model share.
        offered: what the models can do; None is anything.
        needed: what a model cannot do without; computed where the files have what it follows from.

    Raises:
        MissingFile: a path does not exist.
        NothingToUpscale: a truth has nothing to score, or no coarse forecast belongs to it.
    """
    given = _groups(coarse)
    found = []
    for files, first, names in _groups(paths):
        partners = [group for group in given if group[1].times.reference_time == first.times.reference_time]
        if coarse and not partners:
            starts = ", ".join(np.datetime_as_string(each.times.reference_time, "h") for _, each, _ in given)
            raise NothingToUpscale(
                f"no coarse forecast starts at {np.datetime_as_string(first.times.reference_time, 'h')}",
                f"{first.source}; the coarse ones start at {starts}",
                "give coarse files of the same run",
            )
        shared = {name for _, _, there in partners for name in there}
        present = names | _derivable(needed, names)
        wanted, left_out = _scored(variables or _in_order(present), shared if coarse else None, offered)
        extra = [name for name in needed if name not in wanted and name in (present & shared if coarse else present)]
        if not wanted:
            raise _nothing(first, left_out)
        members = tuple(path for group in partners for path in group[0])
        for buckets in (False, True):
            chosen = tuple(name for name in wanted if (lookup(name).time_kind in BUCKETS) == buckets)
            if chosen:
                inputs = tuple(name for name in extra if (lookup(name).time_kind in BUCKETS) == buckets)
                found.append(CaseFiles(tuple(files), chosen, members, inputs, tuple(left_out)))
                left_out = []  # said once
    return found


def _derivable(needed: Iterable[str], names: Collection[str]) -> set[str]:
    """Of what is needed, what follows from what is there."""
    return {name for name in needed if name in RECIPES and all(part in names for part in RECIPES[name].inputs)}


def _in_order(names: Iterable[str]) -> list[str]:
    """In the order of the table, levels from the ground up, as `open_forecast` gives them."""
    order = list(VARIABLES)
    return sorted(names, key=lambda name: (order.index(base_name(name)), -float(name.partition("@")[2] or 0)))


def open_case(
    files: CaseFiles, how: Coarsening, hours: tuple[float, float] | None = None, any_grid: bool = False
) -> Case:
    """Open a case; nothing is read before it is scored.

    Args:
        files: of one forecast.
        how: the coarsening, or the factors of a real pair.
        hours: first and last lead time; None is all.
        any_grid: coarse cells lie anyhow under the truth's, as of forecasts on fine cells of their own: each
            interpolation brings them there by itself.

    Raises:
        InputError: the files cannot be used.
    """
    everything = (*files.variables, *files.inputs)
    truth = open_forecast(files.truth, everything)
    if hours is not None:
        truth = _between(truth, hours)
    if not files.coarse:
        case = make_case(truth, files.truth, how, None)
    else:
        coarse = open_coarse(files.coarse, everything)
        fine, given = align(truth, on_grid(coarse, truth.grid, "nearest") if any_grid else coarse, how)
        label = f"{_label(fine, files.truth)}, from {coarse.source}"
        first = int(np.searchsorted(coarse.times.valid_times, given.times.valid_times[0]))
        native = coarse.isel_time(slice(first, first + len(given.times))) if any_grid else None
        case = Case(label, fine, given, (), how, is_pair=True, native=native)
    return replace(case, left_out=(*files.left_out, *case.left_out), scored=files.variables)


def _between(truth: Forecast, hours: tuple[float, float]) -> Forecast:
    leads = truth.times.lead_hours
    inside = np.flatnonzero((leads >= hours[0]) & (leads <= hours[1]))
    if not inside.size:
        raise NothingToUpscale(
            f"no frame from {hours[0]:g} to {hours[1]:g} h",
            f"{truth.source}, lead times {leads[0]:g} to {leads[-1]:g} h",
            "give other --hours",
        )
    return truth.isel_time(slice(int(inside[0]), int(inside[-1]) + 1))


def make_case(truth: Forecast, files: Sequence[Path], how: Coarsening, offered: Sequence[str] | None) -> Case:
    """A case from an opened truth, coarsened by `how`; amounts and means are those of r intervals.

    Raises:
        NothingToUpscale: no variable can be scored.
    """
    scored, left_out = _scored(truth.variables, None, offered)
    if not scored:
        raise _nothing(truth, left_out)
    kept = truth.select(scored)
    if lookup(kept.variables[0]).time_kind in BUCKETS:
        how = replace(how, time=TimeReduction.MEAN_TRAILING)
        if kept.times.lead_hours[0] == 0 and len(kept.times) > 1:  # it ends no interval
            kept = kept.isel_time(slice(1, None))
        kept = kept.isel_time(slice(0, len(kept.times) // how.time_factor * how.time_factor or None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # surplus frames are extrapolated leads here, not lost ones
        coarse = coarsen(kept, how)
    return Case(_label(truth, files), kept, coarse, tuple(left_out), how)


def _scored(
    names: Sequence[str], given: Collection[str] | None, offered: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """(what is scored, what is not and why)."""
    scored: list[str] = []
    left_out: list[str] = []
    for name in names:
        if offered is not None and name not in offered:
            left_out.append(f"{name}: not among the model's variables")
        elif given is not None and name not in given:
            left_out.append(f"{name}: not in the coarse forecast")
        else:
            scored.append(name)
    return scored, left_out


def _nothing(truth: Forecast, left_out: Sequence[str]) -> NothingToUpscale:
    return NothingToUpscale(
        f"no variable to score: {'; '.join(left_out)}", truth.source, "give truth with variables of the model"
    )


def _label(truth: Forecast, files: Sequence[Path]) -> str:
    when = np.datetime_as_string(truth.times.valid_times[0], "m").replace("T", " ")
    return f"{', '.join(path.name for path in files)}, {when} UTC on"


def _groups(paths: Sequence[Path]) -> list[tuple[list[Path], Forecast, set[str]]]:
    groups: list[tuple[list[Path], Forecast, set[str]]] = []
    for path in _expand(paths):
        opened = open_forecast([path])
        for files, first, names in groups:
            if _same_run(first, opened) and names.isdisjoint(opened.variables):
                files.append(path)
                names.update(opened.variables)
                break
        else:
            groups.append(([path], opened, set(opened.variables)))
    return groups


def _expand(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise MissingFile(f"{path} does not exist", "--data", "check the path")
        if path.is_dir() and path.suffix != ".zarr":
            yield from sorted(inner for inner in path.iterdir() if inner.suffix in EXTENSIONS)
        else:
            yield path


def _same_run(one: Forecast, other: Forecast) -> bool:
    return (
        one.times.reference_time == other.times.reference_time
        and one.grid.shape == other.grid.shape
        and bool(np.allclose(one.grid.lat, other.grid.lat) and np.allclose(one.grid.lon, other.grid.lon))
    )
