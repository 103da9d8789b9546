"""Values as a forecaster reads them: units, digits, degrees."""

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from gfs_sr.data.variables import lookup

Values = npt.NDArray[Any]

MINUS = "\u2212"


@dataclass(frozen=True)
class Display:
    """A variable as a forecaster reads it: shown = factor · canonical + offset."""

    units: str
    factor: float = 1.0
    offset: float = 0.0
    error_units: str = ""  # of differences, where they differ (°C and K)

    def field(self, values: Values | float) -> Any:
        """Canonical values, shown."""
        return values * self.factor + self.offset

    def error(self, values: Values | float) -> Any:
        """Canonical differences, shown."""
        return values * self.factor

    @property
    def difference(self) -> str:
        """Units of a difference."""
        return self.error_units or self.units


def display(variable: str) -> Display:
    """°C, hPa, g/kg and mm where the table has K, Pa, kg/kg and kg m-2."""
    units = lookup(variable).units
    known = {
        "K": Display("°C", 1.0, -273.15, "K"),
        "Pa": Display("hPa", 0.01),
        "kg kg-1": Display("g kg⁻¹", 1000.0),
        "kg m-2": Display("mm"),
    }
    return known.get(units, Display(superscript(units)))


def range_in_words(variable: str, low: float, high: float) -> str:
    """A range of canonical values, shown: `0 to 10 °C`, `below −20 °C`, `30 °C and more`."""
    shown = display(variable)
    ends = [number(float(shown.field(end)), 4) for end in (low, high)]
    if math.isinf(low):
        return f"below {ends[1]} {shown.units}"
    return f"{ends[0]} {shown.units} and more" if math.isinf(high) else f"{ends[0]} to {ends[1]} {shown.units}"


def superscript(units: str) -> str:
    """`m s-1` -> `m s⁻¹`."""
    return units.replace("-1", "⁻¹").replace("-2", "⁻²")


def percent(value: float, digits: int = 0) -> str:
    """A share as a reader writes it."""
    return f"{value:.{digits}%}".replace("-", MINUS)


def number(value: float, digits: int = 3) -> str:
    """Significant digits with a true minus; no exponent where the digits before the point are few enough to read."""
    readable = 10**digits <= abs(value) < 1e6
    return (f"{value:.0f}" if readable else f"{value:.{digits}g}").replace("-", MINUS)


def measured(value: float, digits: int = 3) -> str:
    """As `number`, with the zeros that were measured: 0.860 beside 0.893."""
    if 10**digits <= abs(value) < 1e6:
        return number(value, digits)
    return f"{value:#.{digits}g}".rstrip(".").replace("-", MINUS)


def on_a_bar(value: float, span: float) -> str:
    """The end of a color bar: as many digits as its length asks for, so that next to nothing is 0."""
    decimals = max(0, 2 - math.floor(math.log10(span))) if span > 0 else 3
    return f"{round(value, decimals) + 0.0:g}".replace("-", MINUS)


def degrees(value: float, positive: str, negative: str) -> str:
    """`4.5°W`."""
    return f"{abs(round(value, 6)):g}°{positive if value > 1e-9 else negative if value < -1e-9 else ''}"
