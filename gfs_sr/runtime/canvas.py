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
Indices = npt.NDArray[np.intp]


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

    Beyond the first and last row lie those rows again; around the globe the columns go on. Tiles of a denoiser that
    sees everything overlap: where they do, each counts the less the nearer its end.
    """

    plan: Plan  # on fine cells and frames, one tile in time
    coarse: Plan
    scale_factor: int
    threads: int
    shares: tuple[FloatField, FloatField] | None  # by row and by column of a tile, where tiles are blended

    @classmethod
    def of(
        cls, coarse: Plan, halo: Halo | Literal["global"], contract: Contract, frames: int, periodic: bool, threads: int
    ) -> "FineTiles":
        """Of so many fine frames, for the halo of a denoiser; `coarse` as of `step_plan.plan_steps`."""
        s, r = contract.scale_factor, contract.time_factor
        sides = Halo.symmetric(0, 0) if isinstance(halo, str) else halo
        around = Boundary.PERIODIC if periodic else Boundary.EDGE
        lat, lon = coarse.lat, coarse.lon
        plan = Plan(
            AxisPlan(frames, frames, r * sides.before, r * sides.after),
            AxisPlan(s * lat.length, s * lat.core, s * lat.before, s * lat.after),
            AxisPlan(s * lon.length, s * lon.core, s * lon.before, s * lon.after, around),
        )
        is_blended = halo == "global" and coarse.spatial_tiles > 1
        return cls(plan, coarse, s, threads, (_ramp(plan.lat), _ramp(plan.lon)) if is_blended else None)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.plan.spatial_tiles))

    def buffer(self, channels: int) -> FloatField:
        """For one tile with its halo: (1, T, C, h, w)."""
        frames, rows, columns = self.plan.tile_shape
        return np.empty((1, frames, channels, rows, columns), np.float32)

    def gather(self, field: FloatField, tile: int, out: npt.NDArray[Any]) -> None:
        """One tile with its halo from (T, C, H, W)."""
        gather_plain(list(field), 0, self.plan, 0, range(tile, tile + 1), out, field.shape[1], self.threads)

    def window(self, tile: int) -> tuple[Indices, Indices, Indices]:
        """(frames, rows, columns) of the field that lie under a tile with its halo: what `gather` takes."""
        row, column = divmod(tile, self.plan.lon.tiles)
        frames, rows, columns = (
            _within(axis, number)
            for axis, number in ((self.plan.time, 0), (self.plan.lat, row), (self.plan.lon, column))
        )
        return frames, rows, columns

    def blend(self, tile: int) -> tuple[Indices, Indices, Indices, Indices, FloatField]:
        """(rows and columns of the field that a tile adds to, those of its own, what each counts): of `put`."""
        (rows, height), (columns, width) = self._shares_of(tile)
        own = np.flatnonzero(height > 0), np.flatnonzero(width > 0)
        share: FloatField = np.outer(height[own[0]], width[own[1]])
        return rows, columns, *own, share

    def put(self, fine: FloatField, tile: int, field: FloatField) -> None:
        """A tile's core (T, C, h, w) into (T, C, H, W); one that is blended comes whole, after a tile 0."""
        if self.shares is None:
            inside, outside = places(self.coarse, tile, field.shape[-2:], self.scale_factor)
            field[..., outside[0], outside[1]] = fine[..., inside[0], inside[1]]
            return
        if tile == 0:
            field[...] = 0
        rows, columns, own_rows, own_columns, share = self.blend(tile)
        field[:, :, rows[:, None], columns] += fine[:, :, own_rows[:, None], own_columns] * share

    def _shares_of(self, tile: int) -> tuple[tuple[Indices, FloatField], tuple[Indices, FloatField]]:
        """For rows and for columns: (those of the field that a tile adds to, what each of its own counts there)."""
        assert self.shares is not None  # else nothing is blended
        found = []
        for axis, number, share in zip(
            (self.plan.lat, self.plan.lon), divmod(tile, self.plan.lon.tiles), self.shares, strict=True
        ):
            total = np.zeros(axis.length, np.float32)
            for each in range(axis.tiles):
                where, inside = _cells(axis, each)
                total[where[inside]] += share[inside]
            where, inside = _cells(axis, number)
            own = np.where(inside, share / total[np.where(inside, where, 0)], 0).astype(np.float32)
            found.append((where[inside], own))
        return found[0], found[1]


def _ramp(axis: AxisPlan) -> FloatField:
    """What each cell of a tile counts: 1 where no other tile lies, falling evenly to nearly 0 at its ends."""
    width = axis.before + axis.after
    places_from = np.arange(axis.extent) + 0.5
    nearest = np.minimum(places_from, axis.extent - places_from)
    ramp: FloatField = np.minimum(1.0, nearest / width if width else nearest + 1).astype(np.float32)
    return ramp


def _within(axis: AxisPlan, tile: int) -> Indices:
    """Cells of the field under each of a tile: beyond its end the last one again, around the globe those beyond."""
    where, _ = _cells(axis, tile)
    within: Indices = np.clip(where, 0, axis.length - 1)
    return within


def _cells(axis: AxisPlan, tile: int) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """(cells of the field under each of a tile, whether there are any)."""
    where = tile * axis.core - axis.before + np.arange(axis.extent)
    if axis.boundary is Boundary.PERIODIC:
        return where % axis.length, np.full(where.size, True)
    return where, (where >= 0) & (where < axis.length)
