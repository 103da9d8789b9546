"""`fused`: one network for all variables and every scale, features once per coarse frame, terrain and sun built in.

Each variable is folded into the batch and freed of its local mean and spread, so that any variable of any region looks
alike; the network is then added to the sharpened interpolation, and untrained equals it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import Scaling
from gfs_sr.data.grid import Registration
from gfs_sr.models import fused_inputs as inputs
from gfs_sr.models.blocks import crop_space
from gfs_sr.models.fused_folded import FoldedFused
from gfs_sr.models.fused_residual import COEFFICIENTS, LINEAR_SIZE, Residual
from gfs_sr.models.fused_variables import STATIC_SCALING, STATICS, SUN_PREDICTORS, scaling_of, tables
from gfs_sr.models.interpolation import SpaceInterpolation
from gfs_sr.models.model import Model, ModelConfig
from gfs_sr.models.receptive_field import Reach, crop

STATIC_RING: Final = 2  # coarse cells around the core on which fine statics are read
FRAMES: Final = Reach(before=1, after=2)


@dataclass(frozen=True, kw_only=True)
class FusedConfig(ModelConfig):
    """The default network's settings."""

    sharpening: float = 0.2  # of the base; 0.08 suits CELL
    width: int = 48
    blocks: int = 2
    floor: float = 0.003  # least spread, normalized units
    interval_hours: float = 6.0  # between coarse frames, where forward() is not told otherwise

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.space, self.time) != ("bicubic", "linear"):
            raise ValueError(f"fused stands on bicubic/linear, not on {self.space}/{self.time}")
        if min(self.width, self.blocks) < 1 or self.interval_hours <= 0:
            raise ValueError("width, blocks and interval_hours must be positive")


class Fused(Model):
    """The default network."""

    family = "fused"
    any_subset = True
    _classes: Tensor
    _units: Tensor
    _grounded: Tensor
    _fraction: Tensor
    _hours: Tensor

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self.settings = config
        s, r = config.scale_factor, config.time_factor
        self.residual = Residual(
            config.width, config.blocks, self.base.space, SpaceInterpolation("bilinear", s, config.registration)
        )
        self.cells = inputs.WINDOW + self.residual.trunk.reach.north + self.residual.left
        classes, units, grounded = tables()
        for name, table in (
            ("_classes", classes),
            ("_units", units),
            ("_grounded", grounded),
            ("_fraction", torch.arange(r)[None] / r),
            ("_hours", torch.tensor([config.interval_hours])),
        ):
            self.register_buffer(name, table, persistent=False)
        if r > 1:
            self.predictors = SUN_PREDICTORS

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(FusedConfig(**config))

    @property
    def reach(self) -> Reach:
        """At most 12 cells with two blocks; one frame before, two after, none where r is 1."""
        space = Reach.space(self.cells)
        return space + FRAMES if self.facts.time_factor > 1 else space

    @property
    def mirrored_ends(self) -> bool:
        """Under CELL, where a held end bends the field half a cell inside; NODE's coarsening itself holds ends."""
        return self.facts.registration is Registration.CELL

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Terrain and land, coarsened as the fields are."""
        return STATICS

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Terrain and land as they are."""
        return STATICS

    def fitted_parameters(self) -> tuple[nn.Parameter, ...]:
        """The linear filter and the response to the sun."""
        weights = (self.residual.linear.weight, self.residual.between.amplitude.weight)
        return tuple(each for each in weights if isinstance(each, nn.Parameter))

    def normalization(self) -> dict[str, Scaling]:
        """Fixed: the floors are in these units."""
        return {name: scaling_of(name) for name in self.facts.variables} | STATIC_SCALING

    def for_frames(self) -> Model | None:
        """`space` as a network of its own: its weights do not know r."""
        if self.facts.time_factor == 1:
            return None
        alone = Fused(replace(self.settings, time_factor=1))
        alone.load_state_dict(self.state_dict())
        return alone.train(self.training)

    def folded(self) -> nn.Module:
        """The same function in fewer operations: see `FoldedFused`."""
        return FoldedFused(self)

    def forward(
        self,
        coarse: Tensor,
        variable: Tensor,
        predictor_coarse: Tensor | None = None,
        predictor_coarse_fine_time: Tensor | None = None,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        fraction: Tensor | None = None,
        hours: Tensor | None = None,
    ) -> Tensor:
        """Upscale.

        Args:
            coarse: (B, T + 3, C, H + halo, W + halo).
            variable: (C,) ids of the variables, or (B, C).
            predictor_coarse: (B, T + 3, 3, H + halo, W + halo) solar components at the frames; none: unknown.
            predictor_coarse_fine_time: (B, M·T, 3, H + halo, W + halo), at the fine times.
            static_coarse: (B, 1, 2, H + halo, W + halo) terrain and land; none: unknown.
            static_fine: (B, 1, 2·s², H + halo, W + halo), the same on fine cells.
            fraction: (B or 1, M) of the interval, in training; else m/r.
            hours: (B,) of the interval, in training; else the configuration's.

        Returns:
            (B, M·T, C, s·H, s·W).
        """
        if self.facts.time_factor == 1 and fraction is None:
            return self.space(coarse, variable, static_coarse, static_fine)
        base = self._base_sub_pixels(coarse, fraction)
        theta = self._fraction if fraction is None else fraction
        prepared = self._prepare(coarse[:, 1:-1], coarse, variable, static_coarse, static_fine)
        between = self._prepare_times(
            coarse, predictor_coarse, predictor_coarse_fine_time, theta, self._hours if hours is None else hours
        )
        between["land"] = self._land(coarse, static_coarse)
        return self._shuffled(base + self.residual(**prepared, **between))

    def space(
        self,
        coarse: Tensor,
        variable: Tensor,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
    ) -> Tensor:
        """Single frames, (B, T, C, H + halo, W + halo) -> (B, T, C, s·H, s·W): what `forward` gives at fraction 0."""
        prepared = self._prepare(coarse, coarse, variable, static_coarse, static_fine)
        return self._shuffled(self._space_sub_pixels(coarse) + self.residual.space(**prepared))

    def coarse_between(
        self,
        coarse: Tensor,
        variable: Tensor,
        predictor_coarse: Tensor | None,
        predictor_coarse_fine_time: Tensor | None,
        static_coarse: Tensor | None,
        fraction: Tensor,
        hours: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The coarse field between frames, which time series of single points can teach.

        Returns:
            (B, M·T, C, H, W) corrected, and the same by linear interpolation alone.
        """
        prepared = self._prepare(coarse[:, 1:-1], coarse, variable, static_coarse, None)
        between = self._prepare_times(coarse, predictor_coarse, predictor_coarse_fine_time, fraction, hours)
        features = self.residual.trunk(prepared["fields"], prepared["static_normal"], prepared["grounded"])
        _, correction, _ = self.residual.between(
            features,
            **between,
            land=self._land(coarse, static_coarse),
            classes=prepared["classes"],
            unit=prepared["unit"],
            grounded=prepared["grounded"],
        )
        inner = crop_space(coarse[:, 1:-1], self.cells)
        theta = fraction[:, None, :, None, None, None]
        linear = ((1 - theta) * inner[:, :-1, None] + theta * inner[:, 1:, None]).flatten(1, 2)
        return linear + crop_space(correction.flatten(1, 2), STATIC_RING), linear

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prediction and baseline of a batch of fine frames, of single frames, or of coarse series (`time`)."""
        coarse = inputs["coarse"]
        if kind == "space":
            names = ("variable", "static_coarse", "static_fine")
            return self.space(coarse, *(inputs[name] for name in names)), self.space_baseline(coarse)
        if kind == "time":
            return self.coarse_between(**{name: each for name, each in inputs.items() if name != "static_fine"})
        fine: Tensor = self(**inputs)
        return fine, self.baseline(coarse, inputs.get("fraction"))

    def baseline(self, coarse: Tensor, fraction: Tensor | None = None) -> Tensor:
        """What the untrained network gives for the same input."""
        return self._shuffled(self._base_sub_pixels(coarse, fraction))

    def space_baseline(self, coarse: Tensor) -> Tensor:
        """The same for single frames."""
        return self._shuffled(self._space_sub_pixels(coarse))

    def _prepare(
        self,
        frames: Tensor,
        all_frames: Tensor,
        variable: Tensor,
        static_coarse: Tensor | None,
        static_fine: Tensor | None,
    ) -> dict[str, Tensor]:
        """What the residual takes: per frame of `frames`; features of `all_frames`."""
        B, _, C, height, width = all_frames.shape
        ring, s = STATIC_RING, self.facts.scale_factor
        if static_coarse is None:
            static_coarse = all_frames.new_zeros(B, 1, len(STATICS), height, width)
        if static_fine is None:
            static_fine = all_frames.new_zeros(B, 1, len(STATICS) * s * s, height, width)
        statics = inputs.prepare_statics(static_coarse[:, 0])
        margin = self.cells - inputs.WINDOW
        planes = all_frames.flatten(1, 2)
        spread = inputs.local_spread(planes, self.settings.floor)
        fields = (crop_space(planes, inputs.WINDOW) - inputs.local_mean(planes)) / spread
        kept = frames.shape[1]
        skipped = (all_frames.shape[1] - kept) // 2
        spread = spread.reshape(B, -1, C, *spread.shape[2:])[:, skipped : skipped + kept]
        slopes = crop_space(inputs.slopes_on_statics(frames.flatten(1, 2), statics), margin)
        detail = crop_space(static_fine[:, 0], self.cells - ring) - self._static_base(static_coarse[:, 0])
        detail_normal = (
            detail.reshape(B, 2, s * s, *detail.shape[2:]) / crop_space(statics.spread, margin - ring)[:, :, None]
        )
        ids = variable[None] if variable.dim() == 1 else variable
        return {
            "fields": fields.reshape(B, -1, C, *fields.shape[2:]),
            "spread": crop_space(spread, margin),
            "slopes": slopes.reshape(B, kept, C, *slopes.shape[2:]),
            "curvature": inputs.laplacian(crop_space(frames, self.cells - LINEAR_SIZE // 2 - 1)),
            "lift": self._lift(frames),
            "static_normal": statics.normal,
            "detail": crop_space(detail, ring),
            "detail_normal": detail_normal.flatten(1, 2),
            "classes": self._classes[ids],
            "unit": self._units[ids],
            "grounded": self._grounded[ids],
        }

    def _prepare_times(
        self, coarse: Tensor, sun_coarse: Tensor | None, sun_fine: Tensor | None, fraction: Tensor, hours: Tensor
    ) -> dict[str, Tensor]:
        """What the residual takes besides for times between frames."""
        B, frames = coarse.shape[:2]
        intervals, ring = frames - FRAMES.before - FRAMES.after, STATIC_RING
        floor = self.settings.floor
        inner = crop_space(coarse, self.cells - ring - 2)
        planes = crop_space(coarse, self.cells - ring - 1 - inputs.WINDOW).flatten(1, 2)
        spread = inputs.local_spread(planes, floor)
        changes = inputs.prepare_changes(inner, spread.reshape(*coarse.shape[:3], *spread.shape[2:]), floor)
        height, width = inner.shape[-2] - 4, inner.shape[-1] - 4
        if sun_coarse is None or sun_fine is None:
            sun = coarse.new_zeros(B, intervals, fraction.shape[1], inputs.SUN_FEATURES, height, width)
        else:
            fine = crop_space(sun_fine, self.cells - ring)
            fine = fine.reshape(B, intervals, -1, *fine.shape[2:])
            sun = inputs.sun_anomalies(crop_space(sun_coarse[:, 1:-1], self.cells - ring), fine, fraction)
        return {
            "fraction": fraction,
            "hours": hours,
            "changes": changes.features,
            "change_size": crop_space(changes.spread, 1),
            "before": crop_space(changes.before, 2),
            "after": crop_space(changes.after, 2),
            "sun": sun,
        }

    def _land(self, coarse: Tensor, static_coarse: Tensor | None) -> Tensor:
        """(B, H + 4, W + 4): share of land of the coarse cells."""
        land = coarse.new_zeros(coarse[:, 0, 0].shape) if static_coarse is None else static_coarse[:, 0, 1]
        return crop_space(land, self.cells - STATIC_RING)

    def _lift(self, frames: Tensor) -> Tensor:
        """(B, T, C, H + halo, W + halo) -> (B, T, C, H + 4, W + 4): what sharpening adds to the coarse field."""
        inner = crop_space(frames, self.cells - STATIC_RING)
        if self.base.sharpen is None:
            return torch.zeros_like(inner)
        around = crop(frames, Reach.space(self.cells - STATIC_RING) - self.base.sharpen.reach)
        sharpened: Tensor = self.base.sharpen(around.flatten(0, 2)[:, None])
        return sharpened.reshape(inner.shape) - inner

    def _static_base(self, static_coarse: Tensor) -> Tensor:
        """(B, 2, H + halo, W + halo) -> (B, 2·s², H + 4, W + 4): what the base makes of terrain and land."""
        reach = self.base.space.reach + (self.base.sharpen.reach if self.base.sharpen else Reach())
        planes = crop(static_coarse[:, None], Reach.space(self.cells - STATIC_RING) - reach)
        return self._frames_sub_pixels(planes)[:, 0]

    def _space_sub_pixels(self, coarse: Tensor) -> Tensor:
        reach = self.base.reach - self.base.time.reach
        return self._frames_sub_pixels(crop(coarse, Reach.space(self.cells) - reach))

    def _base_sub_pixels(self, coarse: Tensor, fraction: Tensor | None) -> Tensor:
        margin = Reach.space(self.cells) + FRAMES
        if fraction is None:
            return self.base.sub_pixels(crop(coarse, margin - self.base.reach))
        theta = fraction[:, None, :, None, None, None]
        frames = coarse[:, 1:-1]
        return self._space_sub_pixels(((1 - theta) * frames[:, :-1, None] + theta * frames[:, 1:, None]).flatten(1, 2))

    def _frames_sub_pixels(self, frames: Tensor) -> Tensor:
        """The base in space alone, (B, T, C, H + reach, W + reach) -> (B, T, C·s², H, W)."""
        B, T = frames.shape[:2]
        planes = frames.flatten(0, 2)[:, None]
        if self.base.sharpen is not None:
            planes = self.base.sharpen(planes)
        sub_pixels = self.base.space.sub_pixels(planes)
        return sub_pixels.reshape(B, T, -1, *sub_pixels.shape[2:])

    def _shuffled(self, sub_pixels: Tensor) -> Tensor:
        B, T = sub_pixels.shape[:2]
        fine = F.pixel_shuffle(sub_pixels.flatten(0, 1), self.facts.scale_factor)
        return fine.reshape(B, T, *fine.shape[1:])

    @property
    def flops_per_fine_cell(self) -> float:
        """About 20 thousand at the default width; statics are shared by the variables."""
        w, b, s, r = self.settings.width, self.settings.blocks, self.facts.scale_factor, self.facts.time_factor
        fine = s * s
        shared = 9 * 2 * w + 2 * fine * w + 2 * 25 * fine + 100
        frame = 9 * w + 18 * w * w * b + (LINEAR_SIZE**2 + 25) * fine + 50
        if r > 1:
            frame += 9 * (4 * w + 6) * w + w * w
        time = 9 * w * w + 9 * w * fine + COEFFICIENTS * (w + 9 * fine) + 20 * fine
        if r > 1:
            time += w * (w + 11) + 25 * fine + 4 * fine
        per_frame = 5 * (frame + r * time) + shared + r * 7 * w
        return 2 * per_frame / (r * fine) + 5 * self.base.flops_per_coarse_cell / fine
