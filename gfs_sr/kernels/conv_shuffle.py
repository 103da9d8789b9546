"""Convolution -> pixel shuffle, stored straight to the fine frame; the epilogue may finish the field in fp32.

An implicit matrix product: rows are BX neighboring coarse cells of one row, columns are BN of the K·s² sub-pixels.
With FINISH the epilogue adds the interpolation of the coarse field, denormalizes and holds values within bounds.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (Triton's decorators and its language inside kernels carry no types)

import torch
import triton
import triton.language as tl
from torch import Tensor

from gfs_sr.kernels.launch import Precision, Tuning, check_image, computed, input_precision, padded


@triton.jit
def conv_shuffle_kernel(
    x, weight, bias, coarse, base, scale, offset, low, high, y,
    height, width,
    C: tl.constexpr, CB: tl.constexpr, SIZE: tl.constexpr, S: tl.constexpr, K: tl.constexpr,
    BASE: tl.constexpr, FINISH: tl.constexpr, BX: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From x (N, H + SIZE - 1, W + SIZE - 1, C) to y (N, K, S·H, S·W); weight (SIZE², CB, columns padded to BN)."""
    blocks = tl.cdiv(width, BX)
    row = tl.program_id(0) // blocks
    columns = (tl.program_id(0) % blocks) * BX + tl.arange(0, BX)
    outputs = tl.program_id(1) * BN + tl.arange(0, BN)
    image = tl.program_id(2).to(tl.int64)
    inside = columns < width
    kept = outputs < K * S * S
    wide = width + SIZE - 1
    source = x + image * (height + SIZE - 1) * wide * C
    inner = tl.arange(0, CB)
    known = inner < C
    kind = weight.dtype.element_ty
    packed = tl.cdiv(K * S * S, BN) * BN

    total = tl.zeros((BX, BN), tl.float32)
    for tap in range(SIZE * SIZE):
        place = ((row + tap // SIZE) * wide + columns + tap % SIZE) * C
        cells = tl.load(
            source + place[:, None] + inner[None, :],
            mask=inside[:, None] & known[None, :],
            other=0.0,
        )
        part = tl.load(weight + (tap * CB + inner)[:, None] * packed + outputs[None, :])
        total = tl.dot(cells.to(kind), part, total, input_precision=PRECISION)
    total += tl.load(bias + outputs)[None, :]

    channel = outputs // (S * S)
    sub = outputs % (S * S)
    channel = tl.where(kept, channel, 0)
    if FINISH:
        around = width + BASE - 1
        start = channel * (height + BASE - 1) * around
        field = coarse + image * K * (height + BASE - 1) * around
        for tap in range(BASE * BASE):
            place = (row + tap // BASE) * around + columns + tap % BASE
            cells = tl.load(field + start[None, :] + place[:, None], mask=inside[:, None] & kept[None, :], other=0.0)
            total += cells * tl.load(base + sub * (BASE * BASE) + tap)[None, :]
        total = total * tl.load(scale + channel)[None, :] + tl.load(offset + channel)[None, :]
        total = tl.minimum(tl.maximum(total, tl.load(low + channel)[None, :]), tl.load(high + channel)[None, :])

    fine = (channel * height * S + row * S + sub // S) * width * S + sub % S
    tl.store(
        y + image * K * height * S * width * S + fine[None, :] + (columns * S)[:, None],
        total.to(y.dtype.element_ty),
        mask=inside[:, None] & kept[None, :],
    )


def conv_shuffle(
    x: Tensor, weight: Tensor, bias: Tensor, scale_factor: int, precision: Precision, tuning: Tuning
) -> Tensor:
    """As `reference.conv_shuffle`; products in `precision`, sums in fp32, the result as `x`.

    Nothing is copied where x lies channels-last, as cuDNN leaves it.
    """
    outputs, _, size, _ = weight.shape
    channels = outputs // scale_factor**2
    height, width = x.shape[-2] - size + 1, x.shape[-1] - size + 1
    y = x.new_empty(x.shape[0], channels, scale_factor * height, scale_factor * width)
    unused = x.new_empty(1, dtype=torch.float32)
    _launch(x, weight, bias, y, scale_factor, precision, tuning, (unused,) * 6, 1, finish=False)
    return y


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
    precision: Precision,
    tuning: Tuning,
) -> Tensor:
    """As `reference.conv_shuffle_fine`; the convolution's products in `precision`, all the rest in fp32."""
    size = weight.shape[-1]
    height, width = x.shape[-2] - size + 1, x.shape[-1] - size + 1
    y = coarse.new_empty(*coarse.shape[:2], scale_factor * height, scale_factor * width)
    epilogue = tuple(each.contiguous() for each in (coarse, base, scale, offset, low, high))
    _launch(x, weight, bias, y, scale_factor, precision, tuning, epilogue, base.shape[-1], finish=True)
    return y


def _launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    y: Tensor,
    scale_factor: int,
    precision: Precision,
    tuning: Tuning,
    epilogue: tuple[Tensor, ...],
    base_size: int,
    *,
    finish: bool,
) -> None:
    outputs, inputs, size, _ = weight.shape
    height, width = x.shape[-2] - size + 1, x.shape[-1] - size + 1
    check_image("conv_shuffle", x[0].numel(), y[0].numel())
    inner = padded(inputs)
    columns = triton.cdiv(outputs, tuning.columns) * tuning.columns
    packed = weight.new_zeros(size * size, inner, columns, dtype=computed(precision))
    packed[:, :inputs, :outputs] = weight.permute(2, 3, 1, 0).reshape(size * size, inputs, outputs)
    shifted = bias.new_zeros(columns, dtype=torch.float32)
    shifted[:outputs] = bias
    grid = (height * triton.cdiv(width, tuning.block), columns // tuning.columns, x.shape[0])
    conv_shuffle_kernel[grid](
        x.permute(0, 2, 3, 1).contiguous(), packed, shifted, *epilogue, y, height, width,
        C=inputs, CB=inner, SIZE=size, S=scale_factor, K=outputs // scale_factor**2, BASE=base_size, FINISH=finish,
        BX=tuning.block, BN=tuning.columns, PRECISION=input_precision(precision),
        num_warps=tuning.warps, num_stages=tuning.stages,
    )  # fmt: skip
