"""Convolution -> pixel shuffle, stored straight to the fine frame; the epilogue may finish the field in fp32.

An implicit matrix product: rows are BX neighboring coarse cells of one row, columns are BN of the K·s² sub-pixels.
With FINISH the epilogue adds the interpolation of the coarse field, denormalizes and holds values within bounds.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (Triton's decorators and its language inside kernels carry no types)

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from gfs_sr.errors import ShapeMismatch
from gfs_sr.kernels.launch import Launch, Precision, Tuning, ceil_div, check_image, computed, run_kernel
from gfs_sr.kernels.packing import pack_conv_shuffle

EPILOGUE: Final = ("coarse", "base", "scale", "offset", "low", "high")  # what the kernel takes only with FINISH


@triton.jit
def conv_shuffle_kernel(
    x, weight, bias, coarse, base, scale, offset, low, high,
    height, width,
    y,
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


def launch(
    images: Any,
    height: Any,
    width: Any,
    features: int,
    packed: Sequence[int],
    planes: int,
    scale_factor: int,
    base_size: int,
    finish: bool,
    tuning: Tuning,
) -> Launch:
    """Of (N, H, W) cells; `packed` is the weight's shape as `pack_conv_shuffle` gives it.

    Raises:
        ShapeMismatch: the weight was packed for programs of other sizes.
    """
    taps, inner, columns = packed
    if columns != ceil_div(planes * scale_factor**2, tuning.columns) * tuning.columns:
        raise ShapeMismatch(
            f"weights packed to {columns} columns do not fit programs of {tuning.columns}",
            "conv_shuffle",
            "pack them with the tuning of this architecture",
        )
    return Launch(
        grid=(height * ceil_div(width, tuning.block), columns // tuning.columns, images),
        scalars={"height": height, "width": width},
        constants={"C": features, "CB": inner, "SIZE": math.isqrt(taps), "S": scale_factor, "K": planes,
                   "BASE": base_size, "FINISH": finish, "BX": tuning.block, "BN": tuning.columns}
        | ({} if finish else dict.fromkeys(EPILOGUE)),
    )  # fmt: skip


def conv_shuffle(
    x: Tensor, weight: Tensor, bias: Tensor, scale_factor: int, precision: Precision, tuning: Tuning
) -> Tensor:
    """As `reference.conv_shuffle`; products in `precision`, sums in fp32, the result as `x`.

    Nothing is copied where x lies channels-last, as cuDNN leaves it.
    """
    planes = weight.shape[0] // scale_factor**2
    packed = pack_conv_shuffle(weight, bias, tuning.columns, computed(precision))
    return run_conv_shuffle(x.permute(0, 2, 3, 1), packed, (), planes, scale_factor, precision, tuning)


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
    planes = weight.shape[0] // scale_factor**2
    packed = pack_conv_shuffle(weight, bias, tuning.columns, computed(precision))
    epilogue = (coarse, base, scale, offset, low, high)
    return run_conv_shuffle(x.permute(0, 2, 3, 1), packed, epilogue, planes, scale_factor, precision, tuning)


def run_conv_shuffle(
    x: Tensor,
    packed: Sequence[Tensor],
    epilogue: Sequence[Tensor],
    planes: int,
    scale_factor: int,
    precision: Precision,
    tuning: Tuning,
) -> Tensor:
    """The same on x (N, H + k - 1, W + k - 1, C) with weights that were packed already, with or without epilogue."""
    size = math.isqrt(packed[0].shape[0])
    images, height, width = x.shape[0], x.shape[1] - size + 1, x.shape[2] - size + 1
    kind = epilogue[0].dtype if epilogue else x.dtype
    y = torch.empty(images, planes, scale_factor * height, scale_factor * width, dtype=kind, device=x.device)
    check_image("conv_shuffle", x[0].numel(), y[0].numel())
    base_size = epilogue[1].shape[-1] if epilogue else 1
    started = launch(
        images, height, width, x.shape[3], packed[0].shape, planes, scale_factor, base_size, bool(epilogue), tuning
    )
    inputs = (x.contiguous(), *packed, *(each.contiguous() for each in epilogue))
    run_kernel(conv_shuffle_kernel, started, inputs, (y,), precision, tuning)
    return y
