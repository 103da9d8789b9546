"""What every kernel must equal: the same functions in plain PyTorch.

All take the halo as data (unpadded), any sizes, and compute in their inputs' own type.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LOOK_DILATIONS = (1, 2, 4)
LOOK_FRAMES = 2 * sum(LOOK_DILATIONS)  # coarse frames that the look-around uses up


def temporal_stack(
    series: Tensor,
    first: Tensor,
    first_bias: Tensor,
    second: Tensor,
    second_bias: Tensor,
    third: Tensor,
    third_bias: Tensor,
    tail: Tensor,
    tail_bias: Tensor,
) -> Tensor:
    """Three dilated convolutions with ReLUs along time, then r fine frames for every coarse one.

    Args:
        series: (B, T + 14, C, P), every one of the P pixels on its own.
        first: (W, C, 3), dilation 1.
        first_bias: (W,).
        second: (W, W, 3), dilation 2.
        second_bias: (W,).
        third: (W, W, 3), dilation 4.
        third_bias: (W,).
        tail: (r·K, W), transposed and 1×1 convolution in one; row m·K + k is channel k of fine frame m.
        tail_bias: (r·K,).

    Returns:
        (B, T, r·K, P); a view (B, r·T, K, P) has the fine frames in order.

    Source: specification of the seed system, section 2.3, temporal layers 1 to 5; the last two are linear and merged.
    """
    x = series.transpose(1, 2)  # (B, C, T + 14, P)
    layers = ((first, first_bias), (second, second_bias), (third, third_bias))
    for (weight, bias), dilation in zip(layers, LOOK_DILATIONS, strict=True):
        x = F.relu(F.conv2d(x, weight[..., None], bias, dilation=(dilation, 1)))
    fine = F.conv2d(x, tail[:, :, None, None], tail_bias)
    return fine.transpose(1, 2).contiguous()


def conv_shuffle(x: Tensor, weight: Tensor, bias: Tensor, scale_factor: int) -> Tensor:
    """(N, C, H + k - 1, W + k - 1), weight (K·s², C, k, k), bias (K·s²,) -> (N, K, s·H, s·W)."""
    return F.pixel_shuffle(F.conv2d(x, weight, bias), scale_factor)


def conv_shuffle_fine(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    coarse: Tensor,
    base: Tensor,
    scale: Tensor,
    offset: Tensor,
    low: Tensor,
    high: Tensor,
    scale_factor: int,
) -> Tensor:
    """The last layer of a network to physical units: sub-pixel convolution over an interpolation, within bounds.

    Args:
        x: (N, C, H + k - 1, W + k - 1) features, any float type.
        weight: (K·s², C, k, k), as x.
        bias: (K·s²,), as x.
        coarse: (N, K, H + b - 1, W + b - 1) fp32, what is interpolated.
        base: (s², b, b) fp32, the interpolation's weights.
        scale: (K,) fp32, of the physical units.
        offset: (K,) fp32.
        low: (K,) fp32, least physical value.
        high: (K,) fp32, largest.
        scale_factor: s.

    Returns:
        (N, K, s·H, s·W) fp32.
    """
    N, K = coarse.shape[:2]
    residual = F.conv2d(x, weight, bias).float()
    planes = F.conv2d(coarse.flatten(0, 1)[:, None], base[:, None])  # (N·K, s², H, W)
    sub_pixels = residual + planes.reshape(N, -1, *planes.shape[2:])
    fine = F.pixel_shuffle(sub_pixels, scale_factor)
    column = (1, K, 1, 1)
    fine = fine * scale.reshape(column) + offset.reshape(column)
    return torch.minimum(torch.maximum(fine, low.reshape(column)), high.reshape(column))


def residual_block(
    x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, scale: float
) -> Tensor:
    """A residual block: x + scale · conv(relu(conv(x))), both 3×3.

    Args:
        x: (N, W, H + 4, W' + 4).
        first: (W, W, 3, 3).
        first_bias: (W,).
        second: (W, W, 3, 3).
        second_bias: (W,).
        scale: of the branch.

    Returns:
        (N, W, H, W').
    """
    branch = F.conv2d(F.relu(F.conv2d(x, first, first_bias)), second, second_bias)
    return x[..., 2:-2, 2:-2] + scale * branch


def between_frames(
    pair: Tensor,
    features: Tensor,
    sun: Tensor,
    sun_weight: Tensor,
    shift: Tensor,
    out: Tensor,
    out_bias: Tensor,
    fraction: Tensor,
) -> tuple[Tensor, Tensor]:
    """Features at every fine time between two coarse frames, and the raw corrections of the coarse field.

    Args:
        pair: (B, T, C, W, P), what two frames and their changes say together.
        features: (B, T + 1, C, W, P), of the frames themselves.
        sun: (B, T, M, S, P), solar anomalies at M times of every interval.
        sun_weight: (W, S).
        shift: (B, M, C, W), what time and variable add to the hidden layer.
        out: (W + Q, W), 1×1 convolution; Q raw corrections beside the W increments.
        out_bias: (W + Q,).
        fraction: (B, M), of the interval.

    Returns:
        features (B, T, M, C, W, P), linear between the frames plus 4·θ·(1 - θ) times the increments; raw corrections
        (B, T, M, C, Q, P).

    Source: `fused` (ADR 4).
    """
    width = pair.shape[3]
    by_sun = torch.einsum("ws,btmsp->btmwp", sun_weight, sun)
    hidden = F.relu(pair[:, :, None] + by_sun[:, :, :, None] + shift[:, None, :, :, :, None])
    result = torch.einsum("ow,btmcwp->btmcop", out, hidden) + out_bias[:, None]
    theta = fraction[:, None, :, None, None, None]
    linear = (1 - theta) * features[:, :-1, None] + theta * features[:, 1:, None]
    return linear + 4 * theta * (1 - theta) * result[:, :, :, :, :width], result[:, :, :, :, width:]
