"""Static fields as networks take them: coarse, and fine values laid onto their coarse cells."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import SIGMA, block_mean, gauss_decimate
from gfs_sr.data.grid import FloatArray, Grid, Registration

FloatField = npt.NDArray[np.float32]

LEAST_AREA = 1e-6  # of a cell at a pole, and of what stands for cells beyond it


def fine_cells(grid: Grid, scale_factor: int, registration: Registration) -> tuple[FloatArray, FloatArray]:
    """(lat (s·H,), lon (s·W,)) of every cell a model gives, past a pole too, where latitudes exceed 90 degrees."""
    offset = 0.0 if registration is Registration.NODE else (scale_factor - 1) / 2
    axes = []
    for axis, step in ((grid.lat, -grid.spacing_deg[0]), (grid.lon, grid.spacing_deg[1])):
        position = (np.arange(scale_factor * axis.size) - offset) / scale_factor
        inside = np.clip(position, 0, axis.size - 1)
        axes.append(np.interp(inside, np.arange(axis.size), axis) + (position - inside) * step)
    return axes[0], axes[1]


def coarse_statics(
    fine: npt.NDArray[np.floating],
    scale_factor: int,
    registration: Registration,
    periodic: bool = False,
    lat: FloatArray | None = None,
) -> FloatField:
    """Fine statics (K, s·H, s·W) brought to coarse cells (K, H, W) by the protocol that makes coarse forecasts.

    Args:
        fine: K of them; those of a model that keeps its cells, s = 1, stay as they are.
        scale_factor: s.
        registration: of the coarse cells.
        periodic: whether the columns go once around.
        lat: (s·H,), degrees: cell means count by area; None: all cells alike.
    """
    if scale_factor == 1:
        return np.asarray(fine, np.float32)
    if registration is Registration.NODE:
        return gauss_decimate(fine, SIGMA, scale_factor, periodic).astype(np.float32)
    area = None if lat is None else np.maximum(np.cos(np.deg2rad(lat)), LEAST_AREA)
    return block_mean(fine, scale_factor, area).astype(np.float32)


def static_blocks(fine: npt.NDArray[np.floating], scale_factor: int) -> FloatField:
    """Fine statics (K, s·H, s·W) laid onto their coarse cells.

    Returns:
        (K·s², H, W): channel (k·s + y)·s + x holds field k at fine cell (s·i + y, s·j + x) of coarse cell (i, j), the
        order of `torch.nn.functional.pixel_unshuffle`. A tile of coarse cells thereby carries its fine statics, halo
        included, through the same gather as the forecast.
    """
    count, rows, columns = fine.shape
    s = scale_factor
    cells = fine.reshape(count, rows // s, s, columns // s, s).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cells.reshape(count * s * s, rows // s, columns // s), np.float32)


def stack(fields: Mapping[str, npt.NDArray[np.floating]], names: Sequence[str]) -> npt.NDArray[np.float32]:
    """(K, h, w) of the named fields, in their order."""
    return np.stack([np.asarray(fields[name], np.float32) for name in names])
