"""Blocks of the self-supervised temporal network: encoders by strides of 2, decoders by transposed convolutions.

Source: the blocks published with TemDeep (specification section 3.3); parameter counts are theirs.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS: Final = (64, 128, 256, 512)
SLOPE: Final = 0.01  # of the flow module's leaky ReLU
TERRAIN_WIDTH: Final = 128


class RectifiedBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))), 3×3, n -> n, padded by the edge."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block has to say."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class FieldEncoder(nn.Module):
    """(N, inputs, H, W) -> features of every stage, each half as wide and high as the one before."""

    def __init__(self, inputs: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.convs = _halving(inputs, widths)
        self.blocks = nn.ModuleList(RectifiedBlock(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """One tensor per stage."""
        stages = []
        for conv, block in zip(self.convs, self.blocks, strict=True):
            x = block(F.relu(conv(x)))
            stages.append(x)
        return stages


class FlowEncoder(nn.Module):
    """(N, inputs, H, W) -> (N, widths[-1], H/16, W/16)."""

    def __init__(self, inputs: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.convs = _halving(inputs, widths)

    def forward(self, x: Tensor) -> Tensor:
        """The last stage."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return x


class Decoder(nn.Module):
    """Transposed convolutions, twice as wide and high each; what an encoder made at that size may be joined.

    Args:
        inputs: channels that come in.
        widths: channels after each.
        joined: channels that are joined before each but the first.
        slope: of the leaky ReLU; 0 is a plain one.
        linear_end: nothing after the last.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        joined: Sequence[int] = (),
        slope: float = 0.0,
        linear_end: bool = False,
    ) -> None:
        super().__init__()
        extra = (0, *joined, *[0] * (len(widths) - 1 - len(joined)))
        before = [one + more for one, more in zip((inputs, *widths[:-1]), extra, strict=True)]
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(one, other, 4, stride=2, padding=1) for one, other in zip(before, widths, strict=True)
        )
        self.slope, self.linear_end = slope, linear_end

    def forward(self, x: Tensor, joined: Sequence[Tensor] = ()) -> Tensor:
        """(N, inputs, H, W) -> (N, widths[-1], 2ⁿ·H, 2ⁿ·W)."""
        for index, conv in enumerate(self.convs):
            if 0 < index <= len(joined):
                other = joined[index - 1]
                x = torch.cat([x[..., : other.shape[-2], : other.shape[-1]], other], dim=1)
            x = conv(x)
            if not (self.linear_end and index == len(self.convs) - 1):
                x = F.leaky_relu(x, self.slope) if self.slope else F.relu(x)
        return x


class Terrain(nn.Module):
    """(N, 1, H, W) elevation -> (N, 128, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        half = TERRAIN_WIDTH // 2
        self.first = nn.Conv2d(1, half, 3, padding=1, padding_mode="replicate")
        self.first_norm = nn.BatchNorm2d(half)
        self.second = nn.Conv2d(half, TERRAIN_WIDTH, 3, padding=1, padding_mode="replicate")
        self.second_norm = nn.BatchNorm2d(TERRAIN_WIDTH)

    def forward(self, elevation: Tensor) -> Tensor:
        """Features of the ground."""
        features: Tensor = F.relu(self.first_norm(self.first(elevation)))
        return F.relu(self.second_norm(self.second(features)))


def _halving(inputs: int, widths: Sequence[int]) -> nn.ModuleList:
    """A convolution for each stage: the first sees 7 by 7 cells, the others 3 by 3."""
    before = (inputs, *widths[:-1])
    return nn.ModuleList(
        nn.Conv2d(one, other, 3 if index else 7, stride=2, padding=1 if index else 3, padding_mode="replicate")
        for index, (one, other) in enumerate(zip(before, widths, strict=True))
    )
