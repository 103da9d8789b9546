"""Registered interpolations in NumPy float64: the baselines of every score.

Space: fine index i lies at u(i) = i/s for `node`, (i + 1/2)/s - 1/2 for `cell`, in coarse index units. Time: fine frame
n lies at v(n) = n/r.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Registration
from gfs_sr.data.missing import fill_nearest

FloatArray = npt.NDArray[np.float64]
Values = npt.NDArray[Any]

KEYS_A = -0.5  # Keys 1981 (IEEE ASSP 29): the one value that reproduces quadratic fields
LANCZOS_LOBES = 4  # 8 by 8 taps


class Closure(StrEnum):
    """What a stencil reads beyond the end of an axis."""

    EDGE = "edge"  # the end value again: what the runtime's halo holds, so what a model's residual base equals
    RAMP = "ramp"  # the end slope continued: a linear field stays exact up to the last coarse point, and beyond it


def positions(length: int, scale_factor: int, registration: Registration) -> FloatArray:
    """(s·length,) fine indices in coarse index units."""
    fine = np.arange(length * scale_factor, dtype=np.float64)
    if registration is Registration.NODE:
        return fine / scale_factor
    return (fine + 0.5) / scale_factor - 0.5


# Kernels: fraction (N,) in [0, 1) past the base point -> weights (N, taps) of the points from base + first on.
def _nearest_weights(fraction: FloatArray) -> FloatArray:
    upper = (fraction >= 0.5).astype(np.float64)
    return np.stack([1 - upper, upper], axis=1)


def _linear_weights(fraction: FloatArray) -> FloatArray:
    return np.stack([1 - fraction, fraction], axis=1)


def keys_weights(fraction: FloatArray, a: float = KEYS_A) -> FloatArray:
    """(N, 4) weights of Keys' cubic convolution, eq. 4, for the points -1, 0, 1, 2 around the base."""
    distance = np.abs(fraction[:, None] - np.arange(-1.0, 3.0))
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _lanczos_weights(fraction: FloatArray) -> FloatArray:
    distance = fraction[:, None] - np.arange(1.0 - LANCZOS_LOBES, LANCZOS_LOBES + 1.0)
    weights = np.sinc(distance) * np.sinc(distance / LANCZOS_LOBES)
    normalized: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return normalized


@dataclass(frozen=True)
class Kernel:
    """A local interpolation: tap weights as a function of the fraction past the base point."""

    weights: Callable[[FloatArray], FloatArray]
    first: int  # offset of the first tap from the base point


SPACE: dict[str, Kernel] = {
    "nearest": Kernel(_nearest_weights, 0),
    "bilinear": Kernel(_linear_weights, 0),
    "bicubic": Kernel(keys_weights, -1),
    "lanczos": Kernel(_lanczos_weights, 1 - LANCZOS_LOBES),
}


def resample_axis(
    values: Values,
    units: FloatArray,
    kernel: Kernel,
    axis: int,
    periodic: bool = False,
    closure: Closure = Closure.EDGE,
) -> FloatArray:
    """`values` at the positions `units`, coarse index units, along one axis, which may lie beyond its ends."""
    base = np.floor(units).astype(np.int64)
    weights = kernel.weights(units - base)
    source = np.moveaxis(np.asarray(values, np.float64), axis, 0)
    result = np.zeros((units.size, *source.shape[1:]))
    for tap in range(weights.shape[1]):
        weight = weights[:, tap].reshape(-1, *[1] * (source.ndim - 1))
        if weight.any():
            result += weight * _take(source, base + kernel.first + tap, periodic, closure)
    resampled: FloatArray = np.moveaxis(result, 0, axis)
    return resampled


def _take(source: FloatArray, index: npt.NDArray[np.int64], periodic: bool, closure: Closure) -> FloatArray:
    length = source.shape[0]
    if periodic:
        wrapped: FloatArray = source[index % length]
        return wrapped
    inside = np.clip(index, 0, length - 1)
    taken: FloatArray = source[inside]
    if closure is Closure.RAMP and length > 1:
        beyond = (index - inside).reshape(-1, *[1] * (source.ndim - 1))
        low, high = source[1] - source[0], source[-1] - source[-2]
        taken = taken + np.minimum(beyond, 0) * low + np.maximum(beyond, 0) * high
    return taken


def upsample_space(
    coarse: Values,
    scale_factor: int,
    registration: Registration,
    method: str = "bicubic",
    *,
    periodic: bool = False,
    closure: Closure = Closure.EDGE,
) -> FloatArray:
    """Interpolate to the full extent of the fine cells.

    Args:
        coarse: (..., H, W); NaN cells are filled from the nearest valid one and masked again after.
        scale_factor: s.
        registration: where fine cells lie.
        method: a name of `SPACE`.
        periodic: longitudes go once around the globe.
        closure: what stencils read beyond the ends.

    Returns:
        (..., s·H, s·W), float64.
    """
    filled, mask = fill_nearest(np.asarray(coarse, np.float64), periodic)
    fine = filled
    for axis, wraps in ((-2, False), (-1, periodic)):
        units = positions(coarse.shape[axis], scale_factor, registration)
        fine = resample_axis(fine, units, SPACE[method], axis, wraps, closure)
    if mask.any():
        fine[upsample_mask(mask, scale_factor, registration, periodic)] = np.nan
    return fine


def upsample_mask(
    mask: npt.NDArray[np.bool_], scale_factor: int, registration: Registration, periodic: bool = False
) -> npt.NDArray[np.bool_]:
    """(..., s·H, s·W): true where the nearest coarse cell of `mask` (..., H, W) is."""
    fine: Values = mask.astype(np.float64)
    for axis, wraps in ((-2, False), (-1, periodic)):
        fine = resample_axis(
            fine, positions(mask.shape[axis], scale_factor, registration), SPACE["nearest"], axis, wraps
        )
    nearest: npt.NDArray[np.bool_] = fine > 0.5
    return nearest


def nearest(coarse: Values, scale_factor: int, registration: Registration, *, periodic: bool = False) -> FloatArray:
    """(..., H, W) -> (..., s·H, s·W): the nearest coarse cell; halfway, the southern or eastern one."""
    return upsample_space(coarse, scale_factor, registration, "nearest", periodic=periodic)


def bilinear(coarse: Values, scale_factor: int, registration: Registration, *, periodic: bool = False) -> FloatArray:
    """(..., H, W) -> (..., s·H, s·W): linear between the four coarse cells around."""
    return upsample_space(coarse, scale_factor, registration, "bilinear", periodic=periodic)


def bicubic(coarse: Values, scale_factor: int, registration: Registration, *, periodic: bool = False) -> FloatArray:
    """(..., H, W) -> (..., s·H, s·W): Keys' cubic convolution, a = -1/2."""
    return upsample_space(coarse, scale_factor, registration, "bicubic", periodic=periodic)


def lanczos(coarse: Values, scale_factor: int, registration: Registration, *, periodic: bool = False) -> FloatArray:
    """(..., H, W) -> (..., s·H, s·W): Lanczos with four lobes, weights normalized to 1."""
    return upsample_space(coarse, scale_factor, registration, "lanczos", periodic=periodic)


def hold(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE) -> FloatArray:
    """(T, ...) -> (r·T, ...): the last coarse frame that is not later."""
    return np.repeat(np.asarray(coarse, np.float64), time_factor, axis=0)


def linear(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE) -> FloatArray:
    """(T, ...) -> (r·T, ...): linear between the frames around."""
    return _local_in_time(coarse, time_factor, SPACE["bilinear"], closure)


def catmull_rom(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE) -> FloatArray:
    """(T, ...) -> (r·T, ...): cubic Hermite with centered differences, which is Keys' kernel at a = -1/2."""
    return _local_in_time(coarse, time_factor, SPACE["bicubic"], closure)


def _local_in_time(coarse: Values, time_factor: int, kernel: Kernel, closure: Closure) -> FloatArray:
    units = positions(coarse.shape[0], time_factor, Registration.NODE)
    if closure is Closure.RAMP:
        # a slope carried on for hours is no forecast: after the last frame the value is held
        units = np.minimum(units, coarse.shape[0] - 1)
    return resample_axis(coarse, units, kernel, 0, closure=closure)


def natural_spline(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE) -> FloatArray:
    """(T, ...) -> (r·T, ...): the cubic spline without curvature at its ends, held after the last frame."""
    frames = coarse.shape[0]
    units = np.minimum(positions(frames, time_factor, Registration.NODE), frames - 1)
    return np.tensordot(natural_spline_matrix(frames, units), np.asarray(coarse, np.float64), axes=1)


def natural_spline_matrix(frames: int, units: FloatArray) -> FloatArray:
    """(N, T): values at `units` (N,), within 0 ... T - 1, as weights of the T knots 0, 1, ..., T - 1."""
    values = np.eye(frames)
    if frames < 3:
        return resample_axis(values, units, SPACE["bilinear"], 0)
    inner = frames - 2
    system = 4 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)
    curvature = np.zeros((frames, frames))
    curvature[1:-1] = np.linalg.solve(system, 6 * (values[:-2] - 2 * values[1:-1] + values[2:]))
    base = np.minimum(np.floor(units).astype(np.int64), frames - 2)
    right = (units - base)[:, None]
    left = 1 - right
    spline: FloatArray = (
        left * values[base]
        + right * values[base + 1]
        + ((left**3 - left) * curvature[base] + (right**3 - right) * curvature[base + 1]) / 6
    )
    return spline


def pchip(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE) -> FloatArray:
    """(T, ...) -> (r·T, ...): monotone cubic Hermite, held after the last frame.

    Source: Fritsch & Butland 1984 (SIAM J. Sci. Stat. Comput. 5): slopes are harmonic means of the secants, 0 at an
    extremum; one-sided three-point slopes at the ends, limited so that the end intervals stay monotone.
    """
    values = np.asarray(coarse, np.float64)
    frames = values.shape[0]
    if frames < 3:
        return linear(values, time_factor)
    secant = np.diff(values, axis=0)
    slope = np.empty_like(values)
    before, after = secant[:-1], secant[1:]
    same_sign = before * after > 0
    total = np.where(same_sign, before + after, 1.0)
    slope[1:-1] = np.where(same_sign, 2 * before * after / total, 0.0)
    slope[0] = _end_slope(secant[0], secant[1])
    slope[-1] = _end_slope(secant[-1], secant[-2])
    units = np.minimum(positions(frames, time_factor, Registration.NODE), frames - 1)
    base = np.minimum(np.floor(units).astype(np.int64), frames - 2)
    t = (units - base).reshape(-1, *[1] * (values.ndim - 1))
    fine: FloatArray = (
        (1 + 2 * t) * (1 - t) ** 2 * values[base]
        + t * (1 - t) ** 2 * slope[base]
        + t**2 * (3 - 2 * t) * values[base + 1]
        + t**2 * (t - 1) * slope[base + 1]
    )
    return fine


def _end_slope(near: FloatArray, next_one: FloatArray) -> FloatArray:
    slope = (3 * near - next_one) / 2
    slope = np.where(slope * near <= 0, 0.0, slope)
    overshoots = (near * next_one < 0) & (np.abs(slope) > 3 * np.abs(near))
    limited: FloatArray = np.where(overshoots, 3 * near, slope)
    return limited


TimeMethod = Callable[[Values, int, Closure], FloatArray]

TIME: dict[str, TimeMethod] = {
    "hold": hold,
    "linear": linear,
    "catmull_rom": catmull_rom,
    "natural_spline": natural_spline,
    "pchip": pchip,
}


@dataclass(frozen=True)
class Baseline:
    """A pair of interpolations, time on the coarse frames first, then space."""

    space: str
    time: str

    @property
    def name(self) -> str:
        """`space/time`."""
        return f"{self.space}/{self.time}"

    def __call__(
        self,
        coarse: Values,
        scale_factor: int,
        time_factor: int,
        registration: Registration,
        *,
        periodic: bool = False,
        closure: Closure = Closure.RAMP,
    ) -> FloatArray:
        """(T, ..., H, W) -> (r·T, ..., s·H, s·W), full extent; a single frame is held.

        The default closure keeps a linear field exact in the whole hull; EDGE gives what an untrained model gives.
        """
        frames = TIME[self.time](coarse, time_factor, closure)
        return upsample_space(frames, scale_factor, registration, self.space, periodic=periodic, closure=closure)


BASELINES: dict[str, Baseline] = {f"{space}/{time}": Baseline(space, time) for space in SPACE for time in TIME}
"""Every pair, by name such as `bicubic/linear`."""

HEADLINE = tuple(f"{s}/{t}" for s in ("bilinear", "bicubic") for t in ("linear", "catmull_rom", "natural_spline"))
"""The six that skill refers to; the rest is shown beside them."""

SEED_METHODS: dict[str, Baseline] = {
    "bicubic": Baseline("bicubic", "hold"),
    "tempinterp": Baseline("nearest", "natural_spline"),
    "st_combined": Baseline("bicubic", "natural_spline"),
    "linear": Baseline("bicubic", "linear"),
    "monotone": Baseline("bicubic", "pchip"),
}
"""The seed system's method names, registered."""
