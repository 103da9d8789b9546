"""Boxes of latitude and longitude, and the cells of a grid that lie in them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gfs_sr.data.grid import Grid
from gfs_sr.errors import ShapeMismatch


@dataclass(frozen=True)
class Box:
    """A region between two parallels and two meridians, degrees; `west` < `east`, in any convention."""

    north: float
    west: float
    south: float
    east: float


REGIONS: Final = {"colorado": Box(44.05, -114.25, 31.35, -101.55)}
"""Named regions: outermost cell centers. Colorado is 128 by 128 cells of 0.1 degrees."""


@dataclass(frozen=True, eq=False)
class GridPart:
    """Cells of a grid: its rows, and its columns as one run, or two where the part crosses the seam of a globe."""

    grid: Grid  # of the part; longitudes rise
    rows: slice
    columns: tuple[slice, ...]


def part_of(grid: Grid, box: Box | None, where: str, beyond: int = 0) -> GridPart:
    """The cells whose centers lie in `box`, ends included, and `beyond` more on each side as far as there are any.

    Raises:
        ShapeMismatch: no cell lies in the box.
    """
    height, width = grid.shape
    if box is None:
        return GridPart(grid, slice(0, height), (slice(0, width),))
    slack = 1e-6
    rows = np.flatnonzero((grid.lat <= box.north + slack) & (grid.lat >= box.south - slack))
    # each column counted from the box's west
    turned = box.west - slack + np.mod(grid.lon - box.west + slack, 360.0)
    columns = np.flatnonzero(turned <= box.east + slack)
    if not rows.size or not columns.size:
        raise ShapeMismatch(
            f"no cell lies between {box.south:g} and {box.north:g} north, {box.west:g} and {box.east:g} east", where,
            f"choose a box inside {grid.lat[-1]:g} to {grid.lat[0]:g} north, {grid.lon[0]:g} to {grid.lon[-1]:g} east",
        )  # fmt: skip
    first, last = max(int(rows[0]) - beyond, 0), min(int(rows[-1]) + beyond, height - 1)
    order = columns[np.argsort(turned[columns], kind="stable")]
    start, count = int(order[0]), int(order.size)
    if grid.is_periodic:
        start, count = start - beyond, min(count + 2 * beyond, width)
        index = np.arange(start, start + count)
        lon = grid.lon[index % width] + 360.0 * (index // width)
        seams = np.flatnonzero(np.diff(index % width) < 0) + 1
        parts = tuple(slice(int(run[0]), int(run[-1]) + 1) for run in np.split(index % width, seams))
    else:
        low, high = max(start - beyond, 0), min(start + count + beyond, width)
        lon, parts = grid.lon[low:high], (slice(low, high),)
    return GridPart(Grid(grid.lat[first : last + 1], lon), slice(first, last + 1), parts)
