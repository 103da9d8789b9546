"""`dl4ds`: backbone × upsampling × sample type of the downscaling family, as one class of parts and a table of members.

Source: Gonzalez 2023 (DL4DS, Environmental Data Science 2); parts as the blocks cite them.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import EngineMemory, FixedGrid, NoiseGrid, NoiseInput, Predictor, PredictorGrid
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import lookup
from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds_blocks import ACTIVATIONS, NORMALIZATIONS
from gfs_sr.models.dl4ds_cost import count
from gfs_sr.models.dl4ds_dropout import DropoutVariant, factors
from gfs_sr.models.dl4ds_field import Margin
from gfs_sr.models.dl4ds_network import Network
from gfs_sr.models.dl4ds_upsampling import RESIZE_KERNELS
from gfs_sr.models.fused_inputs import WINDOW, local_mean, local_spread
from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.model import Model, ModelConfig
from gfs_sr.models.receptive_field import Reach, crop

Backbone = Literal["convnet", "resnet", "densenet", "convnext", "unet"]
Upsampling = Literal["pin", "spc", "rc", "dc"]

BACKBONES: Final[tuple[Backbone, ...]] = ("convnet", "resnet", "densenet", "convnext", "unet")
UPSAMPLINGS: Final[tuple[Upsampling, ...]] = ("pin", "spc", "rc", "dc")
RECURRENT: Final[tuple[Backbone, ...]] = ("convnet", "resnet", "densenet")
WINDOW_FRAMES: Final = 5  # of the members with a time window, where none is given
SEASONS: Final = ("season_djf", "season_mam", "season_jja", "season_son")
SPREAD_FLOOR: Final = 0.003  # least local spread, model units


@dataclass(frozen=True, kw_only=True)
class Dl4dsConfig(ModelConfig):
    """Which member, and its options."""

    variables: tuple[str, ...] = ("t2m",)
    scale_factor: int = 4
    time_factor: int = 1
    registration: Registration = Registration.CELL
    backbone: Backbone = "resnet"
    upsampling: Upsampling = "spc"
    time_window: int = 1  # frames; from 2 on the member is recurrent
    stitch: Literal["first", "centre", "last"] = "last"  # where in its window each frame is taken
    n_filters: int = 8
    n_blocks: int | None = None  # None: 6, and 4 for recurrent members that upsample at their end
    predictor_variables: tuple[str, ...] = ()  # further fields of the forecast, taken in and not given out
    statics: tuple[str, ...] = ()  # through the fine branch; spatial members see them on coarse cells too
    season: bool = False  # four maps beside the statics, 1 for the frame's own season
    normalization: Literal["none", "bn", "ln"] = "none"  # convnext has layer norm in place of none
    activation: str = "relu"
    output_activation: str = "none"
    dropout_rate: float = 0.0
    dropout_variant: DropoutVariant = DropoutVariant.VANILLA
    attention: bool = False  # over channels, in every block: the reach is then global
    output_attention: bool = True  # in the first output block; off, the reach may be finite
    depthwise_separable: bool = False
    localcon_grid: tuple[float, ...] = ()  # north, west, spacing (degrees), rows, columns: weights for every cell
    rc_interpolation: str = "bilinear"
    decoder_upsampling: Literal["rc", "spc", "dc"] = "rc"  # unet
    width_cap: int = 256  # unet
    least_side: int = 128  # unet: fine cells; as many levels as leave two of them at the bottom
    baseline_residual: bool = True  # off: the seed's direct output
    scale_free: bool = False  # fields without their local mean and spread, the residual times that spread
    padding: Padding = Padding.VALID  # networks of global reach pad by replication in place of it

    def __post_init__(self) -> None:
        super().__post_init__()
        # the one place that sees a config file's strings
        object.__setattr__(self, "padding", Padding(self.padding))
        object.__setattr__(self, "dropout_variant", DropoutVariant(self.dropout_variant))
        for name in (*self.predictor_variables, *self.statics):
            lookup(name)
        for key, value, allowed in (
            ("backbone", self.backbone, BACKBONES),
            ("upsampling", self.upsampling, UPSAMPLINGS),
            ("stitch", self.stitch, ("first", "centre", "last")),
            ("normalization", self.normalization, NORMALIZATIONS),
            ("activation", self.activation, ACTIVATIONS),
            ("output_activation", self.output_activation, ACTIVATIONS),
            ("rc_interpolation", self.rc_interpolation, RESIZE_KERNELS),
            ("decoder_upsampling", self.decoder_upsampling, ("rc", "spc", "dc")),
        ):
            if value not in allowed:
                raise ValueError(f"{key} {value!r} is none of {', '.join(allowed)}{_reason(key, value)}")
        self._check_combination()
        if min(self.n_filters, self.time_window, self.width_cap, self.n_blocks or 1) < 1 or self.least_side < 4:
            raise ValueError("n_filters, n_blocks, time_window and width_cap start at 1, least_side at 4")
        if not 0 <= self.dropout_rate < 1:
            raise ValueError(f"dropout_rate {self.dropout_rate:g} is not in [0, 1)")

    def _check_combination(self) -> None:
        if self.time_factor != 1:
            raise ValueError(f"dl4ds refines space alone: time_factor is 1, not {self.time_factor}")
        if self.backbone == "unet" and self.upsampling != "pin":
            raise ValueError(f"unet works on fine cells throughout: upsampling is pin, not {self.upsampling}")
        if self.time_window > 1 and self.backbone not in RECURRENT:
            raise ValueError(f"no recurrent {self.backbone}: time_window is for {', '.join(RECURRENT)}")
        shared = set(self.variables) & set(self.predictor_variables)
        if shared:
            raise ValueError(f"{', '.join(sorted(shared))} are variables already: predictor_variables are others")
        if self.baseline_residual and self.output_activation != "none":
            raise ValueError("output_activation is of a direct output: give baseline_residual: false")
        if self.scale_free and not self.baseline_residual:
            raise ValueError("scale_free is of a residual: give baseline_residual: true")
        if self.localcon_grid and len(self.localcon_grid) != 5:
            raise ValueError("localcon_grid is north, west, spacing, rows, columns of the coarse cells")
        if self.dropout_variant.is_monte_carlo and not self.dropout_rate:
            raise ValueError(f"dropout_variant {self.dropout_variant} needs a dropout_rate above 0")

    @property
    def is_recurrent(self) -> bool:
        """Whether frames are seen in windows."""
        return self.time_window > 1

    @property
    def blocks(self) -> int:
        """N."""
        if self.n_blocks is not None:
            return self.n_blocks
        return 4 if self.is_recurrent and self.upsampling != "pin" else 6

    @property
    def earlier_frames(self) -> int:
        """Frames of its window before the one that is given out; later ones cannot move it."""
        last = self.time_window - 1
        return {"first": 0, "centre": last // 2, "last": last}[self.stitch]

    @property
    def sees_everything(self) -> bool:
        """Whether any cell may move any other."""
        return self.backbone == "unet" or self.attention or self.output_attention or bool(self.localcon_grid)

    @property
    def rule(self) -> Padding:
        """What the layers read beyond their input's edge."""
        if self.padding is Padding.VALID and self.sees_everything:
            return Padding.REPLICATE
        return self.padding

    @property
    def coarse_grid(self) -> FixedGrid | None:
        """The only grid of a network with weights for every cell."""
        if not self.localcon_grid:
            return None
        north, west, spacing, rows, columns = self.localcon_grid
        lat = tuple(north - spacing * row for row in range(int(rows)))
        return FixedGrid(lat=lat, lon=tuple(west + spacing * column for column in range(int(columns))))


def _reason(key: str, value: object) -> str:
    doubles = key in ("activation", "output_activation") and value == "crelu"
    return ": it doubles the channels, so no following layer fits" if doubles else ""


@dataclass(frozen=True)
class Member:
    """One generator of the family."""

    backbone: Backbone
    upsampling: Upsampling
    recurrent: bool

    @property
    def name(self) -> str:
        """As `gfs-sr models` lists it."""
        return f"dl4ds-{'rec-' if self.recurrent else ''}{self.backbone}-{self.upsampling}"

    @property
    def config(self) -> Mapping[str, Any]:
        """What of the configuration makes it."""
        made: dict[str, Any] = {"backbone": self.backbone, "upsampling": self.upsampling}
        return MappingProxyType(made | ({"time_window": WINDOW_FRAMES} if self.recurrent else {}))


MEMBERS: Final = (
    *(Member(backbone, upsampling, False) for backbone in BACKBONES[:4] for upsampling in UPSAMPLINGS),
    Member("unet", "pin", False),
    *(Member(backbone, upsampling, True) for backbone in RECURRENT for upsampling in UPSAMPLINGS),
)
"""16 + 1 spatial and 12 recurrent generators."""


class Dl4ds(Model):
    """Any member of the family, over the registered interpolation unless that is switched off."""

    family = "dl4ds"

    def __init__(self, config: Dl4dsConfig) -> None:
        super().__init__(config)
        self.settings = config
        self.residual = Network(config, config.rule, windowed=config.padding is not Padding.REPLICATE)
        if config.baseline_residual:
            self.residual.silence()
        # kept here: in half precision the branch is wrapped, and tells no more than its output
        self.earlier, self.needs = self.residual.earlier, self.residual.needs()
        if config.season:
            self.predictors = tuple(Predictor(name=name, grid=PredictorGrid.COARSE) for name in SEASONS)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(Dl4dsConfig(**config))

    @property
    def margin(self) -> Reach:
        """What the input must carry around its core: nothing where the layers pad."""
        if self.settings.rule is not Padding.VALID:
            return Reach()
        own = self.needs + (Margin(WINDOW, WINDOW) if self.settings.scale_free else Margin())
        reach = own.reach | self.base.reach if self.settings.baseline_residual else own.reach
        return reach + Reach(before=self.earlier)

    @property
    def reach(self) -> Reach | Literal["global"]:
        """Finite where nothing looks at the whole field."""
        return self.margin if self.settings.rule is Padding.VALID else "global"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Variables, then predictors."""
        return (*self.settings.variables, *self.settings.predictor_variables)

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Beside the fields, for spatial members that upsample at their end."""
        at_end = self.settings.upsampling != "pin" and not self.settings.is_recurrent
        return self.settings.statics if at_end else ()

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Through the fine branch."""
        return self.settings.statics

    @property
    def noise(self) -> tuple[NoiseInput, ...]:
        """Of Monte Carlo dropout."""
        return self.residual.slots.inputs(self.settings.dropout_variant)

    @property
    def memory(self) -> EngineMemory:
        """From the channels of its layers."""
        return _cost(replace(self.settings, localcon_grid=()))[1]

    @property
    def output_weight(self) -> Tensor:
        """Of the last convolution."""
        return self.residual.output_weight

    @property
    def source_grid(self) -> FixedGrid | None:
        """Of a network with weights for every cell."""
        return self.settings.coarse_grid

    @property
    def zero_padded(self) -> bool:
        """As the seed's networks are."""
        return self.settings.padding is Padding.ZERO

    def forward(
        self,
        coarse: Tensor,
        predictor_coarse: Tensor | None = None,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        **noise: Tensor,
    ) -> Tensor:
        """Refine.

        Args:
            coarse: (B, T + halo, C, H + halo, W + halo); no halo where the layers pad.
            predictor_coarse: (B, T + halo, 4, ...), season.
            static_coarse: (B, 1, K, ...).
            static_fine: (B, 1, K·s², ...).
            noise: of Monte Carlo dropout, as `Contract.noise` names it; drawn where it is not given.

        Returns:
            (B, T, C_out, s·H, s·W).
        """
        settings, before = self.settings, self.earlier
        rate, variant = settings.dropout_rate, settings.dropout_variant
        # in fp32, whatever the residual computes in: a rounded number might fall on the other side of the rate
        chances = {name.removeprefix("noise_dropout_"): factors(each, rate, variant) for name, each in noise.items()}
        if settings.rule is not Padding.VALID and before:  # nothing carries a halo: the first frame is repeated
            coarse, predictor_coarse = _repeated(coarse, before), _repeated(predictor_coarse, before)
            chances = {name: _repeated(each, before) for name, each in chances.items()}
        fields, spread = coarse, None
        if settings.scale_free:
            fields, spread = self._freed(coarse)
        rest = Margin.of(self.margin) - self.needs
        given = [
            each if each is None else crop(each, rest.reach) for each in (predictor_coarse, static_coarse, static_fine)
        ]
        shared = str(NoiseGrid.SHARED)
        chances = {name: each if name == shared else crop(each, rest.reach) for name, each in chances.items()}
        if spread is not None:
            rest = rest - Margin(WINDOW, WINDOW) if settings.rule is Padding.VALID else rest
        fine: Tensor = self.residual(crop(fields, rest.reach), *given, **chances)
        if spread is not None:
            sizes = F.interpolate(spread.flatten(0, 1), scale_factor=float(self.facts.scale_factor), mode="nearest")
            fine = fine * sizes.reshape(fine.shape)
        if settings.baseline_residual:
            fine = self._base(coarse[:, before:, : len(settings.variables)]) + fine
        return fine

    def folded(self) -> nn.Module:
        """The first convolution on fine cells becomes a part of the last one before them: up to six times less work."""
        made = deepcopy(self)
        made.residual = self.residual.folded()
        return made

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prediction and baseline of single frames, or of frames in series."""
        if kind not in ("space", "space_time") or (kind == "space" and self.settings.is_recurrent):
            raise ValueError(f"{self.settings.backbone} learns from space_time batches, not from {kind}")
        fine: Tensor = self(**inputs)
        return fine, self._base(inputs["coarse"][:, self.margin.before :, : len(self.settings.variables)])

    def _base(self, coarse: Tensor) -> Tensor:
        """Of frames without their halo in time."""
        if self.settings.rule is Padding.VALID:
            return self.base.within(coarse, Margin.of(self.margin | self.base.reach).reach)
        base: Tensor = self.base(pad_edges(coarse, self.base.reach))
        return base

    def _freed(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """(fields without local mean and spread, WINDOW cells used up; spread of the core of what is given out)."""
        B, _, C = coarse.shape[:3]
        pads = self.settings.rule is not Padding.VALID
        wide = pad_edges(coarse, Reach.space(WINDOW)) if pads else coarse
        planes = wide.flatten(1, 2)
        spread = local_spread(planes, SPREAD_FLOOR)
        inner = planes[..., WINDOW:-WINDOW, WINDOW:-WINDOW]
        fields = ((inner - local_mean(planes)) / spread).reshape(B, -1, C, *inner.shape[-2:])
        sizes = spread.reshape(fields.shape)[:, self.earlier :, : len(self.settings.variables)]
        left = Margin.of(self.margin) - Margin(WINDOW, WINDOW) if not pads else Margin()
        return fields, crop(sizes, left.reach)

    @property
    def flops_per_fine_cell(self) -> float:
        """Counted on a field."""
        base = 5 * self.base.flops_per_coarse_cell / self.facts.scale_factor**2
        learned = 5 / len(self.settings.variables) * _cost(replace(self.settings, localcon_grid=()))[0]
        return learned + (base if self.settings.baseline_residual else 0.0)


@cache
def _cost(config: Dl4dsConfig) -> tuple[float, EngineMemory]:
    """Of the learned part: FLOPs per fine cell, memory."""
    s, statics = config.scale_factor, len(config.statics)
    side = -(-config.least_side // s) if config.backbone == "unet" else 8
    network = Network(config, Padding.REPLICATE, windowed=True).eval()
    frames, channels = 1 + network.earlier, len(config.variables) + len(config.predictor_variables)
    fields = torch.zeros(1, frames, channels, side, side)
    season = torch.zeros(1, frames, len(SEASONS), side, side) if config.season else None
    coarse, fine = (torch.zeros(1, 1, statics * part, side, side) if statics else None for part in (1, s * s))
    folded = network.folded()
    memory = count(lambda: folded(fields, season, coarse, fine), folded).memory(side, s, config.upsampling == "pin")
    network.joins = False
    return count(lambda: network(fields, season, coarse, fine), network).flops / (s * side) ** 2, memory


def _repeated(frames: Tensor | None, count: int) -> Any:
    """(B, T, ...) with the first frame `count` times more."""
    return None if frames is None else torch.cat([frames[:, :1]] * count + [frames], dim=1)
