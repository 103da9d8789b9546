"""The U-Net of the DL4DS family, on fine cells: what it sees is the whole field."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import NoiseGrid
from gfs_sr.data.grid import Registration
from gfs_sr.models.dl4ds_blocks import ConvBlock, Recipe
from gfs_sr.models.dl4ds_dropout import Noise, NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin
from gfs_sr.models.dl4ds_upsampling import make_upsampling


def levels_for(side: int, most: int) -> int:
    """Halvings of `side` cells that leave 2 or more, at most `most`."""
    levels = 0
    while levels < most and side // 2 ** (levels + 1) >= 2:
        levels += 1
    return levels


class UNetTrunk(nn.Module):
    """(N, C, h, w) -> (N, n, h, w) of any h and w: odd sides are continued by their last value, and cut again.

    Source: Ronneberger et al. 2015; widths n·2^i up to a cap, no norm at the bottom, dropout at the last encoder stage
    and at the bottom.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        levels: int,
        cap: int,
        recipe: Recipe,
        decoder: str,
        method: str,
        slots: NoiseSlots,
    ) -> None:
        super().__init__()
        dry = replace(recipe, dropout_rate=0.0)
        deep = replace(recipe, grid=NoiseGrid.COARSE)  # levels lie between fine and coarse cells and beyond
        widths = [min(width * 2**level, cap) for level in range(levels)]
        self.encoder = nn.ModuleList(
            ConvBlock(above, own, 3, deep if level == levels - 1 else dry, slots)
            for level, (above, own) in enumerate(zip([inputs, *widths], widths, strict=False))
        )
        bottom = min(width * 2**levels, cap)
        self.bottom = ConvBlock(widths[-1], bottom, 3, replace(deep, normalization="none"), slots)
        below = [bottom, *widths[:0:-1]]
        self.ups = nn.ModuleList(
            make_upsampling(decoder, under, own, 2, recipe, method, Registration.CELL)
            for under, own in zip(below, reversed(widths), strict=True)
        )
        self.decoder = nn.ModuleList(ConvBlock(2 * own, own, 3, dry, slots) for own in reversed(widths))
        self.width, self.reach = widths[0], Margin()

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """Down, and up again."""
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(x, _resized(noise, x.values))
            skips.append(x.values)
            # one more row and column: an even side loses them again in the pooling, an odd one keeps its last cell
            longer = F.pad(x.values, (0, 1, 0, 1), mode="replicate")
            x = Field(F.max_pool2d(longer, 2), x.margin)
        x = self.bottom(x, _resized(noise, x.values))
        for up, block, skip in zip(self.ups, self.decoder, reversed(skips), strict=True):
            risen = up(x).values[..., : skip.shape[-2], : skip.shape[-1]]
            x = block(Field(torch.cat([risen, skip], dim=1), x.margin))
        return x


def _resized(noise: Noise | None, like: Tensor) -> Noise | None:
    """Each cell of a level takes the factors of the coarse cell at its north-western corner."""
    if noise is None or NoiseGrid.COARSE not in noise.fields:
        return noise
    fields: Sequence[Field] = noise.fields[NoiseGrid.COARSE]
    level = [Field(F.interpolate(each.values, size=like.shape[-2:], mode="nearest"), Margin()) for each in fields]
    return Noise({**noise.fields, NoiseGrid.COARSE: level})
