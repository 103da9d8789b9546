"""The temporal stack of `fused` in one pass: every fine time between two frames from one read of their features.

Eager code writes a hidden layer of r times the coarse features to memory, reads it, and writes the result; here each
program reads a block of pixels once and walks over the fine times with everything in registers.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (Triton's decorators and its language inside kernels carry no types)

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from gfs_sr.kernels.launch import Launch, Precision, Tuning, ceil_div, check_image, computed, run_kernel
from gfs_sr.kernels.packing import pack_between_frames


@triton.jit
def between_frames_kernel(
    pair, features, sun, sun_weight, shift, out, out_bias, fraction,
    intervals, times, channels, pixels, across, along,
    at_times, raw,
    W: tl.constexpr, WB: tl.constexpr, SUN: tl.constexpr, SB: tl.constexpr, RAW: tl.constexpr,
    RB: tl.constexpr, BP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From pair (B, T, C, W, P), features (B, T + 1, C, W, P) to at_times (B, T, M, C, W, P), raw (B, T, M, C, RAW, P).

    Of pair, features and at_times, neighbors in W lie `across` apart and neighbors in P `along`.
    """
    pixel = tl.program_id(0) * BP + tl.arange(0, BP)
    channel = tl.program_id(1) % channels
    interval = tl.program_id(1) // channels
    batch = tl.program_id(2).to(tl.int64)
    inside = pixel < pixels
    plane = pixels.to(tl.int64)
    wide = tl.arange(0, WB)
    rays = tl.arange(0, SB)
    extra = tl.arange(0, RB)
    kind = out.dtype.element_ty
    used = inside[:, None] & (wide < W)[None, :]
    here = pixel[:, None] * along + wide[None, :] * across

    own = ((batch * intervals + interval) * channels + channel) * W
    together = tl.load(pair + own * plane + here, mask=used, other=0.0).to(tl.float32)
    frame = ((batch * (intervals + 1) + interval) * channels + channel) * W
    before = tl.load(features + frame * plane + here, mask=used, other=0.0).to(tl.float32)
    after = tl.load(features + (frame + channels * W) * plane + here, mask=used, other=0.0).to(tl.float32)
    weight_sun = tl.load(sun_weight + rays[:, None] * WB + wide[None, :])
    weight_out = tl.load(out + wide[:, None] * WB + wide[None, :])
    weight_raw = tl.load(out + WB * WB + wide[:, None] * RB + extra[None, :])
    bias_out = tl.load(out_bias + wide)
    bias_raw = tl.load(out_bias + WB + extra)
    for time in range(times):
        moment = (batch * intervals + interval) * times + time
        light = tl.load(
            sun + moment * SUN * plane + rays[None, :] * pixels + pixel[:, None],
            mask=inside[:, None] & (rays < SUN)[None, :],
            other=0.0,
        )
        hidden = together + tl.dot(light.to(kind), weight_sun, input_precision=PRECISION)
        hidden += tl.load(shift + ((batch * times + time) * channels + channel) * WB + wide)[None, :]
        hidden = tl.maximum(hidden, 0.0).to(kind)
        theta = tl.load(fraction + batch * times + time)
        increment = tl.dot(hidden, weight_out, input_precision=PRECISION) + bias_out[None, :]
        fine = (1 - theta) * before + theta * after + 4 * theta * (1 - theta) * increment
        place = (moment * channels + channel) * W
        tl.store(at_times + place * plane + here, fine.to(at_times.dtype.element_ty), mask=used)
        rest = tl.dot(hidden, weight_raw, input_precision=PRECISION) + bias_raw[None, :]
        place = (moment * channels + channel) * RAW
        tl.store(
            raw + place * plane + extra[None, :] * pixels + pixel[:, None],
            rest.to(raw.dtype.element_ty),
            mask=inside[:, None] & (extra < RAW)[None, :],
        )


def launch(
    pair: Sequence[Any],
    times: Any,
    width: int,
    packed: Sequence[Sequence[int]],
    rays: int,
    extra: int,
    lying: bool,
    tuning: Tuning,
) -> Launch:
    """Of a pair shaped (B, T, C, W, P) at M times; `packed` are the shapes that `pack_between_frames` gives."""
    batch, intervals, channels, _, pixels = pair
    sunny, wide = packed[0]
    across, along = (1, width) if lying else (pixels, 1)
    return Launch(
        grid=(ceil_div(pixels, tuning.block), intervals * channels, batch),
        scalars={"intervals": intervals, "times": times, "channels": channels, "pixels": pixels, "across": across,
                 "along": along},
        constants={"W": width, "WB": wide, "SUN": rays, "SB": sunny, "RAW": extra, "RB": packed[2][0] // wide - wide,
                   "BP": tuning.block},
    )  # fmt: skip


def between_frames(
    pair: Tensor,
    features: Tensor,
    sun: Tensor,
    sun_weight: Tensor,
    shift: Tensor,
    out: Tensor,
    out_bias: Tensor,
    fraction: Tensor,
    precision: Precision,
    tuning: Tuning,
) -> tuple[Tensor, Tensor]:
    """As `reference.between_frames`; products in `precision`, sums in fp32, the results as `pair`."""
    packed = pack_between_frames(sun_weight, shift, out, out_bias, fraction, computed(precision))
    lying = pair.stride(3) == 1  # channels-last, as cuDNN leaves it
    return run_between_frames(pair, features, sun, packed, out.shape[0] - pair.shape[3], lying, precision, tuning)


def run_between_frames(
    pair: Tensor,
    features: Tensor,
    sun: Tensor,
    packed: Sequence[Tensor],
    extra: int,
    lying: bool,
    precision: Precision,
    tuning: Tuning,
) -> tuple[Tensor, Tensor]:
    """The same with weights that were packed already; `lying`: pair, features and the first result channels-last."""
    batch, intervals, channels, width, pixels = pair.shape
    times, rays = sun.shape[2:4]
    check_image("between_frames", width * pixels)
    pair, features = (_lie(each, lying) for each in (pair, features))
    at_times = _lie(pair.new_empty(batch, intervals, times, channels, width, pixels), lying)
    raw = pair.new_empty(batch, intervals, times, channels, extra, pixels)
    started = launch(pair.shape, times, width, [each.shape for each in packed], rays, extra, lying, tuning)
    inputs = (pair, features, sun.contiguous(), *packed)
    run_kernel(between_frames_kernel, started, inputs, (at_times, raw), precision, tuning)
    return at_times, raw


def _lie(x: Tensor, channels_last: bool) -> Tensor:
    """(..., W, P), contiguous, or with W innermost."""
    return x.mT.contiguous().mT if channels_last else x.contiguous()
