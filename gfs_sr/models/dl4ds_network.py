"""A member of the DL4DS family put together: trunk, upsampling, branches on fine cells, output."""

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import NoiseGrid
from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds_blocks import (
    Conv,
    ConvBlock,
    ConvNextBlock,
    DenseBlock,
    LocalizedConv,
    Recipe,
    ResidualBlock,
    Transition,
    concat,
)
from gfs_sr.models.dl4ds_dropout import Dropout, Noise, NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin, aligned
from gfs_sr.models.dl4ds_recurrent import RecurrentBlock, window_reach
from gfs_sr.models.dl4ds_unet import UNetTrunk, levels_for
from gfs_sr.models.dl4ds_upsampling import Deconv, NarrowDeconv, Resize, ResizeConv, SubPixel, make_upsampling

if TYPE_CHECKING:
    from gfs_sr.models.dl4ds import Dl4dsConfig

SEASON_MAPS = 4


class SpatialTrunk(nn.Module):
    """Stem, blocks of rising width, close, and the merge of its backbone: (N, C, h, w) -> (N, n·N, h, w)."""

    def __init__(self, inputs: int, config: "Dl4dsConfig", recipe: Recipe, slots: NoiseSlots) -> None:
        super().__init__()
        n, backbone = config.n_filters, config.backbone
        self.backbone, self.width = backbone, n * config.blocks
        self.stem = Conv(inputs, n, _kernel(config), recipe.padding)
        self.blocks = nn.ModuleList()
        width = n
        for number in range(1, config.blocks + 1):
            block = _block(backbone, width, n * number, recipe, slots)
            self.blocks.append(block)
            width = block.width
            if isinstance(block, DenseBlock):
                self.blocks.append(Transition(width, width // 2, recipe))
                width //= 2
        self.reach = self.stem.reach
        for each in self.blocks:
            if isinstance(each, ConvBlock | ResidualBlock | DenseBlock | ConvNextBlock):
                self.reach = self.reach + each.reach
        self.close: Conv | None = None
        if backbone != "convnext":
            self.close = Conv(width, self.width, 3, recipe.padding)
            self.drop = Dropout(recipe.dropout_rate, recipe.dropout_variant, self.width, recipe.grid, slots)
            self.reach = self.reach + self.close.reach
        if backbone != "convnet":
            self.merge = Transition(n + (self.width if backbone == "densenet" else 0), self.width, recipe)
        self.act = recipe.act

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """Features."""
        stem = trunk = self.stem(x)
        for block in self.blocks:
            trunk = block(trunk) if isinstance(block, Transition) else block(trunk, noise)
        if self.close is not None:
            trunk = self.drop(self.close(trunk).map(self.act), noise)
        if self.backbone == "densenet":
            trunk = self.merge(concat(stem, trunk))
        elif self.backbone != "convnet":
            trunk = _sum(self.merge(stem.within(trunk.margin)), trunk)
        features: Field = trunk
        return features


class RecurrentTrunk(nn.Module):
    """Recurrent stem and blocks of one width, and the merge of its backbone, for every step of a window."""

    def __init__(self, inputs: int, config: "Dl4dsConfig", recipe: Recipe, slots: NoiseSlots, earlier: int) -> None:
        super().__init__()
        n = config.n_filters
        self.backbone = config.backbone
        self.stem = RecurrentBlock(inputs, n, recipe, slots)
        self.blocks = nn.ModuleList(RecurrentBlock(n, n, recipe, slots) for _ in range(config.blocks))
        self.drop = Dropout(recipe.dropout_rate, recipe.dropout_variant, n, recipe.grid, slots)
        self.width = 2 * n if config.backbone == "densenet" else n
        self.reach = window_reach([self.stem, *self.blocks], earlier)

    def forward(self, steps: list[Field], noise: Noise | None = None) -> list[Field]:
        """Features of every step."""
        stem = self.stem(steps, noise)
        trunk = stem
        for block in self.blocks:
            trunk = block(trunk, noise)
        trunk = self.drop.series(trunk, noise)
        if self.backbone == "convnet":
            return trunk
        merge = concat if self.backbone == "densenet" else _sum
        return [merge(first, last) for first, last in zip(stem, trunk, strict=True)]


class Network(nn.Module):
    """The learned part of a member, before it is added to the interpolation.

    Args:
        config: which member.
        padding: what its layers read beyond their input's edge.
        windowed: frames are given out from a window each; else all frames given are one window.
    """

    def __init__(self, config: "Dl4dsConfig", padding: Padding, *, windowed: bool) -> None:
        super().__init__()
        self.windowed = windowed and config.is_recurrent
        self.is_recurrent, self.pins = config.is_recurrent, config.upsampling == "pin"
        self.earlier = config.earlier_frames if self.windowed else 0
        self.scale_factor = s = config.scale_factor
        self.pads = padding is not Padding.VALID
        n, outputs = config.n_filters, len(config.variables)
        recipe = Recipe(
            padding=padding,
            normalization=config.normalization,
            activation=config.activation,
            dropout_rate=config.dropout_rate,
            dropout_variant=config.dropout_variant,
            attention=config.attention,
            separable=config.depthwise_separable,
            grid=NoiseGrid.FINE if self.pins else NoiseGrid.COARSE,
        )
        self.slots = slots = NoiseSlots()
        maps = len(config.statics) + SEASON_MAPS * config.season
        inputs = outputs + len(config.predictor_variables) + (0 if self.is_recurrent else maps)
        self.resize = Resize(config.space, s, config.registration, padding) if self.pins else None
        self.trunk = _trunk(inputs, config, recipe, slots, self.earlier)
        width = self.trunk.width
        method, registration = config.rc_interpolation, config.registration
        self.upsample: NarrowDeconv | SubPixel | ResizeConv | Deconv | None = None
        if config.upsampling == "dc" and not self.is_recurrent:
            self.upsample = NarrowDeconv(width, n, width, s, recipe)
        elif not self.pins:
            self.upsample = make_upsampling(config.upsampling, width, width, s, recipe, method, registration)
        self.local: LocalizedConv | None = None
        if config.localcon_grid:
            rows, columns = (int(each) * s for each in config.localcon_grid[3:])
            self.local = LocalizedConv(width, rows, columns, recipe)
        branch = width if not self.is_recurrent else n
        dry = replace(recipe, dropout_rate=0.0)
        self.statics: ConvNextBlock | ConvBlock | None = None
        if maps and config.backbone == "convnext":
            self.statics = ConvNextBlock(maps, branch, dry, project=True)
        elif maps:
            self.statics = ConvBlock(maps, branch, 3, dry, slots)
        merged = width + (2 if self.local is not None else 0) + (branch if maps else 0)
        narrow = n if self.pins or not self.is_recurrent else merged // 2
        ending = replace(recipe, activation="none", grid=NoiseGrid.FINE, attention=config.output_attention)
        last = replace(dry, activation=config.output_activation, normalization="none", attention=False)
        kernel = _kernel(config)
        self.mix = Transition(merged, narrow, recipe)
        # the mix comes right after a convolution, with nothing between: both are one, see `_fine`
        is_linear = recipe.normalization != "bn" and self.local is None
        self.joins = is_linear and isinstance(self.upsample, SubPixel | ResizeConv)
        self.is_folded = False
        self.first = ConvBlock(narrow, n, kernel, ending, slots)
        self.last = ConvBlock(n, outputs, kernel, last, slots)

    @property
    def output_weight(self) -> Tensor:
        """Of the last convolution."""
        conv = self.last.convs[1]
        assert isinstance(conv, Conv)
        return conv.conv.weight

    def silence(self) -> None:
        """Nothing is added before training."""
        nn.init.zeros_(self.output_weight)

    def needs(self) -> Margin:
        """Coarse cells around the core that the network reads."""
        fine = self.first.reach + self.last.reach
        if self.resize is not None:
            own = self.resize.needs(fine + self.trunk.reach)
        else:
            assert self.upsample is not None  # one of the two
            own = self.upsample.needs(fine) + self.trunk.reach
        if self.statics is not None:
            own = own | (fine + self.statics.reach).coarsened(self.scale_factor)
        return own

    def forward(
        self,
        fields: Tensor,
        season: Tensor | None = None,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        **chances: Tensor,
    ) -> Tensor:
        """Of frames with their halo.

        Args:
            fields: (B, T + earlier, C, H + halo, W + halo).
            season: (B, T + earlier, 4, H + halo, W + halo).
            static_coarse: (B, 1, K, H + halo, W + halo).
            static_fine: (B, 1, K·s², H + halo, W + halo).
            chances: what dropout multiplies by, by grid.

        Returns:
            (B, T, C_out, s·H, s·W).
        """
        own = self.needs()
        noise = self._noise(chances, own) if chances else None
        steps = [Field(each, margin) for each, margin in self._steps(fields, season, static_coarse, static_fine, own)]
        if isinstance(self.trunk, RecurrentTrunk):
            states = self.trunk(steps, noise)
            x = (states[-1] if self.windowed else _in_batch(states)).map(_channels_last)
        else:
            x = self.trunk(steps[0].map(_channels_last), noise)
        branch = None
        if self.statics is not None:
            branch = self._branch(fields.shape[1] - self.earlier, season, static_fine, own * self.scale_factor)
        fine = self.last(self.first(self._fine(x, branch), noise)).within(Margin())
        frames: Tensor = fine.values.reshape(fields.shape[0], -1, *fine.values.shape[1:])
        return frames

    def folded(self) -> "Network":
        """The same function, the mix a part of the upsampling for good."""
        if not self.joins:
            return self
        assert isinstance(self.upsample, SubPixel | ResizeConv)  # `joins` says so
        made = deepcopy(self)
        made.upsample = self.upsample.folded(self._own_share())
        made.is_folded = True
        return made

    def _own_share(self) -> Tensor:
        """(narrow, width) of the mix's weights: of the upsampled features, without the branches beside them."""
        return self.mix.conv.weight[:, : self.trunk.width, 0, 0]

    def _fine(self, x: Field, branch: Field | None) -> Field:
        """Upsampled, with the branches on fine cells, mixed to few channels."""
        if not self.joins:
            if self.upsample is not None:
                x = self.upsample(x)
            parts = [x]
            if self.local is not None:
                parts.append(self.local(x))
            mixed: Field = self.mix(concat(*parts, *([] if branch is None else [branch])))
            return mixed
        assert isinstance(self.upsample, SubPixel | ResizeConv)  # `joins` says so
        fine = self.upsample(x) if self.is_folded else self.upsample.joined(x, self._own_share())
        bias = self.mix.conv.bias
        assert bias is not None  # a transition has one
        if branch is None:
            return fine.map(lambda values: self.mix.act(values + bias[:, None, None]))
        fine, branch = aligned(fine, branch)
        beside = F.conv2d(branch.values, self.mix.conv.weight[:, self.trunk.width :], bias)
        return Field(self.mix.act(fine.values + beside), fine.margin)

    def _steps(
        self,
        fields: Tensor,
        season: Tensor | None,
        static_coarse: Tensor | None,
        static_fine: Tensor | None,
        own: Margin,
    ) -> list[tuple[Tensor, Margin]]:
        """What the trunk takes at every step, (N, C, h, w), with its margin."""
        more = [] if self.is_recurrent else [each for each in (season, static_coarse) if each is not None]
        margin = own
        if self.resize is not None:
            s, T = self.scale_factor, fields.shape[1]
            resized = self.resize(Field(fields.flatten(0, 1), own))
            beside = [] if self.is_recurrent else self._fine_maps(T, season, static_fine)
            resized = concat(resized, *(Field(each, own * s) for each in beside))
            fields, more = resized.values.reshape(fields.shape[0], -1, *resized.values.shape[1:]), []
            margin = resized.margin
        T = fields.shape[1]
        fields = torch.cat([fields, *(each.expand(-1, T, -1, -1, -1) for each in more)], dim=2)
        return [(each, margin) for each in self._series(fields)]

    def _series(self, frames: Tensor) -> list[Tensor]:
        """(B, T + earlier, ...) -> the steps of every window, (B·T, ...) each; or all frames as steps of one window."""
        if self.is_recurrent and not self.windowed:
            return list(frames.unbind(dim=1))
        last = self.earlier
        return [frames[:, step : step - last or None].flatten(0, 1) for step in range(last + 1)]

    def _fine_maps(self, frames: int, season: Tensor | None, static_fine: Tensor | None) -> list[Tensor]:
        """Statics and season on fine cells, (B·T, K, s·h, s·w) each."""
        maps, s = [], self.scale_factor
        if season is not None:
            maps.append(F.interpolate(season.flatten(0, 1), scale_factor=float(s), mode="nearest"))
        if static_fine is not None:
            fine = F.pixel_shuffle(static_fine[:, 0], s)
            maps.append(fine[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1))
        return maps

    def _branch(self, frames: int, season: Tensor | None, static_fine: Tensor | None, margin: Margin) -> Field:
        """Features of statics and season for every frame given out."""
        assert self.statics is not None
        if season is not None:
            maps = self._fine_maps(frames, season[:, self.earlier :], static_fine)
            seen: Field = self.statics(Field(torch.cat(maps, dim=1), margin))
            return seen
        assert static_fine is not None
        once = self.statics(Field(F.pixel_shuffle(static_fine[:, 0], self.scale_factor), margin))
        return Field(once.values[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1), once.margin)

    def _noise(self, chances: dict[str, Tensor], own: Margin) -> Noise:
        fields: dict[NoiseGrid, list[Field]] = {}
        for name, frames in chances.items():
            grid = NoiseGrid(name)
            steps, margin = self._series(frames), own
            if grid is NoiseGrid.FINE:
                steps = [F.pixel_shuffle(each, self.scale_factor) for each in steps]
                margin = own * self.scale_factor
            fields[grid] = [Field(each, Margin() if grid is NoiseGrid.SHARED else margin) for each in steps]
        return Noise(fields)


def _trunk(
    inputs: int, config: "Dl4dsConfig", recipe: Recipe, slots: NoiseSlots, earlier: int
) -> SpatialTrunk | RecurrentTrunk | UNetTrunk:
    if config.is_recurrent:
        return RecurrentTrunk(inputs, config, recipe, slots, earlier)
    if config.backbone == "unet":
        levels = levels_for(config.least_side, config.blocks)
        decoder, method = config.decoder_upsampling, config.rc_interpolation
        return UNetTrunk(inputs, config.n_filters, levels, config.width_cap, recipe, decoder, method, slots)
    return SpatialTrunk(inputs, config, recipe, slots)


def _block(
    backbone: str, inputs: int, width: int, recipe: Recipe, slots: NoiseSlots
) -> ConvBlock | ResidualBlock | DenseBlock | ConvNextBlock:
    if backbone == "convnet":
        return ConvBlock(inputs, width, 3, recipe, slots)
    if backbone == "resnet":
        return ResidualBlock(inputs, width, recipe, slots, project=inputs != width)
    if backbone == "densenet":
        return DenseBlock(inputs, width, recipe, slots)
    return ConvNextBlock(inputs, width, recipe, project=inputs != width)


def _kernel(config: "Dl4dsConfig") -> int:
    return 7 if config.backbone == "convnext" else 3


def _sum(first: Field, last: Field) -> Field:
    first, last = aligned(first, last)
    return Field(first.values + last.values, first.margin)


def _channels_last(values: Tensor) -> Tensor:
    """The same, a cell's channels beside each other: twice as fast on CPUs where they are few."""
    return values.contiguous(memory_format=torch.channels_last)


def _in_batch(states: list[Field]) -> Field:
    """(B, C, h, w) of every frame -> (B·T, C, h, w)."""
    return Field(torch.stack([each.values for each in states], dim=1).flatten(0, 1), states[0].margin)
