"""The runtime's noise on torch tensors, bit by bit the same on every device: see `gfs_sr.runtime.noise_reference`."""

from typing import Final

import torch
from torch import Tensor

MASK: Final = 0xFFFFFFFF
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
WEYL: Final = (0x9E3779B9, 0xBB67AE85)
ROUNDS: Final = 10
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


def normals(key: int, lat: Tensor, lon: Tensor, step: int) -> Tensor:
    """Standard normals of every cell at one step of a sampler.

    Args:
        key: 64 bits, as `gfs_sr.runtime.noise.NoiseKey.word` makes them.
        lat: (H,) whole microdegrees, any integer type.
        lon: (W,) whole microdegrees, from 0 to 360 degrees.
        step: of the sampler.

    Returns:
        (H, W) float32 on the device of `lat`.

    Source: Philox4x32-10 of Salmon et al. 2011; algorithm AS 241 of Wichura 1988.
    """
    rows = (lat.long()[:, None] & MASK).expand(-1, lon.shape[0])
    columns = (lon.long()[None, :] & MASK).expand(lat.shape[0], -1)
    words = [rows, columns, torch.full_like(rows, step // 4), torch.zeros_like(rows)]
    low, high = key & MASK, key >> 32
    for _ in range(ROUNDS):
        (first_high, first), (second_high, second) = (
            _product(MULTIPLIERS[0], words[0]),
            _product(MULTIPLIERS[1], words[2]),
        )
        words = [second_high ^ words[1] ^ low, second, first_high ^ words[3] ^ high, first]
        low, high = (low + WEYL[0]) & MASK, (high + WEYL[1]) & MASK
    return normal_of(words[step % 4])


def normal_of(word: Tensor) -> Tensor:
    """The standard normal quantile of (word + 1/2) / 2³², float32."""
    q = (word.double() + 0.5) * 2.0**-32 - 0.5
    r = 0.180625 - q * q
    central = q * _polynomial(CENTRAL[0], r) / _polynomial(CENTRAL[1], r)
    r = _square_root(-_natural_log(0.5 - q.abs())) - 1.6
    tail = _polynomial(TAIL[0], r) / _polynomial(TAIL[1], r)
    return torch.where(q.abs() <= 0.425, central, torch.where(q < 0, -tail, tail)).float()


def _product(multiplier: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a product of 32-bit words: 64-bit integers are signed here, so in two halves."""
    by_low = (multiplier & 0xFFFF) * word  # 48 bits
    by_high = (multiplier >> 16) * word + (by_low >> 16)  # 49 bits
    return by_high >> 16, ((by_high & 0xFFFF) << 16) | (by_low & 0xFFFF)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _square_root(x: Tensor) -> Tensor:
    root = 1.204 + 0.1564 * x  # of what a tail's logarithm can be, 2.5 to 23
    for _ in range(5):
        root = 0.5 * (root + x / root)
    return root


def _natural_log(x: Tensor) -> Tensor:
    fraction, exponent = torch.frexp(x)
    small = fraction < HALF_ROOT
    fraction, exponent = torch.where(small, fraction * 2.0, fraction), torch.where(small, exponent - 1, exponent)
    s = (fraction - 1.0) / (fraction + 1.0)
    return s * _polynomial(LOG_SERIES, s * s) + exponent.double() * LN2
