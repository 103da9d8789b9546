"""`unet`: regression by the U-Net of the probabilistic families, over the registered interpolation if so wanted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import Tensor

from gfs_sr.contract import EngineMemory, FixedGrid
from gfs_sr.data.variables import lookup
from gfs_sr.models.blocks import Padding
from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.unet_backbone import Backbone, BackboneConfig
from gfs_sr.models.unet_blocks import Span
from gfs_sr.models.unet_cost import flops_per_cell
from gfs_sr.models.unet_inputs import FineInputs, FineInputsConfig, LocalUnits, place_of


@dataclass(frozen=True, kw_only=True)
class UnetConfig(FineInputsConfig, BackboneConfig):
    """Fields, size and options."""

    variables: tuple[str, ...] = ("t2m",)
    baseline_residual: bool = True  # off: the network gives the field itself
    scale_free: bool = False  # fields without their local mean and spread, the residual times that spread
    target_grid: tuple[float, ...] = ()  # north, west, spacing (degrees), rows, columns: the only cells it refines to
    padding: Padding = Padding.VALID  # of networks of finite reach: their halo is data

    def __post_init__(self) -> None:
        super().__post_init__()
        # the one place that sees a config file's strings
        object.__setattr__(self, "padding", Padding(self.padding))
        for name in (*self.predictor_variables, *self.statics):
            lookup(name)
        self.check()
        self.check_fields()
        if self.baseline_residual and not self.own_coarse:
            raise ValueError("own_coarse: false has no interpolation to add to: give baseline_residual: false")
        if self.scale_free and not self.baseline_residual:
            raise ValueError("scale_free is of a residual: give baseline_residual: true")
        if self.padding is Padding.ZERO:
            raise ValueError("padding is valid or replicate: zeros beyond the edge would be data")
        if self.target_grid and (len(self.target_grid) != 5 or self.scale_factor != 1):
            raise ValueError("target_grid is north, west, spacing, rows, columns, and has scale_factor: 1")
        if not self.sees_all and self.scale_factor % self.rates[-1]:
            raise ValueError(
                f"a network of finite reach has levels that fit into a coarse cell: patch_size and factors "
                f"multiply to {self.rates[-1]}, which does not divide scale_factor {self.scale_factor}"
            )

    @property
    def sees_all(self) -> bool:
        """Whether any cell may move any other."""
        return self.sees_everything or self.side or bool(self.location_parameters)

    @property
    def fixed_grid(self) -> FixedGrid | None:
        """Cells of its own, where the factors are no whole numbers."""
        if not self.target_grid:
            return None
        north, west, spacing, rows, columns = self.target_grid
        return FixedGrid(
            lat=tuple(north - spacing * row for row in range(int(rows))),
            lon=tuple(west + spacing * column for column in range(int(columns))),
        )


def reach_of(backbone: Backbone, config: UnetConfig, inputs: FineInputs | None = None) -> Reach:
    """Coarse frames and cells that move the fine cells of one coarse cell, through the backbone.

    Args:
        backbone: of fields on fine cells.
        config: its factors.
        inputs: what brings coarse fields there; None: fine fields alone, by the coarse cells they lie in.
    """
    s, r = config.scale_factor, config.time_factor
    fine = backbone.needs(Span(0, s - 1))
    span = fine.coarsened(s) if inputs is None else inputs.needs(fine)
    time = Reach.time(math.ceil(backbone.frames_reach / r))
    cells = Reach(north=-span.low, south=span.high, west=-span.low, east=span.high)
    return cells + time if inputs is None else cells + time + inputs.interpolation.time.reach


class Unet(Model):
    """A deterministic refinement.

    Args:
        config: fields, size and options.
        maps: fields that the backbone is given before those of the forecast.
        is_led: a vector leads the blocks.
    """

    family = "unet"

    def __init__(self, config: UnetConfig, maps: int = 0, *, is_led: bool = False) -> None:
        super().__init__(config)
        self.settings = config
        self.fields = FineInputs(config)
        self.local = LocalUnits(config) if config.scale_free else None
        leads = (*(("level",) if is_led else ()), *(("place",) if config.side else ()))
        self._backbone = (maps + config.channels, len(config.variables), config, config.channels, leads)
        self.backbone = Backbone(*self._backbone)
        self.predictors = config.maps_in

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(UnetConfig(**config))

    @property
    def margin(self) -> Reach:
        """What the input carries around its core."""
        if self.settings.sees_all or self.settings.padding is not Padding.VALID:
            return Reach()
        own = reach_of(self.backbone, self.settings, self.fields)
        if self.local is not None:
            own = own + self.local.around | self.local.reach
        return own | self.base.reach if self.settings.baseline_residual else own

    @property
    def reach(self) -> Reach | Literal["global"]:
        """Finite without group norm, global attention and learned maps."""
        is_finite = not self.settings.sees_all and self.settings.padding is Padding.VALID
        return self.margin if is_finite else "global"

    @property
    def frames_apart(self) -> bool:
        """Where nothing mixes or interpolates frames."""
        return self.reach == "global" and not self.settings.temporal and self.settings.time_factor == 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Of the forecast, in channel order."""
        return self.settings.fields_in

    @property
    def target_grid(self) -> FixedGrid | None:
        """The only fine grid, where the factors are no whole numbers."""
        return self.settings.fixed_grid

    @property
    def location_grid(self) -> tuple[int, ...]:
        """Of the learned maps."""
        return self.settings.location_grid

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Beside the fields."""
        return self.settings.statics

    @property
    def output_weight(self) -> Tensor:
        """Of the silent convolution."""
        return self.backbone.out.weight

    @property
    def memory(self) -> EngineMemory:
        """Features on fine cells, those of the halo too."""
        factors = self.settings.scale_factor**2 * self.settings.time_factor
        return EngineMemory(per_fine_cell=8.0, per_coarse_cell=factors * self.backbone.bytes_per_cell)

    @property
    def flops_per_fine_cell(self) -> float:
        """See `Model`."""
        config = self.settings
        cost = flops_per_cell(*self._backbone)
        fixed = self.fields.interpolation.flops_per_coarse_cell * len(config.fields_in) / config.scale_factor**2
        return 5 / len(config.variables) * (cost + fixed)

    def forward(
        self,
        coarse: Tensor,
        predictor_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> Tensor:
        """Refine.

        Args:
            coarse: (B, T + halo, C, H + halo, W + halo).
            predictor_coarse: (B, T + halo, P, H + halo, W + halo), seasons, latitude, longitude.
            static_fine: (B, 1, K·s², H + halo, W + halo).
            origin: (B, 2), of windows in training: see `FineInputs`.

        Returns:
            (B, r·T, C_out, s·H, s·W).
        """
        given, unit = self.told(coarse, predictor_coarse, static_fine, origin)
        return self.refined(given, unit, coarse, predictor_coarse)

    def told(
        self, coarse: Tensor, predictor_coarse: Tensor | None, static_fine: Tensor | None, origin: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(Fields (B, r·(T + halo), K, s·(H + halo), s·(W + halo)) on fine cells, unit of what is made of them)."""
        fields, unit = (coarse, None) if self.local is None else self.local(coarse)
        return self.fields(fields, predictor_coarse, static_fine, origin), unit

    def refined(
        self,
        given: Tensor,
        unit: Tensor | None,
        coarse: Tensor,
        predictor_coarse: Tensor | None,
        lead: Tensor | None = None,
    ) -> Tensor:
        """What the backbone makes of `given` fields on fine cells, added to the interpolation if so wanted.

        Args:
            given: (B, r·(T + halo), K, s·(H + halo), s·(W + halo)).
            unit: of what it makes, the same cells; None: model units.
            coarse: as of `forward`.
            predictor_coarse: as of `forward`.
            lead: (B·r·(T + halo), E), what leads the blocks.

        Returns:
            (B, r·T, C_out, s·H, s·W).
        """
        frames = given.shape[1]
        place = None
        if self.settings.side:
            assert predictor_coarse is not None  # `predictors` asks for it
            place = place_of(predictor_coarse).repeat_interleave(frames, dim=0)
        fine = self.backbone(given.flatten(0, 1), lead, place, frames=frames)
        fine = crop_fine(fine.unflatten(0, (-1, frames)), self.margin, self.settings)
        if unit is not None:
            fine = fine * crop_fine(unit, self.margin, self.settings)
        return self.base_of(coarse) + fine if self.settings.baseline_residual else fine

    def base_of(self, coarse: Tensor) -> Tensor:
        """The interpolation of the variables' own fields, of an input with or without halo."""
        own = coarse[:, :, : len(self.settings.variables)]
        if self.margin == Reach():
            base: Tensor = self.base(pad_edges(own, self.base.reach))
            return base
        return self.base.within(own, self.margin)

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prediction and baseline of single frames, or of frames in series."""
        if kind not in ("space", "space_time") or (kind == "space" and self.settings.time_factor > 1):
            raise ValueError(f"{self.family} learns from space_time batches, not from {kind}")
        # samples hold statics on both kinds of cells
        fine: Tensor = self(**{name: each for name, each in inputs.items() if name != "static_coarse"})
        return fine, self.base_of(inputs["coarse"]) if self.settings.own_coarse else fine.new_zeros(fine.shape)


def crop_fine(fine: Tensor, margin: Reach, config: UnetConfig) -> Tensor:
    """(B, T, C, H, W) on fine cells without a margin of coarse ones."""
    s, r = config.scale_factor, config.time_factor
    for axis, before, after, factor in (
        (1, margin.before, margin.after, r),
        (3, margin.north, margin.south, s),
        (4, margin.west, margin.east, s),
    ):
        if before or after:  # an end counted from the end: a traced graph needs no shapes for it
            fine = fine[(slice(None),) * axis + (slice(factor * before, -factor * after or None),)]
    return fine
