"""Dropout of six kinds; those of Monte Carlo stay on, and take their random numbers as inputs of the network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from gfs_sr.contract import NoiseDistribution, NoiseGrid, NoiseInput
from gfs_sr.models.dl4ds_field import Field

DROPOUT = "dropout"  # of the noise inputs' names


class DropoutVariant(StrEnum):
    """What is dropped, and when."""

    VANILLA = "vanilla"  # single values, in training
    GAUSSIAN = "gaussian"  # every value times a normal number of mean 1, in training
    SPATIAL = "spatial"  # whole channels, in training
    MC_VANILLA = "mcdrop"  # the same three, in inference too: each pass is a member of an ensemble
    MC_GAUSSIAN = "mcgaussiandrop"
    MC_SPATIAL = "mcspatialdrop"

    @property
    def is_monte_carlo(self) -> bool:
        """Whether it stays on."""
        return self.startswith("mc")

    @property
    def is_spatial(self) -> bool:
        """Whether a channel is dropped as a whole."""
        return self in (DropoutVariant.SPATIAL, DropoutVariant.MC_SPATIAL)

    @property
    def distribution(self) -> NoiseDistribution:
        """Of the random numbers it takes."""
        gaussian = self in (DropoutVariant.GAUSSIAN, DropoutVariant.MC_GAUSSIAN)
        return NoiseDistribution.NORMAL if gaussian else NoiseDistribution.UNIFORM


@dataclass(frozen=True, eq=False)
class Noise:
    """What dropout multiplies by in one pass, by grid, one field for each step of a series."""

    fields: Mapping[NoiseGrid, Sequence[Field]]

    def of(self, grid: NoiseGrid, first: int, like: Sequence[Field]) -> list[Tensor]:
        """Channels from `first` on, for each field of `like` on its cells; the last step's where it is one field."""
        steps = self.fields[grid]
        steps = [steps[-1]] * len(like) if grid is NoiseGrid.SHARED else steps[-len(like) :]
        found = []
        for each, field in zip(steps, like, strict=True):
            channels = slice(first, first + field.values.shape[1])
            own = each if grid is NoiseGrid.SHARED else each.within(field.margin)
            found.append(own.values[:, channels])
        return found


def factors(numbers: Tensor, rate: float, variant: DropoutVariant) -> Tensor:
    """Random numbers -> what values are multiplied by, of mean 1 and variance rate / (1 - rate)."""
    if variant.distribution is NoiseDistribution.NORMAL:
        return 1 + math.sqrt(rate / (1 - rate)) * numbers
    kept: Tensor = (numbers >= rate).to(numbers.dtype) / (1 - rate)
    return kept


class NoiseSlots:
    """Gives every layer its own channels of the noise inputs."""

    def __init__(self) -> None:
        self.channels: dict[NoiseGrid, int] = {}

    def take(self, grid: NoiseGrid, channels: int) -> int:
        """The first of `channels` more."""
        first = self.channels.get(grid, 0)
        self.channels[grid] = first + channels
        return first

    def inputs(self, variant: DropoutVariant) -> tuple[NoiseInput, ...]:
        """What the contract says of them."""
        return tuple(
            NoiseInput(name=f"{DROPOUT}_{grid}", grid=grid, channels=count, distribution=variant.distribution)
            for grid, count in self.channels.items()
        )


class Dropout(nn.Module):
    """Values times random numbers of mean 1.

    Args:
        rate: share of what is dropped; a Gaussian has the same variance, rate / (1 - rate).
        variant: what is dropped, and when.
        channels: of the fields.
        grid: the cells they lie on.
        slots: of the whole network.

    Source: Srivastava et al. 2014; spatial: Tompson et al. 2015; at inference: Gal & Ghahramani 2016.
    """

    def __init__(self, rate: float, variant: DropoutVariant, channels: int, grid: NoiseGrid, slots: NoiseSlots) -> None:
        super().__init__()
        self.rate, self.variant, self.channels = rate, variant, channels
        self.grid = NoiseGrid.SHARED if variant.is_spatial else grid
        self.first = slots.take(self.grid, channels) if rate and variant.is_monte_carlo else 0

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """Of one field."""
        return self.series([x], noise)[0]

    def series(self, steps: Sequence[Field], noise: Noise | None = None) -> list[Field]:
        """Of a series; whole channels are dropped from all of its steps alike.

        Where no noise is given, numbers are drawn from torch's own generator.
        """
        if not self.rate or not (self.training or self.variant.is_monte_carlo):
            return list(steps)
        given = self._drawn(steps) if noise is None else noise.of(self.grid, self.first, steps)
        return [Field(x.values * each, x.margin) for x, each in zip(steps, given, strict=True)]

    def _drawn(self, steps: Sequence[Field]) -> list[Tensor]:
        draw = torch.randn if self.variant.distribution is NoiseDistribution.NORMAL else torch.rand
        first = steps[0].values
        shapes = [(*first.shape[:2], 1, 1)] if self.variant.is_spatial else [tuple(x.values.shape) for x in steps]
        drawn = [factors(draw(shape, device=first.device), self.rate, self.variant) for shape in shapes]
        return drawn * len(steps) if self.variant.is_spatial else drawn
