"""`fused` as it is exported: the same function in fewer and larger operations.

What is linear is moved to where there is least of it. The head's first convolution runs on the features of coarse
frames and on the increments apart, so that fine times only add its results; interpolation in time is one product with a
banded matrix; what terrain and land add is one small matrix product per cell, for their fine detail is shared by all
times and variables; and at the coarse frames themselves nothing between frames is computed at all.
"""

from copy import deepcopy
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models import fused_inputs as inputs
from gfs_sr.models.blocks import crop_space
from gfs_sr.models.fused_inputs import SUN_FEATURES, WINDOW
from gfs_sr.models.fused_residual import CONDITIONS, CORRECTIONS, LINEAR_SIZE, Residual
from gfs_sr.models.interpolation import SpaceInterpolation

if TYPE_CHECKING:
    from gfs_sr.models.fused import Fused

RING: Final = 2  # coarse cells around the core on which fine statics and corrections are needed
KINDS: Final = 4  # of fine detail: terrain and land, each in its own units and by its local spread


class FoldedFused(nn.Module):
    """`Fused` with fine times at every m/r of the interval; frames on their own where r is 1."""

    _classes: Tensor
    _units: Tensor
    _grounded: Tensor

    def __init__(self, model: "Fused") -> None:
        super().__init__()
        self.base = deepcopy(model.base)
        self.cells = model.cells
        self.floor = model.settings.floor
        self.scale_factor, self.time_factor = model.facts.scale_factor, model.facts.time_factor
        for name in ("_classes", "_units", "_grounded"):
            self.register_buffer(name, getattr(model, name), persistent=False)
        kind = FoldedResidual if self.time_factor > 1 else FoldedSpaceResidual
        self.residual = kind(model.residual, self.time_factor, model.settings.interval_hours)

    def forward(
        self,
        coarse: Tensor,
        variable: Tensor,
        predictor_coarse: Tensor | None = None,
        predictor_coarse_fine_time: Tensor | None = None,
        static_coarse: Tensor | None = None,
        static_fine: Tensor | None = None,
    ) -> Tensor:
        """As `Fused.forward` with the arguments that a graph has."""
        s = self.scale_factor
        if static_coarse is None:
            static_coarse = coarse.new_zeros(coarse.shape[0], 1, 2, *coarse.shape[3:])
        if static_fine is None:
            static_fine = coarse.new_zeros(coarse.shape[0], 1, 2 * s * s, *coarse.shape[3:])
        frames = coarse[:, 1:-1] if self.time_factor > 1 else coarse
        prepared = self._prepare(coarse, frames, variable[None] if variable.dim() == 1 else variable)
        prepared |= self._prepare_statics(frames, static_coarse[:, 0], static_fine[:, 0])
        if self.time_factor > 1:
            sun = (predictor_coarse, predictor_coarse_fine_time)
            prepared |= self._prepare_times(coarse, prepared.pop("spread_all"), sun, static_coarse[:, 0])
        else:
            del prepared["spread_all"]
        sub_pixels, correction = self.residual(**prepared)
        sharp = self._sharpened(frames)
        if correction is not None:
            sharp = interpolate(sharp, self.time_factor) + correction
        B, K, C = sharp.shape[:3]
        base = self._keys(sharp.flatten(0, 2)[:, None]).reshape(B, K, C, s * s, *sub_pixels.shape[-2:])
        fine = F.pixel_shuffle((base + sub_pixels).flatten(0, 1).flatten(1, 2), s)
        return fine.reshape(B, K, C, *fine.shape[2:])

    def _prepare(self, coarse: Tensor, frames: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """What the fields alone tell."""
        margin, shape = self.cells - WINDOW, coarse.shape[:3]
        planes = coarse.flatten(1, 2)
        spread = inputs.local_spread(planes, self.floor)
        fields = (crop_space(planes, WINDOW) - inputs.local_mean(planes)) / spread
        spread = spread.reshape(*shape, *spread.shape[2:])
        own = spread[:, 1:-1] if self.time_factor > 1 else spread
        return {
            "fields": fields.reshape(*shape, *fields.shape[2:]),
            "spread_all": spread,
            "spread": crop_space(own, margin),
            "curvature": inputs.laplacian(crop_space(frames, self.cells - LINEAR_SIZE // 2 - 1)),
            "lift": self._sharpened(frames) - crop_space(frames, self.cells - RING),
            "classes": self._classes[ids],
            "unit": self._units[ids],
            "grounded": self._grounded[ids],
        }

    def _prepare_statics(self, frames: Tensor, static_coarse: Tensor, static_fine: Tensor) -> dict[str, Tensor]:
        """What terrain and land tell, and how the fields follow them."""
        s, margin = self.scale_factor, self.cells - WINDOW
        statics = inputs.prepare_statics(static_coarse)
        around = inputs.Statics(
            east=crop_space(statics.east, margin),
            south=crop_space(statics.south, margin),
            power=crop_space(statics.power, margin),
            cross=crop_space(statics.cross, margin),
            normal=statics.normal,
            spread=statics.spread,
        )
        planes = crop_space(frames, margin)
        slopes = inputs.slopes_on_statics(planes.flatten(1, 2), around)
        sharp = self._sharpened(static_coarse[:, None], RING + RING)[:, 0]
        base = self._keys(sharp.flatten(0, 1)[:, None]).reshape(-1, 2 * s * s, *_inner(sharp, RING))
        detail = crop_space(static_fine, self.cells - RING) - base
        normal = detail.reshape(-1, 2, s * s, *detail.shape[2:]) / crop_space(statics.spread, margin - RING)[:, :, None]
        return {
            "slopes": slopes.reshape(*frames.shape[:3], 2, *slopes.shape[3:]),
            "static_normal": statics.normal,
            "detail": crop_space(detail, RING),
            "detail_normal": normal.flatten(1, 2),
        }

    def _prepare_times(
        self, coarse: Tensor, spread: Tensor, sun: tuple[Tensor | None, Tensor | None], static_coarse: Tensor
    ) -> dict[str, Tensor]:
        """What changes between frames, and what the sun does between them."""
        inner = crop_space(coarse, self.cells - RING - 2)
        changes = inputs.prepare_changes(inner, crop_space(spread, self.cells - RING - 1 - WINDOW), self.floor)
        B, T, r = coarse.shape[0], coarse.shape[1] - 3, self.time_factor
        if sun[0] is None or sun[1] is None:
            anomalies = coarse.new_zeros(B, T, r - 1, SUN_FEATURES, *changes.before.shape[3:])[..., 2:-2, 2:-2]
        else:
            fine = crop_space(sun[1], self.cells - RING)
            fine = fine.reshape(B, -1, r, *fine.shape[2:])[:, :, 1:]  # at the frames nothing is missed
            at_frames = crop_space(sun[0][:, 1:-1], self.cells - RING)
            theta = torch.arange(1, r, device=coarse.device)[None] / r
            anomalies = inputs.sun_anomalies(at_frames, fine, theta)
        return {
            "changes": changes.features,
            "change_size": crop_space(changes.spread, 1),
            "before": crop_space(changes.before, 2),
            "after": crop_space(changes.after, 2),
            "sun": anomalies,
            "land": crop_space(static_coarse[:, 1], self.cells - RING),
        }

    def _sharpened(self, frames: Tensor, ring: int = RING) -> Tensor:
        """(B, T, C, H + halo, W + halo) -> (B, T, C, H + 2·ring, W + 2·ring), what the interpolation starts from."""
        if self.base.sharpen is None:
            return crop_space(frames, self.cells - ring)
        around = crop_space(frames, self.cells - ring - self.base.sharpen.reach.north)
        planes: Tensor = self.base.sharpen(around.flatten(0, 2)[:, None])
        return planes.reshape(*frames.shape[:3], *planes.shape[2:])

    def _keys(self, planes: Tensor) -> Tensor:
        """(N, 1, H + 4, W + 4) -> (N, s², H, W)."""
        return self.base.space.sub_pixels(_within(planes, self.base.space, RING))


class FoldedSpaceResidual(nn.Module):
    """`Residual.space` before its pixel shuffle."""

    def __init__(self, residual: Residual, time_factor: int, interval_hours: float) -> None:
        super().__init__()
        head = residual.head
        self.sub_pixels = head.sub_pixels
        self.stem = deepcopy(residual.trunk.stem)
        self.blocks = deepcopy(residual.trunk.blocks)
        self.code = nn.Conv2d(head.code.in_channels, head.code.out_channels, 1, bias=False)
        self.code.weight.data.copy_(head.code.weight.data)
        self.post = deepcopy(head.post)
        _bias(self.post).data += F.conv2d(_filled(_bias(head.code), 3), head.post.weight)[0, :, 0, 0]
        self.head = deepcopy(head.head)
        self.coefficients = deepcopy(head.coefficients)
        self.slope = deepcopy(head.slope)
        self.linear = deepcopy(residual.linear)
        self.keys = deepcopy(residual.keys)
        self.bilinear = deepcopy(head.bilinear)

    def forward(
        self,
        fields: Tensor,
        spread: Tensor,
        slopes: Tensor,
        curvature: Tensor,
        lift: Tensor,
        static_normal: Tensor,
        detail: Tensor,
        detail_normal: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Sub-pixels (B, T, C, s², H, W) to add to the base's; no correction of the coarse field."""
        features = self.features(fields, static_normal, grounded)
        hidden = F.relu(self.posted(crop_space(features, 1), detail_normal, grounded))
        B, T, C = fields.shape[:3]
        sub_pixels = self.assembled(
            *self.read(hidden), spread, slopes, self.filtered(curvature), self.sharpened(lift), None, detail,
            detail_normal, classes, unit, grounded,
        )  # fmt: skip
        return sub_pixels.reshape(B, T, C, *sub_pixels.shape[3:]), None

    def features(self, fields: Tensor, statics: Tensor, grounded: Tensor) -> Tensor:
        """(B, T, C, H, W) and (B, 2, H, W) -> (B, T, C, width, ...): the trunk, its stem on both at once."""
        B, T, C, H, W = fields.shape
        shared = statics[:, None, None] * _per_variable(grounded)
        stacked = torch.cat([fields[:, :, :, None], shared.expand(B, T, C, 2, H, W)], dim=3)
        features: Tensor = F.relu(self.stem(stacked.flatten(0, 2)))
        for block in self.blocks:
            features = block(features)
        return features.reshape(B, T, C, *features.shape[1:])

    def posted(self, features: Tensor, detail_normal: Tensor, grounded: Tensor) -> Tensor:
        """(B, T, C, width, h + 2, w + 2) features and the fine statics' code, both through the head's convolution."""
        planes: Tensor = self.post(features.flatten(0, 2))
        code = F.conv2d(self.code(detail_normal), self.post.weight)[:, None, None]
        return planes.reshape(*features.shape[:3], *planes.shape[1:]) + code * _per_variable(grounded)

    def read(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C, width, H + 2, W + 2) -> sub-pixels (.., s², H, W) and coefficients (.., 8, H + 2, W + 2)."""
        planes = hidden.flatten(0, 2)
        sub_pixels, coefficients = self.head(planes), self.coefficients(planes)
        return (
            sub_pixels.reshape(*hidden.shape[:3], *sub_pixels.shape[1:]),
            coefficients.reshape(*hidden.shape[:3], *coefficients.shape[1:]),
        )

    def assembled(
        self,
        sub_pixels: Tensor,
        coefficients: Tensor,
        spread: Tensor,
        slopes: Tensor,
        filtered: Tensor,
        sharpened: Tensor,
        gate: Tensor | None,
        detail: Tensor,
        detail_normal: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> Tensor:
        """(B, K, C, s², H, W), as `Head.forward`; arguments as there, `read` and filtered fields beside them."""
        counts = _per_variable(grounded)
        sized = unit[:, None, :, None, None, None] * counts
        constant = self.slope(classes)[:, None, :, :, None, None]
        by_slope, by_spread, by_unit, plain = (coefficients[:, :, :, k : k + 2] for k in range(0, 8, 2))
        by_unit = self._taps((by_unit + constant) * sized)
        near = torch.cat(
            [
                self._taps(by_slope) * (slopes * counts)[:, :, :, :, None] + by_unit,
                self._taps(by_spread) * (spread[:, :, :, None] * counts)[:, :, :, :, None],
            ],
            dim=3,
        )
        details = torch.cat([detail, crop_space(detail_normal, RING)], dim=1)
        details = details.reshape(details.shape[0], KINDS, self.sub_pixels, *details.shape[2:])
        strength, lifted = (self._interpolated(plain[:, :, :, k]) for k in range(2))
        strength = strength + (1 if gate is None else 1 + gate[:, :, :, None])
        total = sub_pixels * spread[:, :, :, None] + self.weighed(near, details)
        return total + filtered * strength + sharpened * lifted

    def weighed(self, near: Tensor, details: Tensor) -> Tensor:
        """What terrain and land add, (B, K, C, s², H, W): their fine detail by factors interpolated from cells around.

        Args:
            near: (B, K, C, 4, taps, H, W), a factor for each kind of detail at the cells around each.
            details: (B, 4, s², H, W), of all times and variables.
        """
        weight = self.bilinear.weight.flatten(1)[:, :, None, None]  # (s², taps, 1, 1)
        planes = near.flatten(0, 2)
        total: Tensor | None = None
        for kind in range(KINDS):
            factor = F.conv2d(planes[:, kind], weight).reshape(*near.shape[:3], -1, *near.shape[5:])
            part = factor * details[:, kind][:, None, None]
            total = part if total is None else total + part
        assert total is not None  # there are kinds
        return total

    def _taps(self, x: Tensor) -> Tensor:
        """(..., H + 2, W + 2) -> (..., taps, H, W): the neighbors that the bilinear weights read."""
        rows, columns = self.bilinear.weight.shape[2:]
        north, west = 1 - self.bilinear.reach.north, 1 - self.bilinear.reach.west
        height, width = x.shape[-2] - 2, x.shape[-1] - 2
        return torch.stack(
            [
                x[..., north + i : north + i + height, west + j : west + j + width]
                for i in range(rows)
                for j in range(columns)
            ],
            dim=-3,
        )

    def _interpolated(self, coefficient: Tensor) -> Tensor:
        """(B, K, C, H + 2, W + 2) -> (B, K, C, s², H, W), bilinear."""
        fine = self.bilinear.sub_pixels(_within(coefficient.flatten(0, 2)[:, None], self.bilinear, 1))
        return fine.reshape(*coefficient.shape[:3], *fine.shape[1:])

    def filtered(self, curvature: Tensor) -> Tensor:
        """(B, T, C, H + 8, W + 8) Laplacian -> (B, T, C, s², H, W)."""
        planes: Tensor = self.linear(curvature.flatten(0, 2)[:, None])
        return planes.reshape(*curvature.shape[:3], *planes.shape[1:])

    def sharpened(self, lift: Tensor) -> Tensor:
        """(B, T, C, H + 4, W + 4) -> (B, T, C, s², H, W)."""
        planes = self.keys.sub_pixels(_within(lift.flatten(0, 2)[:, None], self.keys, RING))
        return planes.reshape(*lift.shape[:3], *planes.shape[1:])


class FoldedResidual(FoldedSpaceResidual):
    """`Residual.forward` before its pixel shuffle and the interpolation of its coarse correction."""

    gates: Tensor
    times: Tensor
    lift_of_bias: Tensor
    out_bias: Tensor
    length: Tensor

    def __init__(self, residual: Residual, time_factor: int, interval_hours: float) -> None:
        super().__init__(residual, time_factor, interval_hours)
        between, width = residual.between, residual.between.width
        self.time_factor = time_factor
        self.interval, self.mix = deepcopy(between.interval), deepcopy(between.mix)
        self.embedding, self.amplitude = deepcopy(between.embedding), deepcopy(between.amplitude)
        theta = torch.arange(1, time_factor) / time_factor
        bump = 4 * theta * (1 - theta)
        condition, out = between.condition, between.out
        self.register_buffer("gates", bump, persistent=False)
        # relu(x)·gate = relu(x·gate), since the gate is positive: all that is summed into the relu carries it
        self.register_buffer("times", torch.stack([theta, theta * theta, bump]) * bump, persistent=False)
        self.by_sun = nn.Conv2d(SUN_FEATURES + 3, width, 1, bias=False)
        self.by_sun.weight.data.copy_(condition.weight.data[:, : SUN_FEATURES + 3, None, None])
        self.kinds = nn.Linear(between.embedding.embedding_dim, width)
        self.kinds.weight.data.copy_(condition.weight.data[:, CONDITIONS:])
        length = torch.log(torch.tensor(interval_hours / 6)) * condition.weight.data[:, SUN_FEATURES + 3]
        self.kinds.bias.data.copy_(condition.bias.data + length)
        # the increments' convolution and the head's first one are one
        self.increments = nn.Conv2d(width, width, 3, bias=False)
        folded = torch.einsum("khij,hw->kwij", residual.head.post.weight.double(), out.weight[:width, :, 0, 0].double())
        self.increments.weight.data.copy_(folded)
        raised = F.conv2d(_filled(_bias(out)[:width], 3), residual.head.post.weight)
        self.register_buffer("lift_of_bias", raised[0, :, 0, 0].detach(), persistent=False)
        self.out = nn.Conv2d(width, CORRECTIONS + SUN_FEATURES, 1, bias=False)
        self.out.weight.data.copy_(out.weight.data[width:])
        self.register_buffer("out_bias", _bias(out)[width:].clone(), persistent=False)

    def forward(  # type: ignore[override]  # times between frames need more
        self,
        fields: Tensor,
        spread: Tensor,
        slopes: Tensor,
        curvature: Tensor,
        lift: Tensor,
        static_normal: Tensor,
        detail: Tensor,
        detail_normal: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
        changes: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Sub-pixels (B, r·T, C, s², H, W) and coarse corrections (B, r·T, C, H + 4, W + 4) to add to the base's."""
        r = self.time_factor
        features = self.features(fields, static_normal, grounded)
        hidden = self._between(features, changes, sun, classes)
        at_frames = self.posted(crop_space(features[:, 1:-1], 1), detail_normal, grounded)
        B, T, C = changes.shape[:3]
        raised = self.lift_of_bias[:, None, None].expand(B, 1, C, *at_frames.shape[3:])
        sums = _product(self._weights(T, at_frames), torch.cat([at_frames, raised], dim=1))
        between = F.relu(self.increments(hidden.flatten(0, 3)) + sums.flatten(0, 2)).reshape(sums.shape)
        first, later = self.read(F.relu(at_frames[:, :-1])), self.read(between)
        sub_pixels, coefficients = (
            torch.cat([frame[:, :, None], rest.reshape(B, T, r - 1, *rest.shape[2:])], dim=2).flatten(1, 2)
            for frame, rest in zip(first, later, strict=True)
        )
        correction, gate = self._corrections(hidden, change_size, before, after, sun, land, classes, unit, grounded)
        total = self.assembled(
            sub_pixels, coefficients, interpolate(spread, r), interpolate(slopes, r),
            interpolate(self.filtered(curvature), r), interpolate(self.sharpened(lift), r),
            _after_frames(crop_space(gate, RING)), detail, detail_normal, classes, unit, grounded,
        )  # fmt: skip
        return total, _after_frames(correction)

    def _between(self, features: Tensor, changes: Tensor, sun: Tensor, classes: Tensor) -> Tensor:
        """(B, T, r - 1, C, width, H + 4, W + 4): what is known of each time, its gate applied."""
        around = [features[:, :-3], features[:, 1:-2], features[:, 2:-1], features[:, 3:], changes]
        pair = self.mix(F.relu(self.interval(torch.cat(around, dim=3).flatten(0, 2))))
        B, T, C = changes.shape[:3]
        pair = pair.reshape(B, T, C, *pair.shape[1:]) + self.kinds(self.embedding(classes))[:, None, :, :, None, None]
        gates = self.gates[:, None, None, None]
        known = torch.cat([sun * gates, self.times.T[:, :, None, None].expand(B, T, -1, 3, *sun.shape[4:])], dim=3)
        own = self.by_sun(known.flatten(0, 2)).reshape(B, T, -1, 1, *pair.shape[3:])
        return F.relu(pair[:, :, None] * gates[:, None] + own)

    def _corrections(
        self,
        hidden: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Of the coarse field and of the linear filter, (B, T, r - 1, C, H + 4, W + 4) each; as in `Between`."""
        gates = self.gates[:, None, None, None, None]
        out = self.out(hidden.flatten(0, 3))
        out = out.reshape(*hidden.shape[:4], *out.shape[1:]) + gates * self.out_bias[:, None, None]
        theta = (torch.arange(1, self.time_factor, device=sun.device) / self.time_factor).to(sun.dtype)
        theta = theta[:, None, None, None]
        size = change_size[:, :, None]
        correction = (
            size * out[..., 0, :, :]
            + out[..., 1, :, :] * ((1 - theta) * before[:, :, None])
            + out[..., 2, :, :] * (theta * after[:, :, None])
        )
        amplitude = (self.amplitude(classes) * unit[..., None])[:, None, None, :, :, None, None]
        by_place = amplitude[:, :, :, :, :SUN_FEATURES]
        over_land = amplitude[:, :, :, :, SUN_FEATURES:] * _per_variable(grounded)[:, :, None]
        by_place = by_place + over_land * land[:, None, None, None, None]
        by_state = out[:, :, :, :, CORRECTIONS:] * (size / gates[:, :, 0])[:, :, :, :, None]
        from_sun = ((by_state + by_place) * sun[:, :, :, None]).sum(dim=4)
        return correction + from_sun, out[..., 3, :, :]

    def weighed(self, near: Tensor, details: Tensor) -> Tensor:
        """The same by one matrix for every cell, which pays where many times and variables share it."""
        B, K, C, _, taps, H, W = near.shape
        weight = self.bilinear.weight.flatten(1).T  # (taps, s²)
        per_cell = details.flatten(3).permute(0, 3, 1, 2)[:, :, :, None] * weight  # (B, H·W, 4, taps, s²)
        factors = near.reshape(B, K * C, KINDS * taps, H * W).permute(0, 3, 1, 2)
        total = (factors @ per_cell.flatten(2, 3)).permute(0, 2, 3, 1)
        return total.reshape(B, K, C, self.sub_pixels, H, W)

    def _weights(self, frames: int, like: Tensor) -> Tensor:
        """((r - 1)·T, T + 2): interpolation to the times between frames, and the gate for the last row."""
        later = time_weights(frames, self.time_factor, like)[:, 1:].flatten(0, 1)
        return torch.cat([later, self.gates.repeat(later.shape[0] // self.gates.shape[0])[:, None]], dim=1)


def time_weights(frames: int, time_factor: int, like: Tensor) -> Tensor:
    """(T, r, T + 1): what each of T + 1 frames counts at k + m/r: 1 - |k + m/r - j|, where positive."""
    index = torch.arange(frames + 1, device=like.device)
    steps = (index[:-1, None] - index).to(torch.float32)  # whole numbers, so that m = 0 gives the frame itself
    theta = torch.arange(time_factor, device=like.device) / time_factor
    return F.relu(1 - (steps[:, None] + theta[:, None]).abs()).to(like.dtype)


def interpolate(frames: Tensor, time_factor: int) -> Tensor:
    """(B, T + 1, ...) -> (B, r·T, ...), linear between frames k and k + 1."""
    return _product(time_weights(frames.shape[1] - 1, time_factor, frames).flatten(0, 1), frames)


def _product(weights: Tensor, frames: Tensor) -> Tensor:
    """(K, T) and (B, T, ...) -> (B, K, ...)."""
    return (weights @ frames.flatten(2)).reshape(frames.shape[0], -1, *frames.shape[2:])


def _after_frames(later: Tensor) -> Tensor:
    """(B, T, r - 1, ...) -> (B, r·T, ...): nothing at the frames themselves."""
    return torch.cat([torch.zeros_like(later[:, :, :1]), later], dim=2).flatten(1, 2)


def _within(planes: Tensor, layer: SpaceInterpolation, ring: int) -> Tensor:
    """(N, 1, H + 2·ring, W + 2·ring) without what `layer` does not read."""
    reach, (height, width) = layer.reach, planes.shape[-2:]
    return planes[..., ring - reach.north : height - ring + reach.south, ring - reach.west : width - ring + reach.east]


def _filled(vector: Tensor, size: int) -> Tensor:
    """(K,) -> (1, K, size, size), the same everywhere."""
    return vector.detach()[None, :, None, None].expand(1, -1, size, size)


def _bias(layer: nn.Module) -> Tensor:
    bias = layer.bias
    assert isinstance(bias, Tensor)  # every layer folded here has one
    return bias.detach()


def _per_variable(flags: Tensor) -> Tensor:
    """(B or 1, C) -> (B or 1, 1, C, 1, 1, 1)."""
    return flags[:, None, :, None, None, None]


def _inner(x: Tensor, ring: int) -> tuple[int, int]:
    return x.shape[-2] - 2 * ring, x.shape[-1] - 2 * ring
