"""Where on the training grid a sample lies: all of it, a random window, or one place; coarse inputs on fine cells."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.calendar import TIME_INPUTS, time_inputs
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.pairing import common_frames
from gfs_sr.data.patches import generator
from gfs_sr.data.regions import REGIONS, Box
from gfs_sr.data.regrid import regrid
from gfs_sr.data.scalers import Units
from gfs_sr.errors import ShapeMismatch, UsageError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A window of the training grid: what location parameters are taken at."""

    row: int
    col: int
    rows: int
    cols: int


@dataclass(frozen=True)
class Location(ABC):
    """A rule for the window of each sample."""

    @abstractmethod
    def window(self, grid: Grid, *key: int) -> Window:
        """The window of the sample with this key, the same whatever was drawn before."""


@dataclass(frozen=True)
class Upsample(Location):
    """The whole domain."""

    def window(self, grid: Grid, *key: int) -> Window:
        """All of it."""
        return Window(0, 0, *grid.shape)


@dataclass(frozen=True)
class VariableLocation(Location):
    """A random window of one size for each sample; every origin is possible, the last too."""

    image_size: tuple[int, int] = (128, 128)

    def window(self, grid: Grid, *key: int) -> Window:
        """A draw.

        Raises:
            ShapeMismatch: the window is larger than the grid.
        """
        rows, cols = self.image_size
        spare = [have - want for have, want in zip(grid.shape, self.image_size, strict=True)]
        if min(spare) < 0:
            raise ShapeMismatch(
                f"a window of {rows} by {cols} cells does not fit into {grid.shape}", "variable location",
                f"take at most {grid.shape[0]} by {grid.shape[1]}",
            )  # fmt: skip
        rng = generator(*key)
        return Window(int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1)), rows, cols)


@dataclass(frozen=True)
class FixedLocation(Location):
    """One place: a named region or a box, by the cells nearest to its ends, and `buffer` cells around it."""

    region: str | None = None
    box: Box | None = None
    buffer: int = 0

    def __post_init__(self) -> None:
        """Check that there is one place.

        Raises:
            UsageError: an unknown name, or not exactly one of name and box.
        """
        if (self.region is None) == (self.box is None):
            raise UsageError("need a named region or a box", "fixed location", "give one of the two")
        if self.region is not None and self.region not in REGIONS:
            raise UsageError(f"no region {self.region!r}", "fixed location", f"use one of: {', '.join(REGIONS)}")

    def window(self, grid: Grid, *key: int) -> Window:
        """The same for every sample.

        Raises:
            ShapeMismatch: the place, its buffer included, is not inside the grid.
        """
        box = self.box or REGIONS[self.region or ""]
        north, south = (float((grid.lat[0] - lat) / grid.spacing_deg[0]) for lat in (box.north, box.south))
        turns = np.round(((box.west + box.east) - (grid.lon[0] + grid.lon[-1])) / 2 / 360.0) * 360.0
        west, east = (float((lon - turns - grid.lon[0]) / grid.spacing_deg[1]) for lon in (box.west, box.east))
        first, last = (np.floor([a + 0.5, b + 0.5]).astype(int) for a, b in ((north, west), (south, east)))
        first, last = first - self.buffer, last + self.buffer
        if (first < 0).any() or (last >= grid.shape).any() or (first > last).any():
            raise ShapeMismatch(
                f"the place lies at rows {first[0]} to {last[0]} and columns {first[1]} to {last[1]} of a grid of "
                f"{grid.shape[0]} by {grid.shape[1]}",
                "fixed location", "take a smaller place or buffer, or a larger grid",
            )  # fmt: skip
        size = last - first + 1
        return Window(int(first[0]), int(first[1]), int(size[0]), int(size[1]))


LOCATIONS: Final = {"upsample": Upsample, "variable_location": VariableLocation, "fixed_location": FixedLocation}


@dataclass(frozen=True, eq=False)
class LocatedSample:
    """One sample, float32."""

    coarse: Array  # (T, P, h, w) predictors on fine cells
    fine: Array  # (T, C, h, w)
    mask: npt.NDArray[np.bool_]  # of `fine`, true where it is valid
    time: Array  # (T, K, h, w): maps of `TIME_INPUTS`, K = 0 where they are off
    window: Window
    grid: Grid  # of the window


@dataclass(frozen=True, eq=False)
class LocatedSet:
    """Frames of a fine and a coarse forecast at the same times; any two grids, of which the coarse covers the fine."""

    fine: Forecast
    coarse: Forecast
    location: Location = field(default_factory=Upsample)
    method: Literal["nearest", "bilinear", "bicubic"] = "nearest"  # that brings coarse inputs to fine cells
    period: tuple[np.datetime64, np.datetime64] | None = None  # of training: time inputs where it is given
    units: Mapping[str, Units] = field(default_factory=dict)
    seed: int = 42

    def __len__(self) -> int:
        """One sample per common frame and epoch."""
        return len(common_frames(self.coarse, self.fine).fine)

    def sample(self, index: int, epoch: int = 0) -> LocatedSample:
        """The same for the same seed, epoch and index."""
        pairs = common_frames(self.coarse, self.fine)
        window = self.location.window(self.fine.grid, self.seed, epoch, index)
        rows, cols = slice(window.row, window.row + window.rows), slice(window.col, window.col + window.cols)
        grid = Grid(self.fine.grid.lat[rows], self.fine.grid.lon[cols])
        frame = pairs.fine[index]
        truth = self.fine.frame(frame)[:, rows, cols]
        coarse = self.coarse.frame(pairs.coarse[index])
        there = regrid(coarse, self.coarse.grid, grid, self.method, self.coarse.source)
        maps = np.zeros((0, window.rows, window.cols))
        if self.period is not None:
            values = time_inputs(self.fine.times.valid_times[[frame]], self.period)[0]
            maps = np.broadcast_to(values[:, None, None], (len(TIME_INPUTS), window.rows, window.cols))
        return LocatedSample(
            coarse=self._normalized(there, self.coarse)[None],
            fine=self._normalized(truth, self.fine)[None],
            mask=np.isfinite(truth)[None],
            time=maps[None].astype(np.float32),
            window=window,
            grid=grid,
        )

    def _normalized(self, fields: npt.NDArray[np.floating], source: Forecast) -> Array:
        layers = [
            self.units[name].apply(field) if name in self.units else field
            for name, field in zip(source.variables, fields, strict=True)
        ]
        return np.stack(layers).astype(np.float32)
