"""`edm` and `vp`: members drawn by a denoiser around a mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, Self

import torch
from torch import Tensor, nn

from gfs_sr.contract import Denoising, FixedGrid, Halo, Predictor, Scaling
from gfs_sr.models.blocks import Padding
from gfs_sr.models.conditions import Conditioning, Conditions, PlainConditions, SharedConditions
from gfs_sr.models.diffusion import (
    PRECONDITIONING,
    WEIGHTS,
    LevelsConfig,
    LevelsName,
    ProcessName,
    WeightName,
    denoised,
)
from gfs_sr.models.fused_variables import CLASSES, STATIC_SCALING, STATICS, scaling_of
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.unet import UnetConfig, crop_fine, reach_of
from gfs_sr.models.unet_backbone import Backbone, BackboneConfig
from gfs_sr.models.unet_cost import flops_per_cell
from gfs_sr.models.unet_embeddings import PLACES
from gfs_sr.sampling import SamplerConfig, SamplingConfig, ScheduleConfig, VpProcess

LIKELY: Final = {"integrator": "dpmpp_2m", "s_churn": 0.0}  # of what the defaults recommend


@dataclass(frozen=True, kw_only=True)
class EdmConfig(UnetConfig):
    """Fields, size, noise and the sampling that is recommended."""

    process: ClassVar[ProcessName] = "edm"

    shared: bool = False  # one denoiser for every variable alone; statics and local spread are then part of it
    floor: float = 0.003  # least spread, model units, of a shared one
    mean: dict[str, Any] = field(default_factory=dict)  # configuration of a network; empty: the interpolation or none
    fit_sizes: bool = True  # z has unit size after division by what is measured before the first step
    sigma_data: float = 1.0  # spread of z
    noise: LevelsName = "lognormal"
    noise_mean: float = -0.6  # of ln sigma
    noise_sd: float = 1.4
    noise_low: float = 0.02
    noise_high: float = 80.1
    weighting: WeightName = "one"
    beta_d: float = 19.9
    beta_min: float = 0.1
    drop_conditions: float = 0.0  # share of the training samples without conditions: then guidance has a meaning
    sampler: dict[str, Any] = field(default_factory=lambda: dict(LIKELY))
    schedule: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "padding", Padding.VALID)  # what the denoiser reads beyond its field is no data
        if self.weighting not in WEIGHTS:
            raise ValueError(f"weighting {self.weighting!r} is none of {', '.join(WEIGHTS)}")
        if not 0.0 <= self.drop_conditions < 1.0:
            raise ValueError(f"drop_conditions {self.drop_conditions:g} is no share below 1")
        if self.sigma_data <= 0 or self.floor <= 0 or min(self.beta_d, self.beta_min) <= 0:
            raise ValueError("sigma_data, floor, beta_d and beta_min lie above 0")
        if self.shared and (self.predictor_variables or self.statics or self.season or self.side or self.cascade):
            raise ValueError("a shared denoiser takes each variable alone: no predictors, seasons, place or cascade")
        if self.shared and (self.location_parameters or not self.baseline_residual or self.time_factor > 1):
            raise ValueError("a shared denoiser works around a mean, anywhere, frame by frame")
        if self.scale_free and self.shared:
            raise ValueError("a shared denoiser counts in local units as it is: leave scale_free out")
        if self.mean and self.mean.get("scale_factor", self.scale_factor) != self.scale_factor:
            raise ValueError(f"the mean's scale_factor is {self.mean['scale_factor']}, not {self.scale_factor}")
        self.levels, self.sampling  # noqa: B018 - what cannot be is refused here

    @property
    def levels(self) -> LevelsConfig:
        """Noise levels of training."""
        return LevelsConfig(self.noise, self.noise_mean, self.noise_sd, self.noise_low, self.noise_high)

    @property
    def vp(self) -> VpProcess:
        """The process whose time some schedules and forms take."""
        return VpProcess(self.beta_d, self.beta_min)

    @property
    def sampling(self) -> SamplingConfig:
        """What the artifact recommends."""
        return SamplingConfig(sampler=SamplerConfig(**self.sampler), schedule=ScheduleConfig(**self.schedule))

    @property
    def size(self) -> BackboneConfig:
        """Of the backbone alone."""
        return BackboneConfig(**{each.name: getattr(self, each.name) for each in fields(BackboneConfig)})


@dataclass(frozen=True, kw_only=True)
class VpConfig(EdmConfig):
    """The same with the preconditioning and noise of the variance-preserving process."""

    process: ClassVar[ProcessName] = "vp"

    noise: LevelsName = "vp"
    sampler: dict[str, Any] = field(
        default_factory=lambda: {
            "integrator": "euler", "form": "vp", "s_churn": 3.0, "s_tmin": 1e-4, "s_tmax": 1000.0
        }
    )  # fmt: skip
    schedule: dict[str, Any] = field(default_factory=lambda: {"type": "vp", "n": 39})


class Edm(Model):
    """Conditions once per frame, a denoiser asked by a sampler."""

    family = "edm"

    def __init__(self, config: EdmConfig, mean: Model | None = None) -> None:
        super().__init__(config)
        self.settings, self.any_subset = config, config.shared
        self.conditions: Conditioning
        if config.shared:
            self.conditions = SharedConditions(config, self.base, mean, config.floor)
        else:
            self.conditions = PlainConditions(config, self.base, mean)
        for parameter in self.conditions.mean.parameters() if self.conditions.mean is not None else ():
            parameter.requires_grad_(False)
        outputs = 1 if config.shared else len(config.variables)
        leads = ("level", *(("place",) if config.side else ()), *(("kind",) if config.shared else ()))
        self._backbone = (
            outputs + self.channels_in, outputs, config.size, self.channels_in, leads,
            len(CLASSES) if config.shared else 0,
        )  # fmt: skip
        self.backbone = Backbone(*self._backbone)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration, with its mean's."""
        made = cls._configured(config)
        return cls(made, _mean_of(made))

    @classmethod
    def _configured(cls, config: Mapping[str, Any]) -> EdmConfig:
        return EdmConfig(**config)

    @property
    def channels_in(self) -> int:
        """Of the conditions, those that the backbone sees as fields."""
        return self.conditions.channels - (PLACES if self.settings.side else 0)

    @property
    def reach(self) -> Reach | Literal["global"]:
        """Of the conditions: what the forecast's tiles carry around them."""
        return "global" if self.conditions.sees_all else self.conditions.reach

    @property
    def frames_apart(self) -> bool:
        """As the mean that sees the whole field."""
        mean = self.conditions.mean
        return self.conditions.sees_all and mean is not None and mean.frames_apart

    @property
    def inputs(self) -> tuple[str, ...]:
        """Of the forecast, in channel order."""
        return self.settings.variables if self.settings.shared else self.settings.fields_in

    @property
    def stochastic(self) -> bool:
        """Members differ by the noise that the sampler starts from."""
        return True

    @property
    def predictors(self) -> tuple[Predictor, ...]:  # type: ignore[override]
        """Computed fields on coarse cells."""
        return self.settings.maps_in

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Of a shared one, and what its mean takes."""
        mean = self.conditions.mean
        return STATICS if self.settings.shared else mean.statics_coarse if mean is not None else ()

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Beside the fields."""
        return STATICS if self.settings.shared else self.settings.statics

    @property
    def target_grid(self) -> FixedGrid | None:
        """The only fine grid, where the factors are no whole numbers."""
        return self.settings.fixed_grid

    @property
    def location_grid(self) -> tuple[int, ...]:
        """Of the learned maps."""
        return self.settings.location_grid

    def normalization(self) -> dict[str, Scaling]:
        """Fixed where any region is served: the floor is in these units."""
        if not self.settings.shared:
            return {}
        return {name: scaling_of(name) for name in self.settings.variables} | STATIC_SCALING

    @property
    def denoiser_reach(self) -> Reach | Literal["global"]:
        """Coarse cells and frames that one step reads around a cell."""
        if self.settings.sees_all:
            return "global"
        return reach_of(self.backbone, self.settings)

    @property
    def denoising(self) -> Denoising:
        """See `Contract`."""
        halo: Halo | Literal["global"] = (
            self.denoiser_reach.halo() if isinstance(self.denoiser_reach, Reach) else "global"
        )
        config = self.settings
        return Denoising(
            condition=self.conditions.channels, halo=halo, temporal=config.temporal,
            bytes_per_cell=self.backbone.bytes_per_cell / (1 if config.shared else len(config.variables)),
            beta_d=config.beta_d, beta_min=config.beta_min, sampling=config.sampling,
            guided=config.drop_conditions > 0,
        )  # fmt: skip

    @property
    def flops_per_fine_cell(self) -> float:
        """Of one member by the recommended sampling: the conditions once, the denoiser at every evaluation."""
        config = self.settings
        variables = 1 if config.shared else len(config.variables)
        own = 5 / variables * config.sampling.evaluations * flops_per_cell(*self._backbone)
        mean = self.conditions.mean
        return own + (mean.flops_per_fine_cell if mean is not None else 0.0)

    def graphs(self) -> Mapping[str, nn.Module]:
        """The conditions, and one step."""
        return {"mean": MeanGraph(self), "denoiser": DenoiserGraph(self)}

    def forward(self, coarse: Tensor, **others: Tensor) -> Tensor:
        """The mean that members are drawn around; (B, T + halo, C, ...) -> (B, r·T, C, s·H, s·W)."""
        made: Conditions = self.conditions(coarse, **others)
        return made.mean

    def denoise(self, noisy: Tensor, fields: Tensor, sigma: Tensor, variable: Tensor | None = None) -> Tensor:
        """The expected z of noisy ones.

        Args:
            noisy: (B, T, C, H, W) of fine frames and cells: z and noise of level sigma.
            fields: (B, T, K, H, W) as of `Conditions`.
            sigma: (B,).
            variable: (C,) or (B, C), of a shared one.

        Returns:
            (B, T, C, H, W).
        """
        how = PRECONDITIONING[self.settings.process]
        return denoised(
            lambda scaled, level: self.network(scaled, fields, level, variable),
            noisy, sigma, how, self.settings.sigma_data,
        )  # fmt: skip

    def network(self, scaled: Tensor, fields: Tensor, level: Tensor, variable: Tensor | None = None) -> Tensor:
        """F: arguments as of `denoise`, preconditioned."""
        B, T, C, H, W = scaled.shape
        level = level.expand(B) if level.numel() == 1 else level
        if not self.settings.shared:
            place = fields[:, :, -PLACES:, 0, 0].flatten(0, 1) if self.settings.side else None
            x = torch.cat([scaled, fields[:, :, : self.channels_in]], dim=2).flatten(0, 1)
            out: Tensor = self.backbone(x, level.repeat_interleave(T), place, frames=T)
            return out.reshape(B, T, -1, H, W)
        x = torch.cat([scaled[:, :, :, None], fields.reshape(B, T, C, -1, H, W)], dim=3)
        x = x.transpose(1, 2).flatten(0, 2)  # (B·C·T, 1 + K, H, W): the frames of a variable lie together
        kinds = self.conditions.kinds_of(variable, C).expand(B, C)
        kind = kinds.reshape(-1).repeat_interleave(T)
        out = self.backbone(x, level.repeat_interleave(C * T), frames=T, kind=kind)
        return out.reshape(B, C, T, H, W).transpose(1, 2)


class Vp(Edm):
    """The same with the preconditioning and noise of the variance-preserving process."""

    family = "vp"

    @classmethod
    def _configured(cls, config: Mapping[str, Any]) -> EdmConfig:
        return VpConfig(**config)


class MeanGraph(nn.Module):
    """What is exported for the first of two graphs: conditions from coarse fields with halo."""

    def __init__(self, model: Edm) -> None:
        super().__init__()
        self.conditions = model.conditions

    def forward(self, coarse: Tensor, **others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(fine, unit, condition), see `Denoising` of the contract."""
        made: Conditions = self.conditions(coarse, **others)
        return made.mean, made.unit, made.fields


class DenoiserGraph(nn.Module):
    """And for the second: one step, of fine fields with halo."""

    def __init__(self, model: Edm) -> None:
        super().__init__()
        self.model = model
        reach = model.denoiser_reach
        self.reach = reach if isinstance(reach, Reach) else Reach()

    def forward(self, noisy: Tensor, condition: Tensor, sigma: Tensor, variable: Tensor | None = None) -> Tensor:
        """(B, r·(T + halo), C, s·(H + halo), s·(W + halo)) -> (B, r·T, C, s·H, s·W): the expected z."""
        z = self.model.denoise(noisy, condition, sigma, variable)
        return crop_fine(z, self.reach, self.model.settings)


def _mean_of(config: EdmConfig) -> Model | None:
    from gfs_sr.models import build  # the table of families lists this one too

    if not config.mean:
        return None
    mean = build(config.mean)
    missing = [name for name in config.variables if name not in mean.facts.variables]
    if missing and not config.shared:
        raise ValueError(f"the mean does not give {', '.join(missing)}")
    return mean.eval()
