"""One variable of many files as one run of times, read block by block."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Grid
from gfs_sr.data.regions import GridPart
from gfs_sr.data.sources.assemble import SAME_AXIS_DEG
from gfs_sr.data.sources.blocks import BlockFile, open_blocks
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.errors import GapInLeadTimes, MissingVariable, ShapeMismatch, UnsortedTimes

Block = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ArchiveSeries:
    """Where each time of a variable is found."""

    variable: str
    grid: Grid
    times: TimeArray  # (T,) rising
    files: Sequence[BlockFile]
    places: npt.NDArray[np.int64]  # (T, 2): which file, which of its frames

    def read(self, times: TimeArray, part: GridPart) -> Block:
        """(t, h, w) at these times, each of which there is."""
        block = np.empty((times.size, *part.grid.shape), np.float32)
        at = self.places[np.searchsorted(self.times, times)]
        first = 0
        while first < times.size:
            last = first
            while last + 1 < times.size and (at[last + 1] == at[last] + [0, 1]).all():
                last += 1
            file, frames = self.files[at[first, 0]], slice(int(at[first, 1]), int(at[last, 1]) + 1)
            runs = [file.read(self.variable, frames, part.rows, columns) for columns in part.columns]
            block[first : last + 1] = np.concatenate(runs, axis=-1)
            first = last + 1
        return block

    def require(self, times: TimeArray) -> None:
        """Check that the series has all of these times.

        Raises:
            GapInLeadTimes: one is missing.
        """
        absent = np.setdiff1d(times, self.times)
        if absent.size:
            raise GapInLeadTimes(
                f"{self.variable} has no frame for {np.datetime_as_string(absent[0], 'm')}"
                + (f" and {absent.size - 1} more" if absent.size > 1 else ""),
                self.files[0].source,
                "supply the missing files, or choose a shorter period",
            )


def open_archive_series(paths: Sequence[Path], variables: Sequence[str]) -> dict[str, ArchiveSeries]:
    """Each variable over all files that hold it; nothing but coordinates is read.

    Raises:
        MissingVariable: a variable is in none of the files.
        ShapeMismatch: files of one variable on two grids.
        UnsortedTimes: a time that occurs in two files.
    """
    found: dict[str, list[BlockFile]] = {name: [] for name in variables}
    # files of one grid and time but different variables are joined there; files of different times stay apart
    for file in open_blocks(paths, variables):
        for name in file.variables:
            found[name].append(file)
    return {name: _series(name, files) for name, files in found.items()}


def _series(name: str, files: Sequence[BlockFile]) -> ArchiveSeries:
    if not files:
        raise MissingVariable(f"variable {name} is in none of the files", "sources", f"add files with {name}")
    grid = files[0].grid
    for file in files:
        same = file.grid.shape == grid.shape and all(
            np.allclose(one, other, rtol=0, atol=SAME_AXIS_DEG)
            for one, other in ((file.grid.lat, grid.lat), (file.grid.lon, grid.lon))
        )
        if not same:
            raise ShapeMismatch(
                f"{name} lies on two grids, {grid.shape} and {file.grid.shape}", f"{files[0].source}; {file.source}",
                "give the files of one grid in one source",
            )  # fmt: skip
    times = np.concatenate([file.times for file in files])
    places = np.concatenate([np.stack([np.full(file.times.size, k), np.arange(file.times.size)], axis=1)
                             for k, file in enumerate(files)])  # fmt: skip
    order = np.argsort(times, kind="stable")
    doubled = np.flatnonzero(np.diff(times[order]) == np.timedelta64(0, "ns"))
    if doubled.size:
        owners = [files[int(places[order[doubled[0] + k], 0])].source for k in (0, 1)]
        raise UnsortedTimes(
            f"the frame of {name} for {np.datetime_as_string(times[order[doubled[0]]], 'm')} occurs twice",
            "; ".join(owners), "give each time once",
        )  # fmt: skip
    return ArchiveSeries(name, grid, times[order], files, places[order])
