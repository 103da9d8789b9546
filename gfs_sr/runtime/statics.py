"""The static fields of a job: the bundled terrain, or the user's, gathered by the same plan as the forecast."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.coarsen import SIGMA, gaussian_weights
from gfs_sr.data.grid import Boundary, Grid
from gfs_sr.data.statics import coarse_statics, fine_cells, stack, static_blocks
from gfs_sr.data.terrain import terrain
from gfs_sr.errors import ShapeMismatch, UsageError
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.predictors import gather_plain
from gfs_sr.runtime.sink import FloatField
from gfs_sr.runtime.tiling import AxisPlan

FloatAxis = npt.NDArray[np.float64]
ROWS_AT_ONCE = 32  # coarse rows: bounds the memory beside the result, which is that of one fine frame for each static


class Statics:
    """The model's static inputs on this job's grid, in model units."""

    def __init__(self, layout: Layout, given: tuple[Mapping[str, FloatField], Grid] | None) -> None:
        inputs = static_inputs(layout.contract, layout.job.horizontal.coarse, given)
        self._fields = {name: np.ascontiguousarray(field, np.float32) for name, field in inputs.items()}
        self._plan = replace(layout.plan, time=AxisPlan(1, 1, 0, 0, Boundary.EDGE))

    def digest(self) -> str:
        """SHA-256 of the fields."""
        found = hashlib.sha256()
        for name, field in sorted(self._fields.items()):
            found.update(name.encode() + field.tobytes())
        return found.hexdigest()

    def gather(self, tiles: range, buffers: Mapping[str, Array], threads: int) -> None:
        """Fill the static buffers of one batch."""
        for name, field in self._fields.items():
            gather_plain([field], 0, self._plan, 0, tiles, buffers[name][: len(tiles)], field.shape[0], threads)


def open_job_statics(layout: Layout, path: Path | None) -> Statics | None:
    """The statics the model takes: the user's file, or the bundled terrain where the model was trained with it.

    Raises:
        UsageError: given but not taken, or taken but not to be had.
    """
    contract = layout.contract
    names = tuple(dict.fromkeys([*contract.statics_coarse, *contract.statics_fine]))
    if path is None and not names:
        return None
    if path is None:
        if contract.default_statics is None:
            raise UsageError(
                f"{contract.name} needs {' and '.join(names)}", "--statics", "give a file that has them: --statics FILE"
            )
        return Statics(layout, None)
    if not names:
        raise UsageError(f"{contract.name} takes no statics", "--statics", "leave --statics out")
    from gfs_sr.data.sources import open_statics

    return Statics(layout, open_statics(path, names))


def static_inputs(
    contract: Contract, grid: Grid, given: tuple[Mapping[str, FloatField], Grid] | None = None
) -> dict[str, FloatField]:
    """Graph input -> its field (channels, H, W) on the coarse `grid`, model units.

    Args:
        contract: which statics the model takes.
        grid: the coarse grid.
        given: the user's fields (h, w) on a grid of their own; what they lack comes from the terrain map.

    Raises:
        ShapeMismatch: the user's fields do not cover the forecast.
    """
    s = contract.scale_factor
    height, width = grid.shape
    channels = {"static_coarse": len(contract.statics_coarse), "static_fine": s * s * len(contract.statics_fine)}
    inputs: dict[str, FloatField] = {
        name: np.empty((count, height, width), np.float32) for name, count in channels.items() if count
    }
    lat, lon = fine_cells(grid, s, contract.registration)
    blurred = -(-(gaussian_weights(SIGMA).size // 2) // s)  # coarse rows that the coarsening reads beyond its own
    for first in range(0, height, ROWS_AT_ONCE):
        stop = min(first + ROWS_AT_ONCE, height)
        north, south = max(first - blurred, 0), min(stop + blurred, height)
        inner = slice(first - north, stop - north)
        band = _static_band(contract, grid, lat[s * north : s * south], lon, given)
        if contract.statics_coarse:
            fields = stack(band, contract.statics_coarse)
            coarse = coarse_statics(fields, s, contract.registration, grid.is_periodic, lat[s * north : s * south])
            inputs["static_coarse"][:, first:stop] = coarse[:, inner]
        if contract.statics_fine:
            fine = stack(band, contract.statics_fine)[:, s * inner.start : s * inner.stop]
            inputs["static_fine"][:, first:stop] = static_blocks(fine, s)
    return inputs


def _static_band(
    contract: Contract,
    grid: Grid,
    lat: FloatAxis,
    lon: FloatAxis,
    given: tuple[Mapping[str, FloatField], Grid] | None,
) -> dict[str, FloatAxis]:
    """The statics on some fine rows, model units."""
    s = contract.scale_factor
    names = tuple(dict.fromkeys([*contract.statics_coarse, *contract.statics_fine]))
    fields: dict[str, FloatAxis] = {}
    if contract.default_statics == "terrain" and not (given and set(names) <= set(given[0])):
        fields = terrain(lat, lon, (grid.spacing_deg[0] / s, grid.spacing_deg[1] / s))
    if given is not None:
        fields |= {name: sample(field, given[1], lat, lon, grid.spacing_deg) for name, field in given[0].items()}
    return {name: contract.normalization[name].normalize(fields[name]) for name in names}


def sample(field: FloatField, grid: Grid, lat: FloatAxis, lon: FloatAxis, rim_deg: tuple[float, float]) -> FloatAxis:
    """Bilinear values of `field` (H, W) on `grid` at every (lat, lon) -> (lat.size, lon.size).

    Up to `rim_deg` beyond the field, one coarse cell, its edge is continued: the fine cells of the last coarse one
    reach beyond a field that ends with the fine grid.

    Raises:
        ShapeMismatch: a point lies farther out.
    """
    rows = (grid.lat[0] - np.clip(lat, -90, 90)) / grid.spacing_deg[0]
    columns = (lon - grid.lon[0]) / grid.spacing_deg[1]
    height, width = field.shape
    if grid.is_periodic:
        columns = np.mod(columns, width)
        field = np.concatenate([field, field[:, :1]], axis=1)
        width += 1
    else:
        turns = np.round((columns.mean() - width / 2) * grid.spacing_deg[1] / 360)
        columns = columns - 360 / grid.spacing_deg[1] * turns
    reaches = [rim / spacing for rim, spacing in zip(rim_deg, grid.spacing_deg, strict=True)]
    for axis, position, size, reach in (
        ("latitude", rows, height, reaches[0]),
        ("longitude", columns, width, reaches[1]),
    ):
        if position.min() < -reach or position.max() > size - 1 + reach:
            raise ShapeMismatch(
                f"the statics do not cover the forecast's {axis}s", "--statics", "give fields of a larger region"
            )
    top, south = _split(rows, height)
    left, east = _split(columns, width)
    upper = field[top][:, left] * (1 - east) + field[top][:, left + 1] * east
    lower = field[top + 1][:, left] * (1 - east) + field[top + 1][:, left + 1] * east
    result: FloatAxis = upper * (1 - south[:, None]) + lower * south[:, None]
    return result


def _split(position: FloatAxis, size: int) -> tuple[npt.NDArray[np.intp], FloatAxis]:
    inside = np.clip(position, 0, size - 1)
    index = np.minimum(inside.astype(np.intp), size - 2)
    return index, inside - index
