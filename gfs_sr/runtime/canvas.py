"""Whole frames on fine cells: what the tiles of both graphs are put together to, and cut from again at every step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Halo
from gfs_sr.data.grid import Boundary, Grid
from gfs_sr.runtime.predictors import gather_plain
from gfs_sr.runtime.sink import FloatField
from gfs_sr.runtime.tiling import AxisPlan, Plan

Slices = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Canvas:
    """What members of one window are drawn around: (T, ., H, W) on all its fine cells."""

    mean: FloatField  # C channels, model units
    unit: FloatField  # C channels, model units per unit of z
    condition: FloatField  # K channels, or K for each of the C

    @classmethod
    def empty(cls, contract: Contract, frames: int, variables: int, grid: Grid) -> "Canvas":
        """Of so many fine frames and variables over the fine cells of a coarse grid."""
        assert contract.denoising is not None  # else nothing is drawn
        cells = tuple(contract.scale_factor * size for size in grid.shape)
        channels = contract.denoising.condition * (variables if contract.any_subset else 1)
        outputs = variables if contract.any_subset else len(contract.outputs)
        made = [np.empty((frames, count, *cells), np.float32) for count in (outputs, outputs, channels)]
        return cls(*made)

    def put(self, results: dict[str, FloatField], tile: int, index: int, plan: Plan, scale_factor: int, group: slice,
            per_variable: bool) -> None:  # fmt: skip
        """One tile of what the graph `mean` gave, for one group of variables."""
        inside, outside = places(plan, tile, self.mean.shape[-2:], scale_factor)
        channels = group if per_variable else slice(None)
        many = self.condition.shape[1] // self.mean.shape[1] if per_variable else 1
        wide = slice(many * group.start, many * group.stop) if per_variable else slice(None)
        for target, name, where in ((self.mean, "fine", channels), (self.unit, "unit", channels),
                                    (self.condition, "condition", wide)):  # fmt: skip
            target[:, where, outside[0], outside[1]] = results[name][index][..., inside[0], inside[1]]


def places(plan: Plan, tile: int, cells: tuple[int, ...], scale_factor: int) -> tuple[Slices, Slices]:
    """(of a tile's core, the part inside the field; where in the field it lies), fine cells."""
    inside, outside = [], []
    for axis, number, size in zip((plan.lat, plan.lon), divmod(tile, plan.lon.tiles), cells, strict=True):
        first = scale_factor * axis.core * number
        kept = min(scale_factor * axis.core, size - first)
        inside.append(slice(0, kept))
        outside.append(slice(first, first + kept))
    return (inside[0], inside[1]), (outside[0], outside[1])


@dataclass(frozen=True, eq=False)
class FineTiles:
    """The cores of a coarse plan on fine cells, with the halo of one step: gather from whole frames, and back.

    Beyond the first and last row lie those rows again; around the globe the columns go on.
    """

    plan: Plan  # on fine cells and frames, one tile in time
    coarse: Plan
    scale_factor: int
    threads: int

    @classmethod
    def of(
        cls, coarse: Plan, halo: Halo | Literal["global"], contract: Contract, frames: int, periodic: bool, threads: int
    ) -> "FineTiles":
        """Of so many fine frames, for the halo of a denoiser."""
        s, r = contract.scale_factor, contract.time_factor
        sides = Halo.symmetric(0, 0) if isinstance(halo, str) else halo
        around = Boundary.PERIODIC if periodic else Boundary.EDGE
        plan = Plan(
            AxisPlan(frames, frames, r * sides.before, r * sides.after),
            AxisPlan(s * coarse.lat.length, s * coarse.lat.core, s * sides.north, s * sides.south),
            AxisPlan(s * coarse.lon.length, s * coarse.lon.core, s * sides.west, s * sides.east, around),
        )
        return cls(plan, coarse, s, threads)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.plan.spatial_tiles))

    def buffer(self, channels: int) -> FloatField:
        """For one tile with its halo: (1, T, C, h, w)."""
        frames, rows, columns = self.plan.tile_shape
        return np.empty((1, frames, channels, rows, columns), np.float32)

    def gather(self, field: FloatField, tile: int, out: npt.NDArray[Any]) -> None:
        """One tile with its halo from (T, C, H, W)."""
        gather_plain(list(field), 0, self.plan, 0, range(tile, tile + 1), out, field.shape[1], self.threads)

    def put(self, fine: FloatField, tile: int, field: FloatField) -> None:
        """A tile's core (T, C, h, w) into (T, C, H, W)."""
        inside, outside = places(self.coarse, tile, field.shape[-2:], self.scale_factor)
        field[..., outside[0], outside[1]] = fine[..., inside[0], inside[1]]
