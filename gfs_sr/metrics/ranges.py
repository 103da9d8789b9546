"""The one table of thresholds, ranges and bins by variable, in the variable's canonical units."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.variables import base_name

_ZERO_C = 273.15  # K


@dataclass(frozen=True)
class Ranges:
    """What counts as an event, a class and a bin of one variable."""

    thresholds: tuple[float, ...]  # events are values at or above
    ranges: tuple[tuple[float, float], ...]  # classes low <= value < high, of conditional scores
    bins: tuple[float, float]  # ends of histograms
    domain_ranges: tuple[tuple[float, float], ...] = ((-inf, inf),)  # classes of domain means
    log_bins: bool = False  # equal steps in log10
    least_mean: float = -inf  # frames whose true domain mean is not above it have no spectrum worth comparing
    least_truth: float = 0.0  # relative errors leave out cells whose truth is not above it; 0 where they make no sense
    amount: bool = False  # zero or more, and comes in objects

    def edges(self, count: int) -> FloatArray:
        """(count + 1,) edges of the histogram's bins."""
        low, high = self.bins
        edges: FloatArray = np.geomspace(low, high, count + 1) if self.log_bins else np.linspace(low, high, count + 1)
        return edges


def _celsius(*values: float) -> tuple[float, ...]:
    return tuple(value + _ZERO_C for value in values)


def _classes(*edges: float) -> tuple[tuple[float, float], ...]:
    return tuple(pairwise(edges))


_TEMPERATURE = Ranges(
    thresholds=_celsius(0, 10, 20, 30),
    ranges=_classes(-inf, *_celsius(-20, -10, 0, 10, 20, 30), inf),
    bins=(_ZERO_C - 30, _ZERO_C + 42),
)
_HUMIDITY = Ranges((30.0, 50.0, 70.0, 90.0), _classes(0, 30, 50, 70, 90, inf), (0.0, 100.0))
# Beaufort 4, 6, 8, 10: moderate breeze, strong breeze, gale, storm (WMO-No. 8)
_WIND = Ranges((5.5, 10.8, 17.2, 24.5), _classes(0, 5.5, 10.8, 17.2, 24.5, inf), (0.0, 40.0), least_truth=0.5)
_COMPONENT = Ranges((5.5, 10.8, 17.2), _classes(-inf, -10.8, -5.5, 0, 5.5, 10.8, inf), (-40.0, 40.0))
_SEA_LEVEL = Ranges(
    (99000.0, 100000.0, 101300.0, 102500.0), _classes(-inf, 99000, 100000, 101300, 102500, inf), (95000.0, 105000.0)
)
_SURFACE_PRESSURE = Ranges(
    (70000.0, 85000.0, 95000.0, 100000.0), _classes(-inf, 70000, 85000, 95000, 100000, inf), (50000.0, 105000.0)
)

RANGES: dict[str, Ranges] = {
    "t2m": _TEMPERATURE,
    "d2m": _TEMPERATURE,
    "t": _TEMPERATURE,
    "r2": _HUMIDITY,
    "r": _HUMIDITY,
    "wspd": _WIND,
    "u10": _COMPONENT,
    "v10": _COMPONENT,
    "u": _COMPONENT,
    "v": _COMPONENT,
    "sp": _SURFACE_PRESSURE,
    "msl": _SEA_LEVEL,
    "tp": Ranges(
        thresholds=(0.5, 1.0, 2.0, 5.0),
        ranges=_classes(0, 1, 10, 25, 50, 200),
        bins=(0.5, 200.0),
        domain_ranges=((-0.2, 10.0), (-0.1, 2.0), (2.0, 10.0), (5.0, 10.0)),
        log_bins=True,
        least_mean=0.02,
        least_truth=0.1,
        amount=True,
    ),
    "q": Ranges((2e-3, 5e-3, 1e-2), _classes(0, 2e-3, 5e-3, 1e-2, inf), (0.0, 0.025), least_truth=1e-4),
}
"""By canonical name without level. The classes of precipitation and temperature are those of the seed systems; events
of precipitation are per frame of the data."""


def ranges_of(variable: str) -> Ranges | None:
    """The row of a variable, levels as `t@850`; None where it has none."""
    return RANGES.get(base_name(variable))
