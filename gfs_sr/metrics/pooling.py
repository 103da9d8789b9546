"""Blocks of cells: area-weighted means, and maxima.

Blocks start at the first row and column. Where the field is no multiple of the size, the last ones are smaller: no cell
is dropped, and every block weighs what its cells weigh. A missing cell is left out of its block; a block is missing
where all its cells are. Blocks wider than the field are refused.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.errors import ShapeMismatch
from gfs_sr.metrics.scene import Scene

SIZES = (4, 16, 64)  # cells per side; 1 is the field itself


def pooled_mean(fields: npt.NDArray[Any], size: int, weights: npt.NDArray[Any] | None = None) -> FloatArray:
    """Area-weighted means over blocks.

    Args:
        fields: (..., H, W).
        size: cells per side of a block.
        weights: broadcasts to (H, W); None weighs all cells alike.

    Returns:
        (..., ceil(H/size), ceil(W/size)).

    Raises:
        ShapeMismatch: the field is smaller than a block.
    """
    values = np.asarray(fields, np.float64)
    valid = np.isfinite(values)
    area = np.ones(values.shape[-2:]) if weights is None else np.broadcast_to(weights, values.shape[-2:])
    total = _blocks(np.add, np.where(valid, values, 0.0) * area, size)
    weight = _blocks(np.add, valid * area, size)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)


def pooled_max(fields: npt.NDArray[Any], size: int) -> FloatArray:
    """Maxima over blocks: (..., H, W) -> (..., ceil(H/size), ceil(W/size)).

    Raises:
        ShapeMismatch: the field is smaller than a block.
    """
    values = np.asarray(fields, np.float64)
    highest = _blocks(np.maximum, np.where(np.isfinite(values), values, -np.inf), size)
    return np.where(np.isfinite(highest), highest, np.nan)


def pooled_weights(weights: npt.NDArray[Any] | None, shape: tuple[int, int], size: int) -> FloatArray:
    """(ceil(H/size), ceil(W/size)): what the cells of each block weigh together."""
    return _blocks(np.add, np.ones(shape) if weights is None else np.array(np.broadcast_to(weights, shape)), size)


@dataclass(frozen=True)
class Pool:
    """One way to gather cells before scoring."""

    how: Literal["mean", "max"]
    size: int

    @property
    def name(self) -> str:
        """`mean 4`."""
        return f"{self.how} {self.size}"

    def fits(self, scene: Scene) -> bool:
        """True where the scene holds at least one whole block."""
        return min(scene.shape[1:]) >= self.size

    def of(self, scene: Scene) -> Scene:
        """The scene of blocks. A cell that misses in truth or any member is left out of all of them."""
        frames = [
            (self._gather(frame.fields, scene.weights), self._gather(frame.truth, scene.weights))
            for frame in scene.frames()
        ]
        fields = np.stack([field for field, _ in frames], axis=1)
        return replace(
            scene,
            prediction=fields if scene.prediction.ndim == 4 else fields[0],
            truth=np.stack([truth for _, truth in frames]),
            weights=pooled_weights(scene.weights, scene.shape[1:], self.size),
            grid=None,
            scale_factor=None,
            time_factor=None,
            partner=None,
            reference=None,
            coarse=None,
            borders=None,
        )

    def _gather(self, fields: FloatArray, weights: npt.NDArray[Any] | None) -> FloatArray:
        return pooled_mean(fields, self.size, weights) if self.how == "mean" else pooled_max(fields, self.size)


def _blocks(reduce: np.ufunc, values: FloatArray, size: int) -> FloatArray:
    height, width = values.shape[-2:]
    if min(height, width) < size:
        raise ShapeMismatch(f"{height} by {width} cells hold no block of {size}", "pooling", "use a smaller block")
    for axis, length in ((-2, height), (-1, width)):
        values = reduce.reduceat(values, np.arange(0, length, size), axis=axis)
    return values
