"""What tiles are given beyond the ends of a region, for models that want more than the end held."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Boundary
from gfs_sr.runtime.tiling import Plan

LAT, LON = -2, -1


def mirror_ends(tiles: npt.NDArray[np.floating[Any]], plan: Plan, indices: Iterable[int]) -> None:
    """Continue gathered tiles beyond the ends of a region, in place: 2·x(end) - x(as far within).

    What goes up towards an end goes on doing so: a ramp stays a ramp, and no end looks like a plateau. Farther out than
    the region is long, the last value is held: a few cells know no trend beyond that. Rims across a pole or around the
    globe are left.

    Args:
        tiles: (N, ..., h, w), halo included, as `tiling.gather` gives them.
        plan: how the field is cut; the halo is as wide on either side.
        indices: N spatial tiles.
    """
    for number, tile in enumerate(indices):
        row, column = divmod(int(tile), plan.lon.tiles)
        for axis, position, dimension in ((plan.lat, row, LAT), (plan.lon, column, LON)):
            if axis.boundary is not Boundary.EDGE or axis.length == 1:
                continue
            first = position * axis.core - axis.before
            start, stop = max(0, -first), min(axis.extent, axis.length - first)
            view = np.moveaxis(tiles[number], dimension, 0)
            _mirror(view[:stop][::-1], stop - start)
            # what a core that overhangs the region has farther out moves no cell of the region
            _mirror(view[start : stop + axis.after], stop - start)


def _mirror(cells: npt.NDArray[np.floating[Any]], inside: int) -> None:
    """(n, ...) whose first `inside` cells are of the region: the others are filled."""
    last, count = inside - 1, min(inside - 1, len(cells) - inside)
    cells[inside : inside + count] = 2 * cells[last] - cells[last - count : last][::-1]
    cells[inside + count :] = cells[inside + count - 1]
