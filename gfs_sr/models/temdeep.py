"""`temdeep`: fields at any time between two frames, by motion, learned corrections and terrain.

The network of the specification's section 3.3, at the size of the published blocks: it sees the whole field. What runs
in tiles, and on streams, is `temdeep_narrow`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from gfs_sr.contract import Scaling
from gfs_sr.data.variables import OROGRAPHY
from gfs_sr.models.fused_variables import STATIC_SCALING
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.temdeep_blocks import (
    SLOPE,
    TERRAIN_WIDTH,
    WIDTHS,
    Decoder,
    FieldEncoder,
    FlowEncoder,
    Terrain,
)
from gfs_sr.models.time_model import TimeConfig, TimeModel, linear_between
from gfs_sr.models.warping import bounded, flows_at, fused_views, seen_from_first, warp

WRAPPED = 64  # columns that are repeated beyond either end of a periodic field


@dataclass(frozen=True, kw_only=True)
class TemdeepConfig(TimeConfig):
    """Settings and variants."""

    widths: tuple[int, ...] = WIDTHS  # of the stages, each at half the resolution of the one before
    skip: bool = True  # the decoder is given what the encoder made at its size
    flow: bool = True  # else corrections of linear interpolation alone
    correction: bool = True  # else motion and visibility alone
    terrain: bool = True
    occlusion: Literal["soft", "hard"] = "soft"  # visibility learned, or told by whether the flows agree
    largest_flow: float = 16.0  # cells
    periodic: bool = False  # fields go once around the globe

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.flow or self.correction):
            raise ValueError("without flow and without correction nothing is left to learn")
        if len(self.widths) < 2 or min(self.widths) < 1 or self.largest_flow <= 0:
            raise ValueError("widths are two or more, above 0, and so is largest_flow")


class Corrections(nn.Module):
    """(N, C, H, W) twice, elevation and t -> corrections of the view from either frame."""

    def __init__(self, variables: int, config: TemdeepConfig) -> None:
        super().__init__()
        widths = config.widths
        self.encoder = FieldEncoder(2 * variables + (2 if config.terrain else 1), widths)
        joined = tuple(reversed(widths[:-1])) if config.skip else ()
        self.decoder = Decoder(widths[-1], (*reversed(widths[:-1]), widths[0]), joined)
        self.skip = config.skip
        self.ground = Terrain() if config.terrain else None
        self.ground_mix = nn.Conv2d(TERRAIN_WIDTH, widths[0], 1) if config.terrain else None
        heads = [nn.Conv2d(widths[0], variables, 3, padding=1, padding_mode="replicate") for _ in range(2)]
        for head in heads:
            _zero(head)
        self.heads = nn.ModuleList(heads)

    def forward(
        self, before: Tensor, after: Tensor, fraction: Tensor, elevation: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) each; `fraction` is (N, 1, 1, 1)."""
        plane = fraction.expand(-1, -1, *before.shape[-2:])
        given = [before, after, plane] if elevation is None else [before, after, elevation, plane]
        *earlier, last = self.encoder(torch.cat(given, dim=1))
        features = self.decoder(last, tuple(reversed(earlier)) if self.skip else ())
        features = _fitted(features, before)
        if self.ground is not None and self.ground_mix is not None and elevation is not None:
            features = features + self.ground_mix(self.ground(elevation))
        first, second = (head(features) for head in self.heads)
        return first, second


class Motion(nn.Module):
    """(N, C, H, W) twice -> flows both ways (N, 2, H, W), and the logit of visibility (N, 1, H, W)."""

    def __init__(self, variables: int, config: TemdeepConfig) -> None:
        super().__init__()
        widths = config.widths
        half = max(1, widths[0] // 2)
        self.encoder = FlowEncoder(2 * variables, widths)
        self.decoder = Decoder(widths[-1], (*reversed(widths[:-1]), half), slope=SLOPE)
        self.head = nn.Conv2d(half, 5, 3, padding=1, padding_mode="replicate")
        self.largest = config.largest_flow
        _zero(self.head)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bounded flows."""
        features = _fitted(self.decoder(self.encoder(torch.cat([before, after], dim=1))), before)
        found = self.head(features)
        return bounded(found[:, :2], self.largest), bounded(found[:, 2:4], self.largest), found[:, 4:]


class Temdeep(TimeModel):
    """The network at the published size."""

    family = "temdeep"

    def __init__(self, config: TemdeepConfig) -> None:
        super().__init__(config)
        self.settings = config
        count = len(config.variables)
        self.corrections = Corrections(count, config) if config.correction else None
        self.motion = Motion(count, config) if config.flow else None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(TemdeepConfig(**config))

    @property
    def reach(self) -> Literal["global"]:
        """Strides of 16 that start at the field's corner: no tile is exact."""
        return "global"

    @property
    def context(self) -> Reach:
        """What training gives it beside a patch: the frame that ends the last interval."""
        return Reach(after=1)

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Elevation, where the variant takes it."""
        return (OROGRAPHY,) if self.settings.terrain and self.settings.correction else ()

    def normalization(self) -> dict[str, Scaling]:
        """Of elevation alone: the training data decide for the rest."""
        return {OROGRAPHY: STATIC_SCALING[OROGRAPHY]} if self.statics_coarse else {}

    def forward(
        self,
        coarse: Tensor,
        static_coarse: Tensor | None = None,
        fraction: Tensor | None = None,
        hours: Tensor | None = None,
    ) -> Tensor:
        """Interpolate.

        Args:
            coarse: (B, T, C, H, W); after the last frame it is repeated.
            static_coarse: (B, 1, 1, H, W) elevation.
            fraction: (B or 1, T or 1, M), or (B or 1, M); the configuration's where none is given.
            hours: of the interval; this network is not told.

        Returns:
            (B, T·M, C, H, W).
        """
        t = self.fraction_of(fraction)
        after = torch.cat([coarse[:, 1:], coarse[:, -1:]], dim=1)
        return self.between(coarse, after, t, static_coarse)

    def between(
        self,
        before: Tensor,
        after: Tensor,
        fraction: Tensor,
        static_coarse: Tensor | None = None,
        flows: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Fields between frames (B, T, C, H, W) and those after them.

        Args:
            before: frames.
            after: the frames that follow them.
            fraction: (B or 1, T or 1, M).
            static_coarse: (B, 1, 1, H, W) elevation.
            flows: (B·T, 2, H, W) forward and backward, in place of those that the network sees.

        Returns:
            (B, T·M, C, H, W).
        """
        columns = before.shape[-1]
        if self.settings.periodic:
            before, after = _wrapped(before), _wrapped(after)
            static_coarse = None if static_coarse is None else _wrapped(static_coarse)
        B, T, C = before.shape[:3]
        M = fraction.shape[2]
        t = fraction.expand(B, T, M).reshape(B * T, M, 1, 1, 1)
        first, second = before.flatten(0, 1), after.flatten(0, 1)  # (B·T, C, H, W)
        views = first[:, None], second[:, None]
        visible: Tensor = first.new_full((1, 1, 1, 1, 1), 0.5)
        if self.motion is not None or flows is not None:
            views, visible = self._moved(first, second, t, flows)
        if self.corrections is not None:
            views = self._corrected(views, first, second, t, static_coarse)
        fine = fused_views(*views, visible, t)
        fine = fine.reshape(B, T * M, C, *fine.shape[-2:])
        return fine[..., WRAPPED : WRAPPED + columns] if self.settings.periodic else fine

    def _moved(
        self, first: Tensor, second: Tensor, t: Tensor, given: tuple[Tensor, Tensor] | None
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        logit: Tensor = first.new_zeros((1, 1, 1, 1))
        if given is not None:
            forward, backward = given
        else:
            assert self.motion is not None  # the caller asked for what it has
            forward, backward, logit = self.motion(first, second)
        to_before, to_after = flows_at(forward[:, None], backward[:, None], t)
        if self.settings.occlusion == "hard":
            visible = seen_from_first(forward, backward, 0)[:, None]
        else:
            visible = torch.sigmoid(logit)[:, None]
        return (warp(first, to_before), warp(second, to_after)), visible

    def _corrected(
        self,
        views: tuple[Tensor, Tensor],
        first: Tensor,
        second: Tensor,
        t: Tensor,
        static_coarse: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        assert self.corrections is not None  # the caller looked
        N, M = t.shape[:2]
        elevation = None
        if self.settings.terrain:
            ground = first.new_zeros(N, 1, *first.shape[-2:]) if static_coarse is None else static_coarse[:, 0]
            elevation = ground.repeat_interleave(N // ground.shape[0], dim=0).repeat_interleave(M, dim=0)
        one, other = self.corrections(
            first.repeat_interleave(M, dim=0), second.repeat_interleave(M, dim=0), t.reshape(N * M, 1, 1, 1), elevation
        )
        gate = 4 * t * (1 - t)
        shape = (N, M, *one.shape[1:])
        return views[0] + gate * one.reshape(shape), views[1] + gate * other.reshape(shape)

    def flows(self, **inputs: Tensor) -> Tensor | None:
        """See `TimeModel.flows`; all variables go one way."""
        if self.motion is None:
            return None
        coarse = inputs["coarse"]
        after = torch.cat([coarse[:, 1:], coarse[:, -1:]], dim=1)
        found: tuple[Tensor, ...] = self.motion(coarse.flatten(0, 1), after.flatten(0, 1))
        return found[0].reshape(*coarse.shape[:2], 1, *found[0].shape[1:])

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As `TimeModel.learn`; the last frame only ends the last interval."""
        prediction, base = super().learn(kind, inputs)
        fractions = self.fraction_of(inputs.get("fraction")).shape[2]
        return prediction[:, :-fractions], base[:, :-fractions]

    def baseline(self, coarse: Tensor, fraction: Tensor | None = None) -> Tensor:
        """Linear in time."""
        after = torch.cat([coarse[:, 1:], coarse[:, -1:]], dim=1)
        return linear_between(coarse, after, self.fraction_of(fraction))

    @property
    def flops_per_fine_cell(self) -> float:
        """Of the convolutions: the flow module once per interval, the rest at every time."""
        widths, r = self.settings.widths, self.settings.time_factor
        count = len(self.settings.variables)
        total = 0.0
        if self.corrections is not None:
            total += _pyramid(self.corrections.encoder, self.corrections.decoder) + 2 * 9 * widths[0] * count
            if self.corrections.ground is not None:
                total += (9 * 64 + 9 * 64 * TERRAIN_WIDTH + TERRAIN_WIDTH * widths[0]) / r
        if self.motion is not None:
            total += (_pyramid(self.motion.encoder, self.motion.decoder) + 9 * 5 * max(1, widths[0] // 2)) / r
        return 2 * total * 5 / count


def _pyramid(encoder: nn.Module, decoder: Decoder) -> float:
    """Multiply-adds per cell of the input."""
    total, share = 0.0, 1.0
    convs, blocks = encoder.convs, getattr(encoder, "blocks", [])
    assert isinstance(convs, nn.ModuleList)
    for index, conv in enumerate(convs):
        share /= 4
        total += share * conv.weight.numel()  # type: ignore[operator]
        total += share * sum(each.numel() for each in blocks[index].parameters()) if index < len(blocks) else 0.0
    for conv in decoder.convs:
        total += share * conv.weight.numel()  # type: ignore[operator]
        share *= 4
    return total


def _fitted(features: Tensor, field: Tensor) -> Tensor:
    """Cut at the south and the east: decoders end at a multiple of their stride."""
    return features[..., : field.shape[-2], : field.shape[-1]]


def _wrapped(x: Tensor) -> Tensor:
    columns = torch.arange(-WRAPPED, x.shape[-1] + WRAPPED, device=x.device) % x.shape[-1]
    return x[..., columns]


def _zero(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
