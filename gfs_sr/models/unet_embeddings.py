"""Vectors that lead a U-Net's blocks: the noise level, a latent, the place of the window."""

import math
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EmbeddingName = Literal["fourier", "positional", "identity"]

SLOWEST: Final = 1e-4  # of the positional embedding's frequencies, in radians per unit
POSITIONS: Final = 1000.0  # its units per ln sigma
PLACES: Final = 4  # numbers that tell a window's place: north, south, west, east


class Fourier(nn.Module):
    """(N,) ln sigma -> (N, 2·count): sines and cosines at fixed random frequencies.

    Source: Tancik et al. 2020; of noise levels, Song et al. 2021.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.width = 2 * count
        self.frequencies = nn.Parameter(torch.randn(count), requires_grad=False)

    def forward(self, level: Tensor) -> Tensor:
        """Embed."""
        angles = 2 * math.pi * level[:, None] * self.frequencies
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


class Positional(nn.Module):
    """(N,) ln sigma -> (N, width): sines and cosines of fixed frequencies in geometric progression.

    Source: Vaswani et al. 2017; of noise levels, Ho et al. 2020.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        half = width // 2
        self.register_buffer(
            "frequencies", torch.exp(math.log(SLOWEST) * torch.arange(half) / max(1, half - 1)), persistent=False
        )

    def forward(self, level: Tensor) -> Tensor:
        """Embed."""
        angles = POSITIONS * level[:, None] * self.frequencies
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


class Identity(nn.Module):
    """(N, width) as it is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, given: Tensor) -> Tensor:
        """Pass on."""
        return given


FEATURES: Final[dict[str, type[Fourier] | type[Positional] | type[Identity]]] = {
    "fourier": Fourier,
    "positional": Positional,
    "identity": Identity,
}


class LevelEmbedding(nn.Module):
    """Noise levels, or a latent, as what leads the blocks: features, then two layers."""

    def __init__(self, name: EmbeddingName, width: int, embedding: int) -> None:
        super().__init__()
        self.features: Fourier | Positional | Identity = FEATURES[name](width)
        self.first, self.second = nn.Linear(self.features.width, embedding), nn.Linear(embedding, embedding)

    def forward(self, given: Tensor) -> Tensor:
        """(N,) or (N, width) -> (N, embedding)."""
        embedded: Tensor = self.second(F.silu(self.first(self.features(given))))
        return embedded


class PlaceEmbedding(nn.Module):
    """(N, 4) north, south, west, east of a window in radians -> (N, embedding).

    Each of the four at the same fixed random frequencies, of a turn per quarter of a meridian or half of the equator
    and thereabouts; every feature has a learned gain.
    """

    scale: Tensor

    def __init__(self, embedding: int) -> None:
        super().__init__()
        count = embedding // (2 * PLACES)
        self.frequencies = nn.Parameter(torch.randn(count), requires_grad=False)
        self.gain = nn.Parameter(torch.ones(2 * PLACES * count))
        self.register_buffer("scale", torch.tensor([2.0, 2.0, 1.0, 1.0]) / math.pi, persistent=False)

    def forward(self, place: Tensor) -> Tensor:
        """Embed."""
        angles = 2 * math.pi * (place * self.scale)[:, :, None] * self.frequencies
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=2).flatten(1) * self.gain
