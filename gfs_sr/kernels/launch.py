"""How kernels are started: precisions, padding to blocks, and the committed tuning table of each architecture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gfs_sr.errors import ShapeMismatch

LARGEST_IMAGE = 2**31
Precision = Literal["ieee", "tf32", "bf16", "fp16"]
"""Of the products; sums are fp32 throughout. `ieee` is fp32 without tensor cores."""

PRECISIONS: tuple[Precision, ...] = ("ieee", "tf32", "bf16", "fp16")
LEAST_BLOCK = 16  # rows and columns of the smallest matrix product
TABLE = Path(__file__).with_name("tuning.json")


@dataclass(frozen=True)
class Tuning:
    """Sizes of one kernel's programs on one architecture."""

    block: int  # pixels of a program
    warps: int
    stages: int = 2
    frames: int = 16  # of a program that walks along time
    columns: int = 64  # outputs of a program that computes a part of them
    held: bool = False  # weights stay where they were loaded, between the steps of a program that walks along time


@dataclass(frozen=True)
class Launch:
    """How one kernel is started. Sizes are numbers, or what TensorRT computes with before it knows a shape."""

    grid: tuple[Any, Any, Any]
    scalars: Mapping[str, Any]  # the kernel's parameters between inputs and outputs, in their order
    constants: Mapping[str, Any]  # compile-time ones, but for the precision


def ceil_div(size: Any, block: int) -> Any:
    """How many blocks hold `size`, a number or an expression."""
    return (size + (block - 1)) // block


def computed(precision: Precision) -> torch.dtype:
    """The type that products are given."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def input_precision(precision: Precision) -> str:
    """As `tl.dot` says it; of no effect on 16-bit inputs."""
    return "tf32" if precision == "tf32" else "ieee"


def padded(size: int) -> int:
    """The power of two that holds `size`, 16 at least."""
    return max(LEAST_BLOCK, 1 << (size - 1).bit_length())


@cache
def table() -> Mapping[str, Mapping[str, Mapping[str, Tuning]]]:
    """Architecture (`sm_90`) -> kernel -> precision -> sizes."""
    stored = json.loads(TABLE.read_text(encoding="utf-8"))
    return {
        arch: {
            kernel: {precision: Tuning(**sizes) for precision, sizes in rows.items()}
            for kernel, rows in kernels.items()
        }
        for arch, kernels in stored.items()
    }


def check_image(kernel: str, *elements: int) -> None:
    """Offsets within one image are 32-bit, which halves what addresses take of the registers.

    Raises:
        ShapeMismatch: an image is larger.
    """
    if max(elements) >= LARGEST_IMAGE:
        raise ShapeMismatch(
            f"an image has {max(elements):,} elements; {LARGEST_IMAGE:,} are addressed", kernel, "give smaller tiles"
        )


def tuning(kernel: str, precision: Precision, arch: str) -> Tuning:
    """The sizes for an architecture; those of the nearest older one where it has no row of its own."""
    rows = table()
    number = int(arch.removeprefix("sm_"))
    known = sorted(int(name.removeprefix("sm_")) for name in rows)
    nearest = max((each for each in known if each <= number), default=known[0])
    return rows[f"sm_{nearest}"][kernel][precision]


def run_kernel(
    kernel: Any,
    launch: Launch,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    precision: Precision,
    tuning: Tuning,
) -> None:
    """Run `kernel`, whose parameters are inputs, scalars, outputs in this order, as TensorRT passes them."""
    given = dict(zip(parameters(kernel, launch), (*inputs, *launch.scalars.values(), *outputs), strict=True))
    kernel[launch.grid](
        **given,
        **launch.constants,
        PRECISION=input_precision(precision),
        num_warps=tuning.warps,
        num_stages=tuning.stages,
    )


def parameters(kernel: Any, launch: Launch) -> list[str]:
    """The kernel's parameters that are given at run time."""
    return [name for name in kernel.arg_names if name not in launch.constants and name != "PRECISION"]


def architecture(device: torch.device) -> str:
    """`sm_90` of a CUDA device; the CPU, where kernels are interpreted, is tuned as the oldest."""
    if device.type != "cuda":
        return "sm_80"
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def as_json(rows: Mapping[str, Mapping[str, Mapping[str, Tuning]]]) -> str:
    """What `table` reads, as a tuning run writes it."""
    plain = {
        arch: {kernel: {name: asdict(sizes) for name, sizes in each.items()} for kernel, each in kernels.items()}
        for arch, kernels in rows.items()
    }
    return json.dumps(plain, indent=1)
