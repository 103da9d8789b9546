"""`geodiff_members`: what a column's refinement leaves, drawn by a 3-D U-Net that is told the same physics."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor

from gfs_sr.contract import Denoising, Predictor, Scaling
from gfs_sr.data.grid import Registration
from gfs_sr.models.conditions import Conditioning, Conditions
from gfs_sr.models.diffusion import LevelsName, ProcessName
from gfs_sr.models.edm import Edm, EdmConfig
from gfs_sr.models.geodiff import LIVE_FIELDS, OWN_FIELDS, Geodiff, GeodiffConfig, Guides, Volume
from gfs_sr.models.model import Model, ModelConfig
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.unet import UnetConfig
from gfs_sr.models.unet3d import VolumeConfig

SHARED: Final = frozenset(each.name for each in fields(ModelConfig))
OWN: Final = frozenset({"width", "multipliers", "attention_heads"})  # of the U-Net of other families, what this one has


@dataclass(frozen=True, kw_only=True)
class GeodiffMembersConfig(EdmConfig):
    """The deterministic part, size, and noise of the discrete cosine process."""

    process: ClassVar[ProcessName] = "vp"  # the network gives the noise

    variables: tuple[str, ...] = GeodiffConfig.variables
    scale_factor: int = 4
    registration: Registration = Registration.CELL
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    attention_heads: int = 8
    head_width: int = 32
    stem: int = 7
    focus: float = 0.0  # see `VolumeConfig`
    mean: dict[str, Any] = field(default_factory=dict)  # configuration of `geodiff`; empty: untrained, of this size
    noise: LevelsName = "cosine"
    clip: float = 8.0  # the expected z is kept within this many of its own sizes
    schedule: dict[str, Any] = field(
        default_factory=lambda: {"type": "karras", "n": 20, "sigma_min": 0.02, "sigma_max": 20.0}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in fields(UnetConfig):
            default = each.default if each.default is not MISSING else None
            if each.name not in SHARED | OWN | {"padding"} and getattr(self, each.name) != default:
                raise ValueError(f"{each.name} has no part in geodiff_members")
        if self.shared or self.clip <= 0:
            raise ValueError("a column's members are drawn together, shared: false; clip lies above 0")
        self.mean_config  # noqa: B018 - what cannot be is refused here

    @property
    def mean_config(self) -> GeodiffConfig:
        """Of the deterministic part."""
        if not self.mean:
            shared: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
            size: dict[str, Any] = {"width": self.width, "multipliers": self.multipliers, "heads": self.attention_heads}
            return GeodiffConfig(**shared, **size, head_width=self.head_width, stem=self.stem)
        given = dict(self.mean)
        if given.pop("family", None) != "geodiff":
            raise ValueError("the mean of a column is of the family geodiff")
        for name, value in given.items():
            if isinstance(value, list):
                given[name] = tuple(value)
        if "registration" in given:
            given["registration"] = Registration(given["registration"])
        config = GeodiffConfig(**given)
        for name in ("variables", "scale_factor", "registration"):
            if getattr(config, name) != getattr(self, name):
                raise ValueError(f"the mean's {name} is {getattr(config, name)}, not {getattr(self, name)}")
        return config

    @property
    def volume(self) -> VolumeConfig:
        """Size of the network."""
        return VolumeConfig(self.width, self.multipliers, self.attention_heads, self.head_width, self.stem, self.focus)


class ColumnConditions(Conditioning):
    """What the mean adds, what the mean reads of each level, statics and the prior, in this order.

    z counts in the spread of the coarse cells around: it has one size from kilometers to degrees.
    """

    mean: Geodiff

    def __init__(self, mean: Geodiff) -> None:
        super().__init__(mean, len(mean.settings.levels))
        levels = len(mean.settings.levels)
        self.split = (*[levels] * (1 + OWN_FIELDS), len(mean.settings.statics), mean.settings.prior_channels)
        self.channels = sum(self.split)
        self.reach = Reach()

    def forward(
        self,
        coarse: Tensor,
        variable: Tensor | None = None,
        predictor_coarse: Tensor | None = None,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> Conditions:
        """See `Conditioning`."""
        guides: Guides = self.mean.guiding(coarse, predictor_coarse, static_fine)
        detail: Tensor = self.mean.detail(guides)
        together = torch.cat([detail, *guides.own, guides.statics, guides.prior], dim=2)
        return Conditions(guides.base + guides.spread * detail, self.sizes[:, None, None] * guides.spread, together)

    def kinds_of(self, variable: Tensor | None, count: int) -> Tensor:
        """Each level is a kind of its own."""
        return torch.arange(count, device=self.sizes.device)[None]


class GeodiffMembers(Edm):
    """Conditions once per frame, the residual drawn by a sampler."""

    family = "geodiff_members"
    settings: GeodiffMembersConfig

    def __init__(self, config: GeodiffMembersConfig) -> None:
        Model.__init__(self, config)  # the backbone of `Edm` has no third axis
        self.settings = config
        mean = Geodiff(config.mean_config).eval()
        for parameter in mean.parameters():
            parameter.requires_grad_(False)
        self.conditions: ColumnConditions = ColumnConditions(mean)
        self.volume = Volume(config.mean_config, config.volume, 2 + OWN_FIELDS, is_led=True)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "GeodiffMembers":
        """The network of a plain configuration, with its mean's."""
        return cls(GeodiffMembersConfig(**config))

    @property
    def reach(self) -> Literal["global"]:
        """As the mean's."""
        return "global"

    @property
    def frames_apart(self) -> bool:
        """As the mean's."""
        return self.conditions.mean.frames_apart

    @property
    def inputs(self) -> tuple[str, ...]:
        """As the mean's."""
        return self.conditions.mean.inputs

    @property
    def predictors(self) -> tuple[Predictor, ...]:  # type: ignore[override]
        """As the mean's."""
        return self.conditions.mean.predictors

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """As the mean's."""
        return self.conditions.mean.statics_fine

    def normalization(self) -> dict[str, Scaling]:
        """As the mean's."""
        return self.conditions.mean.normalization()

    @property
    def denoising(self) -> Denoising:
        """See `Contract`."""
        config = self.settings
        per_level = 1 if self.volume.depth == "level" else len(config.variables)
        return Denoising(
            condition=self.conditions.channels, halo="global",
            temporal=self.volume.depth == "time" and config.focus < 1,
            bytes_per_cell=4.0 * LIVE_FIELDS * config.attention_heads * config.head_width / per_level,
            beta_d=config.beta_d, beta_min=config.beta_min, sampling=config.sampling,
            guided=config.drop_conditions > 0,
        )  # fmt: skip

    @property
    def flops_per_fine_cell(self) -> float:
        """Of one member by the recommended sampling."""
        runs = self.settings.sampling.evaluations
        return self.conditions.mean.flops_per_fine_cell + 5 * runs * self.volume.flops_per_value

    def denoise(self, noisy: Tensor, fields: Tensor, sigma: Tensor, variable: Tensor | None = None) -> Tensor:
        """The expected z of noisy ones, as `Edm`, within what z can be."""
        return super().denoise(noisy, fields, sigma).clamp(-self.settings.clip, self.settings.clip)

    def network(self, scaled: Tensor, fields: Tensor, level: Tensor, variable: Tensor | None = None) -> Tensor:
        """F: see `Edm`."""
        *levels, statics, prior = torch.split(fields, list(self.conditions.split), dim=2)
        level = level.expand(scaled.shape[0]) if level.numel() == 1 else level
        found: Tensor = self.volume([scaled, *levels], statics, prior, level)
        return found
