"""Maps of scores over time: one value per cell, NaN where a cell has none."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.errors import ShapeMismatch
from gfs_sr.metrics.metric import ratio
from gfs_sr.metrics.moments import origin_of
from gfs_sr.metrics.pointwise import weighted_mean
from gfs_sr.metrics.scene import Scene


@dataclass(frozen=True, eq=False)
class CellSums:
    """Sums over frames (H, W), of an ensemble its mean's; they add over chunks and forecasts of one grid."""

    count: FloatArray  # frames in which neither field misses
    error: FloatArray
    absolute: FloatArray
    squared: FloatArray
    truth: FloatArray
    p: FloatArray  # p, y and their products are from an origin near the variable's mean
    y: FloatArray
    pp: FloatArray
    yy: FloatArray
    py: FloatArray

    @classmethod
    def of(cls, scene: Scene) -> "CellSums":
        """Of all frames of a scene."""
        origin = origin_of(scene.variable)
        total = np.zeros((len(fields(cls)), *scene.shape[1:]))
        for frame in scene.frames():
            prediction = np.where(frame.valid, frame.prediction, 0.0)
            truth = np.where(frame.valid, frame.truth, 0.0)
            error = prediction - truth
            p, y = (np.where(frame.valid, field - origin, 0.0) for field in (prediction, truth))
            for place, term in enumerate(
                (frame.valid, error, np.abs(error), error**2, truth, p, y, p * p, y * y, p * y)
            ):
                total[place] += term
        return cls(*total)

    def __add__(self, other: "CellSums") -> "CellSums":
        if self.count.shape != other.count.shape:
            raise ShapeMismatch(
                f"maps of {self.count.shape} and {other.count.shape} cells", "maps over time", "add maps of one grid"
            )
        return CellSums(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def rmse(self) -> FloatArray:
        """Root of the mean squared error."""
        return np.sqrt(ratio(self.squared, self.count))

    def mae(self) -> FloatArray:
        """Mean absolute error."""
        return ratio(self.absolute, self.count)

    def bias(self) -> FloatArray:
        """Mean of prediction minus truth."""
        return ratio(self.error, self.count)

    def nrmse(self) -> FloatArray:
        """RMSE in percent of the truth's mean in the cell."""
        return 100 * ratio(self.rmse(), ratio(self.truth, self.count))

    def normalized_bias(self) -> FloatArray:
        """Normalized mean bias: summed error in percent of the summed truth."""
        return 100 * ratio(self.error, self.truth)

    def correlation(self) -> FloatArray:
        """Pearson's over time; NaN where either series is constant."""
        n = self.count
        variance_p, variance_y = self.pp * n - self.p**2, self.yy * n - self.y**2
        # what is left of a constant series is rounding
        constant = (variance_p <= 1e-12 * self.pp * n) | (variance_y <= 1e-12 * self.yy * n)
        scale = np.sqrt(np.where(constant, 0.0, variance_p) * np.where(constant, 0.0, variance_y))
        return ratio(self.py * n - self.p * self.y, scale)

    def absolute_bias(self, weights: npt.NDArray[Any] | None = None) -> float:
        """Mean over cells of |bias|: local errors in the mean, which cancel in the bias of the domain."""
        return weighted_mean(np.abs(self.bias()), weights)

    def relative_bias(self, weights: npt.NDArray[Any] | None = None) -> float:
        """`absolute_bias` over the mean of the truth."""
        return self.absolute_bias(weights) / weighted_mean(ratio(self.truth, self.count), weights)
