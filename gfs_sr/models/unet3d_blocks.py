"""Layers of the 3-D U-Net: convolutions in space, attention in space and along the third axis.

Fields are (N·F, C, H, W), the F slices of each of the N samples after one another; only `SliceAttention` mixes slices.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON: Final = 1e-5  # of the layer norm
ROTARY_BASE: Final = 10_000.0  # of the slowest rotation (Su et al. 2021)
FARTHEST: Final = 32  # slices; beyond it the position bias tells no more
BUCKETS: Final = 32  # of that bias


class UnitNorm(nn.Module):
    """Channels of unit root mean square, times a learned gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        return F.normalize(x, dim=1) * self.gain * math.sqrt(self.gain.shape[0])


class ChannelNorm(nn.Module):
    """Mean 0 and variance 1 over the channels of each cell, times a learned gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        off = x - x.mean(dim=1, keepdim=True)
        return off * (off.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt() * self.gain


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip; what leads it scales and shifts between them."""

    def __init__(self, channels_in: int, channels: int, lead: int = 0) -> None:
        super().__init__()
        self.lead = nn.Linear(lead, 2 * channels) if lead else None
        self.first = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.first_norm = UnitNorm(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = UnitNorm(channels)
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: Tensor, lead: Tensor | None = None) -> Tensor:
        """(N·F, C, H, W), led by (N·F, L)."""
        h = self.first_norm(self.first(x))
        if self.lead is not None:
            assert lead is not None  # who builds led blocks leads them
            scale, shift = self.lead(F.silu(lead))[:, :, None, None].chunk(2, dim=1)
            h = h * (scale + 1) + shift
        h = F.silu(self.second_norm(self.second(F.silu(h))))
        out: Tensor = h + self.skip(x)
        return out


class LinearAttention(nn.Module):
    """Every cell of a slice by way of a context of fixed size, beside a skip.

    Source: Shen et al. 2021 (efficient attention).
    """

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.heads, self.width = heads, head_width
        self.into = nn.Conv2d(channels, 3 * heads * head_width, 1, bias=False)
        self.out = nn.Conv2d(heads * head_width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N·F, C, H, W)."""
        rows, columns = x.shape[-2:]
        into: Tensor = self.into(self.norm(x))
        q, k, v = into.reshape(-1, 3, self.heads, self.width, rows * columns).unbind(1)
        q = q.softmax(dim=-2) / math.sqrt(self.width)
        context = torch.einsum("nhdc,nhec->nhde", k.softmax(dim=-1), v)
        found = torch.einsum("nhde,nhdc->nhec", context, q).flatten(1, 2)
        out: Tensor = x + self.out(found.reshape(*found.shape[:2], rows, columns))
        return out


class _Attention(nn.Module):
    """Layers of attention in which each query meets all keys."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.heads, self.width = heads, head_width
        self.into = nn.Linear(channels, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, channels, bias=False)


class FullAttention(_Attention):
    """Every cell of a slice sees every other, beside a skip."""

    def forward(self, x: Tensor) -> Tensor:
        """(N·F, C, H, W)."""
        rows, columns = x.shape[-2:]
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (N·F, H·W, C)
        into: Tensor = self.into(tokens)
        q, k, v = into.reshape(*into.shape[:2], 3, self.heads, self.width).permute(2, 0, 3, 1, 4)
        found = attend(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(found).transpose(1, 2).reshape(*x.shape[:2], rows, columns)
        return out


@dataclass(frozen=True, eq=False)
class Order:
    """How slices lie to each other: the same for every attention of a network."""

    slices: int  # F
    bias: Tensor  # (heads, F, F)
    cosine: Tensor  # (F, width / 2)
    sine: Tensor
    apart: Tensor | None = None  # (N or 1, 1, 1, F, F): -inf for slices that a sample's slices do not see, else 0

    def turned(self, x: Tensor) -> Tensor:
        """(..., F, width): pairs of features turned by the angle of their slice."""
        even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
        pairs = [even * self.cosine - odd * self.sine, odd * self.cosine + even * self.sine]
        return torch.stack(pairs, dim=-1).flatten(-2)


class Rotary(nn.Module):
    """Angles that grow with the slice, at fixed frequencies.

    Source: Su et al. 2021 (RoFormer), equation 34.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = ROTARY_BASE ** (-torch.arange(0, width, 2) / width)
        self.frequencies = nn.Parameter(frequencies, requires_grad=False)

    def forward(self, slices: Tensor) -> Tensor:
        """(F, width / 2) of slices numbered (F,)."""
        return slices[:, None] * self.frequencies


class PositionBias(nn.Module):
    """(heads, F, F) added to attention, by how far and on which side one slice lies of another.

    Source: Raffel et al. 2020 (T5), bidirectional logarithmic buckets.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, heads)

    def forward(self, slices: Tensor) -> Tensor:
        """Of slices numbered (F,)."""
        offset = slices[None, :] - slices[:, None]
        half = BUCKETS // 2
        exact = half // 2
        far = offset.abs().clamp(min=1)
        ratio = torch.log(far.float() / exact) / math.log(FARTHEST / exact)
        coarse = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
        bucket = torch.where(offset.abs() < exact, offset.abs(), coarse) + half * (offset > 0).long()
        out: Tensor = self.table(bucket).permute(2, 0, 1)
        return out


class SliceAttention(_Attention):
    """Each cell sees itself in every slice, beside a skip."""

    def forward(self, x: Tensor, order: Order) -> Tensor:
        """(N·F, C, H, W)."""
        channels, rows, columns = x.shape[1:]
        tokens = self.norm(x).reshape(-1, order.slices, channels, rows * columns).permute(0, 3, 1, 2)  # (N, H·W, F, C)
        into: Tensor = self.into(tokens)
        q, k, v = into.reshape(*into.shape[:3], 3, self.heads, self.width).permute(3, 0, 1, 4, 2, 5)
        bias = order.bias if order.apart is None else order.bias + order.apart
        found = attend(order.turned(q), order.turned(k), v, bias).transpose(2, 3).flatten(3)
        mixed = self.out(found).permute(0, 2, 3, 1)
        out: Tensor = x + mixed.reshape(-1, channels, rows, columns)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., tokens, width) each: softmax of q k / sqrt(width) + bias, times v."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    found: Tensor = (scores if bias is None else scores + bias).softmax(dim=-1) @ v
    return found
