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
    holes = F.max_pool2d(1 - mask.flatten(0, 2)[:, None], 3, stride=1, padding=1)
    return masked_mean(difference.abs(), 1 - holes.reshape(mask.shape), area)


def total_variation(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean |d_x p| + mean |d_y p| over the pairs of valid neighbours; the target has no part."""
    return sum(
        (difference_mean(prediction.diff(dim=dim).abs(), mask, area, dim) for dim in (-1, -2)),
        start=torch.zeros((), device=prediction.device),
    )


def sobel_length(fields: Tensor) -> Tensor:
    """(B, T, C, H, W) -> the same: length of the Sobel gradient, eight times a ramp's slope."""
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=fields.device)
    planes = fields.flatten(0, 2)[:, None]
    slopes = F.conv2d(planes, torch.stack([kernel, kernel.T])[:, None], padding=1)
    length: Tensor = (slopes.square().sum(dim=1) + GRADIENT_EPSILON).sqrt()
    return length.reshape(fields.shape)
