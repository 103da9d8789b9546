"""What a denoiser is led by, computed once per frame for all members and steps: the mean, the unit around it, fields.

A sample is `mean + unit · z`, z being what diffusion draws. Everything lies on fine cells.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models import fused_inputs
from gfs_sr.models.fused_variables import CLASSES, STATICS, tables
from gfs_sr.models.interpolation import Interpolation, SpaceInterpolation, pad_edges
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import Reach, crop
from gfs_sr.models.unet import UnetConfig, crop_fine
from gfs_sr.models.unet_embeddings import PLACES
from gfs_sr.models.unet_inputs import FineInputs, LocalUnits, place_of

SHARED_CHANNELS: Final = 6  # of `SharedConditions`, for each variable
LEAST_SPREAD: Final = 1e-3  # of terrain, model units, where its logarithm is taken


@dataclass(frozen=True, eq=False)
class Conditions:
    """All (B, r·T, ., s·H, s·W)."""

    mean: Tensor  # C channels, model units
    unit: Tensor  # C channels, model units per unit of z
    fields: Tensor  # K channels, of every variable together or K for each of the C


class Conditioning(nn.Module):
    """Makes `Conditions` of coarse fields with their halo."""

    reach: Reach
    channels: int  # K
    mean: Model | None
    sizes: Tensor
    are_sizes_known: Tensor

    def __init__(self, mean: Model | None, kinds: int) -> None:
        super().__init__()
        self.mean = mean
        self.register_buffer("sizes", torch.ones(kinds))  # of what is left around the mean, by variable or kind
        self.register_buffer("are_sizes_known", torch.tensor(False))

    def train(self, mode: bool = True) -> Self:
        """The mean stays as it runs: nothing of it is left out at random."""
        super().train(mode)
        if self.mean is not None:
            self.mean.eval()
        return self

    @abstractmethod
    def forward(
        self,
        coarse: Tensor,
        variable: Tensor | None = None,
        predictor_coarse: Tensor | None = None,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> Conditions:
        """Inputs as the contract names them, with the halo of `reach`; `origin` as of `FineInputs`."""

    @abstractmethod
    def kinds_of(self, variable: Tensor | None, count: int) -> Tensor:
        """(B or 1, C) rows of `sizes`, of `count` variables."""

    @property
    def sees_all(self) -> bool:
        """Whether the mean reads the whole field: what else reads around a cell then continues its edge by itself."""
        return self.mean is not None and self.mean.reach == "global"

    def surrounded(self, given: Tensor | None, frames: bool = True) -> Any:
        """An input with the margin that the conditions read; with no frames around, of what does not change."""
        if given is None or not self.sees_all:
            return given
        return pad_edges(given, self.reach if frames else replace(self.reach, before=0, after=0))

    def mean_of(self, given: Mapping[str, Tensor | None]) -> Tensor | None:
        """What the mean network gives for an input of this reach."""
        if self.mean is None:
            return None
        own = self.mean.reach if isinstance(self.mean.reach, Reach) else Reach()
        inputs = {
            name: crop(each, self.reach - own) if each.dim() == 5 else each
            for name, each in given.items()
            if each is not None and name in self._names
        }
        mean: Tensor = self.mean(**inputs)
        return mean

    @property
    def _names(self) -> tuple[str, ...]:
        assert self.mean is not None
        return self.mean.make_contract(name="mean").graph_inputs()


class PlainConditions(Conditioning):
    """The fields themselves on fine cells; the mean is a network's, the interpolation, or nothing.

    With `scale_free` z counts in the local spread of the coarse field: the fields are those without their local mean
    and spread, the logarithm of that spread, and how the mean compares with it, which says how far above nothing an
    amount lies. Where place leads the denoiser, the last four are the window's edges, see `PlaceEmbedding`.
    """

    def __init__(self, config: UnetConfig, base: Interpolation, mean: Model | None) -> None:
        super().__init__(mean, len(config.variables))
        self.config, self.base, self.inputs = config, base, FineInputs(config)
        self.local = LocalUnits(config) if config.scale_free else None
        told = 2 if config.scale_free else 1 if mean is not None else 0  # fields of each variable beside the inputs
        self.channels = config.channels + told * len(config.variables) + (PLACES if config.side else 0)
        reach = self.inputs.reach
        if self.local is not None:
            reach = reach + self.local.around | self.local.reach
        if config.baseline_residual:
            reach = reach | base.reach
        if mean is not None and isinstance(mean.reach, Reach):
            reach = reach | mean.reach
        self.reach = reach

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
        config = self.config
        coarse, predictor_coarse = self.surrounded(coarse), self.surrounded(predictor_coarse)
        static_coarse, static_fine = self.surrounded(static_coarse, False), self.surrounded(static_fine, False)
        seen, spread = (coarse, None) if self.local is None else self.local(coarse)
        fields = crop_fine(self.inputs(seen, predictor_coarse, static_fine, origin), self.reach, config)
        given = {"coarse": coarse, "predictor_coarse": predictor_coarse, "static_coarse": static_coarse,
                 "static_fine": static_fine}  # fmt: skip
        mean = self.mean_of(given)
        if mean is not None and spread is None:
            fields = torch.cat([fields, mean], dim=2)
        if mean is None and config.baseline_residual:
            mean = self.base.within(coarse[:, :, : len(config.variables)], self.reach)
        elif mean is None:
            B, frames, _, height, width = fields.shape
            mean = fields.new_zeros(B, frames, len(config.variables), height, width)
        # not `expand(mean.shape)`: the exporter takes the shape of what a network gives as mean for a constant
        unit = self.sizes[:, None, None] + 0 * mean
        if spread is not None:
            spread = crop_fine(spread, self.reach, config)
            fields = torch.cat([fields, torch.log10(spread), mean / (spread + mean.abs())], dim=2)
            unit = self.sizes[:, None, None] * spread
        if config.side:  # the window's place travels with the fields: what denoises knows no coarse input
            assert predictor_coarse is not None
            place = place_of(predictor_coarse)[:, None, :, None, None]
            fields = torch.cat([fields, place.expand(-1, fields.shape[1], -1, *fields.shape[3:])], dim=2)
        return Conditions(mean, unit, fields)

    def kinds_of(self, variable: Tensor | None, count: int) -> Tensor:
        """Each variable is a kind of its own."""
        return torch.arange(count, device=self.sizes.device)[None]


class SharedConditions(Conditioning):
    """One denoiser for any variable of any region: z counts in the local spread of the coarse field.

    For each variable: the mean without its local mean and spread, the logarithm of that spread, terrain and land
    beyond their own interpolation, the logarithm of the terrain's spread, land.
    """

    _classes: Tensor
    _grounded: Tensor

    def __init__(self, config: UnetConfig, base: Interpolation, mean: Model | None, floor: float) -> None:
        super().__init__(mean, len(CLASSES))
        self.config, self.base, self.floor = config, base, floor
        s, registration = config.scale_factor, config.registration
        self.bilinear = SpaceInterpolation("bilinear", s, registration)
        self.keys = SpaceInterpolation("bicubic", s, registration)
        self.channels = SHARED_CHANNELS
        self.around = Reach.space(fused_inputs.WINDOW) + self.bilinear.reach
        own = self.around | base.reach | self.keys.reach
        self.reach = own | mean.reach if mean is not None and isinstance(mean.reach, Reach) else own
        classes, _, grounded = tables()
        self.register_buffer("_classes", classes, persistent=False)
        self.register_buffer("_grounded", grounded, persistent=False)

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
        assert variable is not None  # `graph_inputs` names all three
        assert static_coarse is not None
        assert static_fine is not None
        coarse = self.surrounded(coarse)
        static_coarse, static_fine = self.surrounded(static_coarse, False), self.surrounded(static_fine, False)
        B, T, C = coarse.shape[:3]
        given = {"coarse": coarse, "variable": variable, "static_coarse": static_coarse, "static_fine": static_fine}
        mean = self.mean_of(given)
        if mean is None:
            mean = self.base.within(coarse, self.reach)
        planes = crop(coarse, self.reach - self.around).flatten(1, 2)
        spread = self._fine(fused_inputs.local_spread(planes, self.floor), B, T, C)
        middle = self._fine(fused_inputs.local_mean(planes), B, T, C)
        kinds = self.kinds_of(variable, C)
        counts = self._grounded[variable[None] if variable.dim() == 1 else variable][:, None, :, None, None, None]
        ground = self._ground(static_coarse, static_fine)[:, None, None]  # (B, 1, 1, 4, s·H, s·W)
        own = torch.stack([(mean - middle) / spread, torch.log10(spread)], dim=3)
        fields = torch.cat([own, (ground * counts).expand(B, T, C, -1, -1, -1)], dim=3)
        unit = spread * self.sizes[kinds][:, None, :, None, None]
        return Conditions(mean, unit, fields.flatten(2, 3))

    def kinds_of(self, variable: Tensor | None, count: int) -> Tensor:
        """By class of variable."""
        assert variable is not None
        return self._classes[variable[None] if variable.dim() == 1 else variable]

    def _fine(self, planes: Tensor, B: int, T: int, C: int) -> Tensor:
        """(B, T·C, H + halo, W + halo) -> (B, T, C, s·H, s·W), bilinear."""
        fine = self.bilinear(planes.flatten(0, 1)[:, None])
        shaped: Tensor = fine.reshape(B, T, C, *fine.shape[-2:])
        return shaped

    def _ground(self, static_coarse: Tensor, static_fine: Tensor) -> Tensor:
        """(B, 4, s·H, s·W): detail of terrain and of land, by their spread; its logarithm; land."""
        B = static_coarse.shape[0]
        wide = crop(static_coarse, self.reach - self.around)[:, 0]
        spread = self._fine(fused_inputs.prepare_statics(wide).spread, B, 1, len(STATICS))[:, 0]
        fine = F.pixel_shuffle(crop(static_fine, self.reach)[:, 0], self.config.scale_factor)
        coarse = crop(static_coarse, self.reach - self.keys.reach)[:, 0]
        smooth = self.keys(coarse.flatten(0, 1)[:, None]).reshape(fine.shape)
        detail = (fine - smooth) / spread
        return torch.cat([detail, torch.log10(spread[:, :1] + LEAST_SPREAD), fine[:, 1:]], dim=1)
