"""`gan`: members drawn by one run of the U-Net each, which is told two random vectors of its frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import NoiseDistribution, NoiseGrid, NoiseInput
from gfs_sr.models.unet import Unet, UnetConfig
from gfs_sr.models.unet_blocks import Conv, Recipe, ResidualBlock, Up
from gfs_sr.models.unet_embeddings import EmbeddingName

Latent = Literal["vector", "cells"]

LATENT: Final = 1024  # numbers of z1
SEED_CHANNELS: Final = 4  # of the small field that z1 becomes
SEED_SIDE: Final = 16  # its cells on a side
MAP_CHANNELS: Final = 32
MAP_LEVELS: Final = 2  # between twice its side and the map
MAP_SIDE: Final = SEED_SIDE * 2 ** (1 + MAP_LEVELS)
STYLE_LAYERS: Final = 5


@dataclass(frozen=True, kw_only=True)
class GanConfig(UnetConfig):
    """The U-Net's, and where its map of random numbers comes from."""

    # vector: z1 makes one map of the whole field, as in the seed. cells: every fine cell has its own number, so that
    # the reach may be finite
    latent: Latent = "vector"
    level_embedding: EmbeddingName = "identity"  # z2 takes the place of a noise level

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.latent not in ("vector", "cells"):
            raise ValueError(f"latent {self.latent!r} is neither vector nor cells")
        if self.level_embedding != "identity":
            raise ValueError("the blocks are led by a vector: level_embedding is identity")

    @property
    def sees_all(self) -> bool:
        """Whether any cell may move any other; a map of the whole field is of all cells."""
        return super().sees_all or self.latent == "vector"


class LatentMap(nn.Module):
    """z1 (N, 1024) -> (N, 1, H, W): a small field, made finer step by step to 128 by 128 cells, then fitted.

    Source: specification section 6.5. The seed's field is 128 by 128 and no other; elsewhere the map is resized.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        recipe = Recipe(dropout=dropout)
        self.first = nn.Linear(LATENT, SEED_CHANNELS * SEED_SIDE**2)
        self.refine, self.widen = Up(SEED_CHANNELS, 2, learned=True), Conv(SEED_CHANNELS, MAP_CHANNELS)
        self.levels = nn.ModuleList(ResidualBlock(MAP_CHANNELS, MAP_CHANNELS, recipe) for _ in range(MAP_LEVELS))
        self.out = Conv(MAP_CHANNELS, 1, 1)

    def forward(self, z: Tensor, height: int, width: int) -> Tensor:
        """Unfold."""
        small = F.silu(self.first(z)).reshape(-1, SEED_CHANNELS, SEED_SIDE, SEED_SIDE)
        h = self.widen(self.refine(small))
        for block in self.levels:
            h = block(F.interpolate(h, scale_factor=2.0, mode="nearest"), [], 1)
        return F.interpolate(self.out(h), size=[height, width], mode="bilinear", align_corners=False)

    @property
    def flops_per_cell(self) -> float:
        """Of the 128 by 128; 2 per multiply-add."""
        total = float(self.first.weight.numel())
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                total += layer.weight.numel() * MAP_SIDE**2
        return 2 * total / MAP_SIDE**2


class Gan(Unet):
    """A generator: the same coarse field and other random numbers give another member.

    The numbers are inputs of the graph. z1, or a number of each fine cell, becomes a field before those of the
    forecast; z2 goes through five layers into every block. Both are of one frame each.
    """

    family = "gan"
    settings: GanConfig

    def __init__(self, config: GanConfig) -> None:
        super().__init__(config, maps=1, is_led=True)
        self.latent = LatentMap(config.dropout) if config.latent == "vector" else None
        self.style = nn.Sequential(
            *(layer for _ in range(STYLE_LAYERS) for layer in (nn.Linear(config.width, config.width), nn.SiLU()))
        )
        for layer in self.style:
            if isinstance(layer, nn.Linear):  # torch's own start halves a signal at every layer: nothing would be left
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(GanConfig(**config))

    @property
    def noise(self) -> tuple[NoiseInput, ...]:
        """z1 and z2."""
        grid, channels = (NoiseGrid.FINE, 1) if self.latent is None else (NoiseGrid.SHARED, LATENT)
        normal = NoiseDistribution.NORMAL
        return (
            NoiseInput(name="latent", grid=grid, channels=channels, distribution=normal),
            NoiseInput(name="style", grid=NoiseGrid.SHARED, channels=self.settings.width, distribution=normal),
        )

    @property
    def flops_per_fine_cell(self) -> float:
        """Of one member."""
        own = 0.0 if self.latent is None else self.latent.flops_per_cell
        return super().flops_per_fine_cell + 5 / len(self.settings.variables) * own

    def forward(
        self,
        coarse: Tensor,
        predictor_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        origin: Tensor | None = None,
        noise_latent: Tensor | None = None,
        noise_style: Tensor | None = None,
    ) -> Tensor:
        """One member.

        Args:
            coarse: this and the next three as `Unet` takes them.
            predictor_coarse: see there.
            static_fine: see there.
            origin: see there.
            noise_latent: (B, r·(T + halo), 1024, 1, 1), or of each cell (B, r·(T + halo), s², H + halo, W + halo);
                drawn from torch's own generator where it is not given.
            noise_style: (B, r·(T + halo), width, 1, 1), as well.

        Returns:
            (B, r·T, C_out, s·H, s·W).
        """
        given, unit = self.told(coarse, predictor_coarse, static_fine, origin)
        if noise_style is None:
            noise_style = torch.randn(*given.shape[:2], self.settings.width, 1, 1, device=given.device)
        drawn = self._map(noise_latent, given)
        lead = self.style(noise_style.flatten(0, 1).flatten(1))
        return self.refined(torch.cat([drawn, given], dim=2), unit, coarse, predictor_coarse, lead)

    def _map(self, noise: Tensor | None, given: Tensor) -> Tensor:
        """(B, r·(T + halo), 1, H, W) on the cells of `given`."""
        B, T, _, H, W = given.shape
        if self.latent is None:
            if noise is None:
                return torch.randn(B, T, 1, H, W, device=given.device)
            return F.pixel_shuffle(noise.flatten(0, 1), self.settings.scale_factor).reshape(-1, T, 1, H, W)
        if noise is None:
            noise = torch.randn(B, T, LATENT, 1, 1, device=given.device)
        fitted: Tensor = self.latent(noise.flatten(0, 1).flatten(1), H, W)
        return fitted.reshape(-1, T, 1, H, W)
