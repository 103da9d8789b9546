"""Parts of the U-Net: residual blocks led by embeddings, attention, resampling; and how far each of them sees.

Every layer keeps the size of its input and continues it by its edge, so that a network of finite reach is exact within
its halo, which `Backbone`'s user cuts off.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.blocks import Padding, TimeConv

Normalization = Literal["group", "cell"]
Attention = Literal["global", "local", "none"]

GROUPS: Final = 32
ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "silu": F.silu,
    "relu": F.relu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
}


@dataclass(frozen=True)
class Span:
    """Cells from `low` to `high` along one axis, both included: what a layer reads for the cells it gives."""

    low: int
    high: int

    def wider(self, cells: int) -> "Span":
        """With so many more on each side."""
        return Span(self.low - cells, self.high + cells)

    def refined(self, factor: int) -> "Span":
        """The cells `factor` times finer that make these up."""
        return Span(factor * self.low, factor * self.high + factor - 1)

    def coarsened(self, factor: int) -> "Span":
        """The cells `factor` times coarser that hold these."""
        return Span(self.low // factor, self.high // factor)

    def __or__(self, other: "Span") -> "Span":
        """All that either needs."""
        return Span(min(self.low, other.low), max(self.high, other.high))


class Conv(nn.Conv2d):
    """Size stays; beyond the edge lies the edge's value."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, *, silent: bool = False) -> None:
        super().__init__(inputs, outputs, size)
        self.cells = size // 2
        if silent:
            nn.init.zeros_(self.weight)
            if self.bias is not None:
                nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        if self.cells:
            input = F.pad(input, (self.cells,) * 4, mode="replicate")
        return super().forward(input)


class GroupNorm(nn.GroupNorm):
    """In 32 groups, or in as many as fit, over the whole field; in float32 whatever comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(GROUPS, channels), channels)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize."""
        wide = F.group_norm(input.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps)
        return wide.to(input.dtype)


class CellNorm(nn.Module):
    """Over the channels of every cell by itself: it sees no other cell."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        """Normalize."""
        wide = input.float()
        centered = wide - wide.mean(dim=1, keepdim=True)
        size = torch.rsqrt((centered * centered).mean(dim=1, keepdim=True) + self.eps)
        made = centered * size * self.weight[:, None, None] + self.bias[:, None, None]
        return made.to(input.dtype)


NORMALIZATIONS: Final[dict[str, type[GroupNorm] | type[CellNorm]]] = {"group": GroupNorm, "cell": CellNorm}


@dataclass(frozen=True)
class Recipe:
    """What all blocks of a network share."""

    normalization: Normalization = "group"
    activation: str = "silu"
    dropout: float = 0.1
    embedding: int = 512  # channels of each embedding
    embeddings: int = 0  # how many lead the blocks
    temporal: bool = False  # each block mixes neighbouring frames too

    def norm(self, channels: int) -> nn.Module:
        """A normalization."""
        return NORMALIZATIONS[self.normalization](channels)

    def activate(self, x: Tensor) -> Tensor:
        """The nonlinearity."""
        return ACTIVATIONS[self.activation](x)


class TimeMix(nn.Module):
    """Frames that belong together, mixed with their neighbours in every cell; starts silent.

    (B·T, C, H, W) -> the same. Before the first frame lies the first, after the last the last.
    """

    frames = 1  # reach

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = TimeConv(channels, channels, 3, padding_rule=Padding.REPLICATE)
        nn.init.zeros_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Add what the neighbours have to say."""
        C, H, W = x.shape[1:]
        series = F.silu(x).reshape(-1, frames, C, H * W).transpose(1, 2)  # (B, C, T, H·W)
        added: Tensor = self.conv(series)
        return x + added.transpose(1, 2).reshape(x.shape)


class ResidualBlock(nn.Module):
    """norm, activation, convolution; norm led by embeddings, activation, dropout, silent convolution; plus the input.

    (N, C, H, W), embeddings (N, E) -> (N, K, H, W). N counts samples by frames; `frames` of them belong together.
    """

    cells = 2  # reach

    def __init__(self, inputs: int, outputs: int, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.first_norm, self.first = recipe.norm(inputs), Conv(inputs, outputs)
        self.leads = nn.ModuleList(nn.Linear(recipe.embedding, 2 * outputs) for _ in range(recipe.embeddings))
        self.second_norm, self.second = recipe.norm(outputs), Conv(outputs, outputs, silent=True)
        self.skip = Conv(inputs, outputs, 1) if inputs != outputs else None
        self.mix = TimeMix(outputs) if recipe.temporal else None

    def forward(self, x: Tensor, embeddings: list[Tensor], frames: int) -> Tensor:
        """Add what the block has to say."""
        activate = self.recipe.activate
        h = self.second_norm(self.first(activate(self.first_norm(x))))
        if len(self.leads):
            lead = sum(layer(activate(each)) for layer, each in zip(self.leads, embeddings, strict=True))
            scale, shift = lead[..., None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        h = self.second(F.dropout(activate(h), self.recipe.dropout, self.training))
        x = (x if self.skip is None else self.skip(x)) + h
        return x if self.mix is None else self.mix(x, frames)


class GlobalAttention(nn.Module):
    """Every cell attends to every other; the output projection starts silent.

    Source: Vaswani et al. 2017; in U-Nets as of Ho et al. 2020.
    """

    def __init__(self, channels: int, heads: int, recipe: Recipe) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.project = recipe.norm(channels), Conv(channels, 3 * channels, 1)
        self.out = Conv(channels, channels, 1, silent=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; scores and their softmax in float32."""
        N, C, H, W = x.shape
        q, k, v = self.project(self.norm(x)).reshape(N, 3, self.heads, C // self.heads, H * W).unbind(dim=1)
        scores = torch.matmul(q.float().transpose(-1, -2), k.float()) / math.sqrt(C // self.heads)
        mixed = torch.matmul(v.float(), scores.softmax(dim=-1).transpose(-1, -2))  # (N, heads, C/heads, H·W)
        added: Tensor = self.out(mixed.reshape(N, C, H, W).to(x.dtype))
        return x + added


class LocalAttention(nn.Module):
    """Every cell attends to the window by window cells around it: finite reach, the same everywhere.

    Source: the neighbourhood of Ramachandran et al. 2019, with a learned bias by offset.
    """

    def __init__(self, channels: int, heads: int, window: int, recipe: Recipe) -> None:
        super().__init__()
        self.heads, self.window, self.cells = heads, window, window // 2
        self.norm, self.project = recipe.norm(channels), Conv(channels, 3 * channels, 1)
        self.bias = nn.Parameter(torch.zeros(heads, window * window))
        self.out = Conv(channels, channels, 1, silent=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; scores and their softmax in float32."""
        N, C, H, W = x.shape
        heads, each = self.heads, C // self.heads
        q, k, v = self.project(self.norm(x)).chunk(3, dim=1)
        q = q.float().reshape(N, heads, each, 1, H, W)
        k, v = (self._around(part.float(), heads) for part in (k, v))
        scores = (q * k).sum(dim=2) / math.sqrt(each) + self.bias[:, :, None, None]  # (N, heads, window², H, W)
        mixed = (v * scores.softmax(dim=2)[:, :, None]).sum(dim=3).reshape(N, C, H, W)
        added: Tensor = self.out(mixed.to(x.dtype))
        return x + added

    def _around(self, x: Tensor, heads: int) -> Tensor:
        """(N, C, H, W) -> (N, heads, C/heads, window², H, W): the cells around each."""
        H, W = x.shape[-2:]
        wide = F.pad(x, (self.cells,) * 4, mode="replicate")
        shifted = [
            wide[..., row : row + H, column : column + W] for row in range(self.window) for column in range(self.window)
        ]
        stacked = torch.stack(shifted, dim=2)
        return stacked.reshape(x.shape[0], heads, -1, *stacked.shape[2:])


class Down(nn.Module):
    """To cells `factor` times coarser: a convolution of that stride, or, unlearned, the mean."""

    def __init__(self, channels: int, factor: int, learned: bool) -> None:
        super().__init__()
        self.factor = factor
        self.size = max(3, factor)
        self.before = (self.size - factor + 1) // 2  # cells read before the block of the first
        self.conv = nn.Conv2d(channels, channels, self.size, stride=factor) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Coarsen."""
        if self.conv is None:
            return F.avg_pool2d(x, self.factor)
        after = self.size - self.factor - self.before
        x = F.pad(x, (self.before, after, self.before, after), mode="replicate")
        coarser: Tensor = self.conv(x)
        return coarser

    def needs(self, span: Span) -> Span:
        """Cells read for these."""
        wide = span.refined(self.factor)
        return (
            wide
            if self.conv is None
            else Span(wide.low - self.before, wide.high + self.size - self.factor - self.before)
        )


class Up(nn.Module):
    """To cells `factor` times finer: each repeated, then, learned, a convolution."""

    def __init__(self, channels: int, factor: int, learned: bool) -> None:
        super().__init__()
        self.factor = factor
        self.conv = Conv(channels, channels) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Refine."""
        x = F.interpolate(x, scale_factor=float(self.factor), mode="nearest")
        return x if self.conv is None else self.conv(x)

    def needs(self, span: Span) -> Span:
        """Cells read for these."""
        return (span if self.conv is None else span.wider(1)).coarsened(self.factor)
