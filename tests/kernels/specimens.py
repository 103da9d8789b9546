"""Made-up inputs of every kernel, at sizes no block divides."""

from collections.abc import Callable
from typing import Any

import torch

from gfs_sr.kernels import reference

Arguments = list[Any]


def temporal_stack(batch: int, frames: int, channels: int, pixels: int, width: int, outputs: int) -> Arguments:
    return [
        torch.randn(batch, frames + reference.LOOK_FRAMES, channels, pixels),
        torch.randn(width, channels, 3) / (3 * channels) ** 0.5,
        torch.randn(width),
        torch.randn(width, width, 3) / (3 * width) ** 0.5,
        torch.randn(width),
        torch.randn(width, width, 3) / (3 * width) ** 0.5,
        torch.randn(width),
        torch.randn(outputs, width) / width**0.5,
        torch.randn(outputs),
    ]


def between_frames(
    batch: int, intervals: int, times: int, channels: int, width: int, extra: int, pixels: int
) -> Arguments:
    return [
        torch.randn(batch, intervals, channels, width, pixels),
        torch.randn(batch, intervals + 1, channels, width, pixels),
        torch.randn(batch, intervals, times, 7, pixels),
        torch.randn(width, 7) / 7**0.5,
        torch.randn(batch, times, channels, width),
        torch.randn(width + extra, width) / width**0.5,
        torch.randn(width + extra),
        torch.rand(batch, times),
    ]


def conv_shuffle(images: int, inputs: int, channels: int, size: int, scale: int, height: int, width: int) -> Arguments:
    return [
        torch.randn(images, inputs, height + size - 1, width + size - 1),
        torch.randn(channels * scale**2, inputs, size, size) / (inputs * size**2) ** 0.5,
        torch.randn(channels * scale**2),
        scale,
    ]


def conv_shuffle_fine(
    images: int, inputs: int, channels: int, size: int, scale: int, height: int, width: int
) -> Arguments:
    *convolution, _ = conv_shuffle(images, inputs, channels, size, scale, height, width)
    taps = 4
    return [
        *convolution,
        torch.randn(images, channels, height + taps - 1, width + taps - 1),
        torch.randn(scale**2, taps, taps) / taps,
        torch.rand(channels) + 0.5,
        torch.randn(channels),
        torch.full((channels,), -1.5),
        torch.full((channels,), 2.0),
        scale,
    ]


def residual_block(images: int, width: int, rows: int, columns: int) -> Arguments:
    return [
        torch.randn(images, width, rows + 4, columns + 4),
        torch.randn(width, width, 3, 3) / (9 * width) ** 0.5,
        torch.randn(width),
        torch.randn(width, width, 3, 3) / (9 * width) ** 0.5,
        torch.randn(width),
        0.3,
    ]


SHAPES: dict[str, tuple[Callable[..., Arguments], list[tuple[int, ...]]]] = {
    "temporal_stack": (temporal_stack, [(1, 1, 1, 1, 16, 2), (2, 5, 3, 33, 24, 12), (1, 3, 5, 17, 64, 30)]),
    "between_frames": (between_frames, [(1, 1, 1, 1, 16, 1, 1), (2, 3, 4, 2, 24, 11, 37), (1, 1, 6, 1, 48, 11, 19)]),
    "conv_shuffle": (conv_shuffle, [(1, 1, 1, 3, 1, 1, 1), (2, 20, 3, 5, 3, 3, 17), (1, 48, 1, 3, 6, 2, 5)]),
    "conv_shuffle_fine": (conv_shuffle_fine, [(1, 1, 1, 3, 2, 1, 1), (2, 20, 3, 5, 3, 2, 17)]),
    "residual_block": (residual_block, [(1, 1, 1, 1), (2, 20, 7, 19), (1, 48, 5, 3)]),
}
CASES = [(name, shape) for name, (_, shapes) in SHAPES.items() for shape in shapes]


def arguments(name: str, shape: tuple[int, ...], seed: int = 0) -> Arguments:
    """Of one kernel at one shape."""
    torch.manual_seed(seed)
    return SHAPES[name][0](*shape)
