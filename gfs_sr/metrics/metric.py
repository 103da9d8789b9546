"""What a metric is: sums over frames that merge by addition, and a value made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.pooling import Pool
from gfs_sr.metrics.scene import Frame, Need, Scene, stacked

Better = Literal["lower", "higher", "zero", "one", "neither"]  # `zero`, `one`: the nearer; `neither` ranks nothing
Value = Callable[[npt.NDArray[Any]], FloatArray]


@dataclass(frozen=True)
class Statistic:
    """Sums (T, K), one row per frame. Rows of any frames, forecasts and chunks may be added: they stay exact.

    So averaging is another step than scoring; a lead time, a region's forecasts or a resampled season is a choice of
    rows, and a chunk can be scored where it lies.
    """

    name: str
    sums: Callable[[Scene], FloatArray]
    needs: frozenset[Need] = frozenset()
    pool: Pool | None = None  # cells are gathered into blocks first

    @property
    def key(self) -> str:
        """Unique: the name, and the pooling where there is one."""
        return f"{self.name} @ {self.pool.name}" if self.pool else self.name


@dataclass(frozen=True)
class Metric:
    """A score, with what a reader must know to rank by it."""

    name: str  # unique within a variable
    group: str  # a heading of the report
    statistic: Statistic
    value: Value  # (..., K) -> (...); NaN where nothing was counted
    better: Better
    explanation: str  # one line for readers
    units: str = "1"  # "{u}" stands for the variable's
    title: str = ""  # without scale and threshold
    scale: str = ""  # "mean 4", "8 cells"; empty on the cells as they are
    threshold: float | None = None  # of the event, canonical units

    @property
    def needs(self) -> frozenset[Need]:
        """What a scene must have."""
        return self.statistic.needs

    def units_of(self, variable_units: str) -> str:
        """Units of the score of a variable with these units."""
        return self.units.replace("{u}", variable_units)

    def score(self, scene: Scene) -> float:
        """Of one scene, all frames together."""
        pool = self.statistic.pool
        return float(self.value(self.statistic.sums(pool.of(scene) if pool else scene).sum(axis=0)))


def by_frame(sums: Callable[[Frame], npt.ArrayLike]) -> Callable[[Scene], FloatArray]:
    """Sums of a scene from those of a frame."""
    return lambda scene: stacked([sums(frame) for frame in scene.frames()])


def ratio(top: npt.NDArray[Any], bottom: npt.NDArray[Any]) -> FloatArray:
    """Top / bottom, NaN where the bottom is 0."""
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    quotient: FloatArray = np.divide(
        top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom != 0
    )
    return quotient


def mean_of(column: int = 0, count: int = 1) -> Value:
    """Value of a statistic that sums scores in `column` and what they weigh in `count`."""
    return lambda sums: ratio(sums[..., column], sums[..., count])
