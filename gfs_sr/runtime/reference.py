"""Gather, scatter and filling in plain NumPy: the definition that the compiled core must equal, cell by cell."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Boundary, Registration
from gfs_sr.data.transforms import Transform
from gfs_sr.runtime.tiling import AxisPlan, Codes, Plan, Tiles

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]


def sources(axis: AxisPlan, tile: int) -> tuple[IndexArray, npt.NDArray[np.bool_]]:
    """(source index, whether a pole lies between) of every cell of a tile, halo included."""
    indices = tile * axis.core - axis.before + np.arange(axis.extent)
    if axis.boundary is Boundary.PERIODIC:
        return indices % axis.length, np.zeros(indices.size, bool)
    crossed = np.zeros(indices.size, bool)
    if axis.boundary is Boundary.POLE:
        north, south = axis.pole_offsets
        while True:  # each pass mirrors what lies beyond an end; far cells pass several times
            if north is not None and (beyond := indices < 0).any():
                indices = np.where(beyond, -indices - north, indices)
            elif south is not None and (beyond := indices >= axis.length).any():
                indices = np.where(beyond, 2 * axis.length - 2 - indices + south, indices)
            else:
                break
            crossed ^= beyond
    return np.clip(indices, 0, axis.length - 1), crossed


def gather(
    frames: Sequence[FloatArray],
    first_frame: int,
    plan: Plan,
    time_tile: int,
    tiles: Tiles,
    *,
    offset: FloatArray,
    scale: FloatArray,
    flip: npt.NDArray[np.bool_],
    fill: FloatArray | None = None,
    transform: Codes | None = None,
) -> FloatArray:
    """Tiles (N, t, C, h, w) float32; arguments as in `tiling.gather`."""
    times, _ = sources(plan.time, time_tile)
    gathered = []
    for tile in tiles:
        rows, crossed = sources(plan.lat, int(tile) // plan.lon.tiles)
        columns, _ = sources(plan.lon, int(tile) % plan.lon.tiles)
        turned = (columns[None, :] + np.where(crossed, plan.lon.length // 2, 0)[:, None]) % plan.lon.length
        field = np.stack([frames[time - first_frame] for time in times])[:, :, rows[:, None], turned]
        sign = np.where(flip[:, None] & crossed, np.float32(-1), np.float32(1))  # (C, h)
        bent = _by_channel(sign[:, :, None] * field, transform, Transform.forward)
        normalized = (bent - offset[:, None, None]) * scale[:, None, None]
        if fill is not None:
            normalized = np.where(np.isnan(normalized), fill[:, None, None], normalized)
        gathered.append(normalized)
    return np.stack(gathered)


def _by_channel(
    fields: FloatArray, transform: Codes | None, bend: Callable[[Transform, FloatArray], npt.NDArray[np.float64]]
) -> FloatArray:
    """Fields (..., C, H, W), each channel by its transform, rounded to float32."""
    if transform is None:
        return fields
    bent = fields.copy()
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
        for channel, code in enumerate(transform):
            bent[..., channel, :, :] = bend(list(Transform)[code], fields[..., channel, :, :]).astype(np.float32)
    return bent


def nearest_coarse(axis: AxisPlan, fine: IndexArray, factor: int, is_node: bool) -> IndexArray:
    """The coarse index nearest to each fine one; a tie goes to the later."""
    coarse = np.floor(fine / factor + 0.5).astype(np.int64) if is_node else fine // factor
    if axis.boundary is Boundary.PERIODIC:
        return coarse % axis.length
    return np.minimum(coarse, axis.length - 1)


def scatter(
    fine: npt.NDArray[Any],
    plan: Plan,
    time_tile: int,
    tiles: Tiles,
    *,
    scale_factor: int,
    time_factor: int,
    offset: FloatArray,
    scale: FloatArray,
    low: FloatArray,
    high: FloatArray,
    registration: Registration,
    out: FloatArray,
    origin: tuple[int, int, int] = (0, 0, 0),
    mask: Sequence[npt.NDArray[np.bool_ | np.uint8]] | None = None,
    mask_first_frame: int | None = None,
    bucket: npt.NDArray[np.bool_] | None = None,
    transform: Codes | None = None,
) -> None:
    """Fill the window `out` (T, C, H, W); arguments as in `tiling.scatter`."""
    factors = (time_factor, scale_factor, scale_factor)
    axes = (plan.time, plan.lat, plan.lon)
    sizes = (out.shape[0], out.shape[2], out.shape[3])
    is_node = registration is Registration.NODE
    for n, tile in enumerate(tiles):
        places = (time_tile, int(tile) // plan.lon.tiles, int(tile) % plan.lon.tiles)
        cells, kept = [], []  # per axis: fine indices that are kept, and where they lie in the tile
        for axis, factor, place, first, size in zip(axes, factors, places, origin, sizes, strict=True):
            indices = factor * place * axis.core + np.arange(factor * axis.core)
            inside = (indices >= first) & (indices < first + size) & (indices < factor * axis.length)
            cells.append(indices[inside])
            kept.append(np.flatnonzero(inside))
        for channel in range(out.shape[1]):
            core = fine[n, :, channel].astype(np.float32)[np.ix_(*kept)]
            codes = None if transform is None else transform[channel : channel + 1]
            bent = core * scale[channel] + offset[channel]
            physical = _by_channel(bent[:, None], codes, Transform.inverse)[:, 0]
            physical = np.where(physical < low[channel], low[channel], physical)
            physical = np.where(physical > high[channel], high[channel], physical)
            if mask is not None:
                first_mask = plan.window(time_tile).start if mask_first_frame is None else mask_first_frame
                in_bucket = bucket is not None and bool(bucket[channel])
                # a model that sees no later frame is masked by the last one it saw
                times = nearest_coarse(plan.time, cells[0], time_factor, not in_bucket and plan.time.after > 0)
                rows = nearest_coarse(plan.lat, cells[1], scale_factor, is_node)
                columns = nearest_coarse(plan.lon, cells[2], scale_factor, is_node)
                for k, time in enumerate(times):
                    masked = np.asarray(mask[time - first_mask][channel], bool)[np.ix_(rows, columns)]
                    physical[k][masked] = np.nan
            target = np.ix_(*(indices - first for indices, first in zip(cells, origin, strict=True)))
            out[:, channel][target] = physical


def fill_nearest(frame: FloatArray, is_periodic: bool) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """(filled, mask) of a frame (C, H, W), by looking at every pair of cells; as in `tiling.fill_nearest`."""
    mask = np.isnan(frame)
    filled = frame.copy()
    width = frame.shape[-1]
    for channel in range(frame.shape[0]):
        valid_rows, valid_columns = np.nonzero(~mask[channel])
        if valid_rows.size == 0:
            continue
        for row, column in np.argwhere(mask[channel]):
            east = valid_columns - column
            if is_periodic:  # the way round that is shorter; of two equal ones the western
                east = (east + width // 2) % width - width // 2
                east = np.where(2 * east == width, -east, east)
            south = valid_rows - row
            nearest = np.lexsort((south, east, east**2 + south**2))[0]
            filled[channel, row, column] = frame[channel, valid_rows[nearest], valid_columns[nearest]]
    return filled, mask.astype(np.uint8)
