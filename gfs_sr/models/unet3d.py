"""The 3-D U-Net of `geodiff`: space is halved level by level, the third axis, time or height, never."""

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gfs_sr.models.unet3d_blocks import (
    FullAttention,
    LinearAttention,
    Order,
    PositionBias,
    ResidualBlock,
    Rotary,
    SliceAttention,
)
from gfs_sr.sampling import CosineProcess

SIDE: Final = 64  # cells of the field that cost is counted on: full attention grows with it


@dataclass(frozen=True)
class VolumeConfig:
    """Size; the defaults are the seed's."""

    width: int = 64  # channels of the finest level
    multipliers: tuple[int, ...] = (1, 2, 4, 8)  # of the width, level by level
    heads: int = 8
    head_width: int = 32
    stem: int = 7  # cells of the first convolution's side
    # share of the training samples in which a slice's attention along the third axis sees that slice alone; 1: always,
    # when it runs too (the seed's focus on the present)
    focus: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.focus <= 1.0:
            raise ValueError(f"focus {self.focus:g} is no share")
        if min(self.width, self.heads, *self.multipliers) < 1 or self.head_width % 2 or self.head_width < 2:
            raise ValueError("width, multipliers and heads start at 1; head_width is even")
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: the noise level is told in pairs of sines")
        if self.stem % 2 == 0 or self.stem < 1:
            raise ValueError(f"stem {self.stem} is not odd: a convolution has a middle")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.width * each for each in self.multipliers)


class StepEmbedding(nn.Module):
    """(N,) ln sigma -> (N, 4·width), by way of the step of the cosine process that has this noise level."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        slow = torch.exp(-math.log(10_000) * torch.arange(half) / max(1, half - 1))
        self.register_buffer("frequencies", slow, persistent=False)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, 4 * width))

    def forward(self, level: Tensor) -> Tensor:
        """Embed."""
        offset = CosineProcess.OFFSET
        first = math.cos(offset / (1 + offset) * math.pi / 2) ** 2
        # tan of the schedule's angle: exact where sigma is small, finite where it is large
        angle = torch.atan((((2 * level).exp() + 1) / first - 1).sqrt())
        step = CosineProcess.STEPS * (angle * 2 / math.pi * (1 + offset) - offset) - 1
        angles = step[:, None] * self.frequencies
        out: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))
        return out


class Stage(nn.Module):
    """Two blocks and attention of one level, on the way down or up."""

    def __init__(self, channels_in: int, channels: int, lead: int, config: VolumeConfig) -> None:
        super().__init__()
        self.first = ResidualBlock(channels_in, channels, lead)
        self.second = ResidualBlock(channels, channels, lead)
        self.space = LinearAttention(channels, config.heads, config.head_width)
        self.slices = SliceAttention(channels, config.heads, config.head_width)

    def forward(self, x: Tensor, lead: Tensor | None, order: Order) -> Tensor:
        """(N·F, C, H, W)."""
        out: Tensor = self.slices(self.space(self.second(self.first(x, lead), lead)), order)
        return out


class Encoder(nn.Module):
    """The way down: a stem, then the levels."""

    def __init__(self, channels_in: int, config: VolumeConfig, lead: int = 0) -> None:
        super().__init__()
        self.rotary = Rotary(config.head_width)
        self.bias = PositionBias(config.heads)
        self.stem = nn.Conv2d(channels_in, config.width, config.stem, padding=config.stem // 2)
        self.stem_slices = SliceAttention(config.width, config.heads, config.head_width)
        widths = config.widths
        before = (config.width, *widths[:-1])
        self.stages = nn.ModuleList(Stage(a, b, lead, config) for a, b in zip(before, widths, strict=True))
        self.halvings = nn.ModuleList(nn.Conv2d(width, width, 4, stride=2, padding=1) for width in widths[:-1])

    def forward(
        self, x: Tensor, lead: Tensor | None, slices: int, apart: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor], Order]:
        """(N·F, C, H, W) -> (the stem's output, each level's, the order of the slices)."""
        numbers = torch.arange(slices, device=x.device)
        angles: Tensor = self.rotary(numbers)
        order = Order(slices, self.bias(numbers), angles.cos(), angles.sin(), apart)
        stem = x = self.stem_slices(self.stem(x), order)
        levels: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            if number:
                x = self.halvings[number - 1](x)
            x = stage(x, lead, order)
            levels.append(x)
        return stem, levels, order


class Unet3d(nn.Module):
    """The network, with a prior's encoder beside its way down where there is a prior.

    What the prior's encoder finds at each level passes a convolution that starts at zero, and is added to the skip
    connection of that level (Zhang et al. 2023, ControlNet).
    """

    def __init__(
        self, channels_in: int, channels_out: int, config: VolumeConfig, *, is_led: bool = True, prior: int = 0
    ) -> None:
        super().__init__()
        lead = 4 * config.width if is_led else 0
        self.rate, self.focus = 2 ** (len(config.multipliers) - 1), config.focus
        self.embedding = StepEmbedding(config.width) if is_led else None
        self.encoder = Encoder(channels_in, config, lead)
        widths, bottom = config.widths, config.widths[-1]
        self.bottom_first = ResidualBlock(bottom, bottom, lead)
        self.bottom_space = FullAttention(bottom, config.heads, config.head_width)
        self.bottom_slices = SliceAttention(bottom, config.heads, config.head_width)
        self.bottom_second = ResidualBlock(bottom, bottom, lead)
        above = (config.width, *widths[:-1])
        pairs = list(zip(above, widths, strict=True))[::-1]
        self.stages = nn.ModuleList(Stage(2 * b, a, lead, config) for a, b in pairs)
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(a, a, 4, stride=2, padding=1) for a, _ in pairs[:-1])
        self.head = ResidualBlock(2 * config.width, config.width)
        self.out = nn.Conv2d(config.width, channels_out, 1)
        if not is_led:  # a refinement starts from what it refines
            _at_zero(self.out)
        self.prior = Encoder(prior, config) if prior else None
        self.zero = nn.ModuleList(_at_zero(nn.Conv2d(width, width, 1)) for width in widths) if prior else None

    def forward(self, x: Tensor, level: Tensor | None = None, prior: Tensor | None = None) -> Tensor:
        """Run.

        Args:
            x: (N, F, C, H, W), F slices.
            level: (N,), ln of the noise level, of a network that is led by it.
            prior: (N, F, P, H, W), of a network that has one.

        Returns:
            (N, F, channels_out, H, W).
        """
        slices, (rows, columns) = x.shape[1], x.shape[-2:]
        lead = None
        if self.embedding is not None:
            assert level is not None  # who builds a led network leads it
            lead = self.embedding(level).repeat_interleave(slices, dim=0)
        apart = self._apart(x)
        stem, levels, order = self.encoder(self._whole(x), lead, slices, apart)
        if self.prior is not None and self.zero is not None:
            assert prior is not None  # who builds a network with a prior gives it
            found = self.prior(self._whole(prior), None, slices, apart)[1]
            added = [zero(each) for zero, each in zip(self.zero, found, strict=True)]
        else:
            added = [torch.zeros((), device=x.device)] * len(levels)
        h = self.bottom_space(self.bottom_first(levels[-1], lead))
        h = self.bottom_second(self.bottom_slices(h, order), lead)
        for number, stage in enumerate(self.stages):
            h = stage(torch.cat([h, levels[-1 - number] + added[-1 - number]], dim=1), lead, order)
            if number < len(self.doublings):
                h = self.doublings[number](h)
        out = self.out(self.head(torch.cat([h, stem], dim=1)))[..., :rows, :columns]
        fine: Tensor = out.reshape(-1, slices, *out.shape[1:])
        return fine

    def _apart(self, x: Tensor) -> Tensor | None:
        """Of `Order`: all samples where that is how it runs, some at random where it learns, None else."""
        if self.focus < 1 and not (self.focus and self.training):
            return None
        others = 1 - torch.eye(x.shape[1], device=x.device)
        hidden = torch.zeros_like(others).masked_fill(others > 0, -torch.inf)[None, None, None]
        if self.focus == 1:
            return hidden
        cut = torch.rand(x.shape[0], 1, 1, 1, 1, device=x.device) < self.focus
        return torch.where(cut, hidden, 0.0)

    def _whole(self, x: Tensor) -> Tensor:
        """(N, F, C, H, W) -> (N·F, C, ...), continued to the south and east so that every level holds whole cells."""
        rows, columns = (-(-size // self.rate) * self.rate - size for size in x.shape[-2:])
        return F.pad(x.flatten(0, 1), (0, columns, 0, rows), mode="replicate")


def flops_per_cell(
    channels_in: int, channels_out: int, config: VolumeConfig, slices: int, *, is_led: bool, prior: int
) -> float:
    """Of one run of `Unet3d(...)`, per cell and slice; 2 per multiply-add."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network = Unet3d(channels_in, channels_out, config, is_led=is_led, prior=prior)
        fields = torch.empty(1, slices, channels_in, SIDE, SIDE)
        told = torch.empty(1, slices, prior, SIDE, SIDE) if prior else None
        network(fields, torch.empty(1) if is_led else None, told)
    return float(counter.get_total_flops()) / (slices * SIDE * SIDE)


def _at_zero(layer: nn.Conv2d) -> nn.Conv2d:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    return layer
