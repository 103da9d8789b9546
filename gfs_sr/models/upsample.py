"""Learned upsampling: in time by a transposed convolution, in space by a pixel shuffle."""

import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.blocks import Padding, SpaceConv, crop_space
from gfs_sr.models.receptive_field import Reach


class TimeUpsampling(nn.ConvTranspose1d):
    """(B, C, T, P) -> (B, K, r·T, P): every frame gives r frames of its own; no reach."""

    def __init__(self, inputs: int, outputs: int, time_factor: int) -> None:
        super().__init__(inputs, outputs, time_factor, stride=time_factor)
        self.reach = Reach()

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample."""
        return F.conv_transpose2d(input, self.weight[..., None], self.bias, stride=(self.stride[0], 1))


class SubPixelTail(nn.Module):
    """3×3 convolution, pixel shuffle, 3×3 convolution on fine cells: (N, W, H, W) -> (N, K, s·H, s·W).

    VALID uses up two coarse cells on each side, or 1 + ceil(1/s).
    """

    def __init__(self, width: int, outputs: int, scale_factor: int, padding_rule: Padding) -> None:
        super().__init__()
        self.up = SpaceConv(width, width * scale_factor**2, padding_rule=padding_rule)
        self.tail = SpaceConv(width, outputs, padding_rule=padding_rule)
        self.scale_factor = scale_factor
        self.reach = self.up.reach + Reach.fine(self.tail.cells, scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample."""
        fine = F.pixel_shuffle(self.up(x), self.scale_factor)
        if self.tail.padding_rule is Padding.VALID:
            fine = crop_space(fine, self.scale_factor - self.tail.cells)
        result: Tensor = self.tail(fine)
        return result
