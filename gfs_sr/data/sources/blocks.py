"""Fields of files that are read in blocks of frames, rows and columns, when somebody asks for them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.derive import RECIPES
from gfs_sr.data.grid import Grid
from gfs_sr.data.scalers import Units
from gfs_sr.data.sources.assemble import assemble
from gfs_sr.data.sources.open import canonical, read_sources
from gfs_sr.data.sources.series import NO_BUCKET, Series, describe
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import MissingVariable, ShapeMismatch

Block = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class BlockFile:
    """Variables of one file, or of several with one grid and one run of times, as arrays (T, H, W) that are not read.

    Files are opened in the process that reads, since those of HDF5 do not outlive a fork.
    """

    paths: tuple[Path, ...]
    variables: tuple[str, ...]
    grid: Grid
    times: TimeArray  # (T,) rising
    chunks: tuple[int, int, int] | None  # (t, h, w) that the file stores together
    buckets: dict[str, np.timedelta64]
    _opened: dict[int, dict[str, Series]] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        return self.times.size, *self.grid.shape

    @property
    def units(self) -> Mapping[str, Units]:
        """None: values are physical."""
        return {}

    @property
    def source(self) -> str:
        """For messages."""
        return describe([path.name for path in self.paths])

    def read(self, variable: str, frames: slice, rows: slice, columns: slice) -> Block:
        """(t, h, w) of one variable in canonical units, north to south, west to east, NaN where missing."""
        series = self._series()
        if variable in series:
            return _block(series[variable], frames, rows, columns)
        recipe = RECIPES[variable]
        parts = [_block(series[name], frames, rows, columns) for name in recipe.inputs]
        return recipe.compute(*parts)

    def _series(self) -> dict[str, Series]:
        here = os.getpid()
        if here not in self._opened:
            self._opened.clear()  # of the process this one was forked from
            self._opened[here] = {each.variable: each for path in self.paths for each in _series_of(path)}
        return self._opened[here]

    def __getstate__(self) -> dict[str, object]:
        """Without what is open."""
        return {**self.__dict__, "_opened": {}}


def open_blocks(paths: Sequence[Path], variables: Sequence[str] | None = None) -> list[BlockFile]:
    """The files' fields, those of one grid and one run of times together; nothing but coordinates is read.

    Args:
        paths: NetCDF or Zarr, read in parts; of GRIB, each file one run of times, each field is read whole.
        variables: names of the table in the order wanted; None takes all but statics. Wind speed and relative humidity
            are computed where they are asked for and absent.

    Raises:
        MissingVariable: a variable is in none of the files.
        InputError: a file cannot be used.
    """
    wanted = None if variables is None else canonical(variables)
    groups: dict[tuple[bytes, ...], tuple[list[Path], dict[str, Series]]] = {}
    found: set[str] = set()
    for path in paths:
        for series in _series_of(path):
            found.add(series.variable)
            if wanted is not None and series.variable not in _needed(wanted):
                continue
            grid = series.grid
            key = (grid.lat.tobytes(), grid.lon.tobytes(), series.valid_times.tobytes())
            files, members = groups.setdefault(key, ([], {}))
            if series.variable in members:
                raise ShapeMismatch(
                    f"{series.variable} occurs twice for one grid and run of times",
                    f"{members[series.variable].where}; {series.where}",
                    "give each field once",
                )
            if path not in files:
                files.append(path)
            members[series.variable] = series
    made = []
    for files, members in groups.values():
        names = tuple(members) if wanted is None else tuple(name for name in wanted if _available(name, members))
        if not names:
            continue
        first = next(iter(members.values()))
        buckets = {
            name: members[name].bucket for name in names if name in members and members[name].bucket != NO_BUCKET
        }
        made.append(BlockFile(tuple(files), names, first.grid, first.valid_times, first.chunks, buckets))
    missing = [name for name in wanted or () if not any(name in each.variables for each in made)]
    if missing or not made:
        raise MissingVariable(
            f"variable {', '.join(missing)} is in none of the files" if missing else "no field of the variable table",
            f"{describe([path.name for path in paths])}, which have {', '.join(sorted(found)) or 'nothing'}",
            "add it to the files, or do not ask for it",
        )
    return made


def _series_of(path: Path) -> list[Series]:
    """What moves in one file, a series per variable."""
    sources = read_sources([path], [])
    offered = [each for source in sources for each in source.series]
    moving = [each for each in offered if lookup(each.variable).time_kind is not TimeKind.STATIC]
    names = list(dict.fromkeys(each.variable for each in moving))
    if len(names) == len(moving):
        return moving
    joined = []  # a GRIB file offers every message by itself
    for name in names:
        whole = assemble(sources, [name], derive=False, findings=[])
        bucket = whole.buckets.get(name, NO_BUCKET)
        joined.append(Series(name, None, whole.times.valid_times, whole.grid, whole.readers[0], whole.source, bucket))
    return joined


def _needed(wanted: Sequence[str]) -> set[str]:
    return {part for name in wanted for part in (name, *(RECIPES[name].inputs if name in RECIPES else ()))}


def _available(name: str, members: dict[str, Series]) -> bool:
    return name in members or (name in RECIPES and all(part in members for part in RECIPES[name].inputs))


def _block(series: Series, frames: slice, rows: slice, columns: slice) -> Block:
    if series.read_block is not None:
        return series.read_block(frames, rows, columns)
    return np.stack([series.read(index)[rows, columns] for index in range(frames.start, frames.stop)])
