"""Variables computed from others: wind speed, relative humidity."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

# Magnus formula over water, WMO-No. 8 (2018), volume I, chapter 4, annex 4.B: degC and hPa
MAGNUS_A = 17.62
MAGNUS_B_DEGC = 243.12
ZERO_CELSIUS_K = 273.15


@dataclass(frozen=True)
class Recipe:
    """How a variable follows from others."""

    inputs: tuple[str, ...]
    compute: Callable[..., Array]
    note: str


def wind_speed(u: Array, v: Array) -> Array:
    """Length of the wind vector, m s-1."""
    return np.hypot(u, v, dtype=np.float32)


def relative_humidity(temperature: Array, dew_point: Array) -> Array:
    """Relative humidity over water in %, 0 to 100, from temperature and dew point in K.

    Source: Magnus formula over water of WMO-No. 8, annex 4.B; the pressure enhancement factor cancels.
    """
    exponents = [
        MAGNUS_A * celsius / (MAGNUS_B_DEGC + celsius)
        for celsius in (np.asarray(kelvin, np.float64) - ZERO_CELSIUS_K for kelvin in (dew_point, temperature))
    ]
    return np.clip(100.0 * np.exp(exponents[0] - exponents[1]), 0.0, 100.0).astype(np.float32)


RECIPES: dict[str, Recipe] = {
    "wspd": Recipe(("u10", "v10"), wind_speed, "the length of (u10, v10)"),
    "r2": Recipe(("t2m", "d2m"), relative_humidity, "t2m and d2m by the Magnus formula over water"),
}
