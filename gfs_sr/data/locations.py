"""One place of a grid: a named region or a box, and cells around it."""

from dataclasses import dataclass

import numpy as np

from gfs_sr.data.grid import Grid
from gfs_sr.data.regions import REGIONS, Box
from gfs_sr.errors import ShapeMismatch, UsageError


@dataclass(frozen=True)
class Window:
    """Some rows and columns of a grid."""

    row: int
    col: int
    rows: int
    cols: int


@dataclass(frozen=True)
class FixedLocation:
    """One place: a named region or a box, by the cells nearest to its ends, and `buffer` cells around it."""

    region: str | None = None
    box: Box | None = None
    buffer: int = 0

    def __post_init__(self) -> None:
        """Check that there is one place.

        Raises:
            UsageError: an unknown name, or not exactly one of name and box.
        """
        if (self.region is None) == (self.box is None):
            raise UsageError("need a named region or a box", "fixed location", "give one of the two")
        if self.region is not None and self.region not in REGIONS:
            raise UsageError(f"no region {self.region!r}", "fixed location", f"use one of: {', '.join(REGIONS)}")

    def window(self, grid: Grid) -> Window:
        """Its rows and columns.

        Raises:
            ShapeMismatch: the place, its buffer included, is not inside the grid.
        """
        box = self.box or REGIONS[self.region or ""]
        north, south = (float((grid.lat[0] - lat) / grid.spacing_deg[0]) for lat in (box.north, box.south))
        turns = np.round(((box.west + box.east) - (grid.lon[0] + grid.lon[-1])) / 2 / 360.0) * 360.0
        west, east = (float((lon - turns - grid.lon[0]) / grid.spacing_deg[1]) for lon in (box.west, box.east))
        first, last = (np.floor([a + 0.5, b + 0.5]).astype(int) for a, b in ((north, west), (south, east)))
        first, last = first - self.buffer, last + self.buffer
        if (first < 0).any() or (last >= grid.shape).any() or (first > last).any():
            raise ShapeMismatch(
                f"the place lies at rows {first[0]} to {last[0]} and columns {first[1]} to {last[1]} of a grid of "
                f"{grid.shape[0]} by {grid.shape[1]}",
                "fixed location", "take a smaller place or buffer, or a larger grid",
            )  # fmt: skip
        size = last - first + 1
        return Window(int(first[0]), int(first[1]), int(size[0]), int(size[1]))
