"""Coastlines anywhere on earth, from the bundled terrain map."""

from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator

from gfs_sr.data.terrain import terrain
from gfs_sr.data.variables import LAND_SEA_MASK

FINEST_DEG = 0.05  # the map's own spacing is 0.117
MOST_POINTS = 720  # along an axis
SHORE = 0.3  # share of land: the map's heights are good to a meter or two, so half would drown the polders
LEAST_LENGTH = 6.0  # spacings around: smaller islands are specks

Line = npt.NDArray[np.float64]


@lru_cache(maxsize=16)
def coastlines(north: float, south: float, west: float, east: float) -> tuple[Line, ...]:
    """Lines of (N, 2) longitude and latitude, degrees, inside a box; longitudes in the box's own convention."""
    spacing = max(FINEST_DEG, (east - west) / MOST_POINTS, (north - south) / MOST_POINTS)
    rows = max(2, round((north - south) / spacing) + 1)
    columns = max(2, round((east - west) / spacing) + 1)
    lat, lon = np.linspace(north, south, rows), np.linspace(west, east, columns)
    land = terrain(lat, lon, (spacing, spacing))[LAND_SEA_MASK]
    lines = cast("list[Line]", contour_generator(lon, lat, land).lines(SHORE))  # its other line types are not asked for
    return tuple(line for line in lines if np.abs(np.diff(line, axis=0)).sum() > LEAST_LENGTH * spacing)


def box(lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(north, south, west, east) edges of the outermost cells, which do not pass a pole."""
    dlat = abs(float(lat[0] - lat[-1])) / max(lat.size - 1, 1) or 1.0
    dlon = abs(float(lon[-1] - lon[0])) / max(lon.size - 1, 1) or dlat
    north, south = min(float(lat.max()) + dlat / 2, 90.0), max(float(lat.min()) - dlat / 2, -90.0)
    return north, south, float(lon[0]) - dlon / 2, float(lon[-1]) + dlon / 2
