"""Masked cells: filled from the nearest valid one before arithmetic, masked again after it."""

from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]


def fill_nearest(fields: npt.NDArray[Any], periodic: bool = False) -> tuple[npt.NDArray[Any], BoolArray]:
    """Replace each NaN by the value of the nearest valid cell of its own field.

    Args:
        fields: (..., H, W); distance is counted in cells.
        periodic: the last column is the first one's neighbor.

    Returns:
        (filled copy, mask (..., H, W) that is true where values were missing). A field without any valid cell stays.
    """
    mask = np.isnan(fields)
    filled = fields.copy()
    if not mask.any():
        return filled, mask
    for index in np.ndindex(fields.shape[:-2]):
        if mask[index].any() and not mask[index].all():
            rows, cols = nearest_valid(~mask[index], periodic)
            filled[index] = fields[index][rows, cols]
    return filled, mask


def nearest_valid(valid: BoolArray, periodic: bool) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Row and column of the nearest true cell, for every cell of `valid` (H, W), which holds at least one."""
    height = valid.shape[0]
    row_distance, row_col = _nearest_in_row(valid, periodic)
    best = row_distance**2
    best_row = np.broadcast_to(np.arange(height)[:, None], valid.shape).copy()
    best_col = row_col.copy()
    for shift in range(1, height):
        if shift**2 >= best.max():
            break
        for here, there in ((slice(shift, None), slice(None, -shift)), (slice(None, -shift), slice(shift, None))):
            candidate = row_distance[there] ** 2 + shift**2
            better = candidate < best[here]
            best[here] = np.where(better, candidate, best[here])
            best_row[here] = np.where(better, np.arange(height)[there][:, None], best_row[here])
            best_col[here] = np.where(better, row_col[there], best_col[here])
    return best_row, best_col


def _nearest_in_row(valid: BoolArray, periodic: bool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    width = valid.shape[1]
    copies = 3 if periodic else 1
    columns = np.arange(copies * width) - (width if periodic else 0)
    wide = np.tile(valid, (1, copies))
    west = np.maximum.accumulate(np.where(wide, columns, -(10**9)), axis=1)
    east = np.minimum.accumulate(np.where(wide, columns, 10**9)[:, ::-1], axis=1)[:, ::-1]
    here = slice(width, 2 * width) if periodic else slice(None)
    at = np.arange(width)
    to_west, to_east = at - west[:, here], east[:, here] - at
    column = np.where(to_west <= to_east, west[:, here], east[:, here])
    distance = np.minimum(to_west, to_east).astype(np.float64)
    distance[distance >= 10**8] = np.inf
    return distance, np.mod(column, width).astype(np.intp)
