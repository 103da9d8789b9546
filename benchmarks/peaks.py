"""What a device can do at most, measured in the same run: matrix products, and copies within its memory."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

SECONDS = 0.3  # of each measurement


@dataclass(frozen=True)
class Peaks:
    """Of one device."""

    flops_per_s: dict[str, float]  # by type of the products; sums in fp32
    bytes_per_s: float  # read and written, each counted


def timed(work: Callable[[], object], device: torch.device, seconds: float = SECONDS) -> float:
    """Median seconds of one call, each waited for."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    work()
    synchronize()
    found, start = [], time.perf_counter()
    while not found or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        work()
        synchronize()
        found.append(time.perf_counter() - before)
    return statistics.median(found)


@cache
def peaks(device: torch.device) -> Peaks:
    """Square products as large as the device fills well, and a copy far larger than its caches."""
    cuda = device.type == "cuda"
    size, elements = (8192, 1 << 28) if cuda else (512, 1 << 22)
    flops = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if not cuda and dtype != torch.float32:
            continue
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(left)
        flops[name] = 2 * size**3 / timed(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), device)
    source = torch.randn(elements, device=device)
    target = torch.empty_like(source)
    return Peaks(flops, 2 * 4 * elements / timed(lambda: target.copy_(source), device))
