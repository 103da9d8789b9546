"""Which part of the model's fine index space is kept: hull, full extent, or a box; always cut by index."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Halo
from gfs_sr.data.grid import AxisWindow, Grid, Registration
from gfs_sr.errors import UsageError

Box = tuple[float, float, float, float]  # north, west, south, east, degrees


@dataclass(frozen=True, eq=False)
class HorizontalWindow:
    """The fine rows and columns that are kept, with their coordinates."""

    roll: int  # coarse columns the field is turned westwards first, so that a box never crosses the axis' end
    coarse: Grid  # turned; of `part` alone
    rows: AxisWindow  # of the s·H model rows
    columns: AxisWindow  # of the s·W model columns
    fine: Grid  # of the kept cells
    outside_rows: npt.NDArray[np.bool_]  # kept rows beyond the hull of the coarse points
    outside_columns: npt.NDArray[np.bool_]
    part: tuple[slice, slice] = (slice(None), slice(None))  # rows and columns of the turned field that are worked on


def parse_extent(extent: str) -> str | Box:
    """`hull`, `full`, or the four numbers of `N,W,S,E`.

    Raises:
        UsageError: anything else.
    """
    if extent in {"hull", "full"}:
        return extent
    where, mend = f"--extent {extent}", "give hull, full, or north,west,south,east in degrees, as in 40,65,5,100"
    try:
        north, west, south, east = (float(part) for part in extent.split(","))
    except ValueError as error:
        raise UsageError(f"extent {extent!r} is no extent", where, mend) from error
    if not np.isfinite([north, west, south, east]).all() or north < south or north > 90 or south < -90:
        raise UsageError("the box has its north below its south, or lies beyond a pole", where, mend)
    return north, west, south, east


def horizontal_window(grid: Grid, scale_factor: int, registration: Registration, extent: str | Box) -> HorizontalWindow:
    """The kept rows and columns for an extent.

    Raises:
        UsageError: a box that holds no cell, or reaches beyond what the model gives.
    """
    if isinstance(extent, str):
        fine, rows, columns = grid.refine(scale_factor, registration, extent)
        return _window(grid, 0, scale_factor, registration, fine, rows, columns)
    north, west, south, east = extent
    roll = _roll_for(grid, west, registration) if grid.is_periodic else 0
    turned = rolled(grid, roll)
    fine, rows, columns = turned.refine(scale_factor, registration, "full")
    turns = 360.0 * np.floor((west - fine.lon[0]) / 360.0 + 1e-9) if grid.is_periodic else _turns(fine, west)
    west, east = west - turns, east - turns
    if east < west:  # given across the seam of the user's own convention, as in 350 … 10
        east += 360.0
    if grid.is_periodic and east > fine.lon[-1]:
        # a box (nearly) once around the globe ends within the coarse cell it begins in: it gets every column, once
        west, east = float(fine.lon[0]), float(fine.lon[-1])
    step_lat, step_lon = (spacing / scale_factor for spacing in grid.spacing_deg)
    described = f"--extent {north:g},{extent[1]:g},{south:g},{extent[3]:g}"
    first_row, row_count = _cut(
        fine.lat, lambda lat: (lat <= north + 0.01 * step_lat) & (lat >= south - 0.01 * step_lat), described
    )
    first_column, column_count = _cut(
        fine.lon, lambda lon: (lon >= west - 0.01 * step_lon) & (lon <= east + 0.01 * step_lon), described
    )
    beyond = [
        side
        for side, gap in (
            ("north", north - fine.lat[0] - step_lat),
            ("south", fine.lat[-1] - south - step_lat),
            ("west", fine.lon[0] - west - step_lon),
            ("east", east - fine.lon[-1] - step_lon),
        )
        if gap > -0.01 * step_lat
    ]
    if beyond:
        raise UsageError(
            f"the box reaches beyond the field in the {' and '.join(beyond)}: it covers "
            f"{fine.lat[0]:g} to {fine.lat[-1]:g} degrees north, {fine.lon[0]:g} to {fine.lon[-1]:g} degrees east",
            described,
            "choose a box inside",
        )
    cut = Grid(fine.lat[first_row : first_row + row_count], fine.lon[first_column : first_column + column_count])
    return _window(
        turned,
        roll,
        scale_factor,
        registration,
        cut,
        AxisWindow(rows.start + first_row, row_count),
        AxisWindow(columns.start + first_column, column_count),
    )


def around(window: HorizontalWindow, scale_factor: int, margin: Halo) -> HorizontalWindow:
    """The same kept cells of a smaller field: what lies beyond `margin` around them, coarse cells, is left away.

    Around the globe and over the poles all columns stay.
    """
    grid, s = window.coarse, scale_factor
    height, width = grid.shape
    first_row = max(0, window.rows.start // s - margin.north)
    last_row = min(height, -(-(window.rows.start + window.rows.size) // s) + margin.south)
    first = window.columns.start // s - margin.west
    last = -(-(window.columns.start + window.columns.size) // s) + margin.east
    over_pole = grid.pole_offsets != (None, None) and (first_row == 0 or last_row == height)
    if not grid.is_periodic:
        first, last = max(0, first), min(width, last)
    elif over_pole or last - first >= width:
        first, last = 0, width
    turn = first if grid.is_periodic else 0
    lon = np.concatenate([grid.lon - 360.0, grid.lon, grid.lon + 360.0])[width + first : width + last]
    return replace(
        window,
        roll=window.roll + turn,
        coarse=Grid(grid.lat[first_row:last_row], lon),
        rows=AxisWindow(window.rows.start - s * first_row, window.rows.size),
        columns=AxisWindow(window.columns.start - s * first, window.columns.size),
        part=(slice(first_row, last_row), slice(first - turn, last - turn)),
    )


def rolled(grid: Grid, columns: int) -> Grid:
    """A periodic grid whose axis starts `columns` further east."""
    return Grid(grid.lat, np.concatenate([grid.lon[columns:], grid.lon[:columns] + 360.0])) if columns else grid


def _window(
    coarse: Grid,
    roll: int,
    scale_factor: int,
    registration: Registration,
    fine: Grid,
    rows: AxisWindow,
    columns: AxisWindow,
) -> HorizontalWindow:
    offset = 0.0 if registration is Registration.NODE else (scale_factor - 1) / 2

    def outside(window: AxisWindow, length: int) -> npt.NDArray[np.bool_]:
        position = (window.start + np.arange(window.size) - offset) / scale_factor
        # under CELL half a coarse cell of rim is still covered by the coarse value
        slack = 1e-9 if registration is Registration.NODE else 0.5
        return (position < -slack) | (position > length - 1 + slack)

    outside_columns = np.zeros(columns.size, bool) if coarse.is_periodic else outside(columns, coarse.lon.size)
    return HorizontalWindow(roll, coarse, rows, columns, fine, outside(rows, coarse.lat.size), outside_columns)


def _roll_for(grid: Grid, west: float, registration: Registration) -> int:
    """The coarse column whose fine cells hold the west side of the box, so that all others lie east of it."""
    position = (west - grid.lon[0]) / grid.spacing_deg[1]
    centered = 0.5 if registration is Registration.CELL else 0.0
    return int(np.floor(position + centered + 1e-9)) % int(grid.lon.size)


def _turns(fine: Grid, west: float) -> float:
    middle = (fine.lon[0] + fine.lon[-1]) / 2
    return float(360.0 * np.round((west - middle) / 360.0))


def _cut(
    axis: npt.NDArray[np.float64], keep: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]], where: str
) -> tuple[int, int]:
    kept = np.flatnonzero(keep(axis))
    if kept.size == 0:
        raise UsageError(
            f"the box holds no cell of the fine grid, which covers {axis.min():g} to {axis.max():g} degrees",
            where,
            "choose a box inside the field",
        )
    return int(kept[0]), int(kept.size)
