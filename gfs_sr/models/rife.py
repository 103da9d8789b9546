"""`rife`: fields between two frames as networks of video make them, of finite reach, one network for all variables.

Motion from the time asked for to either frame is estimated from coarse to fine, the time being an input; both frames
are sampled where it points, mixed by a learned mask, and refined. Where the published network halves its fields, this
one looks at means of neighbors with its convolutions spread: no cell is another's phase, and tiles are exact.

Source: Huang et al. 2022 (RIFE, ECCV, arXiv 2011.06294), sections 3.2 and 3.3. Each variable is folded into the batch
and freed of its local mean and spread; flows are bounded, and vanish with the way to the frame: these are ours.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import Scaling
from gfs_sr.models import fused_inputs as inputs
from gfs_sr.models.blocks import crop_space
from gfs_sr.models.fused_variables import CLASSES, scaling_of, tables
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.time_model import TimeConfig, TimeModel, linear_between
from gfs_sr.models.warping import bounded, fused_views, warp

FOUND: Final = 5  # a flow to either frame, and a logit of the mask
SIZE_REACH: Final = 1  # of the mean over which changes are measured


@dataclass(frozen=True, kw_only=True)
class RifeConfig(TimeConfig):
    """Settings."""

    width: int = 32
    dilations: tuple[int, ...] = (4, 2, 1)  # of the stages, from coarse to fine
    largest_flow: float = 6.0  # cells, from the frame before to the one after
    floor: float = 0.003  # least spread, normalized units

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dilations or min(self.width, *self.dilations) < 1 or self.largest_flow <= 0:
            raise ValueError("width, dilations and largest_flow must be positive")


class Stage(nn.Module):
    """(N, inputs, H, W) -> (N, outputs, H, W) by two convolutions at one scale; starts at 0.

    Args:
        inputs: channels.
        width: of the layers.
        outputs: channels.
        dilation: cells between those that a convolution reads, which are means over about as many.
    """

    def __init__(self, inputs: int, width: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.first = nn.Conv2d(inputs, width, 3, dilation=dilation)
        self.second = nn.Conv2d(width, width, 3, dilation=dilation)
        self.kind = nn.Embedding(len(CLASSES), width)
        self.head = nn.Conv2d(width, outputs, 1)
        nn.init.normal_(self.kind.weight, std=0.1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 0.0)  # type: ignore[arg-type]  # it has one

    @property
    def cells(self) -> int:
        """That are used up on each side."""
        return 3 * self.dilation - 1

    @property
    def multiply_adds(self) -> int:
        """Per cell."""
        return sum(layer.weight.numel() for layer in (self.first, self.second, self.head))

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """Look at the scale of the dilation; `classes` are (N,)."""
        size = 2 * self.dilation - 1
        if size > 1:
            x = F.avg_pool2d(F.avg_pool2d(x, (size, 1), 1), (1, size), 1)
        x = F.relu(self.first(x) + self.kind(classes)[:, :, None, None])
        x = F.relu(crop_space(x, self.dilation) + self.second(x))
        found: Tensor = self.head(x)
        return found


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two frames of each variable and interval, (N, 1, ...), and the times between them."""

    first: Tensor
    second: Tensor
    mean: Tensor  # of both, around each cell
    spread: Tensor
    times: Tensor  # (N, M, 1, 1, 1)
    classes: Tensor  # (N·M,) of the variables
    cells: int  # of the frames around the core
    known: int  # of mean and spread around it

    def frames(self, left: int) -> tuple[Tensor, Tensor]:
        """With so many cells around the core."""
        return crop_space(self.first, self.cells - left), crop_space(self.second, self.cells - left)

    def seen(self, flows: tuple[Tensor, Tensor], left: int, ring: int) -> tuple[Tensor, Tensor]:
        """Both frames where flows (N, M, 2, ...) point that are known on `left` cells around: (N, M, 1, ...)."""
        first, second = self.frames(left + ring)
        return warp(first, flows[0], ring), warp(second, flows[1], ring)

    def plain(self, fields: Tensor, left: int) -> Tensor:
        """(N, M or 1, 1, ...) without mean and spread."""
        mean, spread = (crop_space(each, self.known - left)[:, None] for each in (self.mean, self.spread))
        return (fields - mean) / spread


class Rife(TimeModel):
    """The network."""

    family = "rife"
    any_subset = True
    takes = ("coarse", "variable", "fraction", "hours")
    _classes: Tensor

    def __init__(self, config: RifeConfig) -> None:
        super().__init__(config)
        self.settings = config
        w = config.width
        channels = [3, *(4 + FOUND + 1 for _ in config.dilations[1:])]
        self.stages = nn.ModuleList(
            Stage(channel, w, FOUND, dilation) for channel, dilation in zip(channels, config.dilations, strict=True)
        )
        self.refinement = Stage(4 + 1 + FOUND + 1, w, 1, 1)
        self.ring = math.ceil(config.largest_flow)
        # cells around the core on which each stage's inputs are known, and after them the refinement's
        used = [*(3 * dilation - 1 for dilation in config.dilations), self.refinement.cells]
        self.margins = [sum(used[index:]) for index in range(len(used))]
        self.cells = max(inputs.WINDOW + self.margins[0], self.ring + self.margins[1])
        self.register_buffer("_classes", tables()[0], persistent=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(RifeConfig(**config))

    @property
    def reach(self) -> Reach:
        """24 cells as it comes, and the frame that ends the interval."""
        return Reach.space(self.cells) + Reach(after=1)

    def normalization(self) -> dict[str, Scaling]:
        """Fixed: the floor is in these units."""
        return {name: scaling_of(name) for name in self.facts.variables}

    def forward(
        self, coarse: Tensor, variable: Tensor, fraction: Tensor | None = None, hours: Tensor | None = None
    ) -> Tensor:
        """Interpolate.

        Args:
            coarse: (B, T + 1, C, H + halo, W + halo).
            variable: (C,) ids of the variables, or (B, C).
            fraction: (B or 1, T or 1, M), or (B or 1, M); the configuration's where none is given.
            hours: of the interval; this network is not told.

        Returns:
            (B, T·M, C, H, W).
        """
        t = self.fraction_of(fraction)
        B, N, C = coarse.shape[:3]
        T, M = N - 1, t.shape[2]
        pair, found = self._found(coarse, variable, t)
        times, left = pair.times, self.margins[-1]
        views = pair.seen(self._flows(found, times), left, self.ring)
        visible = torch.sigmoid(found[:, :, 4:])
        mixed = fused_views(crop_space(views[0], left), crop_space(views[1], left), crop_space(visible, left), times)
        size = self._size(pair, left)
        given = self._features(pair, found, views, left)
        change = (views[1] - views[0]) / size[:, None]
        added = self.refinement(torch.cat([given, change.flatten(0, 1)], dim=1), pair.classes)
        added = added.reshape(*mixed.shape)
        fine = mixed + 4 * times * (1 - times) * crop_space(size, left)[:, None] * added
        made: Tensor = fine.reshape(B, T, C, M, *fine.shape[-2:]).transpose(2, 3).flatten(1, 2)
        return made

    def flows(self, **inputs: Tensor) -> Tensor:
        """See `TimeModel.flows`: what it sees from the middle of the interval, to either end."""
        coarse = inputs["coarse"]
        middle = coarse.new_full((1, 1, 1), 0.5)
        pair, found = self._found(coarse, inputs["variable"], middle)
        to_before, to_after = self._flows(crop_space(found, self.margins[-1]), pair.times)
        way = to_after - to_before
        return way.reshape(coarse.shape[0], coarse.shape[1] - 1, coarse.shape[2], *way.shape[2:])

    def _found(self, coarse: Tensor, variable: Tensor, t: Tensor) -> tuple[_Pair, Tensor]:
        """The frames, and what all stages say of them, (N, M, 5, ...), with the refinement's reach around the core."""
        pair = self._pair(coarse, variable, t)
        found: Tensor | None = None
        for stage, left, after in zip(self.stages, self.margins, self.margins[1:], strict=False):
            more = self._looked(stage, pair, found, left)
            found = more if found is None else crop_space(found, left - after) + more
        assert found is not None  # there is a stage
        return pair, found

    def _pair(self, coarse: Tensor, variable: Tensor, t: Tensor) -> _Pair:
        ids = variable[None] if variable.dim() == 1 else variable
        B, N, C = coarse.shape[:3]
        T, M = N - 1, t.shape[2]
        times = t[:, :, None].expand(B, T, C, M).reshape(B * T * C, M, 1, 1, 1)
        classes = self._classes[ids][:, None, :, None].expand(B, T, C, M).reshape(B * T * C * M)
        first, second = (each.flatten(0, 2)[:, None] for each in (coarse[:, :-1], coarse[:, 1:]))
        known = self.margins[0]
        surplus = self.cells - inputs.WINDOW - known
        spread = inputs.local_spread(first, self.settings.floor) + inputs.local_spread(second, self.settings.floor)
        mean = inputs.local_mean(first + second)
        return _Pair(
            first, second, crop_space(mean, surplus) / 2, crop_space(spread, surplus) / 2, times, classes, self.cells,
            known,
        )  # fmt: skip

    def _looked(self, stage: nn.Module, pair: _Pair, found: Tensor | None, left: int) -> Tensor:
        """(N, M, 5, ...): what one stage adds."""
        if found is None:
            own = [pair.plain(each[:, None], left) for each in pair.frames(left)]
            given = _together([*own, pair.times])
        else:
            views = pair.seen(self._flows(found, pair.times), left, self.ring)
            given = self._features(pair, found, views, left)
        more: Tensor = stage(given, pair.classes)
        N, M = pair.times.shape[:2]
        return more.reshape(N, M, FOUND, *more.shape[-2:])

    def _features(self, pair: _Pair, found: Tensor, views: tuple[Tensor, Tensor], left: int) -> Tensor:
        """(N·M, 10, ...): frames as they are and as they are seen, flows in units of the longest, mask, time."""
        own = [pair.plain(each[:, None], left) for each in pair.frames(left)]
        seen = [pair.plain(each, left) for each in views]
        largest = self.settings.largest_flow
        return _together([*own, *seen, bounded(found[:, :, :4], largest) / largest, found[:, :, 4:], pair.times])

    def _flows(self, found: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """To the frame before and to the one after; no way is left where a frame's own time is asked for."""
        largest = self.settings.largest_flow
        return times * bounded(found[:, :, :2], largest), (1 - times) * bounded(found[:, :, 2:4], largest)

    def _size(self, pair: _Pair, left: int) -> Tensor:
        """(N, 1, ...): of the change from frame to frame, around each cell."""
        first, second = pair.frames(left + SIZE_REACH)
        return torch.sqrt(F.avg_pool2d((second - first).square(), 3, 1) + self.settings.floor**2)

    def baseline(self, coarse: Tensor, fraction: Tensor | None = None) -> Tensor:
        """Linear in time."""
        inner = crop_space(coarse, self.cells)
        return linear_between(inner[:, :-1], inner[:, 1:], self.fraction_of(fraction))

    @property
    def flops_per_fine_cell(self) -> float:
        """Of the convolutions: all of them at every time."""
        stages = [each for each in (*self.stages, self.refinement) if isinstance(each, Stage)]
        return 2.0 * 5 * sum(each.multiply_adds for each in stages)


def _together(parts: list[Tensor]) -> Tensor:
    """Channels (N, M or 1, K, H or 1, W or 1) side by side -> (N·M, ΣK, H, W)."""
    N, M = parts[-1].shape[:2]
    height, columns = parts[0].shape[-2:]
    wide = [each.expand(N, M, each.shape[2], height, columns) for each in parts]
    return torch.cat(wide, dim=2).flatten(0, 1)
