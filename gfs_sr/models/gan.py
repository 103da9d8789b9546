"""Discriminators: which of two fine fields of a coarse one is the true one."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds_blocks import Conv, Recipe, ResidualBlock, concat, glorot
from gfs_sr.models.dl4ds_dropout import NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin
from gfs_sr.models.dl4ds_recurrent import RecurrentBlock

DENSE = 32  # units of the layer before the verdict
SLOPE = 0.2  # of its leaky rectifier: two sigmoids in a row saturate


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Size of the two-branch discriminator."""

    n_filters: int = 8
    n_blocks: int = 4
    dropout: float = 0.4  # before the verdict

    def __post_init__(self) -> None:
        if min(self.n_filters, self.n_blocks) < 1 or not 0 <= self.dropout < 1:
            raise ValueError("n_filters and n_blocks start at 1, dropout lies in [0, 1)")


class Discriminator(nn.Module):
    """A coarse field and a fine one through residual branches, brought together on the cells of the coarse one.

    Args:
        coarse_channels: of the coarse field.
        fine_channels: of the fine one.
        scale_factor: between the two; 1 where the coarse one was brought to fine cells before.
        recurrent: frames of the coarse field are seen as a series.
        config: its size.

    Source: specification section 5.4 (DL4DS, Gonzalez 2023); logits in place of its probabilities.
    """

    def __init__(
        self, coarse_channels: int, fine_channels: int, scale_factor: int, recurrent: bool, config: DiscriminatorConfig
    ) -> None:
        super().__init__()
        n, rule = config.n_filters, Padding.REPLICATE
        recipe, slots = Recipe(padding=rule), NoiseSlots()
        self.scale_factor = scale_factor
        self.series: RecurrentBlock | None = None
        if recurrent:
            self.series = RecurrentBlock(coarse_channels, n, Recipe(padding=rule, normalization="ln"), slots)
        else:
            self.stem = Conv(coarse_channels, n, 3, rule)
        self.coarse = nn.ModuleList(ResidualBlock(n, n, recipe, slots) for _ in range(config.n_blocks))
        self.close = Conv(n, n, 3, rule)
        self.fine_stem = Conv(fine_channels, n, 3, rule)
        self.fine = nn.ModuleList(ResidualBlock(n, n, recipe, slots) for _ in range(config.n_blocks))
        self.down = _down(n, scale_factor)
        self.joint = ResidualBlock(2 * n, 2 * n, recipe, slots)
        self.drop = nn.Dropout(config.dropout)
        self.dense, self.verdict = nn.Linear(2 * n, DENSE), nn.Linear(DENSE, 1)
        for layer in (*self.down, self.dense, self.verdict):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                glorot(layer)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Logits (B,) that `fine` (B, T, C_out, s·H, s·W) is the truth of `coarse` (B, T, C, H, W)."""
        B = coarse.shape[0]
        stem = own = self._stem(coarse)
        for block in self.coarse:
            own = block(own)
        own = Field(stem.values + self.close(own).values, own.margin)
        first = other = self.fine_stem(Field(fine.flatten(0, 1), Margin()))
        for block in self.fine:
            other = block(other)
        joint = self.joint(concat(own, Field(self._to_coarse(other.values, first.values, own.values), own.margin)))
        means = joint.values.reshape(B, -1, *joint.values.shape[1:]).mean(dim=(1, 3, 4))
        logits: Tensor = self.verdict(F.leaky_relu(self.dense(self.drop(means)), SLOPE))[:, 0]
        return logits

    def _stem(self, coarse: Tensor) -> Field:
        if self.series is None:
            stem: Field = self.stem(Field(coarse.flatten(0, 1), Margin()))
            return stem
        states = self.series([Field(frame, Margin()) for frame in coarse.unbind(dim=1)])
        return Field(torch.stack([each.values for each in states], dim=1).flatten(0, 1), Margin())

    def _to_coarse(self, fine: Tensor, first: Tensor, like: Tensor) -> Tensor:
        """Features on fine cells -> on coarse ones."""
        size = like.shape[-2:]
        if self.scale_factor == 1:
            skipped: Tensor = self.down[0](F.pad(fine, (1,) * 4, mode="replicate")) + first
            return skipped
        for conv in self.down:
            fine = conv(F.pad(fine, (1,) * 4, mode="replicate") if self.scale_factor == 4 else fine)
        if not len(self.down):
            return F.interpolate(fine, size=size, mode="bilinear", align_corners=False)
        if fine.shape[-2] < size[0] or fine.shape[-1] < size[1]:
            raise ValueError(f"patches of {tuple(size)} coarse cells are too small at a factor of 5: give 3 or more")
        return fine[..., : size[0], : size[1]]


def _down(width: int, scale_factor: int) -> nn.ModuleList:
    """At 4 and 5 two convolutions of stride 2, at 1 one without, else nothing that learns."""
    count, stride = {1: (1, 1), 4: (2, 2), 5: (2, 2)}.get(scale_factor, (0, 1))
    return nn.ModuleList(nn.Conv2d(width, width, 3, stride) for _ in range(count))
