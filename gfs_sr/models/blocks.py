"""Convolutions whose padding is one switch with the same weights, and the blocks made of them."""

from enum import StrEnum

import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.receptive_field import Reach


class Padding(StrEnum):
    """What a layer reads beyond the edge of its input."""

    VALID = "valid"  # nothing: the halo is data and is used up; inference, export, shallow training
    REPLICATE = "replicate"  # the edge value: cheap training of deep trunks, loss away from the edge
    ZERO = "zero"  # the seed's way: the border is part of the function, so no tile is exact


_MODES = {Padding.REPLICATE: "replicate", Padding.ZERO: "constant"}


class SpaceConv(nn.Conv2d):
    """(N, C, H, W) -> (N, K, H, W); in VALID the output is smaller by the reach on each side."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 3,
        padding_rule: Padding = Padding.VALID,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, size, groups=groups, bias=bias)
        self.padding_rule = padding_rule
        self.cells = (size - 1) // 2
        self.reach = Reach.space(self.cells)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        return super().forward(pad_space(input, self.cells, self.padding_rule))


def pad_space(x: Tensor, cells: int, rule: Padding) -> Tensor:
    """(N, C, H, W) with what `rule` puts beyond each side."""
    return x if rule is Padding.VALID or not cells else F.pad(x, (cells,) * 4, mode=_MODES[rule])


class TimeConv(nn.Conv1d):
    """(B, C, T, P) -> (B, K, T, P): along T, each of the P pixels on its own; VALID shortens T by the reach.

    Weights are those of a `Conv1d` over every pixel's series, which spares the transposition to (B·P, C, T).
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, dilation: int = 1, padding_rule: Padding = Padding.VALID
    ) -> None:
        super().__init__(inputs, outputs, size, dilation=dilation)
        self.padding_rule = padding_rule
        self.frames = (size - 1) // 2 * dilation
        self.reach = Reach.time(self.frames)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        if self.padding_rule is not Padding.VALID and self.frames:
            input = F.pad(input, (0, 0, self.frames, self.frames), mode=_MODES[self.padding_rule])
        return F.conv2d(input, self.weight[..., None], self.bias, dilation=(self.dilation[0], 1))


class ResidualBlock(nn.Module):
    """x + scale · conv(relu(conv(x))), 3×3, one width."""

    def __init__(self, width: int, scale: float, padding_rule: Padding = Padding.VALID) -> None:
        super().__init__()
        self.first = SpaceConv(width, width, padding_rule=padding_rule)
        self.second = SpaceConv(width, width, padding_rule=padding_rule)
        self.scale = scale
        self.reach = self.first.reach + self.second.reach

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block has to say."""
        branch: Tensor = self.second(F.relu(self.first(x)))
        if self.first.padding_rule is Padding.VALID:
            x = crop_space(x, 2)
        return x + (branch if self.scale == 1 else self.scale * branch)


def crop_space(x: Tensor, cells: int) -> Tensor:
    """(..., H, W) without `cells` on each side."""
    return x[..., cells:-cells, cells:-cells] if cells else x  # from the end: a traced graph needs no shapes for it
