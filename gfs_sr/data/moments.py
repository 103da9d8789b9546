"""Count, mean, spread and range of values seen block by block, over all axes or chosen ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the finite values of any number of blocks; each array has the kept axes, and 1 along the others.

    Source: Welford 1962 (Technometrics 4); merging after Chan, Golub & LeVeque 1979 (Stanford STAN-CS-79-773).
    """

    count: FloatArray
    mean: FloatArray
    squares: FloatArray  # sum of (x - mean)²
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, values: npt.NDArray[Any], axes: tuple[int, ...] | None = None) -> "Moments":
        """Of one block, over `axes`; all of them where None."""
        x = np.asarray(values, np.float64)
        over = tuple(range(x.ndim)) if axes is None else axes
        valid = np.isfinite(x)
        count = valid.sum(axis=over, keepdims=True).astype(np.float64)
        mean = np.where(valid, x, 0.0).sum(axis=over, keepdims=True) / np.maximum(count, 1)
        squares = (np.where(valid, x - mean, 0.0) ** 2).sum(axis=over, keepdims=True)
        low = np.where(valid, x, np.inf).min(axis=over, keepdims=True, initial=np.inf)
        high = np.where(valid, x, -np.inf).max(axis=over, keepdims=True, initial=-np.inf)
        return cls(count, mean, squares, low, high)

    @classmethod
    def of_blocks(cls, blocks: Iterable[npt.NDArray[Any]], axes: tuple[int, ...] | None = None) -> "Moments":
        """Of blocks that are read one after another; with `axes`, the kept axes are whole in each.

        Raises:
            ValueError: there is no block.
        """
        total: Moments | None = None
        for block in blocks:
            part = cls.of(block, axes)
            total = part if total is None else total.merge(part)
        if total is None:
            raise ValueError("moments of no block at all")
        return total

    @property
    def sd(self) -> FloatArray:
        """Population standard deviation; NaN where no value was seen."""
        with np.errstate(invalid="ignore"):
            spread: FloatArray = np.sqrt(self.squares / self.count)
        return spread

    def merge(self, other: "Moments") -> "Moments":
        """Of both together; order does not matter but for the last bits."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        gap = other.mean - self.mean
        return Moments(
            count,
            self.mean + gap * share,
            self.squares + other.squares + gap**2 * self.count * share,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )
