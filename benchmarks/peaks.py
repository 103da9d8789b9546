"""What a device can do at most, measured in the same run: matrix products, and copies within its memory.

On the CPU these are PyTorch's, on as many threads as it has; 16-bit products only where the processor has instructions
for them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

SECONDS = 0.3  # of each measurement
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Peaks:
    """Of one device."""

    flops_per_s: dict[str, float]  # by type of the products; sums in fp32
    bytes_per_s: float  # read and written, each counted


def timed(work: Callable[[], object], device: torch.device, seconds: float = SECONDS) -> list[float]:
    """Seconds of each of several calls, each waited for."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    work()
    synchronize()
    found, start = [], time.perf_counter()
    while not found or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        work()
        synchronize()
        found.append(time.perf_counter() - before)
    return found


@cache
def peaks(device: torch.device) -> Peaks:
    """Square products as large as the device fills well, and a copy far larger than its caches; the least times."""
    cuda = device.type == "cuda"
    size, elements = (8192, 1 << 28) if cuda else (2048, 1 << 26)
    flops = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if not cuda and name not in cpu_products():
            continue
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(left)
        flops[name] = 2 * size**3 / min(timed(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), device))
    source = torch.randn(elements, device=device)
    target = torch.empty_like(source)
    return Peaks(flops, 2 * 4 * elements / min(timed(lambda: target.copy_(source), device)))


def cpu_products() -> tuple[str, ...]:
    """Types of which this processor has products of its own."""
    return ("fp32", "bf16") if torch.cpu.get_capabilities().get("avx512_bf16", False) else ("fp32",)


def shares(
    seconds: float, precision: str = "fp32", *, operations: float = 0, moved: float = 0, device: torch.device = CPU
) -> dict[str, float]:
    """`of_peak` of so many operations, `of_bandwidth` of so many bytes, where given, for the record.

    Args:
        seconds: the least time.
        precision: of the products; shares of a type that the device has no products of are left out.
        operations: 2 per multiply-add.
        moved: bytes that must be read or written, each once.
        device: whose peaks count.
    """
    most, found = peaks(device), {}
    if operations and precision in most.flops_per_s:
        found["of_peak"] = operations / seconds / most.flops_per_s[precision]
    if moved:
        found["of_bandwidth"] = moved / seconds / most.bytes_per_s
    return found
