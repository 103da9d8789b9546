"""A residual block, two 3×3 convolutions with the ReLU between them, in one pass over a tile.

The hidden layer of a tile has no shape that Triton could index in shared memory, so each program writes it to a
scratch tile of its own and reads it back nine times, shifted. There are only as many programs as the device runs at
once, each walking over many tiles: all scratch together is a few megabytes that stay in the L2 cache, and the hidden
layer never travels to device memory. Activations lie channels-last.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (Triton's decorators and its language inside kernels carry no types)

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gfs_sr.kernels.launch import Launch, Precision, Tuning, ceil_div, check_image, computed, run_kernel
from gfs_sr.kernels.packing import pack_residual_block

INTERPRETED_PROGRAMS = 3  # where there is no device: enough that one walks over several tiles
PROGRAMS_PER_PROCESSOR = 2


@triton.jit
def residual_block_kernel(
    x, w1, b1, w2, b2,
    images, height, width,
    y, scratch,
    SCALE: tl.constexpr, C: tl.constexpr, CB: tl.constexpr,
    TH: tl.constexpr, TW: tl.constexpr, BM: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From x (N, H + 4, W + 4, C) to y (N, H, W, C); tiles of TH by TW output cells, weights (9, CB, CB)."""
    HH: tl.constexpr = TH + 2
    HW: tl.constexpr = TW + 2
    inner = tl.arange(0, CB)
    known = inner < C
    kind = w1.dtype.element_ty
    bias1 = tl.load(b1 + inner)
    bias2 = tl.load(b2 + inner)
    across = tl.cdiv(width, TW)
    down = tl.cdiv(height, TH)
    own = scratch + tl.program_id(0).to(tl.int64) * (HH * HW * CB)
    for tile in range(tl.program_id(0), images * down * across, tl.num_programs(0)):
        image = (tile // (down * across)).to(tl.int64)
        top = (tile // across) % down * TH
        left = tile % across * TW
        source = x + image * (height + 4) * (width + 4) * C
        for start in range(0, HH * HW, BM):
            cell = start + tl.arange(0, BM)
            row = top + cell // HW
            column = left + cell % HW
            whole = (cell < HH * HW) & (row < height + 2) & (column < width + 2)
            hidden = tl.zeros((BM, CB), tl.float32)
            for tap in range(9):
                place = ((row + tap // 3) * (width + 4) + column + tap % 3) * C
                cells = tl.load(
                    source + place[:, None] + inner[None, :], mask=whole[:, None] & known[None, :], other=0.0
                )
                weight = tl.load(w1 + (tap * CB + inner)[:, None] * CB + inner[None, :])
                hidden = tl.dot(cells.to(kind), weight, hidden, input_precision=PRECISION)
            hidden = tl.maximum(hidden + bias1[None, :], 0.0).to(kind)
            tl.store(own + cell[:, None] * CB + inner[None, :], hidden, mask=(cell < HH * HW)[:, None])
        tl.debug_barrier()  # what one warp wrote, the others read
        for start in range(0, TH * TW, BM):
            cell = start + tl.arange(0, BM)
            row = cell // TW
            column = cell % TW
            whole = (cell < TH * TW) & (top + row < height) & (left + column < width)
            branch = tl.zeros((BM, CB), tl.float32)
            for tap in range(9):
                place = (row + tap // 3) * HW + column + tap % 3
                # past the L1 cache, which another warp's stores may not have reached
                cells = tl.load(
                    own + place[:, None] * CB + inner[None, :],
                    mask=(cell < TH * TW)[:, None],
                    other=0.0,
                    cache_modifier=".cg",
                )
                weight = tl.load(w2 + (tap * CB + inner)[:, None] * CB + inner[None, :])
                branch = tl.dot(cells, weight, branch, input_precision=PRECISION)
            place = ((top + row + 2) * (width + 4) + left + column + 2) * C
            used = whole[:, None] & known[None, :]
            skip = tl.load(source + place[:, None] + inner[None, :], mask=used, other=0.0).to(tl.float32)
            result = skip + SCALE * (branch + bias2[None, :])
            place = ((top + row) * width + left + column) * C
            target = y + image * height * width * C
            tl.store(target + place[:, None] + inner[None, :], result.to(y.dtype.element_ty), mask=used)
        tl.debug_barrier()  # nobody overwrites what is still read


def launch(
    images: Any, height: Any, width: Any, features: int, wide: int, scale: float, programs: int, tuning: Tuning
) -> Launch:
    """Of (N, H, W) cells, by `programs` that share the tiles."""
    rows, columns = tile_of(tuning)
    return Launch(
        grid=(programs, 1, 1),
        scalars={"images": images, "height": height, "width": width},
        constants={"SCALE": scale, "C": features, "CB": wide, "TH": rows, "TW": columns, "BM": tuning.block},
    )


def residual_block(
    x: Tensor,
    first: Tensor,
    first_bias: Tensor,
    second: Tensor,
    second_bias: Tensor,
    scale: float,
    precision: Precision,
    tuning: Tuning,
) -> Tensor:
    """As `reference.residual_block`; products in `precision`, sums in fp32; the result channels-last, as `x`."""
    packed = pack_residual_block(first, first_bias, second, second_bias, computed(precision))
    lying = x.permute(0, 2, 3, 1)  # free where x lies channels-last already
    return run_residual_block(lying, packed, scale, precision, tuning).permute(0, 3, 1, 2)


def run_residual_block(
    x: Tensor, packed: Sequence[Tensor], scale: float, precision: Precision, tuning: Tuning
) -> Tensor:
    """The same from (N, H + 4, W + 4, C) to (N, H, W, C) with weights that were packed already."""
    images, channels = x.shape[0], x.shape[3]
    check_image("residual_block", x[0].numel())
    height, width, wide = x.shape[1] - 4, x.shape[2] - 4, packed[0].shape[1]
    y = torch.empty((images, height, width, channels), dtype=x.dtype, device=x.device)
    rows, columns = tile_of(tuning)
    tiles = images * ceil_div(height, rows) * ceil_div(width, columns)
    programs = min(tiles, programs_on(x.device))
    scratch = torch.empty(scratch_size(programs, wide, tuning), dtype=packed[0].dtype, device=x.device)
    started = launch(images, height, width, channels, wide, scale, programs, tuning)
    run_kernel(residual_block_kernel, started, (x.contiguous(), *packed), (y, scratch), precision, tuning)
    return y


def tile_of(tuning: Tuning) -> tuple[int, int]:
    """Rows and columns of a tile's output: with the hidden rim its rows fill whole blocks."""
    return tuning.frames - 2, tuning.columns - 2


def scratch_size(programs: int, wide: int, tuning: Tuning) -> int:
    """Elements that all programs together keep of the hidden layer."""
    rows, columns = tile_of(tuning)
    return programs * (rows + 2) * (columns + 2) * wide


def programs_on(device: torch.device) -> int:
    """As many as run at once."""
    if device.type != "cuda":
        return INTERPRETED_PROGRAMS
    return PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count
