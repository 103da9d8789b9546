"""From coarse features to fine ones: sub-pixel convolution, resizing and a convolution, transposed convolution."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.data.grid import Registration
from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds_blocks import Conv, Recipe, Transition, glorot, reach_of
from gfs_sr.models.dl4ds_field import Field, Margin
from gfs_sr.models.interpolation import SPACE_KERNELS, Kernel, pad_edges, phases

SUB_PIXEL_STAGES: Final = {4: (2, 2), 8: (2, 2, 2), 10: (2, 5), 20: (2, 2, 5)}
DECONV_STAGES: Final = {4: (2, 2), 8: (2, 2, 2)}
DECONV_SIZE: Final = 9


def _lanczos(lobes: int) -> Kernel:
    def kernel(x: float) -> float:
        if abs(x) >= lobes:
            return 0.0
        return 1.0 if x == 0 else lobes * math.sin(math.pi * x) * math.sin(math.pi * x / lobes) / (math.pi * x) ** 2

    return kernel


def _gaussian(x: float) -> float:
    return math.exp(-2.0 * x * x) if abs(x) < 1.5 else 0.0  # sigma 1/2


def _mitchell(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (7 * x**3 - 12 * x**2 + 16 / 3) / 6
    return (-7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3) / 6 if x < 2 else 0.0


RESIZE_KERNELS: Final[dict[str, Kernel]] = SPACE_KERNELS | {
    "area": SPACE_KERNELS["nearest"],  # the same, as long as the factor is whole and cells get smaller
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": _gaussian,
    "mitchell": _mitchell,  # Mitchell & Netravali 1988, B = C = 1/3
}
WIDEST: Final = 5  # coarse cells on each side


def resize_taps(method: str, factor: int, registration: Registration) -> tuple[Tensor, Margin]:
    """(factor, taps) weights of the coarse cells around each fine one, of sum 1, and how far they lie."""
    kernel = RESIZE_KERNELS[method]
    offsets = range(-WIDEST, WIDEST + 1)
    full = torch.tensor([[kernel(x - k) for k in offsets] for x in phases(factor, registration)], dtype=torch.float64)
    full = torch.where(full.abs() < 1e-14, 0.0, full)
    full = full / full.sum(dim=1, keepdim=True)
    used = full.abs().sum(dim=0).nonzero().flatten() - WIDEST
    before, after = max(0, -int(used.min())), max(0, int(used.max()))
    return full[:, WIDEST - before : WIDEST + 1 + after], Margin(before, after)


class Resize(nn.Module):
    """Every channel interpolated by one fixed kernel: (N, C, h, w) -> (N, C, q·h, q·w)."""

    weight: Tensor

    def __init__(self, method: str, factor: int, registration: Registration, padding: Padding) -> None:
        super().__init__()
        taps, self.widest = resize_taps(method, factor, registration)
        self.factor, self.pads = factor, padding is not Padding.VALID
        used = [row.nonzero().flatten() - self.widest.before for row in taps]
        self.taps_of = [(int(each.min()), int(each.max())) for each in used]  # of each fine cell of a coarse one
        kernel = taps[:, None, :, None] * taps[None, :, None, :]
        weight = kernel.reshape(factor**2, 1, *kernel.shape[2:]).float()
        self.register_buffer("weight", weight, persistent=False)

    def needs(self, margin: Margin) -> Margin:
        """Of coarse cells, for a fine `margin`."""
        if self.pads:
            return margin.coarsened(self.factor)
        q = self.factor
        before = max(-(fine // q + self.taps_of[fine % q][0]) for fine in range(-margin.before, q))
        after = max(fine // q + self.taps_of[fine % q][1] for fine in range(q + margin.after))
        return Margin(max(before, 0), max(after, 0))

    def keeps(self, margin: Margin) -> Margin:
        """The fine margin that a coarse one is enough for."""
        if self.pads:
            return margin * self.factor
        before = after = 0
        while self.needs(Margin(before + 1, 0)).before <= margin.before:
            before += 1
        while self.needs(Margin(0, after + 1)).after <= margin.after:
            after += 1
        return Margin(before, after)

    def forward(self, x: Field) -> Field:
        """Interpolate; a domain's edge is continued by its values, and so is a tile's, where it carries no weight."""
        sides = (self.widest.before, self.widest.after)
        values = F.pad(x.values, sides * 2, mode="replicate")
        N, C = values.shape[:2]
        planes = F.conv2d(values.reshape(N * C, 1, *values.shape[2:]), self.weight)
        fine = F.pixel_shuffle(planes, self.factor)
        whole = x.refined(self.factor, fine.reshape(N, C, *fine.shape[2:]))
        return whole.within(self.keeps(x.margin))


class SubPixel(nn.Module):
    """Stages of 3 × 3 convolution and depth to space, each with weights of its own: (N, C, h, w) -> (N, F, s·h, s·w).

    Source: Shi et al. 2016.
    """

    def __init__(self, inputs: int, outputs: int, factor: int, padding: Padding) -> None:
        super().__init__()
        self.stages = SUB_PIXEL_STAGES.get(factor, (factor,))
        widths = [inputs] + [outputs] * (len(self.stages) - 1)
        self.convs = nn.ModuleList(
            Conv(width, outputs * stage**2, 3, padding) for width, stage in zip(widths, self.stages, strict=True)
        )
        self.reach_of_conv = reach_of(3, padding)

    def needs(self, margin: Margin) -> Margin:
        """Of coarse cells, for a fine `margin`."""
        for stage in reversed(self.stages):
            margin = margin.coarsened(stage) + self.reach_of_conv
        return margin

    def forward(self, x: Field) -> Field:
        """Upsample."""
        for conv, stage in zip(self.convs, self.stages, strict=True):
            x = _shuffled(conv(x), stage)
        return x

    def joined(self, x: Field, mix: Tensor) -> Field:
        """Upsample and mix by a 1 × 1 convolution (K, F): before the last shuffle, where most of the work is spared."""
        for conv, stage in zip(self.convs[:-1], self.stages[:-1], strict=True):
            x = _shuffled(conv(x), stage)
        last, stage = self.last, self.stages[-1]
        return _shuffled(last.mixed(x, *last.joined(mix, stage**2)), stage)

    def folded(self, mix: Tensor) -> "SubPixel":
        """The same as a module that mixes by itself."""
        made = deepcopy(self)
        made.convs[-1] = self.last.replaced(*self.last.joined(mix, self.stages[-1] ** 2))
        return made

    @property
    def last(self) -> Conv:
        """The convolution before the last shuffle."""
        conv = self.convs[-1]
        assert isinstance(conv, Conv)  # all are
        return conv


def _shuffled(x: Field, stage: int) -> Field:
    return x.refined(stage, F.pixel_shuffle(x.values, stage))


class ResizeConv(nn.Module):
    """Interpolation, then a 3 × 3 convolution on fine cells."""

    def __init__(
        self, inputs: int, outputs: int, factor: int, padding: Padding, method: str, registration: Registration
    ) -> None:
        super().__init__()
        self.resize = Resize(method, factor, registration, padding)
        self.conv = Conv(inputs, outputs, 3, padding)

    def needs(self, margin: Margin) -> Margin:
        """Of coarse cells, for a fine `margin`."""
        return self.resize.needs(margin + self.conv.reach)

    def forward(self, x: Field) -> Field:
        """Upsample."""
        fine: Field = self.conv(self.resize(x))
        return fine

    def joined(self, x: Field, mix: Tensor) -> Field:
        """Upsample and mix by a 1 × 1 convolution (K, F), in one convolution."""
        return self.conv.mixed(self.resize(x), *self.conv.joined(mix))

    def folded(self, mix: Tensor) -> "ResizeConv":
        """The same as a module that mixes by itself."""
        made = deepcopy(self)
        made.conv = self.conv.replaced(*self.conv.joined(mix))
        return made


class Deconv(nn.Module):
    """Stages of transposed 9 × 9 convolution without bias; the activation comes after the last.

    Raises:
        ValueError: a stage beyond the kernel, which would leave cells that no coarse one reaches.
    """

    def __init__(
        self, inputs: int, outputs: int, factor: int, padding: Padding, act: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.stages = DECONV_STAGES.get(factor, (factor,))
        if max(self.stages) > DECONV_SIZE:
            raise ValueError(f"upsampling dc has a kernel of {DECONV_SIZE}: it cannot reach {factor} fine cells apart")
        widths = [inputs] + [outputs] * (len(self.stages) - 1)
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(width, outputs, DECONV_SIZE, stage, bias=False)
            for width, stage in zip(widths, self.stages, strict=True)
        )
        for conv in self.convs:
            if isinstance(conv, nn.ConvTranspose2d):
                glorot(conv)
        self.padding, self.act = padding, act

    def needs(self, margin: Margin) -> Margin:
        """Of coarse cells, for a fine `margin`."""
        for stage in reversed(self.stages):
            margin = margin.coarsened(stage) + (deconv_reach(stage) if self.padding is Padding.VALID else Margin())
        return margin

    def forward(self, x: Field) -> Field:
        """Upsample."""
        for conv, stage in zip(self.convs, self.stages, strict=True):
            x = self._stage(conv, stage, x)
        return x.map(self.act)

    def _stage(self, conv: nn.Module, stage: int, x: Field) -> Field:
        """Kept are the fine cells of the coarse ones that have all their neighbors."""
        reach = deconv_reach(stage)
        values, margin = x.values, x.margin - reach
        if self.padding is not Padding.VALID:
            margin = x.margin
            values = _padded(values, reach, self.padding)
        full = conv(values)  # (h - 1)·stage + 9
        first = stage * reach.before + (DECONV_SIZE - stage) // 2
        last = stage * reach.after + DECONV_SIZE - stage - (DECONV_SIZE - stage) // 2
        side = slice(first, -last or None)
        return Field(full[..., side, side], margin * stage)


def make_upsampling(
    name: str, inputs: int, width: int, factor: int, recipe: Recipe, method: str, registration: Registration
) -> "SubPixel | ResizeConv | Deconv":
    """The upsampling of that name: spc, rc, dc."""
    if name == "spc":
        return SubPixel(inputs, width, factor, recipe.padding)
    if name == "rc":
        return ResizeConv(inputs, width, factor, recipe.padding, method, registration)
    return Deconv(inputs, width, factor, recipe.padding, recipe.act)


class NarrowDeconv(nn.Module):
    """`Deconv` after a transition to few channels."""

    def __init__(self, inputs: int, narrow: int, width: int, factor: int, recipe: Recipe) -> None:
        super().__init__()
        self.transition = Transition(inputs, narrow, recipe)
        self.deconv = Deconv(narrow, width, factor, recipe.padding, recipe.act)

    def needs(self, margin: Margin) -> Margin:
        """Of coarse cells, for a fine `margin`."""
        return self.deconv.needs(margin)

    def forward(self, x: Field) -> Field:
        """Upsample."""
        fine: Field = self.deconv(self.transition(x))
        return fine


def deconv_reach(stage: int) -> Margin:
    """Coarse cells whose kernel covers a fine cell of cell 0, by the crop that `same` padding makes."""
    left = (DECONV_SIZE - stage) // 2
    return Margin((DECONV_SIZE - 1 - left) // stage, (stage - 1 + left) // stage)


def _padded(values: Tensor, margin: Margin, padding: Padding) -> Tensor:
    if padding is Padding.ZERO:
        return F.pad(values, (margin.before, margin.after) * 2)
    return pad_edges(values[:, None], margin.reach)[:, 0]
