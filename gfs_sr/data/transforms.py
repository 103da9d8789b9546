"""Pointwise transforms of physical values: what a variable is brought to before its affine normalization.

The logarithm and its inverse are sums and products of float64 in a fixed order, so that NumPy and the compiled core
give the same bits on every processor (csrc/transforms.h holds the same lines); no mathematical library does.
"""

from enum import StrEnum
from math import factorial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LOG10_OF_2: Final = 0.30102999566398119521
LOG10_OF_E: Final = 0.43429448190325182765
LOG2_OF_10: Final = 3.32192809488736234787
LN_OF_2: Final = 0.69314718055994530942
LARGEST_LOG: Final = 40.0  # 10^40 is beyond float32
_HALF_ROOT: Final = np.uint64(0x3FE6A09E667F3BCD)  # bits of the square root of one half
_COUNT: Final = 2.0**52  # added to a whole number below 2^52, the sum's low bits are that number
_ROUND: Final = 1.5 * 2.0**52  # added to a double below 2^51, the sum is rounded to a whole number
_ARTANH: Final = tuple(1 / (2 * n + 1) for n in range(8, -1, -1))  # of s^16 to s^0; s <= 0.172, so 1e-15 is left out
_EXPM1: Final = tuple(1 / factorial(n) for n in range(12, 0, -1))  # of f^11 to f^0; f <= 0.347, so 1e-15 is left out


class Transform(StrEnum):
    """How a variable's values are bent before (g(x) - mean)/sd; the order is that of the compiled core's codes."""

    LINEAR = "linear"  # g(x) = x
    LOG10_1P = "log10_1p"  # g(x) = log10(1 + x), of amounts: x below 0 counts as 0
    SQRT = "sqrt"  # g(x) = √x, of amounts: x below 0 counts as 0

    @property
    def code(self) -> int:
        """Of the compiled core."""
        return list(Transform).index(self)

    def forward(self, values: npt.NDArray[Any]) -> FloatArray:
        """g(x), float64; NaN stays NaN."""
        x = np.asarray(values, np.float64)
        if self is Transform.LINEAR:
            return x
        amount = np.where(x > 0, x, 0.0)
        bent = _log10_1p(amount) if self is Transform.LOG10_1P else np.sqrt(amount)
        return np.where(np.isnan(x), np.nan, bent)

    def inverse(self, values: npt.NDArray[Any]) -> FloatArray:
        """The x with g(x) = `values`, float64, never below 0 but for LINEAR; NaN stays NaN."""
        bent = np.asarray(values, np.float64)
        if self is Transform.LINEAR:
            return bent
        positive = np.where(bent > 0, bent, 0.0)
        x = _power_of_10_less_1(positive) if self is Transform.LOG10_1P else positive * positive
        return np.where(np.isnan(bent), np.nan, x)


def _log10_1p(x: FloatArray) -> FloatArray:
    """log10(1 + x) of x >= 0: 1 + x = 2^k·m with m in [√½, √2), and ln m = 2·artanh((m - 1)/(m + 1))."""
    bits = (1.0 + x).view(np.uint64)
    k = (bits - _HALF_ROOT) >> np.uint64(52)
    mantissa = (bits - (k << np.uint64(52))).view(np.float64)
    exponent = (k + np.float64(_COUNT).view(np.uint64)).view(np.float64) - _COUNT
    f = np.where(k == 0, x, mantissa - 1.0)  # x itself keeps the digits that 1 + x loses
    s = f / (2.0 + f)
    square = s * s
    series = np.full_like(s, _ARTANH[0])
    for coefficient in _ARTANH[1:]:
        series = series * square + coefficient
    logarithm: FloatArray = exponent * LOG10_OF_2 + 2 * LOG10_OF_E * s * series
    return logarithm


def _power_of_10_less_1(u: FloatArray) -> FloatArray:
    """10^u - 1 of u >= 0: 10^u = 2^k·e^f with f within ± ln 2 / 2, and the series of e^f - 1."""
    t = np.minimum(u, LARGEST_LOG) * LOG2_OF_10
    rounded = t + _ROUND
    f = (t - (rounded - _ROUND)) * LN_OF_2
    series = np.full_like(f, _EXPM1[0])
    for coefficient in _EXPM1[1:]:
        series = series * f + coefficient
    k = rounded.view(np.uint64) - np.float64(_ROUND).view(np.uint64)
    power = ((k + np.uint64(1023)) << np.uint64(52)).view(np.float64)
    less_1: FloatArray = (power - 1.0) + power * (f * series)
    return less_1
