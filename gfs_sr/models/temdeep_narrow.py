"""`temdeep_narrow`: fields at any time between two frames, of finite reach, one network for all variables.

Each variable is folded into the batch and freed of its local mean and spread. Flows are bounded, so that an output
cell is moved by cells no farther than the network's own reach or the longest flow: it runs in tiles, exactly, and on
streams.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import Scaling
from gfs_sr.models import fused_inputs as inputs
from gfs_sr.models.blocks import ResidualBlock, SpaceConv, crop_space
from gfs_sr.models.fused_variables import CLASSES, STATIC_SCALING, STATICS, SUN_PREDICTORS, scaling_of, tables
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.temdeep_motion import MOTION_FEATURES, MOTION_REACH, Steps, motion, prepare_steps
from gfs_sr.models.time_model import TimeConfig, TimeModel, linear_between
from gfs_sr.models.warping import bounded, flows_at, fused_views, seen_from_first, warp

EMBEDDING: Final = 8
CONDITIONS: Final = inputs.SUN_FEATURES + 4  # and fraction, its square, its bump, the interval's length
FLOWS: Final = 5  # forward, backward, visibility
CATMULL_ROM: Final = -0.125  # of 4θ(1 - θ) times a bend: what its cubic adds to the line


@dataclass(frozen=True, kw_only=True)
class TemdeepNarrowConfig(TimeConfig):
    """Settings and variants."""

    width: int = 32
    blocks: int = 1  # of the trunk
    before: int = 1  # frames before the interval that are looked at: 0 or 1
    after: int = 1  # frames from its end on, 1 or 2: what a stream waits for
    curved: bool = False  # corrections start as those of Catmull-Rom, not at 0
    flow: bool = True
    correction: bool = True
    terrain: bool = True
    sun: bool = True
    occlusion: Literal["soft", "hard"] = "soft"
    largest_flow: float = 6.0  # cells
    hours: bool = True  # told how long the interval is
    floor: float = 0.003  # least spread, normalized units

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.flow or self.correction):
            raise ValueError("without flow and without correction nothing is left to learn")
        if self.before not in (0, 1) or self.after not in (1, 2):
            raise ValueError("before is 0 or 1, after 1 or 2")
        if self.curved and not (self.correction and self.before and self.after == 2):
            raise ValueError("curved needs corrections, before: 1 and after: 2")
        if min(self.width, self.blocks) < 1 or self.largest_flow <= 0:
            raise ValueError("width, blocks and largest_flow must be positive")


class Network(nn.Module):
    """All learned parts: features once per frame, then of pairs, then of times."""

    def __init__(self, config: TemdeepNarrowConfig) -> None:
        super().__init__()
        self.told_hours = config.hours
        w, self.before, self.after = config.width, config.before, config.after
        self.frames = 1 + config.before + config.after
        bends = config.before + config.after - 1
        self.stem = nn.Conv2d(1 + (2 if config.terrain else 0), w, 3)
        self.trunk = nn.ModuleList(ResidualBlock(w, 0.3) for _ in range(config.blocks))
        self.steps = 2 + 2 * bends
        self.pair = SpaceConv(self.frames * w + self.steps + (MOTION_FEATURES if config.flow else 0), w)
        self.pair_block = ResidualBlock(w, 0.3)
        self.head = nn.Conv2d(w, FLOWS, 1) if config.flow else None
        self.gain = nn.Parameter(torch.zeros(2, 2)) if config.flow else None  # of the fitted motion: scale, way
        self.mix = nn.Conv2d(w, w, 1)
        self.embedding = nn.Embedding(len(CLASSES), EMBEDDING)
        self.condition = nn.Linear(CONDITIONS + EMBEDDING, w)
        self.corrections = 2 + bends
        self.out = nn.Conv2d(w, self.corrections + inputs.SUN_FEATURES, 1) if config.correction else None
        self.amplitude = nn.Embedding(len(CLASSES), 2 * inputs.SUN_FEATURES) if config.correction else None
        nn.init.normal_(self.embedding.weight, std=0.3)
        for layer in (self.head, self.out):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.amplitude is not None:
            nn.init.zeros_(self.amplitude.weight)
        if config.curved and self.out is not None and self.out.bias is not None:
            nn.init.constant_(self.out.bias[2 : self.corrections], CATMULL_ROM)

    @property
    def trunk_reach(self) -> int:
        """Cells that the features of a frame use up."""
        return 1 + 2 * len(self.trunk)

    pair_reach: Final = 3

    def forward(
        self,
        fields: Tensor,
        statics: Tensor | None,
        steps: Tensor,
        moved: Tensor | None,
        sun: Tensor | None,
        fraction: Tensor,
        hours: Tensor,
        classes: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Flows and corrections.

        Args:
            fields: (B, T + halo, C, H + 6 + 2·trunk, W + 6 + 2·trunk) without mean and spread.
            statics: (B, 2, same, same), or none.
            steps: (B, T, C, steps, H + 6, W + 6).
            moved: (B, T, C, 6, H + 6, W + 6), fitted motion.
            sun: (B, T, M, 7, H, W), anomalies; none: unknown.
            fraction: (B or 1, T or 1, M).
            hours: (B or 1,).
            classes: (B or 1, C).
            grounded: (B or 1, C), 0 where terrain does not count.

        Returns:
            flows (B, T, C, 5, H, W) and corrections (B, T, M, C, K, H, W).
        """
        pair = self._pairs(fields, statics, steps, moved, grounded)
        B, T, C, _, height, columns = pair.shape
        flows = None
        if self.head is not None and self.gain is not None and moved is not None:
            flows = self.head(pair.flatten(0, 2)).reshape(B, T, C, FLOWS, height, columns)
            inner = crop_space(moved, self.pair_reach)
            guided = [
                self.gain[0, way] * inner[:, :, :, 0:2] + self.gain[1, way] * inner[:, :, :, 3:5] for way in range(2)
            ]
            flows = torch.cat([flows[:, :, :, :2] + guided[0], flows[:, :, :, 2:4] - guided[1], flows[:, :, :, 4:]], 3)
        out = None
        if self.out is not None:
            hidden = self._at_times(pair, sun, fraction, hours, classes)
            out = self.out(hidden.flatten(0, 3)).reshape(B, T, -1, C, self.out.out_channels, height, columns)
        return flows, out

    def _pairs(
        self, fields: Tensor, statics: Tensor | None, steps: Tensor, moved: Tensor | None, grounded: Tensor
    ) -> Tensor:
        """(B, T, C, width, H, W)."""
        B, N, C, H, W = fields.shape
        features = F.conv2d(fields.reshape(B * N * C, 1, H, W), self.stem.weight[:, :1], self.stem.bias)
        features = features.reshape(B, N, C, *features.shape[1:])
        if statics is not None:
            shared = F.conv2d(statics, self.stem.weight[:, 1:])[:, None, None]
            features = features + shared * grounded[:, None, :, None, None, None]
        features = F.relu(features).flatten(0, 2)
        for block in self.trunk:
            features = block(features)
        features = features.reshape(B, N, C, *features.shape[1:])
        T = steps.shape[1]
        around = [features[:, first : first + T] for first in range(self.frames)]
        around += [steps] if moved is None else [steps, moved]
        pair = F.relu(self.pair(torch.cat(around, dim=3).flatten(0, 2)))
        made: Tensor = self.pair_block(pair)
        return made.reshape(B, T, C, *made.shape[1:])

    def _at_times(self, pair: Tensor, sun: Tensor | None, fraction: Tensor, hours: Tensor, classes: Tensor) -> Tensor:
        """(B, T, M, C, width, H, W)."""
        B, T, C, w, height, columns = pair.shape
        M = fraction.shape[2]
        weight, suns = self.condition.weight, inputs.SUN_FEATURES
        mixed = self.mix(F.relu(pair).flatten(0, 2)).reshape(B, T, 1, C, w, height, columns)
        bump = 4 * fraction * (1 - fraction)
        times = torch.stack([fraction, fraction * fraction, bump], dim=3) @ weight[:, suns : suns + 3].T  # (B, T, M, w)
        length = torch.log((hours if self.told_hours else 6 + 0 * hours) / 6)[:, None] * weight[:, suns + 3]  # (B, w)
        kinds = self.embedding(classes) @ weight[:, CONDITIONS:].T + self.condition.bias + length[:, None]  # (B, C, w)
        hidden = mixed + times[:, :, :, None, :, None, None] + kinds[:, None, None, :, :, None, None]
        if sun is not None:
            by_sun = F.conv2d(sun.flatten(0, 2), weight[:, :suns, None, None])
            hidden = hidden + by_sun.reshape(B, T, M, 1, w, height, columns)
        return F.relu(hidden)


class TemdeepNarrow(TimeModel):
    """The network for tiles and streams."""

    family = "temdeep_narrow"
    any_subset = True
    takes = (
        "coarse", "variable", "predictor_coarse", "predictor_coarse_fine_time", "static_coarse", "fraction", "hours",
    )  # fmt: skip
    _classes: Tensor
    _units: Tensor
    _grounded: Tensor

    def __init__(self, config: TemdeepNarrowConfig) -> None:
        super().__init__(config)
        self.settings = config
        self.residual = Network(config)
        # cells around the core on which flows are known: checking them against each other follows them
        self.ring = math.ceil(config.largest_flow) if config.flow and config.occlusion == "hard" else 0
        inner = self.ring + self.residual.pair_reach
        own = inputs.WINDOW + inner + max(self.residual.trunk_reach, MOTION_REACH if config.flow else 0)
        self.cells = max(own, math.ceil(config.largest_flow) if config.flow else 0)
        for name, table in zip(("_classes", "_units", "_grounded"), tables(), strict=True):
            self.register_buffer(name, table, persistent=False)
        if config.sun and config.correction:
            self.predictors = SUN_PREDICTORS

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""
        return cls(TemdeepNarrowConfig(**config))

    @property
    def reach(self) -> Reach:
        """12 cells with one block, or the largest flow where that is longer; with hard occlusion their sum."""
        return Reach.space(self.cells) + Reach(before=self.settings.before, after=self.settings.after)

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Terrain and land, where the variant takes them."""
        return STATICS if self.settings.terrain else ()

    def fitted_parameters(self) -> tuple[nn.Parameter, ...]:
        """None: all are learned by gradients."""
        return ()

    def normalization(self) -> dict[str, Scaling]:
        """Fixed: the floors are in these units."""
        fixed = {name: scaling_of(name) for name in self.facts.variables}
        return fixed | STATIC_SCALING if self.settings.terrain else fixed

    def forward(
        self,
        coarse: Tensor,
        variable: Tensor,
        predictor_coarse: Tensor | None = None,
        predictor_coarse_fine_time: Tensor | None = None,
        static_coarse: Tensor | None = None,
        fraction: Tensor | None = None,
        hours: Tensor | None = None,
        flows: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Interpolate.

        Args:
            coarse: (B, T + before + after, C, H + halo, W + halo).
            variable: (C,) ids of the variables, or (B, C).
            predictor_coarse: (B, T + before + after, 3, H + halo, W + halo) solar components at the frames.
            predictor_coarse_fine_time: (B, M·T, 3, H + halo, W + halo), at the times asked for; none: unknown.
            static_coarse: (B, 1, 2, H + halo, W + halo) terrain and land; none: unknown.
            fraction: (B or 1, T or 1, M), or (B or 1, M); the configuration's where none is given.
            hours: (B or 1,) of the interval; the configuration's where none is given.
            flows: (B·T·C, 2, H, W) forward and backward, in place of those that the network sees.

        Returns:
            (B, M·T, C, H, W).
        """
        t = self.fraction_of(fraction)
        ids = variable[None] if variable.dim() == 1 else variable
        sun = self._sun(predictor_coarse, predictor_coarse_fine_time, t, self._intervals(coarse))
        found, out, steps = self._looked(coarse, ids, sun, static_coarse, t, self.hours_of(hours))
        views, visible = self._views(coarse, found, t, flows)
        if out is not None:
            corrected = self._corrections(out, steps, sun, static_coarse, t, ids)
            views = views[0] + corrected[0], views[1] + corrected[1]
        return fused_views(*views, visible, t[:, :, :, None, None, None]).flatten(1, 2)

    def flows(self, **inputs: Tensor) -> Tensor | None:
        """See `TimeModel.flows`."""
        variable = inputs["variable"]
        ids = variable[None] if variable.dim() == 1 else variable
        coarse, t = inputs["coarse"], self.fraction_of(inputs.get("fraction"))
        found, _, _ = self._looked(coarse, ids, None, inputs.get("static_coarse"), t, self.hours_of(None))
        return None if found is None else bounded(crop_space(found[:, :, :, :2], self.ring), self.settings.largest_flow)

    def _intervals(self, coarse: Tensor) -> int:
        return coarse.shape[1] - self.settings.before - self.settings.after

    def _looked(
        self,
        coarse: Tensor,
        ids: Tensor,
        sun: Tensor | None,
        static_coarse: Tensor | None,
        t: Tensor,
        hours: Tensor,
    ) -> tuple[Tensor | None, Tensor | None, Steps]:
        """What `Network` gives, and the steps between the frames."""
        B, N, C = coarse.shape[:3]
        settings, residual = self.settings, self.residual
        T = self._intervals(coarse)
        planes = coarse.flatten(1, 2)
        spread = inputs.local_spread(planes, settings.floor)
        fields = (crop_space(planes, inputs.WINDOW) - inputs.local_mean(planes)) / spread
        spread = spread.reshape(B, N, C, *spread.shape[2:])
        fields = fields.reshape(B, N, C, *fields.shape[2:])
        inner = self.ring + residual.pair_reach  # cells around the core on which pairs are looked at
        steps = prepare_steps(
            crop_space(coarse, self.cells - inner - 1),
            crop_space(spread, self.cells - inputs.WINDOW - inner),
            settings.before, settings.after, settings.floor,
        )  # fmt: skip
        moved = None
        if settings.flow:
            around = crop_space(fields, self.cells - inputs.WINDOW - inner - MOTION_REACH)
            k = settings.before
            moved = motion(around[:, k : k + T], around[:, k + 1 : k + 1 + T])
        statics = None
        if static_coarse is not None and settings.terrain:
            statics = inputs.prepare_statics(static_coarse[:, 0]).normal
        margin = self.cells - inputs.WINDOW - inner - residual.trunk_reach
        found, out = residual(
            crop_space(fields, margin),
            None if statics is None else crop_space(statics, margin),
            steps.features, moved,
            None if sun is None else crop_space(sun, self.cells - self.ring),
            t, hours, self._classes[ids], self._grounded[ids],
        )  # fmt: skip
        return found, out, steps

    def _views(
        self, coarse: Tensor, found: Tensor | None, t: Tensor, given: tuple[Tensor, Tensor] | None
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Both frames moved to every time, (B, T, M or 1, C, H, W), and the first one's visibility."""
        k = self.settings.before
        T = self._intervals(coarse)
        first, second = coarse[:, k : k + T], coarse[:, k + 1 : k + 1 + T]
        if found is None and given is None:
            cells = self.cells
            views = crop_space(first, cells)[:, :, None], crop_space(second, cells)[:, :, None]
            return views, coarse.new_full((1, 1, 1, 1, 1, 1), 0.5)
        B, _, C = first.shape[:3]
        if given is not None:
            forward, backward = given
            logit = torch.zeros_like(forward[:, :1])
        else:
            assert found is not None  # one of the two is there
            planes = found.flatten(0, 2)
            largest = self.settings.largest_flow
            forward, backward, logit = bounded(planes[:, :2], largest), bounded(planes[:, 2:4], largest), planes[:, 4:]
        if self.settings.occlusion == "hard":
            visible = seen_from_first(forward, backward, self.ring)
            forward, backward = crop_space(forward, self.ring), crop_space(backward, self.ring)
        else:
            visible = torch.sigmoid(logit)
        M = t.shape[2]
        times = t[:, :, None].expand(B, T, C, M).reshape(B * T * C, M, 1, 1, 1)
        to_before, to_after = flows_at(forward[:, None], backward[:, None], times)

        def seen(frames: Tensor, flow: Tensor) -> Tensor:
            moved = warp(frames.flatten(0, 2)[:, None], flow, self.cells)
            return moved.reshape(B, T, C, M, *moved.shape[-2:]).transpose(2, 3)

        height, columns = visible.shape[-2:]
        return (seen(first, to_before), seen(second, to_after)), visible.reshape(B, T, 1, C, height, columns)

    def _corrections(
        self,
        out: Tensor,
        steps: Steps,
        sun: Tensor | None,
        static_coarse: Tensor | None,
        t: Tensor,
        ids: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(B, T, M, C, H, W) for the view from either frame."""
        residual, ring = self.residual, self.ring
        out = crop_space(out, ring)
        theta = t[:, :, :, None, None, None]
        size = crop_space(steps.size, ring + residual.pair_reach)[:, :, None]
        gate = 4 * theta * (1 - theta)
        common = torch.zeros_like(out[..., 0, :, :])
        # a bend is what a parabola through three frames adds to the line through two
        shares = [1 - theta] * self.settings.before + [theta] * (self.settings.after - 1)
        for index, (bend, share) in enumerate(zip(steps.bends, shares, strict=True)):
            inner = crop_space(bend, ring + residual.pair_reach)[:, :, None]
            common = common + gate * out[..., 2 + index, :, :] * share * inner
        if sun is not None:
            common = common + self._by_sun(out, size, sun, static_coarse, ids)
        first, second = (common + gate * size * out[..., view, :, :] for view in range(2))
        return first, second

    def _by_sun(self, out: Tensor, size: Tensor, sun: Tensor, static_coarse: Tensor | None, ids: Tensor) -> Tensor:
        assert self.residual.amplitude is not None  # corrections are on
        anomalies = crop_space(sun, self.cells)[:, :, :, None]  # (B, T, M, 1, 7, H, W)
        own = size * (out[..., self.residual.corrections :, :, :] * anomalies).sum(dim=4)
        amplitude = self.residual.amplitude(self._classes[ids]) * self._units[ids][..., None]
        amplitude = amplitude[:, None, None, :, :, None, None]  # (B, 1, 1, C, 14, 1, 1)
        # two slices: the tracer makes a loop of a split
        everywhere, over_land = (
            amplitude[:, :, :, :, : inputs.SUN_FEATURES],
            amplitude[:, :, :, :, inputs.SUN_FEATURES :],
        )
        by_place = everywhere
        if static_coarse is not None and self.settings.terrain:
            land = crop_space(static_coarse[:, 0, 1], self.cells)[:, None, None, None, None]
            by_place = everywhere + over_land * land * self._grounded[ids][:, None, None, :, None, None, None]
        total: Tensor = own + (by_place * anomalies).sum(dim=4)
        return total

    def _sun(self, coarse: Tensor | None, fine: Tensor | None, t: Tensor, T: int) -> Tensor | None:
        """(B, T, M, 7, H + halo, W + halo): what a line between the frames misses of the sun; 0 at either end."""
        if coarse is None or fine is None or not self.predictors:
            return None
        k = self.settings.before
        at_frames = inputs.sun_features(coarse[:, k : k + T + 1])
        theta = t[:, :, :, None, None, None]
        line = (1 - theta) * at_frames[:, :-1, None] + theta * at_frames[:, 1:, None]
        times = inputs.sun_features(fine)
        return times.reshape(times.shape[0], T, -1, *times.shape[2:]) - line

    def baseline(self, coarse: Tensor, fraction: Tensor | None = None) -> Tensor:
        """Linear in time, however the corrections start: what restoration is counted from."""
        k = self.settings.before
        T = self._intervals(coarse)
        inner = crop_space(coarse, self.cells)
        return linear_between(inner[:, k : k + T], inner[:, k + 1 : k + 1 + T], self.fraction_of(fraction))

    @property
    def flops_per_fine_cell(self) -> float:
        """Features and pairs once per interval, the rest at every time."""
        w, b, r = self.settings.width, self.settings.blocks, self.settings.time_factor
        pair = self.residual.pair.in_channels
        once = 9 * self.residual.stem.in_channels * w + 18 * w * w * b + 9 * pair * w + 18 * w * w + w * w
        each = w * (inputs.SUN_FEATURES + 10) + 60.0
        return 2 * 5 * (once / r + each)
