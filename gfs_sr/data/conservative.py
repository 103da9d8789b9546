"""First-order conservative remapping between latitude-longitude grids: means by shared area, exact on the sphere."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Grid
from gfs_sr.errors import ShapeMismatch, UnsupportedGrid

IndexArray = npt.NDArray[np.int64]
TURN = 360.0
NEGLIGIBLE = 1e-9  # of a target cell: an overlap by rounding


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells between parallels and meridians, evenly spaced or not."""

    lat_edges: FloatArray  # (H + 1,) falling, degrees
    lon_edges: FloatArray  # (W + 1,) rising, degrees

    def __post_init__(self) -> None:
        """Check the order of the edges.

        Raises:
            UnsupportedGrid: edges out of order, beyond a pole, or more than once around the globe.
        """
        for name, edges, sign in (("latitude", self.lat_edges, -1), ("longitude", self.lon_edges, 1)):
            if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) * sign > 0).all():
                order = "fall" if sign < 0 else "rise"
                raise UnsupportedGrid(f"the edges of the {name}s do not {order}", "cells", f"sort the {name}s")
        if np.abs(self.lat_edges).max() > 90 + 1e-9 or self.lon_edges[-1] - self.lon_edges[0] > TURN + 1e-6:
            raise UnsupportedGrid("the cells reach beyond a pole or around the globe", "cells", "check the axes")

    @classmethod
    def of(cls, grid: Grid) -> "Cells":
        """Edges halfway between the points; beyond the outermost by half a spacing, at most to the pole."""
        dlat, dlon = grid.spacing_deg
        return cls(_edges(grid.lat, -dlat).clip(-90.0, 90.0), _edges(grid.lon, dlon))

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.lat_edges.size - 1, self.lon_edges.size - 1

    @property
    def areas(self) -> FloatArray:
        """(H, W) on the unit sphere, steradians."""
        bands = -np.diff(np.sin(np.deg2rad(self.lat_edges)))
        return np.outer(bands, np.deg2rad(np.diff(self.lon_edges)))


@dataclass(frozen=True, eq=False)
class _Overlap:
    """Shared lengths of the cells of two axes, sparse: rows are targets, in order."""

    targets: int
    row: IndexArray  # (K,) rising
    column: IndexArray  # (K,) source cell
    length: FloatArray  # (K,)

    @classmethod
    def of(cls, source: FloatArray, target: FloatArray, turn: float | None = None) -> "_Overlap":
        """Of two axes of rising edges; where `turn` is given, the source is met again after each full turn."""
        shifts = [0.0]
        if turn is not None:
            first = np.floor((target[0] - source[-1]) / turn)
            last = np.ceil((target[-1] - source[0]) / turn)
            shifts = [turn * k for k in np.arange(first, last + 1)]
        rows, columns, lengths = [], [], []
        for shift in shifts:
            edges = source + shift
            start = np.clip(np.searchsorted(edges, target[:-1], "right") - 1, 0, edges.size - 2)
            stop = np.clip(np.searchsorted(edges, target[1:], "left"), 1, edges.size - 1)
            count = np.maximum(stop - start, 0)
            row = np.repeat(np.arange(target.size - 1), count)
            within = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
            column = start[row] + within
            shared = np.minimum(edges[column + 1], target[row + 1]) - np.maximum(edges[column], target[row])
            kept = shared > NEGLIGIBLE * (target[row + 1] - target[row])
            rows.append(row[kept])
            columns.append(column[kept])
            lengths.append(shared[kept])
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        return cls(target.size - 1, row[order], np.concatenate(columns)[order], np.concatenate(lengths)[order])

    def apply(self, values: FloatArray) -> FloatArray:
        """Sums over the last axis: (..., N) -> (..., M)."""
        summed = np.zeros((*values.shape[:-1], self.targets))
        if self.row.size:
            starts = np.flatnonzero(np.diff(self.row, prepend=-1))
            products = values[..., self.column] * self.length
            summed[..., self.row[starts]] = np.add.reduceat(products, starts, axis=-1)
        return summed


class ConservativeRemap:
    """Means over target cells of what source cells hold, weighted by shared area; weights are made once.

    A target cell takes the mean over its covered part ("fracarea"), and is missing where less than `least_cover` of it
    is covered by valid cells. Missing source cells carry no weight.

    Source: Jones 1999 (Mon. Wea. Rev. 127), first order; between latitude-longitude cells the shared area is the
    product of shared sin φ and shared longitude, so that no polygon is needed.
    """

    def __init__(self, source: Cells, target: Cells, least_cover: float = 0.0) -> None:
        self.source, self.target, self.least_cover = source, target, least_cover
        # from north to south the edges fall: their sines are turned to rise
        self._rows = _Overlap.of(-np.sin(np.deg2rad(source.lat_edges)), -np.sin(np.deg2rad(target.lat_edges)))
        self._columns = _Overlap.of(np.deg2rad(source.lon_edges), np.deg2rad(target.lon_edges), np.deg2rad(TURN))

    def __call__(self, fields: npt.NDArray[Any]) -> FloatArray:
        """(..., H, W) -> (..., h, w), float64.

        Raises:
            ShapeMismatch: the fields do not lie on the source cells.
        """
        if fields.shape[-2:] != self.source.shape:
            raise ShapeMismatch(
                f"fields of {fields.shape[-2:]} on {self.source.shape} cells", "conservative remapping",
                "make the weights for the grid of the fields",
            )  # fmt: skip
        values = np.asarray(fields, np.float64)
        valid = np.isfinite(values)
        total = self._summed(np.where(valid, values, 0.0))
        if valid.all():
            valid = np.ones(self.source.shape, bool)
        cover = self._summed(valid.astype(np.float64))
        enough = cover > np.maximum(self.least_cover - 1e-6, NEGLIGIBLE) * self.target.areas
        return np.where(enough, total / np.where(enough, cover, 1.0), np.nan)

    def covered(self) -> FloatArray:
        """(h, w) steradians of each target cell that source cells cover."""
        return self._summed(np.ones(self.source.shape))

    def _summed(self, values: FloatArray) -> FloatArray:
        by_columns = self._columns.apply(values)  # (..., H, w)
        return np.swapaxes(self._rows.apply(np.swapaxes(by_columns, -1, -2)), -1, -2)


def covering(source: Cells, spacing_deg: tuple[float, float], origin: tuple[float, float] = (90.0, 0.0)) -> Grid:
    """The cells of a global grid that cover all of `source`, by one cell more than touches it on each side.

    Args:
        source: what is to be covered.
        spacing_deg: of the global grid, (lat, lon).
        origin: latitude and longitude of one of its cell edges.
    """
    axes = []
    for edges, spacing, start, sign in (
        (source.lat_edges, spacing_deg[0], origin[0], -1.0),
        (source.lon_edges, spacing_deg[1], origin[1], 1.0),
    ):
        places = (edges - start) * sign / spacing
        first, last = np.floor(places[0] + 1e-9) - 1, np.ceil(places[-1] - 1e-9) + 1
        axes.append(start + sign * spacing * (np.arange(first, last) + 0.5))
    lat = axes[0][np.abs(axes[0]) + spacing_deg[0] / 2 <= 90 + 1e-9]
    lon = axes[1][: round(TURN / spacing_deg[1])]
    return Grid.from_axes(lat, lon, "the covering grid")


def _edges(centers: FloatArray, step: float) -> FloatArray:
    inner = (centers[1:] + centers[:-1]) / 2
    return np.concatenate([[centers[0] - step / 2], inner, [centers[-1] + step / 2]])
