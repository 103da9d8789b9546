"""Weights as the kernels read them: input channels before output channels, zero-padded to powers of two.

Plain PyTorch without assignments, so that a tracer can follow it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gfs_sr.kernels.launch import padded


def sizes_of(weight: Tensor) -> tuple[int, ...]:
    """The shape as numbers, which a tracer makes constants of."""
    return tuple(int(size) for size in weight.shape)


def pack_matrix(weight: Tensor, rows: int, columns: int, kind: torch.dtype) -> Tensor:
    """(r, c) -> (rows, columns) in `kind`, zeros beyond."""
    return F.pad(weight.to(kind), (0, columns - int(weight.shape[1]), 0, rows - int(weight.shape[0]))).contiguous()


def pack_bias(bias: Tensor, columns: int) -> Tensor:
    """(c,) -> (columns,) fp32, zeros beyond."""
    return F.pad(bias.to(torch.float32), (0, columns - int(bias.shape[0])))


def pack_temporal_stack(
    first: Tensor,
    first_bias: Tensor,
    second: Tensor,
    second_bias: Tensor,
    third: Tensor,
    third_bias: Tensor,
    tail: Tensor,
    tail_bias: Tensor,
    kind: torch.dtype,
) -> tuple[Tensor, ...]:
    """Of `reference.temporal_stack`: first (taps, W), second and third (3, W, W), tail (W, outputs), each with bias."""
    width, channels = sizes_of(first)[:2]
    wide, outputs = padded(width), padded(sizes_of(tail)[0])

    def pack_taps(weight: Tensor) -> Tensor:
        return F.pad(weight.permute(2, 1, 0).to(kind), (0, wide - width, 0, wide - width)).contiguous()

    flat = first.permute(2, 1, 0).reshape(3 * channels, width)
    return (
        pack_matrix(flat, padded(3 * channels), wide, kind), pack_bias(first_bias, wide),
        pack_taps(second), pack_bias(second_bias, wide), pack_taps(third), pack_bias(third_bias, wide),
        pack_matrix(tail.T, wide, outputs, kind), pack_bias(tail_bias, outputs),
    )  # fmt: skip


def pack_between_frames(
    sun_weight: Tensor, shift: Tensor, out: Tensor, out_bias: Tensor, fraction: Tensor, kind: torch.dtype
) -> tuple[Tensor, ...]:
    """Of `reference.between_frames`: sun (S, W), shift (B, M, C, W), out (W·W + W·Q,), its bias (W + Q,), fraction."""
    width, rays = sizes_of(sun_weight)
    extra = sizes_of(out)[0] - width
    wide, wider = padded(width), padded(extra)
    square = pack_matrix(out[:width].T, wide, wide, kind)
    beside = pack_matrix(out[width:].T, wide, wider, kind)
    bias = torch.cat([pack_bias(out_bias[:width], wide), pack_bias(out_bias[width:], wider)])
    return (
        pack_matrix(sun_weight.T, padded(rays), wide, kind),
        F.pad(shift.to(torch.float32), (0, wide - width)).contiguous(),
        torch.cat([square.flatten(), beside.flatten()]),
        bias,
        fraction.expand(shift.shape[0], shift.shape[1]).to(torch.float32).contiguous(),
    )


def pack_conv_shuffle(weight: Tensor, bias: Tensor, columns: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Of `reference.conv_shuffle`: weight (k², W, outputs), bias (outputs,), outputs a multiple of `columns`."""
    outputs, inputs, size, _ = sizes_of(weight)
    whole = -(-outputs // columns) * columns
    flat = weight.permute(2, 3, 1, 0).reshape(size * size, inputs, outputs).to(kind)
    packed = F.pad(flat, (0, whole - outputs, 0, padded(inputs) - inputs)).contiguous()
    return packed, pack_bias(bias, whole)


def pack_residual_block(
    first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, kind: torch.dtype
) -> tuple[Tensor, ...]:
    """Of `reference.residual_block`: two weights (9, W, W), each with its bias (W,)."""
    width = sizes_of(first)[0]
    wide = padded(width)

    def pack(weight: Tensor) -> Tensor:
        flat = weight.permute(2, 3, 1, 0).reshape(9, width, width).to(kind)
        return F.pad(flat, (0, wide - width, 0, wide - width)).contiguous()

    return pack(first), pack_bias(first_bias, wide), pack(second), pack_bias(second_bias, wide)
