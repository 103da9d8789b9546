"""`factorized`: a temporal upsampler for every pixel, then a spatial upsampler for every frame (specification 2.3)."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.data.variables import lookup
from gfs_sr.models.blocks import Padding, ResidualBlock, SpaceConv, TimeConv
from gfs_sr.models.folding import fold_sub_pixel_tail, fold_temporal_tail
from gfs_sr.models.interpolation import Interpolation, pad_edges
from gfs_sr.models.model import Model, ModelConfig
from gfs_sr.models.receptive_field import Reach, chain, crop
from gfs_sr.models.upsample import SubPixelTail, TimeUpsampling

SEED_VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")


@dataclass(frozen=True, kw_only=True)
class FactorizedConfig(ModelConfig):
    """The seed's settings, and what it lacked."""

    variables: tuple[str, ...] = SEED_VARIABLES
    width: int = 64
    blocks: int = 20
    residual_scale: float = 0.1
    baseline_residual: bool = True  # off: the seed's network exactly
    padding: Padding = Padding.VALID
    statics_coarse: tuple[str, ...] = ()  # join the spatial head
    statics_fine: tuple[str, ...] = ()  # join the tail, each fine cell's own value

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "padding", Padding(self.padding))  # the one place that sees a config file's string
        for name in (*self.statics_coarse, *self.statics_fine):
            lookup(name)
        if min(self.width, self.blocks) < 1:
            raise ValueError(f"width and blocks start at 1, got {self.width} and {self.blocks}")


class TemporalStage(nn.Module):
    """(B, T + 14, C, H, W) -> (B, r·T, C, H, W), every pixel on its own; without the 14 where it pads."""

    def __init__(self, channels: int, width: int, time_factor: int, padding: Padding) -> None:
        super().__init__()
        self.look = nn.ModuleList(
            [
                TimeConv(channels, width, 3, padding_rule=padding),
                TimeConv(width, width, 3, dilation=2, padding_rule=padding),
                TimeConv(width, width, 3, dilation=4, padding_rule=padding),
            ]
        )
        self.up = TimeUpsampling(width, width, time_factor)
        self.out = TimeConv(width, channels, 1)

    @property
    def reach(self) -> Reach:
        """7 frames on each side."""
        return chain(layer.reach for layer in self.look if isinstance(layer, TimeConv))

    def forward(self, x: Tensor) -> Tensor:
        """Upsample in time."""
        B, _, C, H, W = x.shape
        fine = self.out(self.up(self.features(x)))  # (B, C, r·T, H·W)
        series: Tensor = fine.reshape(B, C, -1, H, W).transpose(1, 2)
        return series

    def features(self, x: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, width, T, H·W), the temporal halo used up."""
        B, T, C, H, W = x.shape
        series = x.transpose(1, 2).reshape(B, C, T, H * W)
        for layer in self.look:
            series = F.relu(layer(series))
        return series


class SpatialStage(nn.Module):
    """(B, T, C, H + halo, W + halo) -> (B, T, C, s·H, s·W), every frame on its own."""

    def __init__(self, config: FactorizedConfig) -> None:
        super().__init__()
        channels, width, rule = len(config.variables), config.width, config.padding
        self.head = SpaceConv(channels + len(config.statics_coarse), width, padding_rule=rule)
        self.blocks = nn.ModuleList(ResidualBlock(width, config.residual_scale, rule) for _ in range(config.blocks))
        self.tail = SubPixelTail(width, channels, config.scale_factor, rule)
        self.statics = nn.Conv2d(len(config.statics_fine), channels, 1) if config.statics_fine else None

    @property
    def reach(self) -> Reach:
        """Head, two cells for every block, tail."""
        blocks = chain(block.reach for block in self.blocks if isinstance(block, ResidualBlock))
        return self.head.reach + blocks + self.tail.reach

    def forward(self, x: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None) -> Tensor:
        """Upsample in space."""
        B, T = x.shape[:2]
        frames: Tensor = self.tail(self.features(x, static_coarse))
        fine = frames.reshape(B, T, *frames.shape[1:])
        if self.statics is not None and static_fine is not None:
            fine = fine + self.statics(F.pixel_shuffle(static_fine[:, 0], self.tail.scale_factor))[:, None]
        return fine

    def features(self, x: Tensor, static_coarse: Tensor | None) -> Tensor:
        """(B, T, C, H, W) -> (B·T, width, H, W): what the tail upsamples."""
        if static_coarse is not None:
            x = torch.cat([x, static_coarse.expand(-1, x.shape[1], -1, -1, -1)], dim=2)
        features: Tensor = self.head(x.flatten(0, 1))  # B and T fold by a view; C keeps its place
        for block in self.blocks:
            features = block(features)
        return features


class Residual(nn.Module):
    """Both stages: what the network adds to the interpolation."""

    def __init__(self, config: FactorizedConfig) -> None:
        super().__init__()
        self.temporal = TemporalStage(len(config.variables), config.width, config.time_factor, config.padding)
        self.spatial = SpatialStage(config)

    def forward(self, coarse: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None) -> Tensor:
        """(B, T + halo, C, H + halo, W + halo) -> (B, r·T, C, s·H, s·W)."""
        fine: Tensor = self.spatial(self.temporal(coarse), static_coarse, static_fine)
        return fine


class Factorized(Model):
    """The seed's network, over the registered interpolation unless that is switched off."""

    family = "factorized"

    def __init__(self, config: FactorizedConfig) -> None:
        super().__init__(config)
        self.settings = config
        self.residual = Residual(config)
        if config.baseline_residual:
            last = self.residual.spatial.tail.tail
            nn.init.zeros_(last.weight)
            nn.init.zeros_(_bias(last))
            if self.residual.spatial.statics is not None:
                nn.init.zeros_(self.residual.spatial.statics.weight)
                nn.init.zeros_(_bias(self.residual.spatial.statics))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(FactorizedConfig(**config))

    @property
    def margin(self) -> Reach:
        """What the input must carry around its core: nothing where the layers pad."""
        if self.settings.padding is not Padding.VALID:
            return Reach()
        reach = self.residual.temporal.reach + self.residual.spatial.reach
        return reach | self.base.reach if self.settings.baseline_residual else reach

    @property
    def reach(self) -> Reach | Literal["global"]:
        """7 frames; 3 cells and 2 for every block."""
        return self.margin if self.settings.padding is Padding.VALID else "global"

    @property
    def zero_padded(self) -> bool:
        """Protocol A only."""
        return self.settings.padding is Padding.ZERO

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Static fields that join the spatial head."""
        return self.settings.statics_coarse

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Static fields that join the tail."""
        return self.settings.statics_fine

    def forward(self, coarse: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None) -> Tensor:
        """(B, T + halo, C, H + halo, W + halo) -> (B, r·T, C, s·H, s·W); no halo where the layers pad."""
        fine = self._residual(coarse, static_coarse, static_fine)
        return self._base(coarse) + fine if self.settings.baseline_residual else fine

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `Model`; the baseline is computed once."""
        if kind != "space_time":
            raise ValueError(f"{self.family} learns from space_time batches, not from {kind}")
        base = self._base(inputs["coarse"])
        fine = self._residual(**inputs)
        return base + fine if self.settings.baseline_residual else fine, base

    def _residual(
        self, coarse: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None
    ) -> Tensor:
        own = self.residual.temporal.reach + self.residual.spatial.reach
        margin = self.margin
        inner = coarse
        if self.settings.padding is Padding.VALID:
            inner = crop(coarse, margin - own)
            static_coarse = _crop_static(static_coarse, margin - own)
            static_fine = _crop_static(static_fine, margin)
        fine: Tensor = self.residual(inner, static_coarse, static_fine)
        return fine

    def _base(self, coarse: Tensor) -> Tensor:
        if self.settings.padding is Padding.VALID:
            return self.base.within(coarse, self.margin)
        base: Tensor = self.base(pad_edges(coarse, self.base.reach))
        return base

    @property
    def flops_per_fine_cell(self) -> float:
        """162 thousand at the seed's settings."""
        c, w, n, s, r = 5, self.settings.width, self.settings.blocks, self.facts.scale_factor, self.facts.time_factor
        temporal = 3 * (c * w + 2 * w * w) / r + w * w + w * c
        spatial = 9 * (c * w + 2 * n * w * w + w * w * s * s)
        multiply_adds = (temporal + spatial) / s**2 + 9 * w * c
        base = 5 * self.base.flops_per_coarse_cell / s**2 if self.settings.baseline_residual else 0.0
        return 2 * multiply_adds + base

    def folded(self) -> nn.Module:
        """Sub-pixel tail as one 5×5 convolution, temporal tail as one 1×1, one pixel shuffle with the base."""
        return FoldedFactorized(self) if self.settings.padding is Padding.VALID else self


class FoldedResidual(nn.Module):
    """`Residual` in VALID before its pixel shuffle: (B, T + halo, C, ...) -> (B, r·T, C·s², H, W)."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        temporal, spatial = residual.temporal, residual.spatial
        self.look = deepcopy(temporal.look)
        self.time_factor = temporal.up.stride[0]
        weight, bias = fold_temporal_tail(temporal.up, temporal.out)
        self.time_tail = _conv(weight[:, :, None, None], bias)
        self.head = deepcopy(spatial.head)
        self.blocks = deepcopy(spatial.blocks)
        for block in self.blocks:  # the scale of the skip moves into the weights behind it
            if isinstance(block, ResidualBlock):
                block.second.weight.data *= block.scale
                _bias(block.second).data.mul_(block.scale)
                block.scale = 1.0
        weight, bias = fold_sub_pixel_tail(spatial.tail.up, spatial.tail.tail, spatial.tail.scale_factor)
        self.tail = _conv(weight, bias)
        self.statics = deepcopy(spatial.statics) if spatial.statics is not None else None
        self.scale_factor = spatial.tail.scale_factor

    def forward(self, coarse: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None) -> Tensor:
        """Add this to the base's sub-pixels, then shuffle."""
        B, T, C, H, W = coarse.shape
        series = coarse.transpose(1, 2).reshape(B, C, T, H * W)
        for layer in self.look:
            series = F.relu(layer(series))
        frames = self.time_tail(series).reshape(B, self.time_factor, C, -1, H, W)
        x = frames.permute(0, 3, 1, 2, 4, 5).reshape(B, -1, C, H, W)  # coarse frame, then fine frame within it
        if static_coarse is not None:
            x = torch.cat([x, static_coarse.expand(-1, x.shape[1], -1, -1, -1)], dim=2)
        features = self.head(x.flatten(0, 1))
        for block in self.blocks:
            features = block(features)
        frames_out: Tensor = self.tail(features)
        sub_pixels = frames_out.reshape(B, -1, *frames_out.shape[1:])
        if self.statics is not None and static_fine is not None:
            shift = self.statics(F.pixel_shuffle(static_fine[:, 0], self.scale_factor))
            shift = F.pixel_unshuffle(shift, self.scale_factor)
            sub_pixels = sub_pixels + shift[:, None]
        return sub_pixels


class FoldedFactorized(nn.Module):
    """What is exported: `Factorized` in VALID, folded."""

    def __init__(self, model: Factorized) -> None:
        super().__init__()
        self.base: Interpolation | None = model.base if model.settings.baseline_residual else None
        self.margin = model.margin
        self.own = model.residual.temporal.reach + model.residual.spatial.reach
        self.residual = FoldedResidual(model.residual)
        self.scale_factor = model.facts.scale_factor

    def forward(self, coarse: Tensor, static_coarse: Tensor | None = None, static_fine: Tensor | None = None) -> Tensor:
        """As the network it was folded from."""
        rest = self.margin - self.own
        static_coarse = _crop_static(static_coarse, rest)
        static_fine = _crop_static(static_fine, self.margin)
        sub_pixels: Tensor = self.residual(crop(coarse, rest), static_coarse, static_fine)
        if self.base is not None:
            sub_pixels = self.base.sub_pixels(crop(coarse, self.margin - self.base.reach)) + sub_pixels
        fine = F.pixel_shuffle(sub_pixels.flatten(0, 1), self.scale_factor)
        return fine.reshape(-1, sub_pixels.shape[1], *fine.shape[1:])


def _crop_static(statics: Tensor | None, margin: Reach) -> Tensor | None:
    """Statics have no frames to crop."""
    space = Reach(north=margin.north, south=margin.south, west=margin.west, east=margin.east)
    return crop(statics, space) if statics is not None else None


def _bias(layer: nn.Conv2d) -> Tensor:
    bias = layer.bias
    assert bias is not None  # every layer here has one
    return bias


def _conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    outputs, inputs, height, width = weight.shape
    layer = nn.Conv2d(inputs, outputs, (height, width))
    layer.weight.data.copy_(weight)
    _bias(layer).data.copy_(bias)
    return layer
