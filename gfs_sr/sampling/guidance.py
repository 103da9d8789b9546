"""Guidance without a classifier: a denoiser that knows its conditions against the same one without them."""

from collections.abc import Callable
from typing import Any

from gfs_sr.sampling.samplers import Denoiser


def guided(denoise: Callable[[Any, float, bool], Any], scale: float) -> Denoiser:
    """The denoiser null + scale · (told - null); the side that counts nothing is not asked.

    Args:
        denoise: (x, sigma, whether it is told its conditions) -> estimate of the clean field, good until the call after
            next.
        scale: 1 is told, 0 is null; above 1 conditions count for more than they did in training.

    Source: Ho and Salimans 2022, equation 6; the estimate is linear in the noise that it is written for.
    """
    if scale in (0.0, 1.0):
        return lambda x, sigma: denoise(x, sigma, scale == 1.0)

    def both(x: Any, sigma: float) -> Any:
        told, null = denoise(x, sigma, True), denoise(x, sigma, False)
        return null + scale * (told - null)

    return both
