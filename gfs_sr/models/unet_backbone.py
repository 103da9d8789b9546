"""The U-Net that diffusion, regression and the conditional GAN share: fields on fine cells in, fields on them out."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.unet_blocks import (
    ACTIVATIONS,
    Attention,
    Conv,
    Down,
    GlobalAttention,
    LocalAttention,
    Normalization,
    Recipe,
    ResidualBlock,
    Span,
    Up,
)
from gfs_sr.models.unet_embeddings import EmbeddingName, LevelEmbedding, PlaceEmbedding

# fields of features that a block works on, its skip, what it joins and its norms' own among them: as ONNX Runtime 1.32
# keeps them, measured at widths 8 to 32 and 370 to 850 cells a side, a tenth added
AT_HAND = 34
CASCADE_WIDTH = 32  # channels of the predictors at each coarser level


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Size and options of the U-Net; the defaults are the seed's."""

    width: int = 128  # channels of the finest level
    multipliers: tuple[int, ...] = (1, 2, 2, 2)  # of the width, level by level
    blocks: int = 4  # a level, on the way down; one more on the way up
    factors: tuple[int, ...] = ()  # between levels; none: 2 each
    patch_size: int = 1  # cells of the field that make one of the finest level
    attention: Attention = "global"
    attention_rates: tuple[int, ...] = (16,)  # levels this much coarser than the field attend; the bottom always does
    attention_heads: int = 4
    attention_window: int = 7  # cells of a side, of local attention
    normalization: Normalization = "group"
    activation: str = "silu"
    dropout: float = 0.1
    learned_resampling: bool = True
    level_embedding: EmbeddingName = "fourier"
    cascade: bool = False  # predictors, pooled, at the start of every coarser level
    temporal: bool = False  # blocks mix neighbouring frames

    def check(self) -> None:
        """Raise where the settings cannot be.

        Raises:
            ValueError: names the setting.
        """
        for key, value, allowed in (
            ("attention", self.attention, ("global", "local", "none")),
            ("normalization", self.normalization, ("group", "cell")),
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("level_embedding", self.level_embedding, ("fourier", "positional", "identity")),
        ):
            if value not in allowed:
                raise ValueError(f"{key} {value!r} is none of {', '.join(allowed)}")
        if len(self.level_factors) != len(self.multipliers) - 1:
            raise ValueError(f"{len(self.multipliers)} levels need {len(self.multipliers) - 1} factors between them")
        if min(self.width, self.blocks, self.patch_size, *self.multipliers, *self.level_factors) < 1:
            raise ValueError("width, multipliers, blocks, factors and patch_size start at 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout:g} is not in [0, 1)")
        if self.attention_window % 2 == 0 or self.attention_window < 1:
            raise ValueError(f"attention_window {self.attention_window} is not odd: a window has a middle")
        if any(self.width * m % self.attention_heads for m in self.multipliers):
            raise ValueError(f"{self.attention_heads} heads do not divide the channels of every level")

    @property
    def level_factors(self) -> tuple[int, ...]:
        """Between one level and the next."""
        return self.factors or (2,) * (len(self.multipliers) - 1)

    @property
    def rates(self) -> tuple[int, ...]:
        """How much coarser than the field each level is."""
        rates = [self.patch_size]
        for factor in self.level_factors:
            rates.append(rates[-1] * factor)
        return tuple(rates)

    @property
    def embedding(self) -> int:
        """Channels of what leads the blocks."""
        return 4 * self.width

    @property
    def sees_everything(self) -> bool:
        """Whether any cell may move any other."""
        return self.normalization == "group" or self.attention == "global"


class Level(nn.Module):
    """The blocks of one level on the way down or up, each followed by attention where the level has it."""

    def __init__(self, blocks: list[ResidualBlock], attention: list[nn.Module]) -> None:
        super().__init__()
        self.blocks, self.attention = nn.ModuleList(blocks), nn.ModuleList(attention)

    @property
    def cells(self) -> int:
        """Reach of one block and its attention."""
        return ResidualBlock.cells + (_cells(self.attention[0]) if len(self.attention) else 0)

    def run(self, number: int, x: Tensor, embeddings: list[Tensor], frames: int) -> Tensor:
        """One block."""
        h: Tensor = self.blocks[number](x, embeddings, frames)
        return self.attention[number](h) if len(self.attention) else h


class Backbone(nn.Module):
    """(N, C, H, W) -> (N, K, H, W); untrained it gives 0.

    Args:
        inputs: C.
        outputs: K.
        config: size and options.
        predictors: of the inputs, the last so many are what a cascade pools.
        leads: which embeddings lead the blocks: `level` (a noise level or a latent), `place`, `kind` (of variable).
        kinds: how many there are of those.

    Source: specification section 6.3 (Ho et al. 2020, Song et al. 2021).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: BackboneConfig,
        predictors: int = 0,
        leads: tuple[str, ...] = (),
        kinds: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.predictors = config, predictors
        patch = config.patch_size**2
        recipe = Recipe(
            config.normalization, config.activation, config.dropout, config.embedding, len(leads), config.temporal
        )
        widths = [config.width * multiplier for multiplier in config.multipliers]
        attends = [config.attention != "none" and rate in config.attention_rates for rate in config.rates]
        self.level = (
            LevelEmbedding(config.level_embedding, config.width, config.embedding) if "level" in leads else None
        )
        self.place = PlaceEmbedding(config.embedding) if "place" in leads else None
        self.kind = nn.Embedding(kinds, config.embedding) if "kind" in leads else None
        self.stem = Conv(inputs * patch, config.width)
        self.branches = nn.ModuleList(
            Conv(predictors, CASCADE_WIDTH) for _ in widths[1:] if config.cascade and predictors
        )
        extra = CASCADE_WIDTH if len(self.branches) else 0
        self.down, self.coarsen = nn.ModuleList(), nn.ModuleList()
        channels, kept = config.width, [config.width]
        for depth, width in enumerate(widths):
            blocks = []
            for number in range(config.blocks):
                joined = extra if depth and not number else 0
                blocks.append(ResidualBlock(channels + joined, width, recipe))
                channels = width
                kept.append(channels)
            self.down.append(Level(blocks, _attention(attends[depth], len(blocks), channels, config, recipe)))
            if depth < len(widths) - 1:
                self.coarsen.append(Down(channels, config.level_factors[depth], config.learned_resampling))
                kept.append(channels)
        ends = [ResidualBlock(channels, channels, recipe) for _ in range(2)]
        self.first, self.last = ends
        self.middle = nn.ModuleList(_attention(config.attention != "none", 1, channels, config, recipe))
        self.up, self.refine = nn.ModuleList(), nn.ModuleList()
        for depth, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(config.blocks + 1):
                blocks.append(ResidualBlock(channels + kept.pop(), width, recipe))
                channels = width
            self.up.append(Level(blocks, _attention(attends[depth], len(blocks), channels, config, recipe)))
            if depth:
                self.refine.append(Up(channels, config.level_factors[depth - 1], config.learned_resampling))
        self.norm, self.out = recipe.norm(channels), Conv(channels, outputs * patch, silent=True)
        self.recipe = recipe

    def forward(
        self,
        x: Tensor,
        level: Tensor | None = None,
        place: Tensor | None = None,
        frames: int = 1,
        kind: Tensor | None = None,
    ) -> Tensor:
        """Run.

        Args:
            x: (N, C, H, W), of any size.
            level: (N,) ln sigma, or (N, width) a latent.
            place: (N, 4) radians, see `PlaceEmbedding`.
            frames: how many in a row belong together; N is a multiple.
            kind: (N,) of the variable, int64.
        """
        height, columns = x.shape[-2:]
        x = _padded(x, self.config.rates[-1])
        told = ((self.level, level), (self.place, place), (self.kind, kind))
        leads = [layer(given) for layer, given in told if layer is not None]
        pooled = self._pooled(x)
        h: Tensor = self.stem(_patches(x, self.config.patch_size))
        kept = [h]
        for depth, group in enumerate(_levels(self.down)):
            if depth and pooled:
                h = torch.cat([h, pooled[depth - 1]], dim=1)
            for number in range(len(group.blocks)):
                h = group.run(number, h, leads, frames)
                kept.append(h)
            if depth < len(self.coarsen):
                h = self.coarsen[depth](h)
                kept.append(h)
        h = self.first(h, leads, frames)
        for attention in self.middle:
            h = attention(h)
        h = self.last(h, leads, frames)
        for depth, group in enumerate(_levels(self.up)):
            for number in range(len(group.blocks)):
                h = group.run(number, torch.cat([h, kept.pop()], dim=1), leads, frames)
            if depth < len(self.refine):
                h = self.refine[depth](h)
        out: Tensor = self.out(self.recipe.activate(self.norm(h)))
        return F.pixel_shuffle(out, self.config.patch_size)[..., :height, :columns]

    def _pooled(self, x: Tensor) -> list[Tensor]:
        """The predictors at every coarser level."""
        if not len(self.branches):
            return []
        given = x[:, -self.predictors :]
        return [
            branch(F.avg_pool2d(given, rate)) for branch, rate in zip(self.branches, self.config.rates[1:], strict=True)
        ]

    def needs(self, span: Span) -> Span:
        """Cells of the field that move those of `span`; where `sees_everything`, all others do too."""
        patch, rates = self.config.patch_size, self.config.rates
        down, up = _levels(self.down), _levels(self.up)
        refine = [each for each in self.refine if isinstance(each, Up)]
        coarsen = [each for each in self.coarsen if isinstance(each, Down)]
        at = span.coarsened(patch).wider(self.out.cells)
        asked: list[Span] = []  # of what is kept on the way down, in its order
        for index in reversed(range(len(up))):
            for _ in up[index].blocks:
                at = at.wider(up[index].cells)
                asked.append(at)
            if index:
                at = refine[index - 1].needs(at)
        at = at.wider(2 * ResidualBlock.cells + sum(_cells(each) for each in self.middle))
        found = []
        for depth in reversed(range(len(down))):
            if depth < len(coarsen):
                at = coarsen[depth].needs(at | asked.pop())
            for _ in down[depth].blocks:
                at = (at | asked.pop()).wider(down[depth].cells)
            if depth and len(self.branches):
                found.append(at.wider(1).refined(rates[depth]))
        at = (at | asked.pop()).wider(self.stem.cells).refined(patch)
        for each in found:
            at = at | each
        return at

    @property
    def bytes_per_cell(self) -> float:
        """About what an engine keeps of features at a time, per cell of the field, in fp32.

        Those of every level's way down wait for the way up; besides, a few of the level at hand.
        """
        config = self.config
        waiting = 0.0
        for multiplier, rate in zip(config.multipliers, config.rates, strict=True):
            waiting += (config.blocks + 1) * config.width * multiplier / rate**2
        at_hand = AT_HAND * config.width * max(m / r**2 for m, r in zip(config.multipliers, config.rates, strict=True))
        return 4.0 * (waiting + at_hand)

    @property
    def frames_reach(self) -> int:
        """Frames before and after that move one."""
        if not self.config.temporal:
            return 0
        blocks = sum(len(group.blocks) for group in _levels(self.down) + _levels(self.up))
        return blocks + 2


def _levels(groups: nn.ModuleList) -> list[Level]:
    return [each for each in groups if isinstance(each, Level)]


def _cells(attention: Any) -> int:
    return attention.cells if isinstance(attention, LocalAttention) else 0


def _attention(wanted: bool, count: int, channels: int, config: BackboneConfig, recipe: Recipe) -> list[nn.Module]:
    if not wanted:
        return []
    if config.attention == "local":
        return [LocalAttention(channels, config.attention_heads, config.attention_window, recipe) for _ in range(count)]
    return [GlobalAttention(channels, config.attention_heads, recipe) for _ in range(count)]


def _padded(x: Tensor, rate: int) -> Tensor:
    """Continued to the south and east, so that every level holds whole cells."""
    if rate == 1:
        return x
    # nothing negative is divided: a traced graph rounds towards 0
    rows, columns = ((size + rate - 1) // rate * rate - size for size in x.shape[-2:])
    return F.pad(x, (0, columns, 0, rows), mode="replicate")


def _patches(x: Tensor, size: int) -> Tensor:
    return F.pixel_unshuffle(x, size) if size > 1 else x
