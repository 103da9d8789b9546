"""Terrain height and land fraction anywhere on earth, from one bundled map."""

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Grid
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY

MAP_FILE = "terrain_gdas_1536.npz"
LEVEL_HEIGHT_M = 10.0  # the map holds the height of the lowest model level, some ten meters above the ground
SHORE_M = 10.0  # ground this high counts as land, at sea level as water, in between as a share
MOST_SAMPLES = 12  # per cell and axis: cells wider than twelve map cells are sampled, not averaged
ROWS_AT_ONCE = 64  # of the cells: bounds the memory beside the result


@cache
def _map() -> tuple[FloatArray, FloatArray, FloatArray]:
    """(latitudes falling (J,), terrain height m (J, I), land fraction (J, I)); longitudes from 0, evenly spaced."""
    with as_file(files("gfs_sr.data") / "maps" / MAP_FILE) as path, np.load(path, allow_pickle=False) as stored:
        lat = stored["lat"].astype(np.float64)
        height = np.cumsum(stored["height_step_m"], axis=1, dtype=np.int32).astype(np.float64) - LEVEL_HEIGHT_M
    return lat, height, np.clip(height / SHORE_M, 0.0, 1.0)


def terrain(lat: npt.ArrayLike, lon: npt.ArrayLike, spacing_deg: tuple[float, float]) -> dict[str, FloatArray]:
    """Terrain and coast as means over cells of a regular grid.

    Args:
        lat: (H,) cell centers, degrees; beyond a pole (|lat| > 90) the last row is continued.
        lon: (W,) cell centers, degrees east, any convention.
        spacing_deg: of the cells, (lat, lon).

    Returns:
        {"orog": (H, W) m above sea level, "lsm": (H, W) share of land 0..1}.

    Heights are good to a meter or two, so open sea has up to a tenth of land.

    Source: height of the lowest level of NOAA/NCEP's GDAS on its 0.117 degree Gaussian grid (public domain).
    """
    map_lat, height, land = _map()
    map_spacing = 360.0 / height.shape[1]
    offsets = []
    for spacing in spacing_deg:
        count = int(np.clip(np.ceil(spacing / map_spacing), 1, MOST_SAMPLES))
        offsets.append(((np.arange(count) + 0.5) / count - 0.5) * spacing)
    lat_points = np.clip(np.asarray(lat, np.float64)[:, None] + offsets[0], -90, 90)  # (H, K)
    lon_points = np.asarray(lon, np.float64)[:, None] + offsets[1]
    rows = np.interp(-lat_points, -map_lat, np.arange(map_lat.size))
    columns = np.mod(lon_points, 360.0) / map_spacing
    top, left = np.minimum(rows.astype(np.intp), map_lat.size - 2), columns.astype(np.intp) % height.shape[1]
    right = (left + 1) % height.shape[1]
    south, east = rows - top, columns - columns.astype(np.intp)

    def mean(field: FloatArray) -> FloatArray:
        # bilinear in each axis, then the mean over the cell's points: both linear, so one axis after the other
        cells = np.empty((rows.shape[0], columns.shape[0]))
        for first in range(0, rows.shape[0], ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            by_row = (field[top[some]] * (1 - south[some, :, None]) + field[top[some] + 1] * south[some, :, None]).mean(
                axis=1
            )  # (h, I)
            cells[some] = (by_row[:, left] * (1 - east) + by_row[:, right] * east).mean(axis=2)
        return cells

    return {OROGRAPHY: mean(height), LAND_SEA_MASK: mean(land)}


def terrain_on(grid: Grid) -> dict[str, FloatArray]:
    """Terrain and coast on the cells of a grid."""
    return terrain(grid.lat, grid.lon, grid.spacing_deg)


def terrain_at(lat: FloatArray, lon: FloatArray) -> dict[str, FloatArray]:
    """Terrain and coast as means over the cells of any grid, a projected one too.

    Args:
        lat: (H, W) cell centers, degrees.
        lon: (H, W), degrees east.

    Returns:
        {"orog": (H, W) m above sea level, "lsm": (H, W) share of land 0..1}.
    """
    map_lat, height, land = _map()
    map_spacing = 360.0 / height.shape[1]
    lat_slopes = np.gradient(lat)
    # through the unit circle: longitudes may jump by 360 anywhere
    turn = np.exp(1j * np.deg2rad(lon))
    lon_slopes = [np.rad2deg(np.imag(slope * np.conj(turn))) for slope in np.gradient(turn)]
    spacing = max(float(np.hypot(*lat_slopes).mean()), map_spacing / 8)
    count = int(np.clip(np.ceil(spacing / map_spacing), 1, MOST_SAMPLES))
    offsets = (np.arange(count) + 0.5) / count - 0.5
    total = {OROGRAPHY: np.zeros(lat.shape), LAND_SEA_MASK: np.zeros(lat.shape)}
    for down in offsets:
        for right in offsets:
            rows = np.interp(
                -np.clip(lat + lat_slopes[0] * down + lat_slopes[1] * right, -90, 90), -map_lat, np.arange(map_lat.size)
            )
            columns = np.mod(lon + lon_slopes[0] * down + lon_slopes[1] * right, 360.0) / map_spacing
            top, left = np.minimum(rows.astype(np.intp), map_lat.size - 2), columns.astype(np.intp) % height.shape[1]
            south, east, next_column = rows - top, columns - columns.astype(np.intp), (left + 1) % height.shape[1]
            for name, field in ((OROGRAPHY, height), (LAND_SEA_MASK, land)):
                upper = field[top, left] * (1 - east) + field[top, next_column] * east
                lower = field[top + 1, left] * (1 - east) + field[top + 1, next_column] * east
                total[name] += upper * (1 - south) + lower * south
    return {name: field / count**2 for name, field in total.items()}
