"""Losses of cells against their neighbours in space."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gfs_sr.training.losses.masked import difference_mean, masked_mean

GRADIENT_EPSILON = 1e-12  # keeps the root's slope finite on flat fields


def gradient(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean |S(p) - S(y)| with S the length of the Sobel gradient, zeros beyond the edge.

    A cell counts where its whole stencil does.
    """
    difference = sobel_length(prediction) - sobel_length(target)
    rows = _three(F.pad(mask, (1, 1, 1, 1), value=1.0), dim=-2)
    columns = _three(rows[0] * rows[1] * rows[2], dim=-1)
    whole = columns[0] * columns[1] * columns[2]
    return masked_mean(difference.abs(), whole, area)


def total_variation(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean |d_x p| + mean |d_y p| over the pairs of valid neighbours; the target has no part."""
    return sum(
        (difference_mean(prediction.diff(dim=dim).abs(), mask, area, dim) for dim in (-1, -2)),
        start=torch.zeros((), device=prediction.device),
    )


def sobel_length(fields: Tensor) -> Tensor:
    """(B, T, C, H, W) -> the same: length of the Sobel gradient, eight times a ramp's slope."""
    padded = F.pad(fields, (1, 1, 1, 1))
    # sums of shifted fields: a convolution of single channels takes ten times as long on a CPU
    north, here, south = _three(padded, dim=-2)
    west, _, east = _three(north + 2 * here + south, dim=-1)
    left, middle, right = _three(padded, dim=-1)
    above, _, below = _three(left + 2 * middle + right, dim=-2)
    length: Tensor = ((west - east).square() + (above - below).square() + GRADIENT_EPSILON).sqrt()
    return length


def _three(fields: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each inner cell's neighbour before it along an axis, itself, and the one after it."""
    inner = fields.shape[dim] - 2
    return fields.narrow(dim, 0, inner), fields.narrow(dim, 1, inner), fields.narrow(dim, 2, inner)
