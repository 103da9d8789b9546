"""The kernels as operators of PyTorch: on CUDA the kernel, elsewhere its reference; shapes for tracing, gradients.

Gradients are those of the reference: a backward pass computes the layer again in plain PyTorch, so that training is
right wherever a kernel takes part in it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gfs_sr.kernels import reference
from gfs_sr.kernels.launch import PRECISIONS, Precision, architecture, tuning

NAMESPACE = "gfs_sr"


def _precision(name: str) -> Precision:
    if name not in PRECISIONS:
        raise ValueError(f"precision {name!r}; use one of {', '.join(PRECISIONS)}")
    return name


@torch.library.custom_op(f"{NAMESPACE}::temporal_stack", mutates_args=())
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
    precision: str,
) -> Tensor:
    """See `reference.temporal_stack`."""
    return reference.temporal_stack(series, first, first_bias, second, second_bias, third, third_bias, tail, tail_bias)


@temporal_stack.register_fake
def _(series: Tensor, *weights: Any) -> Tensor:
    tail = weights[6]
    return series.new_empty(series.shape[0], series.shape[1] - reference.LOOK_FRAMES, tail.shape[0], series.shape[3])


@temporal_stack.register_kernel("cuda")
def _(*arguments: Any) -> Tensor:
    from gfs_sr.kernels.temporal_stack import temporal_stack as kernel

    result: Tensor = _launched(kernel, "temporal_stack", arguments)
    return result


@torch.library.custom_op(f"{NAMESPACE}::between_frames", mutates_args=())
def between_frames(
    pair: Tensor,
    features: Tensor,
    sun: Tensor,
    sun_weight: Tensor,
    shift: Tensor,
    out: Tensor,
    out_bias: Tensor,
    fraction: Tensor,
    precision: str,
) -> tuple[Tensor, Tensor]:
    """See `reference.between_frames`."""
    at_times, raw = reference.between_frames(pair, features, sun, sun_weight, shift, out, out_bias, fraction)
    return at_times.clone(), raw.clone()  # an operator's results share no memory


@between_frames.register_fake
def _(pair: Tensor, features: Tensor, sun: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    batch, intervals, channels, width, pixels = pair.shape
    extra = rest[2].shape[0] - width
    shape = (batch, intervals, sun.shape[2], channels)
    return pair.new_empty(*shape, width, pixels), pair.new_empty(*shape, extra, pixels)


@between_frames.register_kernel("cuda")
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    from gfs_sr.kernels.between_frames import between_frames as kernel

    result: tuple[Tensor, Tensor] = _launched(kernel, "between_frames", arguments)
    return result


@torch.library.custom_op(f"{NAMESPACE}::conv_shuffle", mutates_args=())
def conv_shuffle(x: Tensor, weight: Tensor, bias: Tensor, scale_factor: int, precision: str) -> Tensor:
    """See `reference.conv_shuffle`."""
    return reference.conv_shuffle(x, weight, bias, scale_factor)


@conv_shuffle.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, scale_factor: int, precision: str) -> Tensor:
    return x.new_empty(_fine_shape(x, weight, scale_factor))


@conv_shuffle.register_kernel("cuda")
def _(*arguments: Any) -> Tensor:
    from gfs_sr.kernels.conv_shuffle import conv_shuffle as kernel

    result: Tensor = _launched(kernel, "conv_shuffle", arguments)
    return result


@torch.library.custom_op(f"{NAMESPACE}::conv_shuffle_fine", mutates_args=())
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
    precision: str,
) -> Tensor:
    """See `reference.conv_shuffle_fine`."""
    return reference.conv_shuffle_fine(x, weight, bias, coarse, base, scale, offset, low, high, scale_factor)


@conv_shuffle_fine.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, coarse: Tensor, *rest: Any) -> Tensor:
    return coarse.new_empty(_fine_shape(x, weight, rest[-2]))


@conv_shuffle_fine.register_kernel("cuda")
def _(*arguments: Any) -> Tensor:
    from gfs_sr.kernels.conv_shuffle import conv_shuffle_fine as kernel

    result: Tensor = _launched(kernel, "conv_shuffle_fine", arguments)
    return result


@torch.library.custom_op(f"{NAMESPACE}::residual_block", mutates_args=())
def residual_block(
    x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, scale: float, precision: str
) -> Tensor:
    """See `reference.residual_block`."""
    return reference.residual_block(x, first, first_bias, second, second_bias, scale)


@residual_block.register_fake
def _(x: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(x[..., 2:-2, 2:-2], memory_format=torch.channels_last)


@residual_block.register_kernel("cuda")
def _(*arguments: Any) -> Tensor:
    from gfs_sr.kernels.residual_block import residual_block as kernel

    result: Tensor = _launched(kernel, "residual_block", arguments)
    return result


def _launched(kernel: Callable[..., Any], name: str, arguments: Sequence[Any]) -> Any:
    precision = _precision(arguments[-1])
    return kernel(*arguments[:-1], precision, tuning(name, precision, architecture(arguments[0].device)))


def _fine_shape(x: Tensor, weight: Tensor, scale_factor: int) -> tuple[int, ...]:
    outputs, size = weight.shape[0], weight.shape[-1]
    height, width = (scale_factor * (side - size + 1) for side in x.shape[-2:])
    return x.shape[0], outputs // scale_factor**2, height, width


def _differentiable(operator: Any, plain: Callable[..., Any]) -> None:
    """Give `operator` the gradients of its reference; its last argument is the precision."""

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(each for each in inputs if isinstance(each, Tensor)))
        ctx.others = [None if isinstance(each, Tensor) else each for each in inputs[:-1]]

    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        saved = iter(ctx.saved_tensors)
        arguments = [next(saved).detach() if each is None else each for each in ctx.others]
        wanted = [index for index, needed in enumerate(ctx.needs_input_grad[:-1]) if needed]
        with torch.enable_grad():
            for index in wanted:
                arguments[index].requires_grad_()
            outputs = plain(*arguments)
        pairs = [
            (output, gradient)
            for output, gradient in zip(outputs if isinstance(outputs, tuple) else (outputs,), gradients, strict=True)
            if gradient is not None
        ]
        found = torch.autograd.grad(
            [output for output, _ in pairs], [arguments[index] for index in wanted], [each for _, each in pairs]
        )
        result: list[Tensor | None] = [None] * (len(arguments) + 1)
        for index, gradient in zip(wanted, found, strict=True):
            result[index] = gradient
        return tuple(result)

    operator.register_autograd(backward, setup_context=remember)


for _operator, _plain in (
    (temporal_stack, reference.temporal_stack),
    (between_frames, reference.between_frames),
    (conv_shuffle, reference.conv_shuffle),
    (conv_shuffle_fine, reference.conv_shuffle_fine),
    (residual_block, reference.residual_block),
):
    _differentiable(_operator, _plain)
