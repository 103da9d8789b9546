"""What a date alone tells a network: the season, the place in the training period, the day of the year."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

SEASONS: Final = ("DJF", "MAM", "JJA", "SON")
DAYS_OF_A_YEAR: Final = 365.25
TIME_INPUTS: Final = ("position", "day_of_year_sin", "day_of_year_cos")


def season_of(time: np.datetime64) -> int:
    """Index into `SEASONS` by the month."""
    month = int(time.astype("datetime64[M]").astype(np.int64)) % 12 + 1
    return month % 12 // 3


def season_one_hot(times: Times) -> FloatArray:
    """(4,): 1 for the season of the centre frame of `times` (T,), the earlier of two; 0 for the others."""
    centre = np.atleast_1d(times)[(np.atleast_1d(times).size - 1) // 2]
    hot = np.zeros(len(SEASONS))
    hot[season_of(centre)] = 1.0
    return hot


def time_inputs(times: Times, period: tuple[np.datetime64, np.datetime64]) -> FloatArray:
    """(T, 3): place in the training period, 0 at its first and 1 at its last time; sine and cosine of the day of year.

    The day of the year counts from 1 January 00 UTC of the time's own year, in fractions, and a year has 365.25 days.
    """
    moments = np.atleast_1d(times).astype("datetime64[ns]")
    first, last = (end.astype("datetime64[ns]") for end in period)
    length = max(_days(last - first), 1e-9)
    days = _days(moments - moments.astype("datetime64[Y]"))
    angle = 2 * np.pi * days / DAYS_OF_A_YEAR
    return np.stack([_days(moments - first) / length, np.sin(angle), np.cos(angle)], axis=-1)


def _days(span: Any) -> Any:
    return span / np.timedelta64(86_400_000_000_000, "ns")
