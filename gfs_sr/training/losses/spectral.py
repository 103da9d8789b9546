"""Losses of one radial power spectrum against another."""

import torch
from torch import Tensor

from gfs_sr.training.losses.masked import masked_mean, plane_mean

SPECTRUM_EPSILON = 1e-8
MOST_BINS = 64


def spectrum(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean squared difference of the normalized radial power spectra, per frame and channel.

    A wave has no place, so `area` has no part; masked cells hold the target's mean, and a field without a valid cell
    is left out.
    """
    mean = plane_mean(target, mask)
    curves = [normalized(radial_power(torch.where(mask > 0, fields, mean))) for fields in (prediction, target)]
    distance = (curves[0] - curves[1]).square().mean(dim=-1)
    return masked_mean(distance, mask.amax(dim=(-2, -1)))


def normalized(curve: Tensor) -> Tensor:
    """(..., n) -> the same with sum 1."""
    return curve / (curve.sum(dim=-1, keepdim=True) + SPECTRUM_EPSILON)


def radial_power(fields: Tensor) -> Tensor:
    """(..., H, W) -> (..., n): mean power in n = min(64, H/2) bins of equal width of radial frequency in (0, max]."""
    height, width = fields.shape[-2:]
    bins = max(1, min(MOST_BINS, height // 2))
    centered = fields.float() - fields.float().mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.rfft2(centered, norm="ortho").abs() ** 2
    rows = torch.fft.fftfreq(height, device=fields.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=fields.device)[None]
    radius = (rows**2 + columns**2).sqrt()
    index = (radius / radius.max() * bins).ceil().long().clamp(1, bins) - 1
    inside = (radius > 0).float()  # the mean is no wave
    shape = (*power.shape[:-2], bins)
    flat = index.flatten()
    total = torch.zeros(shape, device=fields.device).index_add(-1, flat, (power * inside).flatten(-2))
    count = torch.zeros(bins, device=fields.device).index_add(0, flat, inside.flatten())
    return total / count.clamp(min=1)
