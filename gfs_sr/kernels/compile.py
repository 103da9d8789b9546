"""Kernels compiled ahead of time for GPUs that are not at hand: registers, shared memory, spills, tensor cores."""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gfs_sr.kernels.between_frames import between_frames_kernel
from gfs_sr.kernels.conv_shuffle import EPILOGUE, conv_shuffle_kernel
from gfs_sr.kernels.launch import PRECISIONS, Precision, Tuning, input_precision, tuning
from gfs_sr.kernels.residual_block import residual_block_kernel, tile_of
from gfs_sr.kernels.temporal_stack import temporal_stack_kernel

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
WARP = 32
MATRIX_INSTRUCTIONS = re.compile(r"\b(wgmma\.mma_async|mma\.sync|tcgen05\.mma)\b")
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class Usage:
    """What one kernel takes of one architecture, as the assembler reports it."""

    kernel: str
    arch: str
    dtype: Precision
    registers: int  # per thread
    shared_bytes: int  # per program, static and dynamic
    local_bytes: int  # spilled, per thread
    tensor_core: bool


@dataclass(frozen=True)
class Specimen:
    """A kernel as the default models launch it."""

    kernel: Any
    pointers: Mapping[str, str]  # parameter -> element type; `h` is the type of the products, `a` of activations
    scalars: Mapping[str, str]
    sizes: Mapping[str, int | bool | float | None]  # compile-time constants but those of the tuning

    def constants(self, precision: Precision, sizes: Tuning) -> dict[str, Any]:
        """All compile-time constants."""
        chosen = {
            temporal_stack_kernel: {"BP": sizes.block, "HELD": sizes.held},
            conv_shuffle_kernel: {"BX": sizes.block, "BN": sizes.columns},
            between_frames_kernel: {"BP": sizes.block},
        }
        if self.kernel is residual_block_kernel:
            rows, columns = tile_of(sizes)
            return {**self.sizes, "TH": rows, "TW": columns, "BM": sizes.block}
        return {**self.sizes, **chosen[self.kernel]}


WIDE = {"height": "i32", "width": "i32"}
SPECIMENS: dict[str, Specimen] = {
    "temporal_stack": Specimen(  # of `factorized`: 5 variables, 64 wide, r = 6
        temporal_stack_kernel,
        dict.fromkeys(("x", "y"), "fp32") | dict.fromkeys(("b1", "b2", "b3", "bt"), "fp32")
        | dict.fromkeys(("w1", "w2", "w3", "wt"), "h"),
        {"frames": "i32", "pixels": "i32", "block_frames": "i32"},
        {"C": 5, "K1": 16, "W": 64, "OUT": 30, "OUTP": 32},
    ),
    "between_frames": Specimen(  # of `fused`: 48 wide
        between_frames_kernel,
        dict.fromkeys(("pair", "features", "sun", "at_times", "raw"), "a") | dict.fromkeys(("sun_weight", "out"), "h")
        | dict.fromkeys(("shift", "out_bias", "fraction"), "fp32"),
        {"intervals": "i32", "times": "i32", "channels": "i32", "pixels": "i32", "along": "i32"},
        {"across": 1, "W": 48, "WB": 64, "SUN": 7, "SB": 16, "RAW": 11, "RB": 16},
    ),
    "conv_shuffle": Specimen(  # 3×3 sub-pixel convolution, x6
        conv_shuffle_kernel,
        {"x": "a", "weight": "h", "y": "a", "bias": "fp32"},
        WIDE,
        {"C": 64, "CB": 64, "SIZE": 3, "S": 6, "K": 5, "BASE": 1, "FINISH": False} | dict.fromkeys(EPILOGUE),
    ),
    "conv_shuffle_fine": Specimen(  # the folded 5×5 tail of `factorized`, to physical units
        conv_shuffle_kernel,
        {"x": "a", "weight": "h", "y": "fp32"}
        | dict.fromkeys(("bias", *EPILOGUE), "fp32"),
        WIDE,
        {"C": 64, "CB": 64, "SIZE": 5, "S": 6, "K": 5, "BASE": 4, "FINISH": True},
    ),
    "residual_block": Specimen(  # of `factorized`
        residual_block_kernel,
        dict.fromkeys(("x", "y"), "a") | dict.fromkeys(("w1", "w2", "scratch"), "h")
        | dict.fromkeys(("b1", "b2"), "fp32"),
        {"images": "i32", **WIDE},
        {"SCALE": 0.1, "C": 64, "CB": 64},
    ),
}  # fmt: skip


def compile_all() -> Iterator[Usage]:
    """Every kernel for every architecture and precision.

    Raises:
        triton.CompilationError: one of them does not compile.
    """
    for arch in ARCHITECTURES:
        for name in SPECIMENS:
            for precision in PRECISIONS:
                yield compile_one(name, precision, arch)


def compile_one(name: str, precision: Precision, arch: str, sizes: Tuning | None = None) -> Usage:
    """One kernel for one architecture; needs no GPU."""
    specimen = SPECIMENS[name]
    sizes = sizes or tuning(name, precision, arch)
    half = precision if precision in ("bf16", "fp16") else "fp32"
    constants = specimen.constants(precision, sizes)
    pointers = {name: f"*{half if kind in 'ha' else kind}" for name, kind in specimen.pointers.items()}
    compiled = compile_ahead(specimen.kernel, pointers | dict(specimen.scalars), constants, precision, arch, sizes)
    registers, stack, static, local = _usage(compiled.asm["cubin"])
    return Usage(
        kernel=name,
        arch=arch,
        dtype=precision,
        registers=registers,
        shared_bytes=max(static, int(compiled.metadata.shared)),
        local_bytes=stack + local,
        tensor_core=MATRIX_INSTRUCTIONS.search(compiled.asm["ptx"]) is not None,
    )


def compile_ahead(
    kernel: Any,
    kinds: Mapping[str, str],
    constants: Mapping[str, Any],
    precision: Precision,
    arch: str,
    sizes: Tuning,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """A kernel of Triton compiled for an architecture that need not be there.

    Args:
        kernel: the kernel.
        kinds: types of the parameters given at run time, as Triton writes them: `*bf16`, `i32`.
        constants: every other parameter, but for PRECISION.
        precision: of the products.
        arch: `sm_90`.
        sizes: of the programs.
        options: of the compiler, beside those that the sizes are.
    """
    constants = {**constants, "PRECISION": input_precision(precision)}
    signature = {name: "constexpr" if name in constants else kinds[name] for name in kernel.arg_names}
    aligned = {  # as torch and TensorRT allocate
        (position,): [["tt.divisibility", 16]]
        for position, kind in enumerate(signature.values())
        if kind.startswith("*")
    }
    return triton.compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned),
        target=GPUTarget("cuda", int(arch.removeprefix("sm_")), WARP),
        # products and sums may be contracted: kernels are held to tolerances, and the default changes in Triton 3.10
        options={"num_warps": sizes.warps, "num_stages": sizes.stages, "enable_fp_fusion": True, **(options or {})},
    )


def _usage(cubin: bytes) -> tuple[int, int, int, int]:
    """Registers, stack, shared and local bytes by NVIDIA's own `cuobjdump`, which Triton brings along."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        shown = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = USAGE.search(shown.stdout)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {shown.stdout}")
    registers, stack, shared, local = map(int, found.groups())
    return registers, stack, shared, local
