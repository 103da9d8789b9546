"""The fine truth: which files make one forecast, and its coarse twin."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfs_sr.data.coarsen import SIGMA, Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import MissingFile, NothingToUpscale

EXTENSIONS = (".nc", ".nc4", ".grib", ".grib1", ".grib2", ".grb", ".grb2", ".zarr")


@dataclass(frozen=True, eq=False)
class Case:
    """One forecast: its truth and what the model is given."""

    label: str
    truth: Forecast
    coarse: Forecast
    left_out: tuple[str, ...]  # what was not scored, and why


def group_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Files that belong together: same grid and model start, but other variables.

    A folder stands for the files in it. Everything else is a forecast of its own.

    Raises:
        MissingFile: a path does not exist.
    """
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
    return [files for files, _, _ in groups]


def cases(
    paths: Sequence[Path],
    registration: Registration,
    scale_factor: int,
    time_factor: int,
    variables: Sequence[str] | None = None,
    offered: Sequence[str] | None = None,
    sigma: float = SIGMA,
) -> Iterator[Case]:
    """Open and coarsen one forecast after another.

    Args:
        paths: fine truth.
        registration: of the coarse fields.
        scale_factor: s.
        time_factor: r.
        variables: to score; None is all that truth and model share.
        offered: what the model can do; None is anything.
        sigma: of the blur, fine cells.
    """
    for files in group_files(paths):
        truth = open_forecast(files, variables)
        yield make_case(truth, files, Coarsening(registration, scale_factor, time_factor, sigma, crop=True), offered)


def make_case(truth: Forecast, files: Sequence[Path], how: Coarsening, offered: Sequence[str] | None) -> Case:
    """A case from an opened truth.

    Raises:
        NothingToUpscale: no variable can be scored.
    """
    scored, left_out = [], []
    for name in truth.variables:
        kind = lookup(name).time_kind
        if offered is not None and name not in offered:
            left_out.append(f"{name}: not among the model's variables")
        elif kind is not TimeKind.INSTANT:
            left_out.append(f"{name}: {kind}, and the interpolations are those of instants")
        else:
            scored.append(name)
    if not scored:
        raise NothingToUpscale(
            f"no variable to score: {'; '.join(left_out)}", truth.source, "give truth with variables of the model"
        )
    kept = truth.select(scored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # surplus frames are extrapolated leads here, not lost ones
        coarse = coarsen(kept, how)
    when = np.datetime_as_string(truth.times.valid_times[0], "m").replace("T", " ")
    label = f"{', '.join(path.name for path in files)}, {when} UTC on"
    return Case(label, kept, coarse, tuple(left_out))


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
