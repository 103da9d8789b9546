"""The temporal stack of `factorized` in one pass: a pixel's whole series passes through registers, frame by frame.

Each program holds BP pixels and walks along time. Dilated convolutions of three taps look 4 and 8 steps back, so rings
of 4 and 8 hidden tiles are all that is kept; nothing between input and output touches memory.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (Triton's decorators and its language inside kernels carry no types)

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from gfs_sr.kernels import reference
from gfs_sr.kernels.launch import Launch, Precision, Tuning, ceil_div, check_image, computed, run_kernel
from gfs_sr.kernels.packing import pack_temporal_stack


@triton.jit
def _product(rows, held, address, total, HELD: tl.constexpr, PRECISION: tl.constexpr):
    """Matrix product added to total, the weight as held or loaded here."""
    weight = held if HELD else tl.load(address)
    return tl.dot(rows, weight, total, input_precision=PRECISION)


@triton.jit
def temporal_stack_kernel(
    x, w1, b1, w2, b2, w3, b3, wt, bt,
    frames, pixels, block_frames,
    y,
    C: tl.constexpr, K1: tl.constexpr, W: tl.constexpr, OUT: tl.constexpr, OUTP: tl.constexpr,
    BP: tl.constexpr, HELD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From x (B, T + 14, C, P) to y (B, T, OUT, P); weights are packed as (input, output), zero-padded.

    HELD weights are loaded once: wgmma reads them from shared memory. Other products take them from registers, where
    six tiles do not fit, so they are loaded again at every step, from the L1 cache.
    """
    pixel = tl.program_id(0) * BP + tl.arange(0, BP)
    batch = tl.program_id(1).to(tl.int64)
    first = tl.program_id(2) * block_frames
    inside = pixel < pixels
    x += batch * (frames + 14) * C * pixels
    y += batch * frames * OUT * pixels

    k1 = tl.arange(0, K1)  # tap·C + channel: three frames of a pixel lie 3·C planes apart
    wide = tl.arange(0, W)
    outs = tl.arange(0, OUTP)
    kind = w1.dtype.element_ty
    weight1 = tl.load(w1 + k1[:, None] * W + wide[None, :])
    bias1 = tl.load(b1 + wide).to(tl.float32)
    square = wide[:, None] * W + wide[None, :]
    bias2 = tl.load(b2 + wide).to(tl.float32)
    bias3 = tl.load(b3 + wide).to(tl.float32)
    held20, held21, held22, held30, held31, held32 = None, None, None, None, None, None
    if HELD:
        held20 = tl.load(w2 + square)
        held21 = tl.load(w2 + W * W + square)
        held22 = tl.load(w2 + 2 * W * W + square)
        held30 = tl.load(w3 + square)
        held31 = tl.load(w3 + W * W + square)
        held32 = tl.load(w3 + 2 * W * W + square)
    weight_tail = tl.load(wt + wide[:, None] * OUTP + outs[None, :])
    bias_tail = tl.load(bt + outs).to(tl.float32)

    zero = tl.zeros((BP, W), kind)
    a0, a1, a2, a3 = zero, zero, zero, zero
    h0, h1, h2, h3 = zero, zero, zero, zero
    h4, h5, h6, h7 = zero, zero, zero, zero
    for step in range(tl.minimum(block_frames, frames) + 12):
        # blocks of int32 throughout: the interpreter of Triton 3.9 refuses masks made of scalars
        plane = (first + step) * C + k1
        known = (k1 < 3 * C) & (plane < (frames + 14) * C)
        taps = tl.load(
            x + plane[None, :] * pixels + pixel[:, None],
            mask=known[None, :] & inside[:, None],
            other=0.0,
        )
        hidden = tl.dot(taps.to(kind), weight1, input_precision=PRECISION)
        hidden = tl.maximum(hidden + bias1[None, :], 0.0).to(kind)
        if step >= 4:
            deeper = _product(a0, held20, w2 + square, None, HELD, PRECISION)
            deeper = _product(a2, held21, w2 + W * W + square, deeper, HELD, PRECISION)
            deeper = _product(hidden, held22, w2 + 2 * W * W + square, deeper, HELD, PRECISION)
            deep = tl.maximum(deeper + bias2[None, :], 0.0).to(kind)
            if step >= 12:
                last = _product(h0, held30, w3 + square, None, HELD, PRECISION)
                last = _product(h4, held31, w3 + W * W + square, last, HELD, PRECISION)
                last = _product(deep, held32, w3 + 2 * W * W + square, last, HELD, PRECISION)
                last = tl.maximum(last + bias3[None, :], 0.0).to(kind)
                fine = tl.dot(last, weight_tail, input_precision=PRECISION) + bias_tail[None, :]
                frame = first + step - 12 + tl.zeros((OUTP,), tl.int32)
                place = frame * OUT + outs
                kept = (outs < OUT) & (frame < frames)
                tl.store(
                    y + place[None, :] * pixels + pixel[:, None],
                    fine.to(y.dtype.element_ty),
                    mask=kept[None, :] & inside[:, None],
                )
            h0, h1, h2, h3 = h1, h2, h3, h4
            h4, h5, h6, h7 = h5, h6, h7, deep
        a0, a1, a2, a3 = a1, a2, a3, hidden


def launch(
    batch: Any, frames: Any, pixels: Any, channels: int, packed: Sequence[Sequence[int]], outputs: int, tuning: Tuning
) -> Launch:
    """Of T frames of P pixels; `packed` are the shapes that `pack_temporal_stack` gives."""
    (taps, wide), (_, padded_outputs) = packed[0], packed[6]
    return Launch(
        grid=(ceil_div(pixels, tuning.block), batch, ceil_div(frames, tuning.frames)),
        scalars={"frames": frames, "pixels": pixels, "block_frames": tuning.frames},
        constants={"C": channels, "K1": taps, "W": wide, "OUT": outputs, "OUTP": padded_outputs, "BP": tuning.block,
                   "HELD": tuning.held},
    )  # fmt: skip


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
    precision: Precision,
    tuning: Tuning,
) -> Tensor:
    """As `reference.temporal_stack`; products in `precision`, sums in fp32, the result as `series`."""
    packed = pack_temporal_stack(
        first, first_bias, second, second_bias, third, third_bias, tail, tail_bias, computed(precision)
    )
    return run_temporal_stack(series, packed, series.shape[2], tail.shape[0], precision, tuning)


def run_temporal_stack(
    series: Tensor, packed: Sequence[Tensor], channels: int, outputs: int, precision: Precision, tuning: Tuning
) -> Tensor:
    """The same with weights that were packed already."""
    batch, with_halo, _, pixels = series.shape
    frames = with_halo - reference.LOOK_FRAMES
    check_image("temporal_stack", series[0].numel(), frames * outputs * pixels)
    y = series.new_empty(batch, frames, outputs, pixels)
    started = launch(batch, frames, pixels, channels, [each.shape for each in packed], outputs, tuning)
    run_kernel(temporal_stack_kernel, started, (series.contiguous(), *packed), (y,), precision, tuning)
    return y
