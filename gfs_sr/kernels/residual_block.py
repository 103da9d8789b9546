"""A residual block, two 3×3 convolutions with the ReLU between them, in one pass over a tile.

The hidden layer of a tile has no shape that Triton could index in shared memory, so each program writes it to a
scratch tile of its own and reads it back nine times, shifted. There are only as many programs as the device runs at
once, each walking over many tiles: all scratch together is a few megabytes that stay in the L2 cache, and the hidden
layer never travels to device memory. Activations lie channels-last.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
# (Triton's decorators and its language inside kernels carry no types)

import torch
import triton
import triton.language as tl
from torch import Tensor

from gfs_sr.kernels.launch import Precision, Tuning, check_image, computed, input_precision, padded

INTERPRETED_PROGRAMS = 3  # where there is no device: enough that one walks over several tiles
PROGRAMS_PER_PROCESSOR = 2


@triton.jit
def residual_block_kernel(
    x, w1, b1, w2, b2, scratch, y,
    images, height, width, scale,
    C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BM: tl.constexpr, PRECISION: tl.constexpr,
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
            result = skip + scale * (branch + bias2[None, :])
            place = ((top + row) * width + left + column) * C
            target = y + image * height * width * C
            tl.store(target + place[:, None] + inner[None, :], result.to(y.dtype.element_ty), mask=used)
        tl.debug_barrier()  # nobody overwrites what is still read


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
    images, channels = x.shape[:2]
    check_image("residual_block", x[0].numel())
    height, width = x.shape[2] - 4, x.shape[3] - 4
    wide, kind = padded(channels), computed(precision)
    rows, columns = tile_of(tuning)
    lying = x.permute(0, 2, 3, 1).contiguous()  # free where x lies channels-last already
    y = torch.empty((images, height, width, channels), dtype=x.dtype, device=x.device)
    tiles = images * triton.cdiv(height, rows) * triton.cdiv(width, columns)
    programs = min(tiles, _programs(x.device))
    scratch = torch.empty(programs * (rows + 2) * (columns + 2) * wide, dtype=kind, device=x.device)
    residual_block_kernel[(programs,)](
        lying, _pack(first, wide, kind), _pack_bias(first_bias, wide), _pack(second, wide, kind),
        _pack_bias(second_bias, wide), scratch, y, images, height, width, scale,
        C=channels, CB=wide, TH=rows, TW=columns, BM=tuning.block, PRECISION=input_precision(precision),
        num_warps=tuning.warps, num_stages=tuning.stages,
    )  # fmt: skip
    return y.permute(0, 3, 1, 2)


def tile_of(tuning: Tuning) -> tuple[int, int]:
    """Rows and columns of a tile's output: with the hidden rim its rows fill whole blocks."""
    return tuning.frames - 2, tuning.columns - 2


def _programs(device: torch.device) -> int:
    if device.type != "cuda":
        return INTERPRETED_PROGRAMS
    return PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count


def _pack(weight: Tensor, wide: int, kind: torch.dtype) -> Tensor:
    packed = weight.new_zeros(9, wide, wide, dtype=kind)
    width = weight.shape[0]
    packed[:, :width, :width] = weight.permute(2, 3, 1, 0).reshape(9, width, width)
    return packed


def _pack_bias(bias: Tensor, wide: int) -> Tensor:
    packed = bias.new_zeros(wide, dtype=torch.float32)
    packed[: bias.shape[0]] = bias
    return packed
