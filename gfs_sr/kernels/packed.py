"""The kernels as operators on packed weights: what a node of an exported graph, and a plugin of TensorRT, computes.

Inputs, attributes and results are those of the plugin of the same name. Everything lies contiguous, images
channels-last. `PACKED` has the operators, and functions called as those of `gfs_sr.kernels.operators` pack and call.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from gfs_sr.kernels import reference
from gfs_sr.kernels.launch import Tuning, computed
from gfs_sr.kernels.operators import NAMESPACE, _precision
from gfs_sr.kernels.packing import (
    pack_between_frames,
    pack_conv_shuffle,
    pack_residual_block,
    pack_temporal_stack,
    sizes_of,
)

COLUMNS: Final = Tuning(block=0, warps=0).columns  # to a multiple of which outputs are packed, on every architecture
Shape = Sequence[Any]  # of integers, or of what TensorRT computes with
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class PackedOperator:
    """What is known of one without running it."""

    inputs: tuple[str, ...]
    attributes: Mapping[str, type]
    outputs: Callable[[Sequence[Shape], Attributes], tuple[tuple[Any, ...], ...]]
    typed_by: int  # the input whose type the results have


def _temporal_shapes(shapes: Sequence[Shape], given: Attributes) -> tuple[tuple[Any, ...], ...]:
    batch, frames, _, pixels = shapes[0]
    return ((batch, frames - reference.LOOK_FRAMES, given["planes"], pixels),)


def _between_shapes(shapes: Sequence[Shape], given: Attributes) -> tuple[tuple[Any, ...], ...]:
    batch, intervals, channels, _, pixels = shapes[0]
    places = (batch, intervals, shapes[2][2], channels)
    return (*places, given["width"], pixels), (*places, given["extra"], pixels)


def _fine_shapes(shapes: Sequence[Shape], given: Attributes) -> tuple[tuple[Any, ...], ...]:
    images, height, width, _ = shapes[0]
    rim, s = given["size"] - 1, given["scale_factor"]
    return ((images, given["planes"], (height - rim) * s, (width - rim) * s),)


def _block_shapes(shapes: Sequence[Shape], given: Attributes) -> tuple[tuple[Any, ...], ...]:
    images, height, width, _ = shapes[0]
    return ((images, height - 4, width - 4, given["features"]),)


CONVOLUTION: Final = {"features": int, "planes": int, "scale_factor": int, "size": int}
PACKED: Final = {
    "temporal_stack": PackedOperator(
        ("series", "first", "first_bias", "second", "second_bias", "third", "third_bias", "tail", "tail_bias"),
        {"channels": int, "planes": int}, _temporal_shapes, 0,
    ),
    "between_frames": PackedOperator(
        ("pair", "features", "sun", "sun_weight", "shift", "out", "out_bias", "fraction"),
        {"width": int, "rays": int, "extra": int}, _between_shapes, 0,
    ),
    "conv_shuffle": PackedOperator(("x", "weight", "bias"), CONVOLUTION, _fine_shapes, 0),
    "conv_shuffle_fine": PackedOperator(
        ("x", "weight", "bias", "coarse", "base", "scale", "offset", "low", "high"),
        CONVOLUTION | {"base_size": int}, _fine_shapes, 3,
    ),
    "residual_block": PackedOperator(
        ("x", "first", "first_bias", "second", "second_bias"), {"features": int, "scale": float}, _block_shapes, 0,
    ),
}  # fmt: skip


@torch.library.custom_op(f"{NAMESPACE}::packed_temporal_stack", mutates_args=())
def packed_temporal_stack(
    series: Tensor,
    first: Tensor,
    first_bias: Tensor,
    second: Tensor,
    second_bias: Tensor,
    third: Tensor,
    third_bias: Tensor,
    tail: Tensor,
    tail_bias: Tensor,
    channels: int,
    planes: int,
) -> Tensor:
    """`reference.temporal_stack`; what is packed beyond the width is zero and stays so."""
    kind = series.dtype
    taps = first[: 3 * channels].reshape(3, channels, -1).permute(2, 1, 0)
    return reference.temporal_stack(
        series,
        taps.to(kind), first_bias.to(kind),
        second.permute(2, 1, 0).to(kind), second_bias.to(kind),
        third.permute(2, 1, 0).to(kind), third_bias.to(kind),
        tail[:, :planes].T.to(kind), tail_bias[:planes].to(kind),
    )  # fmt: skip


@torch.library.custom_op(f"{NAMESPACE}::packed_between_frames", mutates_args=())
def packed_between_frames(
    pair: Tensor,
    features: Tensor,
    sun: Tensor,
    sun_weight: Tensor,
    shift: Tensor,
    out: Tensor,
    out_bias: Tensor,
    fraction: Tensor,
    width: int,
    rays: int,
    extra: int,
) -> tuple[Tensor, Tensor]:
    """`reference.between_frames`."""
    kind, wide = pair.dtype, sun_weight.shape[1]
    square, beside = out[: wide * wide].reshape(wide, wide), out[wide * wide :].reshape(wide, -1)
    weight = torch.cat([square[:width, :width].T, beside[:width, :extra].T])
    bias = torch.cat([out_bias[:width], out_bias[wide : wide + extra]])
    at_times, raw = reference.between_frames(
        pair, features, sun, sun_weight[:rays, :width].T.to(kind), shift[..., :width].to(kind),
        weight.to(kind), bias.to(kind), fraction.to(kind),
    )  # fmt: skip
    return at_times.clone(), raw.clone()  # an operator's results share no memory


@torch.library.custom_op(f"{NAMESPACE}::packed_conv_shuffle", mutates_args=())
def packed_conv_shuffle(
    x: Tensor, weight: Tensor, bias: Tensor, features: int, planes: int, scale_factor: int, size: int
) -> Tensor:
    """`reference.conv_shuffle` on (N, H, W, C)."""
    plain, plain_bias = _unpack_convolution(weight, bias, features, planes * scale_factor**2, x.dtype)
    return reference.conv_shuffle(x.permute(0, 3, 1, 2), plain, plain_bias, scale_factor)


@torch.library.custom_op(f"{NAMESPACE}::packed_conv_shuffle_fine", mutates_args=())
def packed_conv_shuffle_fine(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    coarse: Tensor,
    base: Tensor,
    scale: Tensor,
    offset: Tensor,
    low: Tensor,
    high: Tensor,
    features: int,
    planes: int,
    scale_factor: int,
    size: int,
    base_size: int,
) -> Tensor:
    """`reference.conv_shuffle_fine` on (N, H, W, C)."""
    plain, plain_bias = _unpack_convolution(weight, bias, features, planes * scale_factor**2, x.dtype)
    return reference.conv_shuffle_fine(
        x.permute(0, 3, 1, 2), plain, plain_bias, coarse, base, scale, offset, low, high, scale_factor
    )


@torch.library.custom_op(f"{NAMESPACE}::packed_residual_block", mutates_args=())
def packed_residual_block(
    x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, features: int, scale: float
) -> Tensor:
    """`reference.residual_block` on (N, H, W, C)."""
    one = _unpack_convolution(first, first_bias, features, features, x.dtype)
    two = _unpack_convolution(second, second_bias, features, features, x.dtype)
    return reference.residual_block(x.permute(0, 3, 1, 2), *one, *two, scale).permute(0, 2, 3, 1).contiguous()


def _unpack_convolution(
    weight: Tensor, bias: Tensor, inputs: int, outputs: int, kind: torch.dtype
) -> tuple[Tensor, Tensor]:
    size = math.isqrt(weight.shape[0])
    plain = weight[:, :inputs, :outputs].reshape(size, size, inputs, outputs).permute(3, 2, 0, 1)
    return plain.to(kind), bias[:outputs].to(kind)


def temporal_stack(series: Tensor, *rest: Any) -> Tensor:
    """As `operators.temporal_stack`."""
    *weights, precision = rest
    packed = pack_temporal_stack(*(*weights, computed(_precision(precision))))
    result: Tensor = packed_temporal_stack(series, *packed, sizes_of(weights[0])[1], sizes_of(weights[6])[0])
    return result


def between_frames(pair: Tensor, features: Tensor, sun: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """As `operators.between_frames`."""
    *weights, precision = rest
    width, rays = sizes_of(weights[0])
    packed = pack_between_frames(*(*weights, computed(_precision(precision))))
    result: tuple[Tensor, Tensor] = packed_between_frames(
        pair, features, sun, *packed, width, rays, sizes_of(weights[2])[0] - width
    )
    return result


def conv_shuffle(x: Tensor, weight: Tensor, bias: Tensor, scale_factor: int, precision: str) -> Tensor:
    """As `operators.conv_shuffle`."""
    packed = pack_conv_shuffle(weight, bias, COLUMNS, computed(_precision(precision)))
    outputs, inputs, size, _ = sizes_of(weight)
    sizes = inputs, outputs // scale_factor**2, scale_factor, size
    result: Tensor = packed_conv_shuffle(x.permute(0, 2, 3, 1), *packed, *sizes)
    return result


def conv_shuffle_fine(x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
    """As `operators.conv_shuffle_fine`."""
    *epilogue, scale_factor, precision = rest
    packed = pack_conv_shuffle(weight, bias, COLUMNS, computed(_precision(precision)))
    outputs, inputs, size, _ = sizes_of(weight)
    sizes = inputs, outputs // scale_factor**2, scale_factor, size, sizes_of(epilogue[1])[-1]
    result: Tensor = packed_conv_shuffle_fine(x.permute(0, 2, 3, 1), *packed, *epilogue, *sizes)
    return result


def residual_block(x: Tensor, *rest: Any) -> Tensor:
    """As `operators.residual_block`."""
    *weights, scale, precision = rest
    packed = pack_residual_block(*(*weights, computed(_precision(precision))))
    result: Tensor = packed_residual_block(x.permute(0, 2, 3, 1), *packed, sizes_of(weights[0])[0], scale)
    return result.permute(0, 3, 1, 2)
