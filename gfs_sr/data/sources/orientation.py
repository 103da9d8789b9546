"""Putting a file's rows and columns into the one order: north to south, west to east."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Grid


@dataclass(frozen=True, eq=False)
class Orientation:
    """The grid of a file, and how its fields are turned to lie on it."""

    grid: Grid
    flip_rows: bool
    flip_columns: bool
    longitudes_from: float  # west end of the file's range of longitudes: 0 or -180

    @classmethod
    def from_axes(cls, lat: npt.ArrayLike, lon: npt.ArrayLike, where: str) -> "Orientation":
        """From the axes as the file has them, degrees.

        Longitudes may start anywhere and cross Greenwich or the dateline; they are unwrapped to a rising axis.

        Raises:
            UnsupportedGrid: an axis is not regular.
        """
        rows = np.atleast_1d(np.asarray(lat, np.float64))
        columns = np.atleast_1d(np.asarray(lon, np.float64))
        flip_rows = rows.ndim == 1 and rows.size > 1 and bool(rows[-1] > rows[0])
        # within half a turn: a jump at Greenwich or the dateline is no change of direction
        steps = 180.0 - (180.0 - np.diff(columns)) % 360.0
        flip_columns = columns.ndim == 1 and steps.size > 0 and bool(steps.mean() < 0)
        rows = rows[::-1] if flip_rows else rows
        columns = columns[::-1] if flip_columns else columns
        negative = bool(columns.size and np.nanmin(columns) < 0)
        if columns.ndim == 1 and columns.size > 1 and np.isfinite(columns).all():
            rises = np.diff(columns)
            columns = columns[0] + np.concatenate([[0.0], np.cumsum(np.where(rises <= 0, rises + 360.0, rises))])
        if columns.size and columns[-1] >= 360.0 - 1e-6 and columns[0] >= 180.0 - 1e-6:
            columns = columns - 360.0  # 350..369.75 reads better as -10..9.75
            negative = True
        return cls(Grid.from_axes(rows, columns, where), flip_rows, flip_columns, -180.0 if negative else 0.0)

    def apply(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(…, H, W) as the file has it -> float32, north to south, west to east."""
        if self.flip_rows:
            values = values[..., ::-1, :]
        if self.flip_columns:
            values = values[..., ::-1]
        return np.ascontiguousarray(values, np.float32)
