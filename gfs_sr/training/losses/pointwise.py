"""Losses of cell against cell."""

from torch import Tensor

from gfs_sr.training.losses.masked import masked_mean


def l1(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean |p - y|."""
    return masked_mean((prediction - target).abs(), mask, area)


def mse(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean (p - y)²."""
    return masked_mean((prediction - target).square(), mask, area)


def huber(
    prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None, *, delta: float = 1.0
) -> Tensor:
    """Mean of q²/(2δ) + |e| - q with q = min(|e|, δ): quadratic to δ, then linear with slope 1."""
    error = (prediction - target).abs()
    small = error.clamp(max=delta)
    return masked_mean(small**2 / (2 * delta) + error - small, mask, area)


def charbonnier(
    prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None, *, delta: float = 1e-3
) -> Tensor:
    """Mean √((p - y)² + δ²): |e| with a round tip, δ without error.

    Source: Charbonnier et al. 1994 (ICIP), as temporal interpolation and diffusion of fields use it.
    """
    return masked_mean(((prediction - target).square() + delta**2).sqrt(), mask, area)
