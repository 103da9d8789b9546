"""A fine forecast under test, read frame by frame: from memory, from scratch on disk, or from a finished file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import Forecast

Values = npt.NDArray[Any]


class Prediction(Protocol):
    """Fine frames whose cell (0, 0) is fine index (0, 0), one or more members, in the coarse forecast's variables."""

    @property
    def members(self) -> int:
        """1 for a single forecast."""

    @property
    def frames(self) -> int:
        """From the first coarse frame on."""

    @property
    def tile(self) -> tuple[int, int] | None:
        """Rows and columns of a tile's core, fine cells, where the forecast was made in tiles."""

    def read(self, channel: int, frames: slice) -> Values:
        """(M, t, H, W) of one variable."""


@dataclass(frozen=True, eq=False)
class ArrayPrediction:
    """Values (T, C, H, W), or (M, T, C, H, W) of an ensemble."""

    values: Values
    tile: tuple[int, int] | None = None
    order: tuple[int, ...] | None = None  # channel of the values for each variable; None is their own order

    @property
    def members(self) -> int:
        """1 for a single forecast."""
        return int(self.values.shape[0]) if self.values.ndim == 5 else 1

    @property
    def frames(self) -> int:
        """From the first coarse frame on."""
        return int(self.values.shape[-4])

    def read(self, channel: int, frames: slice) -> Values:
        """(M, t, H, W) of one variable."""
        part: Values = self.values[..., frames, channel if self.order is None else self.order[channel], :, :]
        return part if self.values.ndim == 5 else part[None]


@dataclass(frozen=True, eq=False)
class FilePrediction:
    """Forecasts in a file, one per member, somewhere on the truth's cells and frames."""

    members_of: Sequence[Forecast]
    first_frame: int  # of the truth
    frames: int  # from the truth's first frame to the file's last
    first_row: int
    first_col: int
    shape: tuple[int, int]  # of the truth
    tile: tuple[int, int] | None = None

    @property
    def members(self) -> int:
        """1 for a single forecast."""
        return len(self.members_of)

    def read(self, channel: int, frames: slice) -> Values:
        """(M, t, H, W) of one variable; NaN where the file has no cell or frame."""
        wanted = range(self.frames)[frames]
        values = np.full((self.members, len(wanted), *self.shape), np.nan, np.float32)
        for member, forecast in enumerate(self.members_of):
            height, width = forecast.grid.shape
            place = (slice(self.first_row, self.first_row + height), slice(self.first_col, self.first_col + width))
            for index, frame in enumerate(wanted):
                if frame >= self.first_frame:
                    values[(member, index, *place)] = forecast.readers[channel](frame - self.first_frame)
        return values
