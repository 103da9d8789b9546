"""The static fields of a job: the bundled terrain, or the user's, gathered by the same plan as the forecast."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
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


class Statics:
    """The model's static inputs on this job's grid, in model units."""

    def __init__(self, layout: Layout, given: tuple[Mapping[str, FloatField], Grid] | None) -> None:
        inputs = static_inputs(layout.contract, layout.job.horizontal.coarse, given)
        self._fields = {name: np.ascontiguousarray(field, np.float32) for name, field in inputs.items()}
        self._plan = replace(layout.plan, time=AxisPlan(1, 1, 0, 0, Boundary.EDGE))

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
    s, registration = contract.scale_factor, contract.registration
    lat, lon = fine_cells(grid, s, registration)
    names = tuple(dict.fromkeys([*contract.statics_coarse, *contract.statics_fine]))
    fields: dict[str, FloatAxis] = {}
    if contract.default_statics == "terrain" and not (given and set(names) <= set(given[0])):
        fields = terrain(lat, lon, (grid.spacing_deg[0] / s, grid.spacing_deg[1] / s))
    if given is not None:
        fields |= {name: sample(field, given[1], lat, lon) for name, field in given[0].items()}
    fine = {name: contract.normalization[name].normalize(fields[name]) for name in names}
    inputs: dict[str, FloatField] = {}
    if contract.statics_coarse:
        inputs["static_coarse"] = coarse_statics(
            stack(fine, contract.statics_coarse), s, registration, grid.is_periodic
        )
    if contract.statics_fine:
        inputs["static_fine"] = static_blocks(stack(fine, contract.statics_fine), s)
    return inputs


def sample(field: FloatField, grid: Grid, lat: FloatAxis, lon: FloatAxis) -> FloatAxis:
    """Bilinear values of `field` (H, W) on `grid` at every (lat, lon) -> (lat.size, lon.size).

    Raises:
        ShapeMismatch: a point lies more than one spacing outside `grid`.
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
    for axis, position, size in (("latitude", rows, height), ("longitude", columns, width)):
        if position.min() < -1 or position.max() > size:
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
