"""Colors of maps and the ends of their bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.variables import base_name

Values = npt.NDArray[Any]

ERROR_COLORS = "RdBu_r"  # diverging around 0; red and blue stay apart for every color vision
MISSING = "#d9d9d9"


@dataclass(frozen=True)
class Palette:
    """Colors of a field; `centered` puts the middle color on 0."""

    name: str
    centered: bool = False


_PALETTES: Mapping[str, Palette] = {
    "t2m": Palette("inferno"),
    "d2m": Palette("inferno"),
    "t": Palette("inferno"),
    "r2": Palette("YlGnBu"),
    "r": Palette("YlGnBu"),
    "q": Palette("YlGnBu"),
    "tp": Palette("YlGnBu"),
    "u10": Palette("PuOr_r", centered=True),
    "v10": Palette("PuOr_r", centered=True),
    "u": Palette("PuOr_r", centered=True),
    "v": Palette("PuOr_r", centered=True),
    "w": Palette("PuOr_r", centered=True),
    "sp": Palette("cividis"),
    "msl": Palette("cividis"),
}


def palette(variable: str) -> Palette:
    """Even steps of value are even steps of lightness, and no pair of colors needs full color vision."""
    return _PALETTES.get(base_name(variable), Palette("viridis"))


def field_limits(values: Values, centered: bool, tails: tuple[float, float] = (0.5, 99.5)) -> tuple[float, float]:
    """Ends of a color bar: percentiles, so that one cell does not bleach the map; symmetric where centered."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, tails))
    if centered:
        high = max(abs(low), abs(high))
        low = -high
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def error_limit(errors: Sequence[Values]) -> float:
    """Half width of the color bar of differences; 1 where there are none."""
    finite = np.concatenate([np.abs(error[np.isfinite(error)]).ravel() for error in errors]) if errors else np.zeros(0)
    return (float(np.percentile(finite, 99.5)) if finite.size else 0.0) or 1.0
