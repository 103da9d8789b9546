"""What a U-Net is told of the coarse field: everything on fine cells and at fine frames, in channels."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import Predictor, PredictorGrid
from gfs_sr.models.fused_inputs import WINDOW, local_mean, local_spread
from gfs_sr.models.interpolation import SPACE_KERNELS, Interpolation, pad_edges, phases, tap_weights
from gfs_sr.models.model import ModelConfig
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.unet_blocks import Span

SEASONS: Final = 4
SPREAD_FLOOR: Final = 0.003  # least local spread, model units
SEASON_MAPS: Final = tuple(
    Predictor(name=name, grid=PredictorGrid.COARSE) for name in ("season_djf", "season_mam", "season_jja", "season_son")
)
PLACE_MAPS: Final = tuple(Predictor(name=name, grid=PredictorGrid.COARSE) for name in ("latitude", "longitude"))


@dataclass(frozen=True, kw_only=True)
class FineInputsConfig(ModelConfig):
    """Which fields a U-Net takes."""

    time_factor: int = 1
    predictor_variables: tuple[str, ...] = ()  # further fields of the forecast, taken in and not given out
    own_coarse: bool = True  # the variables' own coarse fields are taken in; off: predictor_variables alone
    statics: tuple[str, ...] = ()  # on fine cells
    season: bool = False  # four maps, 1 for the frame's own season
    side: bool = False  # the window's place leads the blocks
    location_parameters: int = 0  # learned maps of the grid that is trained on
    location_grid: tuple[int, ...] = ()  # rows and columns of that grid, fine cells

    def check_fields(self) -> None:
        """Raise where the settings cannot be.

        Raises:
            ValueError: names the setting.
        """
        shared = set(self.variables) & set(self.predictor_variables)
        if shared:
            raise ValueError(f"{', '.join(sorted(shared))} are variables already: predictor_variables are others")
        if not self.own_coarse and not self.predictor_variables:
            raise ValueError("own_coarse: false leaves nothing to take in: name predictor_variables")
        if self.location_parameters and (len(self.location_grid) != 2 or min(self.location_grid) < 1):
            raise ValueError("location_parameters need location_grid: rows and columns of the grid that is trained on")
        if self.location_grid and not self.location_parameters:
            raise ValueError("location_grid is of location_parameters, and there are none")

    @property
    def fields_in(self) -> tuple[str, ...]:
        """Of the forecast, in channel order."""
        return (*(self.variables if self.own_coarse else ()), *self.predictor_variables)

    @property
    def maps_in(self) -> tuple[Predictor, ...]:
        """Computed fields on coarse cells."""
        return (*(SEASON_MAPS if self.season else ()), *(PLACE_MAPS if self.side else ()))

    @property
    def channels(self) -> int:
        """What `FineInputs` gives."""
        phase = 1 if self.time_factor > 1 else 0
        return len(self.fields_in) + len(self.statics) + SEASONS * self.season + self.location_parameters + phase


class FineInputs(nn.Module):
    """Fields, interpolated; statics; seasons; the fraction of the interval; learned maps of the place."""

    _phase: Tensor

    def __init__(self, config: FineInputsConfig) -> None:
        super().__init__()
        self.config = config
        self.interpolation = Interpolation(
            config.scale_factor, config.time_factor, config.registration, config.space, config.time
        )
        self.reach = self.interpolation.reach
        maps = config.location_parameters
        self.maps = nn.Parameter(torch.zeros(maps, *config.location_grid)) if maps else None
        self.register_buffer("_phase", torch.arange(config.time_factor) / config.time_factor, persistent=False)

    def forward(
        self,
        coarse: Tensor,
        predictor_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> Tensor:
        """Bring it all together.

        Args:
            coarse: (B, T, C, H, W), with halo or without: what lies beyond is its edge.
            predictor_coarse: (B, T, P, H, W), seasons first.
            static_fine: (B, 1, K·s², H, W).
            origin: (B, 2), row and column of the window on the grid that is trained on; None: that grid's first.

        Returns:
            (B, r·T, channels, s·H, s·W).
        """
        config = self.config
        fine: Tensor = self.interpolation(pad_edges(coarse, self.reach))
        B, frames, _, height, width = fine.shape
        parts = [fine]
        if config.statics:
            assert static_fine is not None  # `Contract.graph_inputs` names it
            planes = F.pixel_shuffle(static_fine[:, 0], config.scale_factor)
            parts.append(planes[:, None].expand(-1, frames, -1, -1, -1))
        if config.season:
            assert predictor_coarse is not None
            whole = predictor_coarse[:, :, :SEASONS].repeat_interleave(config.time_factor, dim=1)
            parts.append(whole[..., :1, :1].expand(-1, -1, -1, height, width))
        if config.time_factor > 1:
            phase = self._phase.repeat(frames // config.time_factor)[None, :, None, None, None]
            parts.append(phase.expand(B, -1, 1, height, width))
        if self.maps is not None:
            parts.append(self._here(B, height, width, origin)[:, None].expand(-1, frames, -1, -1, -1))
        return torch.cat(parts, dim=2) if len(parts) > 1 else fine

    def needs(self, span: Span) -> Span:
        """Coarse cells that move the fine cells of `span`."""
        s = self.config.scale_factor
        taps, before, _ = tap_weights(SPACE_KERNELS[self.config.space], phases(s, self.config.registration))
        sides = [(row.nonzero().flatten() - before).tolist() for row in taps]
        first = range(span.low, min(span.low + s, span.high + 1))  # one of each phase; farther ones read no farther out
        last = range(max(span.low, span.high - s + 1), span.high + 1)
        return Span(min(f // s + sides[f % s][0] for f in first), max(f // s + sides[f % s][-1] for f in last))

    def _here(self, count: int, height: int, width: int, origin: Tensor | None) -> Tensor:
        """(B, k, height, width): the learned maps under each window."""
        assert self.maps is not None
        if origin is None:
            return self.maps[None, :, :height, :width].expand(count, -1, -1, -1)
        cut = [self.maps[:, row : row + height, column : column + width] for row, column in origin.tolist()]
        return torch.stack(cut)


class LocalUnits(nn.Module):
    """Coarse fields without their local mean, by their local spread; and that spread on fine cells.

    (B, T, C, H, W), with halo or without -> (the same shape, (B, r·T, K, s·H, s·W) of the first K variables). Beyond an
    edge lies its value, so that a rim of `reach` is exact only where a halo surrounds it.
    """

    def __init__(self, config: FineInputsConfig) -> None:
        super().__init__()
        self.count = len(config.variables)
        self.refine = Interpolation(
            config.scale_factor, config.time_factor, config.registration, "bilinear", config.time
        )
        self.around = Reach.space(WINDOW)
        self.reach = self.around + self.refine.reach

    def forward(self, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Free and measure."""
        planes = pad_edges(coarse, self.around).flatten(1, 2)
        spread = local_spread(planes, SPREAD_FLOOR).reshape(coarse.shape)
        freed = (coarse - local_mean(planes).reshape(coarse.shape)) / spread
        unit: Tensor = self.refine(pad_edges(spread[:, :, : self.count], self.refine.reach))
        return freed, unit


def place_of(predictor_coarse: Tensor) -> Tensor:
    """(B, T, P, H, W), the last two latitude and longitude -> (B, 4): north, south, west, east of the window."""
    lat, lon = predictor_coarse[:, 0, -2], predictor_coarse[:, 0, -1]
    return torch.stack([lat.amax((1, 2)), lat.amin((1, 2)), lon.amin((1, 2)), lon.amax((1, 2))], dim=1)
