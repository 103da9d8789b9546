"""The one distribution whose every denoised field is known: independent normals of a given spread."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SD = 0.5


def denoise(x: Any, sigma: float) -> Any:
    """The mean of N(0, SD^2) given x = y + sigma n."""
    return x * (SD * SD / (sigma * sigma + SD * SD))


def exact(x: npt.NDArray[np.float64], sigma: float, end: float) -> npt.NDArray[np.float64]:
    """Where the probability-flow equation takes x from level `sigma` to level `end`.

    dx/x = sigma d sigma / (sigma^2 + SD^2), so x grows as the square root of sigma^2 + SD^2.
    """
    return x * math.sqrt((end * end + SD * SD) / (sigma * sigma + SD * SD))
