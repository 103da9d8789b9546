"""Parts of the window that are scored by themselves: named boxes, land and sea, heights of the terrain."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.pairing import align
from gfs_sr.data.sources import open_statics
from gfs_sr.data.terrain import terrain_on
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY
from gfs_sr.errors import InputError, ShapeMismatch, UsageError
from gfs_sr.evaluation.pairs import as_slice
from gfs_sr.evaluation.records import WHOLE

BoolArray = npt.NDArray[np.bool_]

HEIGHTS_M = (0.0, 200.0, 500.0, 1000.0, 2000.0)  # classes of terrain, of land alone; the last is open
LEAST_CELLS = 25  # of a region; fewer make no score


@dataclass(frozen=True)
class Box:
    """A region by its edges, degrees; it may cross the date line (west > east)."""

    name: str
    north: float
    west: float
    south: float
    east: float

    @classmethod
    def parse(cls, text: str) -> "Box":
        """`alps=48,5,43,14` -> north, west, south, east.

        Raises:
            UsageError: no name, not four numbers, or south above north.
        """
        name, given, edges = text.partition("=")
        try:
            north, west, south, east = (float(part) for part in edges.split(","))
        except ValueError as error:
            raise UsageError(f"{text!r} is no region", "--region", "write it like alps=48,5,43,14 (N,W,S,E)") from error
        if not given or not name.strip() or name.strip() == WHOLE or south >= north:
            raise UsageError(f"{text!r} is no region", "--region", "write it like alps=48,5,43,14 (N,W,S,E)")
        return cls(name.strip(), north, west, south, east)

    def mask(self, grid: Grid) -> BoolArray:
        """(H, W) cells whose centers lie inside."""
        rows = (grid.lat <= self.north) & (grid.lat >= self.south)
        width = (self.east - self.west) % 360.0 or 360.0
        cols = np.mod(grid.lon - self.west, 360.0) <= width
        mask: BoolArray = rows[:, None] & cols
        return mask


def region_masks(grid: Grid, boxes: tuple[Box, ...], statics: Path | None, by_terrain: bool) -> dict[str, BoolArray]:
    """Name -> (H, W) cells; the whole window first. Regions of fewer than `LEAST_CELLS` cells are left out.

    Args:
        grid: of the window.
        boxes: asked for by name.
        statics: file with orography and land-sea mask on cells that include the window's; None takes the bundled map.
        by_terrain: land, sea and heights too.
    """
    masks = {WHOLE: np.ones(grid.shape, bool)}
    masks |= {box.name: box.mask(grid) for box in boxes}
    if by_terrain:
        fields = terrain_on(grid) if statics is None else _read(statics, grid)
        land = fields[LAND_SEA_MASK] >= 0.5
        masks |= {"land": land, "sea": ~land} | _heights(fields[OROGRAPHY], land)
    kept = {name: mask for name, mask in masks.items() if name == WHOLE or mask.sum() >= LEAST_CELLS}
    # a region that is everything says nothing of its own
    return {name: mask for name, mask in kept.items() if name == WHOLE or not mask.all()}


def _heights(height: FloatArray, land: BoolArray) -> dict[str, BoolArray]:
    ends = [*HEIGHTS_M[1:], np.inf]
    labels = [f"height {low:g}-{high:g} m" for low, high in pairwise(HEIGHTS_M)]
    labels.append(f"height above {HEIGHTS_M[-1]:g} m")
    lows = [-np.inf, *HEIGHTS_M[1:]]
    return {
        label: land & (height >= low) & (height < high) for label, low, high in zip(labels, lows, ends, strict=True)
    }


def _read(path: Path, grid: Grid) -> Mapping[str, FloatArray]:
    fields, own = open_statics(path, (OROGRAPHY, LAND_SEA_MASK))
    try:
        found = align(grid, own, 1, Registration.NODE, str(path))
    except InputError as error:
        raise _beside(path) from error
    if (len(found.rows.coarse), len(found.columns.coarse)) != grid.shape:
        raise _beside(path)
    cells = (as_slice(found.rows.fine), as_slice(found.columns.fine))
    return {name: np.asarray(field, np.float64)[cells] for name, field in fields.items()}


def _beside(path: Path) -> ShapeMismatch:
    return ShapeMismatch(
        "the statics do not lie on the truth's cells", str(path), "give statics on the truth's own grid, or none"
    )
