"""The Triton kernels against eager PyTorch and torch.compile, each as a fraction of what the device can do.

Shapes are those of the default models on one large tile. `of_peak` counts the layer's own operations against matrix
products in the same type, `of_bandwidth` its inputs and outputs, each once, against a copy; both measured in this run.
Eager convolutions have their input channels-last, as cuDNN likes it. On the CPU, where an interpreted kernel's time
says nothing, eager alone runs, at small sizes: a check of this file.
"""

import pytest
import torch

from benchmarks.peaks import peaks, shares
from gfs_sr.kernels import operators, reference
from tests.kernels import specimens

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
PRECISIONS = ("bf16", "ieee") if CUDA else ("ieee",)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "ieee": torch.float32}
CELLS = 256 if CUDA else 8  # a side
CASES = {  # arguments of `tests.kernels.specimens`
    # batch, coarse frames, variables, cells, width, r·variables
    "temporal_stack": (1, 8, 5, CELLS**2, 64, 30),
    # batch, intervals, times, variables, width, raw corrections, cells
    "between_frames": (1, 1, 6, 5, 48, 11, CELLS**2),
    # images, features, variables, size, s, rows, columns
    "conv_shuffle": (6, 64, 5, 3, 6, CELLS, CELLS),
    "conv_shuffle_fine": (6, 64, 5, 5, 6, CELLS, CELLS),
    # images, width, rows, columns
    "residual_block": (6, 64, CELLS, CELLS),
}
IMPLEMENTATIONS = ("eager", "torch.compile", "kernel") if CUDA else ("eager",)
CONVOLUTIONS = ("conv_shuffle", "conv_shuffle_fine", "residual_block")
FINE_FP32 = 3  # from here on the arguments of conv_shuffle_fine stay fp32


def flops_of(name: str, shape: tuple[int, ...]) -> float:
    """2 per multiply-add, halo excluded."""
    if name == "temporal_stack":
        B, T, C, P, W, out = shape
        return 2.0 * B * T * P * (3 * C * W + 6 * W * W + W * out)
    if name == "between_frames":
        B, T, M, C, W, extra, P = shape
        return 2.0 * B * T * M * P * (7 * W + C * W * (W + extra))
    if name == "residual_block":
        N, W, H, V = shape
        return 2.0 * N * H * V * 2 * 9 * W * W
    N, inputs, K, size, s, H, V = shape
    return 2.0 * N * H * V * K * s * s * inputs * size * size


def arguments(name: str, precision: str) -> list[object]:
    """On the device, in the type of the products."""
    given = specimens.SHAPES[name][0](*CASES[name])
    dtype = DTYPES[precision]
    fixed = FINE_FP32 if name == "conv_shuffle_fine" else len(given)
    placed = [
        each.to(DEVICE, dtype if index < fixed else torch.float32) if isinstance(each, torch.Tensor) else each
        for index, each in enumerate(given)
    ]
    if name in CONVOLUTIONS:
        placed[0] = placed[0].contiguous(memory_format=torch.channels_last)
    return placed


@pytest.mark.benchmark(group="kernels")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", CASES)
def bench_kernels(benchmark, name, implementation, precision):
    given = arguments(name, precision)
    plain = getattr(reference, name)
    compiled = torch.compile(plain) if implementation == "torch.compile" else plain
    run = {
        "eager": lambda: plain(*given),
        "torch.compile": lambda: compiled(*given),
        "kernel": lambda: getattr(operators, name)(*given, precision),
    }[implementation]
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        results = run()
        results = results if isinstance(results, tuple) else (results,)

        def once():
            run()
            if CUDA:
                torch.cuda.synchronize()

        benchmark.pedantic(once, rounds=20 if CUDA else 1, warmup_rounds=3 if CUDA else 0)
    moved = [each for each in (*given, *results) if isinstance(each, torch.Tensor)]
    most = peaks(DEVICE)
    benchmark.extra_info |= {
        "case": f"{name} {precision} {'x'.join(map(str, CASES[name]))}",
        "implementation": implementation,
        "reference": "eager",
        "cells": sum(each.numel() for each in results),
        **shares(
            benchmark.stats.stats.min,
            "fp32" if precision == "ieee" else precision,
            operations=flops_of(name, CASES[name]),
            moved=sum(each.numel() * each.element_size() for each in moved),
            device=DEVICE,
        ),
        "peak_flops_per_s": most.flops_per_s,
        "peak_bytes_per_s": most.bytes_per_s,
    }
    if CUDA:
        benchmark.extra_info["device"] = torch.cuda.get_device_name(DEVICE)
