"""Scalers: rules that bring a variable to model units, fitted on training values, inverted exactly, kept as JSON.

Each is a pointwise transform followed by an affine map, which is what a contract holds and the compiled core runs.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gfs_sr.data.moments import Moments
from gfs_sr.data.transforms import FloatArray, Transform
from gfs_sr.errors import AllMissing, InputError, UsageError

Mask = npt.NDArray[np.bool_]
SPREADS = 5.0  # standard deviations that make one model unit of the z scalers
LARGEST_LOG = 2.0  # log10(1 + 99 mm) is one model unit
LARGEST_ROOT = 15.0  # of 225 mm


@dataclass(frozen=True, eq=False)
class Units:
    """Model units: (g(x) - mean)/sd, and what stands in place of a missing value."""

    transform: Transform
    mean: FloatArray  # 0-dimensional, or what broadcasts against the values where axes were kept
    sd: FloatArray
    fill: float | None = None  # model units; None leaves NaN

    @classmethod
    def of(cls, transform: Transform, mean: float, sd: float) -> "Units":
        """Of one mean and spread for all values."""
        return cls(transform, np.asarray(mean, np.float64), np.asarray(sd, np.float64))

    def apply(self, values: npt.NDArray[Any]) -> FloatArray:
        """Physical -> model units, float64; NaN becomes `fill`."""
        normalized: FloatArray = (self.transform.forward(values) - self.mean) / self.sd
        return normalized if self.fill is None else np.where(np.isnan(normalized), self.fill, normalized)

    def invert(self, normalized: npt.NDArray[Any], missing: Mask | None = None) -> FloatArray:
        """Model -> physical units, float64; NaN where `missing`, the mask of these very values, says so."""
        x = self.transform.inverse(np.asarray(normalized, np.float64) * self.sd + self.mean)
        return x if missing is None else np.where(missing, np.nan, x)

    def to_json(self) -> str:
        """Every digit is kept."""
        return json.dumps(
            {"transform": self.transform, "mean": self.mean.tolist(), "sd": self.sd.tolist(), "fill": self.fill}
        )

    @classmethod
    def from_json(cls, text: str) -> "Units":
        """What `to_json` wrote."""
        table = json.loads(text)
        mean, sd = (np.asarray(table[key], np.float64) for key in ("mean", "sd"))
        return cls(Transform(table["transform"]), mean, sd, table["fill"])


@dataclass(frozen=True)
class Scaler(ABC):
    """A rule: what it counts, and the units that follow."""

    transform: ClassVar[Transform] = Transform.LINEAR
    axes: tuple[int, ...] | None = None  # to take statistics over; None is all of them, the only way to a contract
    fill: float | None = None  # in place of a missing value, model units

    def fit(self, blocks: Iterable[npt.NDArray[Any]]) -> Units:
        """Units by the values of training alone; blocks are read one after another.

        Raises:
            AllMissing: no value counts.
            InputError: the values do not differ, so that nothing could be brought back.
        """
        moments = Moments.of_blocks((self.counted(np.asarray(block, np.float64)) for block in blocks), self.axes)
        if not (moments.count > 0).all():
            raise AllMissing("no value to fit a scaler to", type(self).__name__, "give training data with values")
        mean, sd = self.affine(moments)
        if not (np.asarray(sd) > 0).all():
            raise InputError(
                f"all training values are {float(moments.low.min()):g}",
                type(self).__name__,
                "use the scaler `none`, or give data that vary",
            )
        if self.axes is None:
            mean, sd = np.reshape(mean, ()), np.reshape(sd, ())
        return Units(self.transform, np.asarray(mean, np.float64), np.asarray(sd, np.float64), self.fill)

    def counted(self, values: FloatArray) -> FloatArray:
        """The values with NaN in place of those that do not count."""
        return values

    @abstractmethod
    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """(mean, sd) such that model units are (g(x) - mean)/sd."""


@dataclass(frozen=True)
class NoScaler(Scaler):
    """x as it is."""

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """0 and 1."""
        return np.zeros_like(moments.mean), np.ones_like(moments.mean)


@dataclass(frozen=True)
class ZScaler(Scaler):
    """(x - μ)/(5 σ)."""

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """μ and 5 σ."""
        return moments.mean, SPREADS * moments.sd


@dataclass(frozen=True)
class ZNoMeanScaler(Scaler):
    """x/(5 σ)."""

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """0 and 5 σ."""
        return np.zeros_like(moments.mean), SPREADS * moments.sd


@dataclass(frozen=True)
class ZThresholdScaler(ZScaler):
    """(x - μ)/(5 σ), both of the values above a threshold, in the variable's units."""

    threshold: float = -np.inf

    def counted(self, values: FloatArray) -> FloatArray:
        """Values above the threshold."""
        return np.where(values > self.threshold, values, np.nan)


@dataclass(frozen=True)
class MinMaxScaler(Scaler):
    """The training range onto [low, high]: by default 2 (x - min)/(max - min) - 1."""

    low: float = -1.0
    high: float = 1.0

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """What brings min to `low` and max to `high`."""
        if not self.low < self.high:
            raise UsageError(f"the range {self.low:g} to {self.high:g} is empty", "min_max scaler", "give low < high")
        sd = (moments.high - moments.low) / (self.high - self.low)
        return moments.low - self.low * sd, sd


@dataclass(frozen=True)
class MinMaxSeedScaler(Scaler):
    """2 ((x - min)/(max - min) - 1): [-2, 0], as the seed system has it."""

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """Max and half the range."""
        return moments.high, (moments.high - moments.low) / 2


@dataclass(frozen=True)
class LogScaler(Scaler):
    """log10(1 + x)/2: 99 mm are 1."""

    transform: ClassVar[Transform] = Transform.LOG10_1P

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """0 and 2, whatever the data."""
        return np.zeros_like(moments.mean), np.full_like(moments.mean, LARGEST_LOG)


@dataclass(frozen=True)
class SqrtScaler(Scaler):
    """√x/15."""

    transform: ClassVar[Transform] = Transform.SQRT

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """0 and 15, whatever the data."""
        return np.zeros_like(moments.mean), np.full_like(moments.mean, LARGEST_ROOT)


@dataclass(frozen=True)
class StandardScaler(Scaler):
    """(x - μ)/σ; missing values become 0, the mean."""

    fill: float | None = 0.0

    def affine(self, moments: Moments) -> tuple[FloatArray, FloatArray]:
        """μ and σ."""
        return moments.mean, moments.sd


@dataclass(frozen=True)
class UnitRangeScaler(MinMaxScaler):
    """The training range onto [0, 1]; missing values become -1."""

    fill: float | None = -1.0
    low: float = 0.0
    high: float = 1.0


SCALERS: dict[str, type[Scaler]] = {
    "none": NoScaler,
    "z": ZScaler,
    "z_no_mean": ZNoMeanScaler,
    "z_threshold": ZThresholdScaler,
    "min_max": MinMaxScaler,
    "min_max_seed": MinMaxSeedScaler,
    "log": LogScaler,
    "sqrt": SqrtScaler,
    "standard": StandardScaler,
    "unit_range": UnitRangeScaler,
}
"""By the name that a configuration gives. The last two are those of the family `dl4ds`, with its policy for NaN."""


def make_scaler(name: str, **options: Any) -> Scaler:
    """A scaler by its name, with the options of its class.

    Raises:
        UsageError: no such scaler, or an option that it has not.
    """
    if name not in SCALERS:
        raise UsageError(f"no scaler {name!r}", "data.scalers", f"use one of: {', '.join(SCALERS)}")
    known = [each.name for each in fields(SCALERS[name])]
    for option in options:
        if option not in known:
            raise UsageError(f"scaler {name} has no option {option!r}", "data.scalers", f"use: {', '.join(known)}")
    return SCALERS[name](**options)
