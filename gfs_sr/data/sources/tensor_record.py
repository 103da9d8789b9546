"""A run of fields on any grid, for training: a model that slides over cells needs no regular axes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import limits
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.data.variables import VARIABLES, base_name

Coordinates = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """Fields of one variable, one member and one forecast.

    Rows run from the grid's northern side to its southern, columns from west to east. Wind components on a projected
    grid may point along the grid's axes rather than east and north.
    """

    variable: str  # canonical name, or the file's own (`q_2m`, `sst`) where the table has no row
    values: npt.NDArray[np.float32]  # (T, H, W), canonical units for canonical names, NaN where missing
    valid_times: TimeArray  # (T,) rising
    lat: Coordinates | None  # (H,) on a regular grid, (H, W) on another, None where the file does not say
    lon: Coordinates | None
    source: str
    is_regular: bool  # on a regular latitude-longitude grid

    @property
    def is_plausible(self) -> bool:
        """False where values of a canonical variable lie far outside its bounds, or all are missing."""
        if not np.isfinite(self.values).any():
            return False
        if base_name(self.variable) not in VARIABLES:
            return True
        low, high = limits(self.variable)
        return bool(np.nanmin(self.values) >= low and np.nanmax(self.values) <= high)


def turn(
    values: npt.NDArray[np.floating], lat: Coordinates | None, lon: Coordinates | None
) -> tuple[npt.NDArray[np.float32], Coordinates | None, Coordinates | None]:
    """Values (…, H, W) and coordinates (H, W) with the northern side first and the western side left."""
    if lat is not None and lat[0].mean() < lat[-1].mean():
        values, lat = values[..., ::-1, :], lat[::-1]
        lon = None if lon is None else lon[::-1]
    if lon is not None:
        # a step of more than half a turn is a crossing of the dateline
        eastward = (np.diff(lon[lon.shape[0] // 2]) + 180.0) % 360.0 - 180.0
        if eastward.size and eastward.mean() < 0:
            values, lon = values[..., ::-1], lon[:, ::-1]
            lat = None if lat is None else lat[:, ::-1]
    return np.ascontiguousarray(values, np.float32), lat, lon
