"""`factorized` and `fused` with their heavy layers as the operators of `gfs_sr.kernels`: the same functions.

On CUDA the operators are Triton kernels, elsewhere their references. What they leave out runs as it is: convolutions
that read few channels, and everything whose halo is padding and not data.
"""

from copy import deepcopy
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.kernels import operators
from gfs_sr.models.blocks import Padding, ResidualBlock, crop_space
from gfs_sr.models.factorized import Factorized, FoldedResidual
from gfs_sr.models.fused import Fused
from gfs_sr.models.fused_residual import Residual
from gfs_sr.models.interpolation import Interpolation
from gfs_sr.models.lowering import cast_all
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import Reach, crop

WIDEST: Final = 64  # the tuning table is for products of at most so many channels; wider ones would spill
PRECISIONS: Final = {torch.float32: "ieee", torch.bfloat16: "bf16", torch.float16: "fp16"}


def on_kernels(model: Model, dtype: torch.dtype = torch.float32, calls: Any = operators) -> nn.Module | None:
    """A copy of `model` on the kernels, its residual branch in `dtype`; None where they do not fit it.

    `calls` has the operators by name: the kernels' own, or those of `gfs_sr.kernels.packed`.
    """
    if isinstance(model, Factorized) and _fits(model):
        return KernelFactorized(model, dtype, calls).eval()
    if isinstance(model, Fused) and model.settings.width <= WIDEST:
        copy = deepcopy(model)
        copy.residual = KernelResidual(model.residual, dtype, calls)  # type: ignore[assignment]  # called as the plain one is
        return copy.eval()
    return None


def _fits(model: Factorized) -> bool:
    settings = model.settings
    channels = len(settings.variables)
    largest = max(settings.width, 3 * channels, settings.time_factor * channels)
    return settings.padding is Padding.VALID and largest <= WIDEST


class KernelBlock(nn.Module):
    """`ResidualBlock` in VALID."""

    def __init__(self, block: ResidualBlock, calls: Any) -> None:
        super().__init__()
        self.calls = calls
        self.first, self.second, self.scale = block.first, block.second, float(block.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block has to say."""
        result: Tensor = self.calls.residual_block(
            x,
            self.first.weight,
            self.first.bias,
            self.second.weight,
            self.second.bias,
            self.scale,
            PRECISIONS[x.dtype],
        )
        return result


class KernelFactorized(nn.Module):
    """`Factorized` in VALID, folded: temporal stack, every block, and last layer with its base: one call each."""

    ones: Tensor
    zeros: Tensor
    endless: Tensor

    def __init__(self, model: Factorized, dtype: torch.dtype, calls: Any) -> None:
        super().__init__()
        self.calls = calls
        self.dtype = dtype
        self.precision = PRECISIONS[dtype]
        self.margin = model.margin
        self.rest = model.margin - (model.residual.temporal.reach + model.residual.spatial.reach)
        self.base: Interpolation | None = deepcopy(model.base) if model.settings.baseline_residual else None
        self.residual = FoldedResidual(model.residual).to(dtype)
        self.residual.blocks = nn.ModuleList(
            KernelBlock(block, calls) for block in self.residual.blocks if isinstance(block, ResidualBlock)
        )
        channels = len(model.settings.variables)
        # model units are given out: bounds hold in physical ones, which the runtime knows
        self.register_buffer("ones", torch.ones(channels), persistent=False)
        self.register_buffer("zeros", torch.zeros(channels), persistent=False)
        self.register_buffer("endless", torch.full((channels,), torch.inf), persistent=False)

    def forward(self, coarse: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None) -> Tensor:
        """As `Factorized.forward`."""
        residual, s = self.residual, self.residual.scale_factor
        inner = crop(coarse, self.rest)
        B, frames, C, H, W = inner.shape
        look = [(layer.weight, layer.bias) for layer in residual.look]
        x = self.calls.temporal_stack(
            inner.reshape(B, frames, C, H * W).to(self.dtype),
            *(each for pair in look for each in pair),
            residual.time_tail.weight[:, :, 0, 0],
            residual.time_tail.bias,
            self.precision,
        ).reshape(B, -1, C, H, W)  # fine frame m of every coarse one lies in channels m·C and on
        if static_coarse is not None:
            cropped = crop(static_coarse, _in_space(self.rest)).to(self.dtype)
            x = torch.cat([x, cropped.expand(-1, x.shape[1], -1, -1, -1)], dim=2)
        features = residual.head(x.flatten(0, 1))
        for block in residual.blocks:
            features = block(features)
        tail = residual.tail
        fine: Tensor
        if self.base is None:
            fine = self.calls.conv_shuffle(features, tail.weight, tail.bias, s, self.precision).float()
        else:
            fine = self.calls.conv_shuffle_fine(
                features, tail.weight, tail.bias, self._interpolated_from(coarse), self.base.space.weight[:, 0],
                self.ones, self.zeros, -self.endless, self.endless, s, self.precision,
            )  # fmt: skip
        fine = fine.reshape(B, -1, *fine.shape[1:])
        if residual.statics is not None and static_fine is not None:
            cropped = crop(static_fine, _in_space(self.margin)).to(self.dtype)
            fine = fine + residual.statics(F.pixel_shuffle(cropped[:, 0], s))[:, None].float()
        return fine

    def _interpolated_from(self, coarse: Tensor) -> Tensor:
        """(B·r·T, C, H + base, W + base): the coarse field at the fine times, which the last layer interpolates."""
        assert self.base is not None  # else nobody asks
        around = crop(coarse, self.margin - self.base.reach)
        if self.base.sharpen is not None:
            planes = self.base.sharpen(around.flatten(0, 2)[:, None])
            around = planes.reshape(*around.shape[:3], *planes.shape[2:])
        moments: Tensor = self.base.time(around)
        return moments.flatten(0, 1)


class KernelResidual(nn.Module):
    """`Residual` of `fused`: all fine times between two frames in one pass, every block of the trunk in one."""

    def __init__(self, residual: Residual, dtype: torch.dtype, calls: Any) -> None:
        super().__init__()
        plain = deepcopy(residual).to(dtype)
        plain.trunk.blocks = nn.ModuleList(
            KernelBlock(block, calls) for block in plain.trunk.blocks if isinstance(block, ResidualBlock)
        )
        self.plain = _PassBetween(plain, calls)
        self.dtype = dtype

    def forward(self, **inputs: Any) -> Tensor:
        """As `Residual.forward`, by name."""
        fine: Tensor = self.plain(**cast_all(inputs, self.dtype))
        return fine.float()

    def space(self, **inputs: Any) -> Tensor:
        """As `Residual.space`, by name."""
        return self.plain.space(**cast_all(inputs, self.dtype)).float()


class _PassBetween(Residual):
    """Features at every fine time are linear between the frames' own and 4·θ·(1 - θ) of what the hidden layer adds."""

    def __init__(self, residual: Residual, calls: Any) -> None:
        nn.Module.__init__(self)
        self.calls = calls
        self.trunk, self.between, self.head = residual.trunk, residual.between, residual.head
        self.linear, self.keys, self.left = residual.linear, residual.keys, residual.left

    def at_times(
        self,
        features: Tensor,
        changes: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
        fraction: Tensor,
        hours: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Residual.at_times`."""
        between = self.between
        pair, times, kinds = between.summands(features, changes, fraction, hours, classes)
        B, T, C, width, height, columns = pair.shape
        M = fraction.shape[1]
        inner = crop_space(features[:, 1:-1], 1)
        shift = times[:, :, None] + kinds[:, None]  # (B or 1, M, C, width)
        out, bias = between.out.weight[:, :, 0, 0], between.out.bias
        at_times, raw = self.calls.between_frames(
            pair.flatten(4),
            inner.flatten(4),
            sun.flatten(4),
            between.sun_weight,
            shift.expand(B, M, C, width).contiguous(),
            out,
            bias,
            fraction.expand(B, M).contiguous(),
            PRECISIONS[pair.dtype],
        )
        correction, strength = between.corrections(
            raw.reshape(*raw.shape[:5], height, columns),
            change_size, before, after, sun, land, fraction, classes, unit, grounded,
        )  # fmt: skip
        return at_times.reshape(B, T, M, C, width, height, columns), correction, strength


def _in_space(margin: Reach) -> Reach:
    """Statics have no frames to crop."""
    return Reach(north=margin.north, south=margin.south, west=margin.west, east=margin.east)
