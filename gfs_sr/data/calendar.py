"""What a date alone tells a network: the season."""

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

SEASONS: Final = ("DJF", "MAM", "JJA", "SON")


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
