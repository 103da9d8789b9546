"""Local interpolation along one axis: kernels, where fine points lie, what a stencil reads beyond an end."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Registration

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


def upsample_rows(
    values: Values, scale_factor: int, registration: Registration, method: str, closure: Closure = Closure.EDGE
) -> FloatArray:
    """(..., H, W) -> (..., s·H, W): `resample_axis` at all `positions`, by the s sets of weights that recur."""
    first, weights = _phases(scale_factor, registration, method)
    padded = _padded(np.asarray(values, np.float64), first, weights.shape[1], -2, False, closure)
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[1], axis=-2)  # (..., H, W, taps)
    fine: FloatArray = weights @ windows.swapaxes(-1, -2)  # (..., H, s, W)
    return fine.reshape(*values.shape[:-2], values.shape[-2] * scale_factor, values.shape[-1])


def upsample_columns(
    values: Values,
    scale_factor: int,
    registration: Registration,
    method: str,
    periodic: bool = False,
    closure: Closure = Closure.EDGE,
) -> FloatArray:
    """(..., H, W) -> (..., H, s·W): as `upsample_rows` along the last axis, which may wrap."""
    first, weights = _phases(scale_factor, registration, method)
    padded = _padded(np.asarray(values, np.float64), first, weights.shape[1], -1, periodic, closure)
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[1], axis=-1)  # (..., H, W, taps)
    fine: FloatArray = np.ascontiguousarray(windows) @ weights.T  # (..., H, W, s)
    return fine.reshape(*values.shape[:-1], values.shape[-1] * scale_factor)


@cache
def _phases(scale_factor: int, registration: Registration, method: str) -> tuple[int, FloatArray]:
    """(offset of the first tap from the coarse cell, (s, taps) weights of the fine cells that belong to it)."""
    kernel = SPACE[method]
    units = positions(1, scale_factor, registration)
    base = np.floor(units).astype(np.int64)
    weights = kernel.weights(units - base)
    first = int(base.min()) + kernel.first
    table = np.zeros((scale_factor, int(np.ptp(base)) + weights.shape[1]))
    for phase, (start, row) in enumerate(zip(base - base.min(), weights, strict=True)):
        table[phase, start : start + row.size] = row
    used = np.flatnonzero(table.any(axis=0))
    return first + int(used[0]), np.ascontiguousarray(table[:, used[0] : used[-1] + 1])


def _padded(values: FloatArray, first: int, taps: int, axis: int, periodic: bool, closure: Closure) -> FloatArray:
    """`values` continued so that every window of `taps`, the first one `first` cells off, lies inside."""
    index = np.arange(first, values.shape[axis] + first + taps - 1)
    padded: FloatArray = np.moveaxis(_take(np.moveaxis(values, axis, 0), index, periodic, closure), 0, axis)
    return padded


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
