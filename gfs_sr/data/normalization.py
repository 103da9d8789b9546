"""Statistics per channel: fitted over any number of files, merged, applied, inverted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.moments import Moments
from gfs_sr.errors import MissingVariable, ShapeMismatch

EPSILON = 1e-6  # added to the spread, as in the seed system, so that a constant field stays finite
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean and sum of squared deviations of each variable; missing values are not counted."""

    variables: tuple[str, ...]
    count: FloatArray  # (C,)
    mean: FloatArray  # (C,)
    squares: FloatArray  # (C,) sum of (x - mean)²

    @classmethod
    def empty(cls, variables: Sequence[str]) -> "Statistics":
        """Before any value was seen."""
        zeros = np.zeros(len(variables))
        return cls(tuple(variables), zeros, zeros, zeros)

    @property
    def sd(self) -> FloatArray:
        """(C,) population standard deviation, in each variable's units; NaN before any value."""
        with np.errstate(invalid="ignore"):
            spread: FloatArray = np.sqrt(self.squares / self.count)
        return spread

    def update(self, values: npt.NDArray[Any]) -> "Statistics":
        """With the values of (..., C, H, W) counted too; files may come in any number and order."""
        if values.ndim < 3 or values.shape[-3] != len(self.variables):
            raise ShapeMismatch(
                f"values have shape {values.shape}", "statistics", f"give (..., {len(self.variables)}, H, W)"
            )
        columns = np.moveaxis(np.asarray(values), -3, 0).reshape(len(self.variables), -1)
        return self.merge(self._of(Moments.of(columns, axes=(1,))))

    def merge(self, other: "Statistics") -> "Statistics":
        """Of both sets of values together; order does not matter."""
        if other.variables != self.variables:
            raise ShapeMismatch(
                f"variables {', '.join(other.variables)} against {', '.join(self.variables)}",
                "merging statistics",
                "fit both over the same variables in the same order",
            )
        return self._of(self._moments().merge(other._moments()))

    def _moments(self) -> Moments:
        unknown = np.full_like(self.mean, np.nan)  # the range is not kept
        return Moments(self.count, self.mean, self.squares, unknown, unknown)

    def _of(self, moments: Moments) -> "Statistics":
        return Statistics(self.variables, moments.count.ravel(), moments.mean.ravel(), moments.squares.ravel())

    def select(self, variables: Sequence[str]) -> "Statistics":
        """Of these variables, in this order.

        Raises:
            MissingVariable: one was not fitted.
        """
        for name in variables:
            if name not in self.variables:
                raise MissingVariable(
                    f"no statistics for {name}", f"statistics of {', '.join(self.variables)}", "fit them over its files"
                )
        at = [self.variables.index(name) for name in variables]
        return Statistics(tuple(variables), self.count[at], self.mean[at], self.squares[at])

    def apply(self, values: npt.NDArray[Any]) -> FloatArray:
        """(..., C, H, W) -> z = (x - mean)/(sd + 1e-6)."""
        return (values - self.mean[:, None, None]) / (self.sd + EPSILON)[:, None, None]

    def invert(self, normalized: npt.NDArray[Any]) -> FloatArray:
        """(..., C, H, W) -> x = z·(sd + 1e-6) + mean."""
        return normalized * (self.sd + EPSILON)[:, None, None] + self.mean[:, None, None]

    def to_json(self) -> str:
        """Every digit is kept."""
        rows = zip(self.variables, self.count, self.mean, self.squares, strict=True)
        table = {name: {"count": float(n), "mean": float(m), "squares": float(q)} for name, n, m, q in rows}
        return json.dumps(table, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Statistics":
        """What `to_json` wrote."""
        table = json.loads(text)
        columns = {key: np.array([row[key] for row in table.values()]) for key in ("count", "mean", "squares")}
        return cls(tuple(table), **columns)

    @classmethod
    def from_mean_sd(cls, table: Mapping[str, tuple[float, float]]) -> "Statistics":
        """Of published means and standard deviations, as if of one value each."""
        pairs = np.array(list(table.values()))
        return cls(tuple(table), np.ones(len(table)), pairs[:, 0], pairs[:, 1] ** 2)


PRESETS: dict[str, Statistics] = {
    # training statistics published with the seed system: GFS 0.25 degrees over 40..5N, 65..100E, 2021-03 to 2024-08
    "gfs-india-025": Statistics.from_mean_sd(
        {
            "t2m": (293.0729197700678, 13.56529365759948),
            "d2m": (283.101600177782, 15.744816246597889),
            "r2": (59.41584765500726, 25.04243543477699),
            "wspd": (4.106169961861775, 2.802658192207269),
            "sp": (89060.83222720977, 16580.295624282222),
        }
    ),
}
