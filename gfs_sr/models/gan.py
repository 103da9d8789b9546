"""Discriminators: which of two fine fields of a coarse one is the true one."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds_blocks import Conv, Recipe, ResidualBlock, concat, glorot
from gfs_sr.models.dl4ds_dropout import NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin
from gfs_sr.models.dl4ds_recurrent import RecurrentBlock
from gfs_sr.models.unet_blocks import Conv as EvenConv
from gfs_sr.models.unet_blocks import Recipe as UnetRecipe
from gfs_sr.models.unet_blocks import ResidualBlock as UnetBlock

DiscriminatorName = Literal["two_branch", "patch_global"]

DENSE = 32  # units of the layer before the verdict
SLOPE = 0.2  # of its leaky rectifier: two sigmoids in a row saturate
COARSENED: Final = 4  # how much coarser a patch is when it is judged
LEAST_WINDOW: Final = 3 * COARSENED  # cells of a side: one 3 by 3 convolution is left
GLOBAL_SIDE: Final = 16  # cells of a side that the whole field is brought to
GLOBAL_WIDTHS: Final = (GLOBAL_SIDE**2, GLOBAL_SIDE**2, 128, 1)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminator, and its size."""

    n_filters: int = 8
    n_blocks: int = 4  # of each branch, or before the two heads
    dropout: float = 0.4  # before the verdict, of patch_global before that on the whole field
    discriminator: DiscriminatorName = "two_branch"
    window: int = 32  # fine cells of a side of each patch, of patch_global

    def __post_init__(self) -> None:
        if self.discriminator not in ("two_branch", "patch_global"):
            raise ValueError(f"discriminator {self.discriminator!r} is neither two_branch nor patch_global")
        if min(self.n_filters, self.n_blocks) < 1 or not 0 <= self.dropout < 1:
            raise ValueError("n_filters and n_blocks start at 1, dropout lies in [0, 1)")
        if self.window < LEAST_WINDOW:
            raise ValueError(f"window {self.window} is below {LEAST_WINDOW} cells: nothing of a patch would be left")


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


class PatchGlobalDiscriminator(nn.Module):
    """Two verdicts on a fine field beside what is known of it, both on fine cells: on its patches, and on all of it.

    Args:
        channels: of the field and of what is known, together.
        config: its size.

    Source: specification section 6.5. There fields are 128 by 128 cells; here patches cover fields of any size, and the
    whole is brought to 16 by 16 cells before the dense layers.
    """

    def __init__(self, channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        width = config.n_filters
        self.window = config.window
        recipe = UnetRecipe(activation="leaky_relu", dropout=0.0)
        self.stem = EvenConv(channels, width)
        self.blocks, self.patch, self.whole = (
            nn.ModuleList(UnetBlock(width, width, recipe) for _ in range(count)) for count in (config.n_blocks, 2, 2)
        )
        self.patch_out = nn.Conv2d(width, 1, 3)
        self.whole_out = EvenConv(width, 1, 1)
        self.drop = nn.Dropout(config.dropout)
        self.dense = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(GLOBAL_WIDTHS))

    def forward(self, known: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Logits on patches (B·T·windows, 1, h, w) and on whole frames (B·T, 1).

        Args:
            known: (B, T, K, H, W).
            fine: (B, T, C, H, W).
        """
        x: Tensor = self.stem(torch.cat([fine, known], dim=2).flatten(0, 1))
        for block in self.blocks:
            x = block(x, [], 1)
        return self._of_patches(x), self._of_whole(x)

    def _of_patches(self, x: Tensor) -> Tensor:
        rows, columns = (_starts(size, self.window) for size in x.shape[-2:])
        cut = [x[..., row : row + self.window, column : column + self.window] for row in rows for column in columns]
        h = torch.cat(cut)
        for block in self.patch:
            h = F.avg_pool2d(block(h, [], 1), 2)
        logits: Tensor = self.patch_out(h)
        return logits

    def _of_whole(self, x: Tensor) -> Tensor:
        for block in self.whole:
            x = F.avg_pool2d(block(x, [], 1), 2)
        h = F.adaptive_avg_pool2d(self.whole_out(x), GLOBAL_SIDE).flatten(1)
        for layer in self.dense[:-1]:
            h = F.leaky_relu(layer(h), SLOPE)
        logits: Tensor = self.dense[-1](self.drop(h))
        return logits


def _starts(size: int, window: int) -> list[int]:
    """Where windows begin that cover all of an axis, as few as can be, spread evenly."""
    if size < LEAST_WINDOW:
        raise ValueError(f"patches of {size} fine cells are too small for this discriminator: give {LEAST_WINDOW}")
    count = -(-size // window)
    return [round(each * (size - window) / (count - 1)) for each in range(count)] if count > 1 else [0]


def _down(width: int, scale_factor: int) -> nn.ModuleList:
    """At 4 and 5 two convolutions of stride 2, at 1 one without, else nothing that learns."""
    count, stride = {1: (1, 1), 4: (2, 2), 5: (2, 2)}.get(scale_factor, (0, 1))
    return nn.ModuleList(nn.Conv2d(width, width, 3, stride) for _ in range(count))
