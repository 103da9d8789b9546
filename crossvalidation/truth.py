"""Fields of a packed set as forecasts that the evaluation takes: any grid, related in time or not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY
from gfs_sr.errors import UnsupportedGrid
from gfs_sr.training.field_set import FieldSet

PLANE_SPACING_DEG = 1e-3  # of stand-in grids at the equator: all cells weigh alike to 1e-3


@dataclass(frozen=True, eq=False)
class Truth:
    """One field set to be scored."""

    forecast: Forecast  # the variables asked for, all frames
    on_earth: bool  # the grid is the true one; else a stand-in, whose sun and terrain mean nothing


def truth_of(fields: FieldSet, variables: tuple[str, ...]) -> Truth | None:
    """The forecast of a field set, or None where it holds none of `variables`.

    A projected grid, or one whose place is unknown, gets a stand-in: a small regular grid at the equator with as many
    cells. Frames that are no series (members, dates apart) keep their times, which only single frames may use.
    """
    names = [name for name in fields.variables if name in variables]
    if not names:
        return None
    grid = _grid(fields)
    values = fields.values[[fields.variables.index(name) for name in names]].swapaxes(0, 1)
    return Truth(
        Forecast.from_arrays(
            values,
            names,
            grid or _stand_in(fields),
            TimeAxis(fields.times[0], fields.times),
            source=fields.name,
        ),
        grid is not None,
    )


def write_statics(fields: FieldSet, grid: Grid, margin: int, path: Path) -> None:
    """Terrain and land of the true places on a stand-in grid, as a file that the runtime takes (`--statics`).

    Args:
        fields: whose positions are known or not; zeros, "unknown", where they are not.
        grid: the stand-in.
        margin: rows and columns repeated beyond the south and east, which the last coarse cells may cover.
        path: of the NetCDF file.
    """
    statics = np.pad(fields.statics((OROGRAPHY, LAND_SEA_MASK)), ((0, 0), (0, margin), (0, margin)), mode="edge")
    steps = np.arange(1, margin + 1) * PLANE_SPACING_DEG
    axes = {"lat": np.append(grid.lat, grid.lat[-1] - steps), "lon": np.append(grid.lon, grid.lon[-1] + steps)}
    units = {"lat": "degrees_north", "lon": "degrees_east"}
    xr.Dataset(
        {
            name: (("lat", "lon"), field, {"units": unit})
            for name, field, unit in zip((OROGRAPHY, LAND_SEA_MASK), statics, ("m", "1"), strict=True)
        },
        {name: (name, axis, {"units": units[name]}) for name, axis in axes.items()},
    ).to_netcdf(path)


def _grid(fields: FieldSet) -> Grid | None:
    if fields.lat is None or fields.lon is None or fields.lat.ndim != 1:
        return None
    try:
        return Grid.from_axes(fields.lat, fields.lon, fields.name)
    except UnsupportedGrid:
        return None


def _stand_in(fields: FieldSet) -> Grid:
    _, rows, columns = fields.shape
    lat = (rows - 1) / 2 - np.arange(rows, dtype=np.float64)
    return Grid(PLANE_SPACING_DEG * lat, PLANE_SPACING_DEG * np.arange(columns, dtype=np.float64))
