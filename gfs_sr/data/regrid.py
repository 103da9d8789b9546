"""Fields brought from one regular grid to another by coordinates: means where it is coarser, interpolated elsewhere."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.conservative import Cells, ConservativeRemap
from gfs_sr.data.grid import FloatArray, Grid
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.resampling import SPACE, Closure, resample_axis
from gfs_sr.errors import ShapeMismatch

Method = Literal["auto", "conservative", "nearest", "bilinear", "bicubic", "lanczos"]
COARSER = 1.01  # a target spacing beyond this many of the source's is averaged onto


def regrid(
    fields: npt.NDArray[Any], source: Grid, target: Grid, method: Method = "auto", where: str = "regridding"
) -> FloatArray:
    """(..., H, W) on `source` -> (..., h, w) on `target`, float64.

    Args:
        fields: NaN where missing; a target cell is missing where the source cell nearest to it is.
        source: the fields' grid.
        target: the wanted grid; it may reach one spacing beyond the source, which is then continued by its edge.
        method: `auto` is conservative where the target is coarser than the source, else bilinear.
        where: for messages.

    Raises:
        ShapeMismatch: the source does not cover the target.
    """
    rows, columns = index_units(source, target)
    for name, units, size in (("latitude", rows, source.shape[0]), ("longitude", columns, source.shape[1])):
        is_around = name == "longitude" and source.is_periodic
        if not is_around and (units.min() < -1 - 1e-6 or units.max() > size + 1e-6):
            raise ShapeMismatch(
                f"the fields do not cover the {name}s of the target: {_ends(source, name)} against "
                f"{_ends(target, name)}",
                where,
                "give fields of a larger region",
            )
    ratio = max(wide / narrow for wide, narrow in zip(target.spacing_deg, source.spacing_deg, strict=True))
    if method == "conservative" or (method == "auto" and ratio > COARSER):
        return ConservativeRemap(Cells.of(source), Cells.of(target))(fields)
    kernel = SPACE["bilinear" if method == "auto" else method]
    filled, mask = fill_nearest(np.asarray(fields, np.float64), source.is_periodic)
    found, missing = filled, mask.astype(np.float64)
    for axis, units, wraps in ((-2, rows, False), (-1, columns, source.is_periodic)):
        found = resample_axis(found, units, kernel, axis, wraps, Closure.EDGE)
        missing = resample_axis(missing, units, SPACE["nearest"], axis, wraps, Closure.EDGE)
    return np.where(missing > 0.5, np.nan, found)


def index_units(source: Grid, target: Grid) -> tuple[FloatArray, FloatArray]:
    """Where the target's rows (h,) and columns (w,) lie, in index units of the source."""
    dlat, dlon = source.spacing_deg
    rows = (source.lat[0] - target.lat) / dlat
    # the turn of the globe that puts the middles of the two closest
    turns = np.round(((target.lon[0] + target.lon[-1]) - (source.lon[0] + source.lon[-1])) / 2 / 360.0)
    columns = (target.lon - 360.0 * turns - source.lon[0]) / dlon
    return rows, columns


def _ends(grid: Grid, axis: str) -> str:
    values = grid.lat if axis == "latitude" else grid.lon
    return f"{values[0]:g} to {values[-1]:g}"
