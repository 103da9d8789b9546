"""Registered sharpening: one scalar that undoes most of what the coarsening did, before any interpolation."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.interpolation import upsample_space
from gfs_sr.data.missing import fill_nearest

# sigma²/(2 s²) for a Gaussian of sigma = 3 fine cells and s = 6; 1/24 for block means: the second-order theory
THEORY = {Registration.NODE: 0.125, Registration.CELL: 1 / 24}

# `fit_sharpening` at s = 6 and sigma = 3 over t2m, u10, v10, sp and msl of five series, each variable of each weighing
# the same: ERA5 Morocco, Italy, Germany and Great Britain, ECMWF IFS North Sea. Singly they gave 0.165 to 0.25 under
# NODE, 0.08 to 0.115 under CELL: more than theory, since it also lifts what the interpolation dampens.
FITTED = {Registration.NODE: 0.205, Registration.CELL: 0.095}


def laplacian(fields: npt.NDArray[Any], periodic: bool = False) -> FloatArray:
    """(..., H, W) 5-point Laplacian per cell; edges replicated, so that its sum over the field is 0."""
    values = np.asarray(fields, np.float64)
    lead = [(0, 0)] * (values.ndim - 2)
    padded = np.pad(values, [*lead, (1, 1), (0, 0)], mode="edge")
    vertical = padded[..., 2:, :] + padded[..., :-2, :] - 2 * values
    padded = np.pad(values, [*lead, (0, 0), (1, 1)], mode="wrap" if periodic else "edge")
    total: FloatArray = vertical + padded[..., 2:] + padded[..., :-2] - 2 * values
    return total


def sharpen(coarse: npt.NDArray[Any], a: float, registration: Registration, periodic: bool = False) -> FloatArray:
    """Undo the smoothing of the coarsening.

    Args:
        coarse: (..., H, W); NaN cells are filled from the nearest valid one and masked again after.
        a: strength in coarse cells squared; 0 changes nothing.
        registration: NODE gives c - a Lap(c) + (a²/2) Lap(Lap(c)), the inverse of a Gaussian to second order; CELL
            gives c - a Lap(c), which keeps the mean of the field.
        periodic: longitudes go once around the globe.

    Returns:
        (..., H, W), float64.
    """
    filled, mask = fill_nearest(np.asarray(coarse, np.float64), periodic)
    first = laplacian(filled, periodic)
    sharp = filled - a * first
    if registration is Registration.NODE:
        sharp += a**2 / 2 * laplacian(first, periodic)
    sharp[mask] = np.nan
    return sharp


def fit_sharpening(
    pairs: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    scale_factor: int,
    registration: Registration,
    *,
    method: str = "bicubic",
    candidates: npt.ArrayLike | None = None,
) -> float:
    """The one scalar a with the least mean relative squared error of the sharpened interpolation.

    Args:
        pairs: (coarse (..., H, W), fine (..., at most s·H, at most s·W)) of the same instants; each weighs the same
            whatever its units, since its error is divided by that at a = 0.
        scale_factor: s.
        registration: of the pairs.
        method: the interpolation in space.
        candidates: values tried; 0, 0.005, ... 0.4 where none are given.
    """
    tried = np.arange(0.0, 0.4001, 0.005) if candidates is None else np.asarray(candidates, np.float64)
    total = np.zeros(tried.size)
    for coarse, fine in pairs:
        # the interpolation is linear and sharpening a polynomial in a: three fields give every candidate
        plain = np.asarray(coarse, np.float64)
        first = sharpen(plain, 1.0, registration) - plain
        if registration is Registration.NODE:
            halves = sharpen(plain, 0.5, registration) - plain  # -0.5 L + 0.125 LL; `first` is -L + 0.5 LL
            second = 4 * first - 8 * halves  # LL
            first = first - second / 2
        else:
            second = np.zeros_like(first)
        rows, cols = slice(fine.shape[-2]), slice(fine.shape[-1])
        parts = [
            upsample_space(part, scale_factor, registration, method)[..., rows, cols] for part in (plain, first, second)
        ]
        errors = [np.nanmean((parts[0] + a * parts[1] + a**2 / 2 * parts[2] - fine) ** 2) for a in (0.0, *tried)]
        if errors[0] > 0:
            total += np.asarray(errors[1:]) / errors[0]
    return float(tried[total.argmin()])
