"""Interpolations in time of the coarse frames, before any in space: fine frame n lies at n/r in coarse frame units.

After the last coarse frame its values are held: a slope carried on for hours is no forecast.
"""

from collections.abc import Callable

import numpy as np

from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.optical_flow import frames_at
from gfs_sr.data.resampling import SPACE, Closure, Kernel, Values, positions, resample_axis


def hold(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE, periodic: bool = False) -> FloatArray:
    """(T, ...) -> (r·T, ...): the last coarse frame that is not later."""
    return np.repeat(np.asarray(coarse, np.float64), time_factor, axis=0)


def linear(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE, periodic: bool = False) -> FloatArray:
    """(T, ...) -> (r·T, ...): linear between the frames around."""
    return _local(coarse, time_factor, SPACE["bilinear"], closure)


def catmull_rom(
    coarse: Values, time_factor: int, closure: Closure = Closure.EDGE, periodic: bool = False
) -> FloatArray:
    """(T, ...) -> (r·T, ...): cubic Hermite with centered differences, which is Keys' kernel at a = -1/2."""
    return _local(coarse, time_factor, SPACE["bicubic"], closure)


def _local(coarse: Values, time_factor: int, kernel: Kernel, closure: Closure) -> FloatArray:
    units = positions(coarse.shape[0], time_factor, Registration.NODE)
    if closure is Closure.RAMP:
        units = np.minimum(units, coarse.shape[0] - 1)
    return resample_axis(coarse, units, kernel, 0, closure=closure)


def natural_spline(
    coarse: Values, time_factor: int, closure: Closure = Closure.EDGE, periodic: bool = False
) -> FloatArray:
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


def pchip(coarse: Values, time_factor: int, closure: Closure = Closure.EDGE, periodic: bool = False) -> FloatArray:
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


def optical_flow(
    coarse: Values, time_factor: int, closure: Closure = Closure.EDGE, periodic: bool = False
) -> FloatArray:
    """(T, ..., H, W) -> (r·T, ..., H, W): both frames around moved along the flow between them, see `optical_flow`."""
    return frames_at(coarse, positions(coarse.shape[0], time_factor, Registration.NODE), periodic)


TimeMethod = Callable[[Values, int, Closure, bool], FloatArray]

TIME: dict[str, TimeMethod] = {
    "hold": hold,
    "linear": linear,
    "catmull_rom": catmull_rom,
    "natural_spline": natural_spline,
    "pchip": pchip,
    "optical_flow": optical_flow,
}
"""By name; `periodic` longitudes matter to optical flow alone, `closure` to what reads beyond the end frames."""


def split_buckets(
    coarse: Values,
    time_factor: int,
    method: str,
    *,
    averaged: bool = False,
    closure: Closure = Closure.EDGE,
    periodic: bool = False,
) -> FloatArray:
    """Amounts per coarse interval as amounts per fine interval, which add up to them exactly.

    The accumulation since the start is interpolated by `method` and differenced again, so `hold` and `linear` both
    spread an amount evenly, and `pchip` never gives a negative one. Optical flow moves the amounts from interval
    to interval and is scaled back to each interval's amount.

    Args:
        coarse: (T, ..., H, W) amounts, or means where `averaged`.
        time_factor: r.
        method: a name of `TIME`.
        averaged: values are means over the interval, not sums.
        closure: as in `TIME`.
        periodic: as in `TIME`.

    Returns:
        (r·T, ..., H, W): fine interval n lies in coarse interval n // r.
    """
    values = np.asarray(coarse, np.float64)
    r = time_factor
    amounts = values if not averaged else values * r
    if method == "hold":
        fine = np.repeat(amounts / r, r, axis=0)
    elif method == "optical_flow":
        fine = _moving_amounts(amounts, r, periodic)
    else:
        total = np.concatenate([np.zeros_like(amounts[:1]), np.cumsum(amounts, axis=0)])
        fine = np.diff(TIME[method](total, r, closure, periodic)[: r * len(amounts) + 1], axis=0)
    return fine


def _moving_amounts(amounts: FloatArray, r: int, periodic: bool) -> FloatArray:
    centers = (np.arange(r * len(amounts)) + 0.5) / r - 0.5
    moved = np.maximum(frames_at(amounts, centers, periodic), 0)  # cubic sampling may undershoot
    grouped = moved.reshape(len(amounts), r, *amounts.shape[1:])
    total = grouped.sum(axis=1, keepdims=True)
    share = np.divide(grouped, total, out=np.full_like(grouped, 1 / r), where=(total > 0) & (amounts[:, None] > 0))
    fine: FloatArray = (share * amounts[:, None]).reshape(moved.shape)
    return fine
