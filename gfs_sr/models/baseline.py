"""`interpolation`: a model that only interpolates, so that every baseline travels the way of a network."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from torch import Tensor

from gfs_sr.models.model import Model, ModelConfig
from gfs_sr.models.receptive_field import Reach


class InterpolationModel(Model):
    """No weights but the fixed ones: the baseline as a model."""

    family = "interpolation"
    any_subset = True

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config or ModelConfig())

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(ModelConfig(**config))

    @property
    def reach(self) -> Reach:
        """Of the interpolation itself."""
        return self.base.reach

    @property
    def flops_per_fine_cell(self) -> float:
        """Of the interpolation itself."""
        return 5 * self.base.flops_per_coarse_cell / self.facts.scale_factor**2

    def for_frames(self) -> Model | None:
        """The same interpolation in space alone."""
        return InterpolationModel(replace(self.facts, time_factor=1)) if self.facts.time_factor > 1 else None

    def forward(self, coarse: Tensor, variable: Tensor | None = None) -> Tensor:
        """Interpolate; which variable a channel is makes no difference."""
        fine: Tensor = self.base(coarse)
        return fine
