"""Fewer operations, the same function: linear layers that follow each other become one."""

import torch
from torch import Tensor, nn

from gfs_sr.models.model import Model


def fold(model: Model) -> nn.Module:
    """`model` as it is exported and run: equal within 1e-6 in model units, in evaluation mode.

    The original is left as it was.
    """
    with torch.no_grad():
        return model.folded().eval()


def fold_sub_pixel_tail(up: nn.Conv2d, tail: nn.Conv2d, scale_factor: int) -> tuple[Tensor, Tensor]:
    """3×3 convolution -> pixel shuffle -> 3×3 convolution on fine cells, as one 5×5 convolution before the shuffle.

    With no nonlinearity between, each fine cell is a linear function of the coarse cells around its own: the tail's
    tap (i, j) of fine sub-cell (p, q) reads sub-cell (p + i, q + j), which may lie in a neighboring coarse cell.

    Args:
        up: weight (K·s², W, 3, 3), K channels after the shuffle.
        tail: weight (C, K, 3, 3).
        scale_factor: s.

    Returns:
        weight (C·s², W, 5, 5) and bias (C·s²,), float32. Equal wherever the tail reads no padding.
    """
    s = scale_factor
    inner, outer, wide = tail.in_channels, tail.out_channels, up.in_channels
    first = up.weight.detach().double().reshape(inner, s, s, wide, 3, 3)
    first_bias = _bias(up).reshape(inner, s, s)
    second = tail.weight.detach().double()
    weight = torch.zeros(outer, s, s, wide, 5, 5, dtype=torch.float64)
    bias = _bias(tail)[:, None, None].expand(outer, s, s).clone()
    for p in range(s):
        for q in range(s):
            for i in range(-1, 2):
                for j in range(-1, 2):
                    (row, sub_row), (column, sub_column) = divmod(p + i, s), divmod(q + j, s)
                    mix = second[:, :, i + 1, j + 1]  # (C, K)
                    part = torch.tensordot(mix, first[:, sub_row, sub_column], dims=1)  # (C, W, 3, 3)
                    weight[:, p, q, :, 1 + row : 4 + row, 1 + column : 4 + column] += part
                    bias[:, p, q] += mix @ first_bias[:, sub_row, sub_column]
    return weight.reshape(outer * s * s, wide, 5, 5).float(), bias.reshape(-1).float()


def fold_temporal_tail(up: nn.ConvTranspose1d, tail: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Transposed convolution with kernel = stride = r -> 1×1 convolution, as one 1×1 convolution to r frames at once.

    Returns:
        weight (r·C, W) and bias (r·C,), float32; row m·C + c is channel c of fine frame m.
    """
    first = up.weight.detach().double()  # (W, K, r)
    second = tail.weight.detach().double()[:, :, 0]  # (C, K)
    weight = torch.einsum("ck,wkm->mcw", second, first)
    bias = second @ _bias(up) + _bias(tail)
    frames = first.shape[2]
    return weight.reshape(-1, first.shape[0]).float(), bias.repeat(frames).float()


def _bias(layer: nn.Module) -> Tensor:
    bias = layer.bias
    assert isinstance(bias, Tensor)  # every layer folded here has one
    return bias.detach().double()
