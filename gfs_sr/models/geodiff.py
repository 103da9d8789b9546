"""`geodiff`: a column of temperature, refined by a 3-D U-Net that is told the physics of the coarse field."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import EngineMemory, Predictor, PredictorGrid, Scaling
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY, base_name, lookup
from gfs_sr.models.column_physics import (
    Metric,
    downward_integrals,
    metric_of,
    pressure_slopes,
    stability,
    tendency,
    vertical_motion,
)
from gfs_sr.models.fused_variables import STATIC_SCALING
from gfs_sr.models.interpolation import SpaceInterpolation, pad_edges
from gfs_sr.models.learned_kernel import Kernel
from gfs_sr.models.model import Model, ModelConfig
from gfs_sr.models.unet3d import Unet3d, VolumeConfig, flops_per_cell

Depth = Literal["level", "time"]
Omega = Literal["continuity", "given", "none"]

PLACE: Final = tuple(Predictor(name=name, grid=PredictorGrid.COARSE) for name in ("latitude", "longitude"))
PER_LEVEL: Final = 4  # fields of the prior: advection, vertical motion's share, their sum, static stability
TENDENCY_SIZE: Final = 1e-4  # K/s, typical at a few tens of kilometers
STABILITY_SIZE: Final = 5e-4  # K/Pa
TEMPERATURE_SD: Final = 10.0  # K
LEAST_SPREAD: Final = 0.003  # of neighbouring coarse cells, model units: 0.03 K
TYPICAL_SPREAD: Final = 0.05  # the same, where a cell has a few tens of kilometers
OWN_FIELDS: Final = 3  # of each level that a network reads beside the prior: temperature, its local form, its spread
# of attention's inner width, that an engine keeps beside each other: 7.4 GiB for 12 frames of 5 levels, 84 by 124 cells
LIVE_FIELDS: Final = 100


@dataclass(frozen=True, kw_only=True)
class GeodiffConfig(ModelConfig):
    """Levels, what the prior is made of, and size."""

    variables: tuple[str, ...] = ("t@1000", "t@925", "t@850", "t@700", "t@500")
    scale_factor: int = 4
    time_factor: int = 1
    registration: Registration = Registration.CELL
    kernel: int = 5  # coarse cells of the side of a learned linear interpolation beside the given one; 0: none
    depth: Depth = "level"  # what the third axis is; the other axis lies in the batch or in channels
    prior: bool = True  # off: the prior's encoder stays, and reads the temperature in place of the prior
    omega: Omega = "continuity"  # vertical motion: of the wind's divergence, of the forecast, or left out
    statics: tuple[str, ...] = (OROGRAPHY, LAND_SEA_MASK)
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    heads: int = 8
    head_width: int = 32
    stem: int = 7
    focus: float = 0.0  # see `VolumeConfig`

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [name for name in self.variables if base_name(name) != "t" or "@" not in name]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: a column is made of temperatures on levels, such as t@850")
        if self.time_factor != 1:
            raise ValueError("frames are refined in space alone: time_factor is 1")
        for key, value, allowed in (
            ("depth", self.depth, ("level", "time")),
            ("omega", self.omega, ("continuity", "given", "none")),
        ):
            if value not in allowed:
                raise ValueError(f"{key} {value!r} is none of {', '.join(allowed)}")
        if self.kernel < 0 or (self.kernel and self.kernel % 2 == 0):
            raise ValueError(f"kernel {self.kernel} is neither odd nor 0")
        for name in self.statics:
            lookup(name)
        pressure_slopes(self.pressures)  # raises where levels are not in order
        self.size  # noqa: B018 - what cannot be is refused here

    @property
    def levels(self) -> tuple[str, ...]:
        """In hPa, as names have them, lowest first."""
        return tuple(name.partition("@")[2] for name in self.variables)

    @property
    def pressures(self) -> tuple[float, ...]:
        """Of the levels, Pa."""
        return tuple(100.0 * float(level) for level in self.levels)

    @property
    def size(self) -> VolumeConfig:
        """Of the network alone."""
        return VolumeConfig(self.width, self.multipliers, self.heads, self.head_width, self.stem, self.focus)

    @property
    def moves(self) -> tuple[str, ...]:
        """Further fields of the forecast that the prior is made of, in channel order."""
        if not self.prior:
            return ()
        letters = ("u", "v", "w") if self.omega == "given" else ("u", "v")
        return tuple(f"{letter}@{level}" for letter in letters for level in self.levels)

    @property
    def prior_channels(self) -> int:
        """Of all levels together."""
        return PER_LEVEL * len(self.levels)

    def scaling(self) -> dict[str, Scaling]:
        """Fixed units: the prior counts in physical ones, and is part of the graph."""
        units = {name: Scaling(mean=standard_temperature(pressure), sd=TEMPERATURE_SD)
                 for name, pressure in zip(self.variables, self.pressures, strict=True)}  # fmt: skip
        for name in self.moves:
            mean, sd = lookup(name).typical
            units[name] = Scaling(mean=mean, sd=sd)
        return units | {name: STATIC_SCALING[name] for name in self.statics if name in STATIC_SCALING}


def standard_temperature(pressure: float) -> float:
    """Of the standard atmosphere below 11 km and of its isothermal layer above, K (ISO 2533:1975)."""
    return max(216.65, 288.15 * math.pow(pressure / 101_325.0, 0.190263))


class Prior(nn.Module):
    """What physics says of the coarse column, in units of typical size."""

    mean: Tensor
    sd: Tensor
    pressure: Tensor
    slopes: Tensor
    integrals: Tensor

    def __init__(self, config: GeodiffConfig) -> None:
        super().__init__()
        self.config = config
        units = config.scaling()
        names = (*config.variables, *config.moves)
        for name, values in (
            ("mean", torch.tensor([units[each].mean for each in names])[:, None, None]),
            ("sd", torch.tensor([units[each].sd for each in names])[:, None, None]),
            ("pressure", torch.tensor(config.pressures)[:, None, None]),
            ("slopes", pressure_slopes(config.pressures).float()),
            ("integrals", downward_integrals(config.pressures).float()),
        ):
            self.register_buffer(name, values, persistent=False)

    def physical(self, coarse: Tensor) -> tuple[Tensor, ...]:
        """(B, T, C, H, W) in model units -> temperature and what moves it, (B, T, D, H, W) each, SI units."""
        physical = coarse * self.sd + self.mean
        count = len(self.config.levels)
        return tuple(physical[:, :, start : start + count] for start in range(0, len(self.sd), count))

    def temperature(self, field: Tensor) -> Tensor:
        """(B, T, D, H, W) in model units -> K."""
        count = len(self.config.levels)
        return field * self.sd[:count] + self.mean[:count]

    def omega(self, moves: Sequence[Tensor], metric: Metric) -> Tensor:
        """(B, T, D, H, W) vertical motion, Pa/s, of what `physical` gives after temperature; 0 where there is none."""
        if self.config.omega == "none" or len(self.config.levels) == 1:
            return torch.zeros_like(moves[0])
        if self.config.omega == "given":
            return moves[2]
        return vertical_motion(moves[0], moves[1], metric, self.integrals)

    def forward(self, coarse: Tensor, place: Tensor) -> Tensor:
        """The prior's fields.

        Args:
            coarse: (B, T, C, H, W), model units, temperature first.
            place: (B, T, 2, H, W), latitude and longitude, radians.

        Returns:
            (B, T, D·PER_LEVEL, H, W), those of a level together.
        """
        temperature, *moves = self.physical(coarse)
        metric = metric_of(place[:, :, :1], place[:, :, 1:])
        omega = self.omega(moves, metric)
        found = tendency(temperature, moves[0], moves[1], omega, metric, self.slopes, self.pressure)
        # a level alone has no slope to tell its stability by
        sigma = torch.zeros_like(temperature) if len(self.config.levels) == 1 else found.stability
        rates = (each / TENDENCY_SIZE for each in (found.advection, found.vertical, found.total))
        return torch.stack([*rates, sigma / STABILITY_SIZE], dim=3).flatten(2, 3)


@dataclass(frozen=True, eq=False)
class Guides:
    """What networks are led by, all on fine cells, (B, T, ., s·H, s·W)."""

    interpolated: Tensor  # D channels, model units
    base: Tensor  # D, with what the kernel adds
    local: Tensor  # D, the base's difference from the mean of the coarse cells around, in units of their spread
    spread: Tensor  # D, of the coarse cells around, model units
    statics: Tensor  # S
    prior: Tensor  # D·PER_LEVEL

    @property
    def own(self) -> list[Tensor]:
        """`OWN_FIELDS` of each level."""
        return [self.base, self.local, (self.spread / TYPICAL_SPREAD).log()]


class Guiding(nn.Module):
    """Makes `Guides`."""

    def __init__(self, config: GeodiffConfig, base: nn.Module) -> None:
        super().__init__()
        self.config, self.base = config, base
        self.kernel = Kernel(config.kernel, config.scale_factor) if config.kernel else None
        self.physics = Prior(config)
        self.bilinear = SpaceInterpolation("bilinear", config.scale_factor, config.registration)

    def forward(self, coarse: Tensor, place: Tensor | None, static_fine: Tensor | None) -> Guides:
        """Inputs as `Geodiff.forward` takes them."""
        count = len(self.config.levels)
        base: Tensor = self.base(pad_edges(coarse[:, :, :count], self.base.reach))  # type: ignore[arg-type]
        B, T, _, rows, columns = base.shape
        if static_fine is None:
            statics = base.new_zeros(B, T, 0, rows, columns)
        else:
            planes = F.pixel_shuffle(static_fine[:, 0], self.config.scale_factor)
            statics = planes[:, None].expand(-1, T, -1, -1, -1)
        interpolated = base
        if self.kernel is not None:
            base = base + self.kernel(coarse[:, :, :count])
        mean, spread = (self.on_fine(each).reshape(base.shape) for each in neighborhood(coarse[:, :, :count]))
        local = (base - mean) / spread
        if not self.config.prior:  # an encoder without a field to read would be no part of the network
            told = local.repeat_interleave(PER_LEVEL, dim=2)
        else:
            assert place is not None  # `predictors` asks for it
            told = self.on_fine(self.physics(coarse, place)).reshape(B, T, -1, rows, columns)
        return Guides(interpolated, base, local, spread, statics, told)

    def on_fine(self, fields: Tensor) -> Tensor:
        """(B, T, K, H, W) -> (B·T·K, 1, s·H, s·W), bilinear."""
        fine: Tensor = self.bilinear(pad_edges(fields, self.bilinear.reach).flatten(0, 2)[:, None])
        return fine


def neighborhood(coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread, `LEAST_SPREAD` at least, of each cell of (B, T, D, H, W) and the eight around it."""
    rows, columns = coarse.shape[-2:]
    wide = F.pad(coarse.flatten(0, 1), (1, 1, 1, 1), mode="replicate").reshape(*coarse.shape[:3], rows + 2, columns + 2)
    cells = torch.stack([wide[..., y : y + rows, x : x + columns] for y in range(3) for x in range(3)])
    mean = cells.mean(dim=0)
    return mean, ((cells - mean).square().mean(dim=0) + LEAST_SPREAD**2).sqrt()


class Volume(nn.Module):
    """A 3-D U-Net over columns in time: which of the two is its third axis, and where the other goes.

    Args:
        config: levels and depth.
        size: of the network.
        fields: how many fields (B, T, D, H, W) go in; one comes out.
        is_led: by a noise level.
    """

    pressure: Tensor

    def __init__(self, config: GeodiffConfig, size: VolumeConfig, fields: int, *, is_led: bool) -> None:
        super().__init__()
        self.depth, self.levels = config.depth, len(config.levels)
        by_level = self.depth == "level"
        self.shape = (
            # the level itself is told by its pressure, else slices would know each other by their order alone
            (fields + 1 if by_level else fields * self.levels) + len(config.statics),
            1 if by_level else self.levels,
            size,
        )
        self.prior = PER_LEVEL if by_level else config.prior_channels
        self.is_led = is_led
        self.network = Unet3d(*self.shape, is_led=is_led, prior=self.prior)
        pressure = torch.tensor(config.pressures) / 100_000.0
        self.register_buffer("pressure", pressure[:, None, None, None], persistent=False)

    def forward(self, fields: list[Tensor], statics: Tensor, prior: Tensor, level: Tensor | None = None) -> Tensor:
        """(B, T, D, H, W) each, statics and prior as of `Guides`, `level` (B,) -> (B, T, D, H, W)."""
        B, T, D, rows, columns = fields[0].shape
        if self.depth == "time":
            out: Tensor = self.network(torch.cat([*fields, statics], dim=2), level, prior)
            return out
        statics = statics[:, :, None].expand(-1, -1, D, -1, -1, -1)
        height = self.pressure.expand(B, T, D, 1, rows, columns)
        x = torch.cat([*(each[:, :, :, None] for each in fields), statics, height], dim=3)
        prior = prior.reshape(B, T, D, PER_LEVEL, rows, columns)
        told = None if level is None else level.repeat_interleave(T)
        found: Tensor = self.network(x.flatten(0, 1), told, prior.flatten(0, 1))
        return found.reshape(B, T, D, rows, columns)

    @cached_property
    def flops_per_value(self) -> float:
        """Of one run, per fine cell, frame and level; 2 per multiply-add."""
        slices = self.levels if self.depth == "level" else 8
        cost = flops_per_cell(*self.shape, slices, is_led=self.is_led, prior=self.prior)
        return cost if self.depth == "level" else cost / self.levels


class Geodiff(Model):
    """The deterministic part: interpolation, and a refinement that starts at 0."""

    family = "geodiff"

    def __init__(self, config: GeodiffConfig) -> None:
        super().__init__(config)
        self.settings = config
        self.guiding = Guiding(config, self.base)
        self.volume = Volume(config, config.size, OWN_FIELDS, is_led=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Geodiff":
        """The network of a plain configuration."""
        return cls(GeodiffConfig(**config))

    @property
    def reach(self) -> Literal["global"]:
        """The coarsest level's attention sees every cell."""
        return "global"

    @property
    def frames_apart(self) -> bool:
        """Where the third axis is height, or is no axis that frames see each other along."""
        return self.settings.depth == "level" or self.settings.focus == 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Temperature, and what the prior is made of."""
        return (*self.settings.variables, *self.settings.moves)

    @property
    def predictors(self) -> tuple[Predictor, ...]:  # type: ignore[override]
        """Where the coarse cells lie, for slopes per meter."""
        return PLACE if self.settings.prior else ()

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Beside the fields."""
        return self.settings.statics

    @property
    def memory(self) -> EngineMemory:
        """Fields of the finest level."""
        per_cell = 4.0 * LIVE_FIELDS * self.settings.heads * self.settings.head_width
        return EngineMemory(
            per_fine_cell=per_cell * (len(self.settings.levels) if self.settings.depth == "level" else 1),
            per_coarse_cell=4.0 * LIVE_FIELDS * len(self.settings.levels),
        )

    @property
    def flops_per_fine_cell(self) -> float:
        """See `Model`."""
        return 5 * (self.volume.flops_per_value + 2 * self.settings.kernel**2)

    def normalization(self) -> dict[str, Scaling]:
        """Part of the network."""
        return self.settings.scaling()

    def forward(
        self, coarse: Tensor, predictor_coarse: Tensor | None = None, static_fine: Tensor | None = None
    ) -> Tensor:
        """Refine.

        Args:
            coarse: (B, T, C, H, W).
            predictor_coarse: (B, T, 2, H, W), latitude and longitude in radians; where there is a prior.
            static_fine: (B, 1, S·s², H, W).

        Returns:
            (B, T, D, s·H, s·W).
        """
        guides: Guides = self.guiding(coarse, predictor_coarse, static_fine)
        return self.refined(guides)

    def refined(self, guides: Guides) -> Tensor:
        """(B, T, D, s·H, s·W) from what leads it."""
        return guides.base + guides.spread * self.detail(guides)

    def detail(self, guides: Guides) -> Tensor:
        """(B, T, D, s·H, s·W): what is added, in units of the spread around."""
        found: Tensor = self.volume(guides.own, guides.statics, guides.prior)
        return found

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prediction and baseline of single frames, or of frames in series."""
        if kind not in ("space", "space_time"):
            raise ValueError(f"{self.family} learns from space and space_time batches, not from {kind}")
        guides: Guides = self.guiding(inputs["coarse"], inputs.get("predictor_coarse"), inputs.get("static_fine"))
        return self.refined(guides), guides.interpolated

    def stability(self, field: Tensor) -> Tensor:
        """(B, T, D, H, W) in model units -> static stability, K/Pa."""
        physics = self.guiding.physics
        return stability(physics.temperature(field), physics.slopes, physics.pressure)
