"""The noise in plain NumPy: the definition that the compiled core and the torch twin must equal, bit by bit."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Doubles = npt.NDArray[np.float64]

_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_LOW: Final = np.uint64(0xFFFFFFFF)

CENTRAL: Final = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
TAIL: Final = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
LOG_SERIES: Final = tuple(2.0 / (2 * n + 1) for n in range(10))
LN2: Final = 0.693147180559945309417
HALF_ROOT: Final = 0.707106781186547524401


def philox(counter: tuple[Words, ...], key: int) -> tuple[Words, ...]:
    """Four words of every counter (four arrays of one shape), by Philox4x32-10 with a 64-bit key.

    Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    words = [np.asarray(each, np.uint64) for each in counter]
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * words[0], _MULTIPLIERS[1] * words[2]
        words = [
            (second >> np.uint64(32)) ^ words[1] ^ np.uint64(low),
            second & _LOW,
            (first >> np.uint64(32)) ^ words[3] ^ np.uint64(high),
            first & _LOW,
        ]
        low, high = (low + _WEYL[0]) & 0xFFFFFFFF, (high + _WEYL[1]) & 0xFFFFFFFF
    return tuple(each.astype(np.uint32) for each in words)


def normal_of(words: Words) -> npt.NDArray[np.float32]:
    """The standard normal quantile of (word + 1/2) / 2³².

    Source: Wichura 1988, algorithm AS 241 (PPND16); logarithm and root are our own, for libraries differ in theirs.
    """
    q = (words.astype(np.float64) + 0.5) * 2.0**-32 - 0.5
    r = 0.180625 - q * q
    central = q * _polynomial(CENTRAL[0], r) / _polynomial(CENTRAL[1], r)
    r = _square_root(-_natural_log(0.5 - np.abs(q))) - 1.6
    tail = _polynomial(TAIL[0], r) / _polynomial(TAIL[1], r)
    chosen: npt.NDArray[np.float32] = np.where(np.abs(q) <= 0.425, central, np.where(q < 0, -tail, tail)).astype(
        np.float32
    )
    return chosen


def normals(key: int, lat: npt.NDArray[np.int32], lon: npt.NDArray[np.int32], step: int) -> npt.NDArray[np.float32]:
    """(H, W) normals; arguments as `noise.fill_normals`, the key as its word."""
    rows, columns = np.broadcast_arrays(lat.view(np.uint32)[:, None], lon.view(np.uint32)[None, :])
    block, none = np.full(rows.shape, step // 4, np.uint32), np.zeros(rows.shape, np.uint32)
    return normal_of(philox((rows, columns, block, none), key)[step % 4])


def channels(
    key: int, lat: npt.NDArray[np.int32], lon: npt.NDArray[np.int32], is_uniform: bool, count: int
) -> npt.NDArray[np.float32]:
    """(count, cells) numbers; arguments as `noise.fill_channels`."""
    rows, columns = lat.view(np.uint32), lon.view(np.uint32)
    none = np.zeros(rows.shape, np.uint32)
    words = [philox((rows, columns, np.full_like(none, c // 4), none), key)[c % 4] for c in range(count)]
    drawn = np.stack(words)
    return (drawn >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24) if is_uniform else normal_of(drawn)


def _polynomial(coefficients: tuple[float, ...], x: Doubles) -> Doubles:
    total: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return np.asarray(total)


def _square_root(x: Doubles) -> Doubles:
    root = 1.204 + 0.1564 * x  # of what a tail's logarithm can be, 2.5 to 23
    for _ in range(5):
        root = 0.5 * (root + x / root)
    return root


def _natural_log(x: Doubles) -> Doubles:
    fraction, exponent = np.frexp(x)
    small = fraction < HALF_ROOT
    fraction, exponent = np.where(small, fraction * 2.0, fraction), np.where(small, exponent - 1, exponent)
    s = (fraction - 1.0) / (fraction + 1.0)
    return np.asarray(s * _polynomial(LOG_SERIES, s * s) + exponent * LN2)
