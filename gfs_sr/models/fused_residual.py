"""The learned part of `fused`: features once per coarse frame, times from pairs of frames, sub-pixel head.

Everything here may run in half precision: what comes in has neither scale nor large values. Planes are ordered
(B, T, M, C): tile, coarse frame, fine time within the interval, variable.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.blocks import ResidualBlock, SpaceConv, crop_space
from gfs_sr.models.fused_inputs import SUN_FEATURES
from gfs_sr.models.fused_variables import CLASSES
from gfs_sr.models.interpolation import SpaceInterpolation
from gfs_sr.models.receptive_field import Reach

EMBEDDING: Final = 8
CHANGES: Final = 6
CONDITIONS: Final = SUN_FEATURES + 4  # and fraction, its square, its bump, the interval's length
COEFFICIENTS: Final = (
    8  # of terrain and land by local slope, local spread, physical unit; of the filter; of the sharpening
)
CORRECTIONS: Final = 4  # of the coarse field between frames, and of the linear filter's strength
LINEAR_SIZE: Final = 9  # of the filter on the Laplacian


class Trunk(nn.Module):
    """(B, T, C, H, W) fields and (B, 2, H, W) statics, both without scale -> (B, T, C, width, ...) features."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3)
        self.blocks = nn.ModuleList(ResidualBlock(width, 1.0) for _ in range(blocks))
        for block in self.blocks:
            if isinstance(block, ResidualBlock):
                block.second.weight.data.mul_(0.3)
        self.reach = Reach.space(1 + 2 * blocks)

    def forward(self, fields: Tensor, statics: Tensor, grounded: Tensor) -> Tensor:
        """One pass per coarse frame and variable; the statics' share of the stem is computed once.

        `grounded`, (B or 1, C), is 0 for variables that the statics do not shape.
        """
        B, T, C, H, W = fields.shape
        own = F.conv2d(fields.reshape(B * T * C, 1, H, W), self.stem.weight[:, :1], self.stem.bias)
        shared = F.conv2d(statics, self.stem.weight[:, 1:])[:, None, None] * _per_variable(grounded)
        features = F.relu(own.reshape(B, T, C, *own.shape[1:]) + shared).flatten(0, 2)
        for block in self.blocks:
            features = block(features)
        return features.reshape(B, T, C, *features.shape[1:])


class Between(nn.Module):
    """What happens between two frames: increments of the features, corrections of the coarse field."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.interval = SpaceConv(4 * width + CHANGES, width)
        self.mix = nn.Conv2d(width, width, 1)
        self.embedding = nn.Embedding(len(CLASSES), EMBEDDING)
        self.amplitude = nn.Embedding(len(CLASSES), 2 * SUN_FEATURES)  # anywhere, and more over land
        self.condition = nn.Linear(CONDITIONS + EMBEDDING, width)
        self.out = nn.Conv2d(width, width + CORRECTIONS + SUN_FEATURES, 1)
        nn.init.normal_(self.embedding.weight, std=0.3)
        for parameter in (self.amplitude.weight, self.out.weight, self.out.bias):
            if parameter is not None:
                nn.init.zeros_(parameter)

    def forward(
        self,
        features: Tensor,
        changes: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
        fraction: Tensor,
        hours: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Between every pair of frames, at every fraction.

        Args:
            features: (B, T + 3, C, width, h + 2, w + 2).
            changes: (B, T, C, 6, h + 2, w + 2).
            change_size: (B, T, C, h, w).
            before: (B, T, C, h, w), second difference at the frame before.
            after: (B, T, C, h, w), at the frame after.
            sun: (B, T, M, 7, h, w), anomalies.
            land: (B, h, w), share of the coarse cells.
            fraction: (B or 1, M).
            hours: (B or 1,), length of the interval.
            classes: (B or 1, C), of the variables.
            unit: (B or 1, C), one physical unit, normalized.
            grounded: (B or 1, C), 0 where land and terrain do not count.

        Returns:
            increments (B, T, M, C, width, h, w); coarse corrections and filter gates, (B, T, M, C, h, w).
        """
        B, T, C = changes.shape[:3]
        M, w = fraction.shape[1], self.width
        pair, times, kinds = self.summands(features, changes, fraction, hours, classes)
        height, columns = pair.shape[-2:]
        by_sun = F.conv2d(sun.flatten(0, 2), self.sun_weight[:, :, None, None])
        hidden = F.relu(
            pair[:, :, None]
            + by_sun.reshape(B, T, M, 1, w, height, columns)
            + times[:, None, :, None, :, None, None]
            + kinds[:, None, None, :, :, None, None]
        )
        out = self.out(hidden.flatten(0, 3)).reshape(B, T, M, C, -1, height, columns)
        gate = (4 * fraction * (1 - fraction))[:, None, :, None, None, None]
        correction, strength = self.corrections(
            out[:, :, :, :, w:], change_size, before, after, sun, land, fraction, classes, unit, grounded
        )
        return out[:, :, :, :, :w] * gate[..., None], correction, strength

    @property
    def sun_weight(self) -> Tensor:
        """(width, 7): what the solar anomalies add to the hidden layer."""
        return self.condition.weight[:, :SUN_FEATURES]

    def summands(
        self, features: Tensor, changes: Tensor, fraction: Tensor, hours: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is summed into the hidden layer beside the sun.

        Returns:
            of every pair of frames (B, T, C, width, h, w); of times (B, M, width); of variables (B, C, width).
        """
        around = [features[:, :-3], features[:, 1:-2], features[:, 2:-1], features[:, 3:], changes]
        pair = self.mix(F.relu(self.interval(torch.cat(around, dim=3).flatten(0, 2))))
        time_weight = self.condition.weight[:, SUN_FEATURES:CONDITIONS]
        bump = 4 * fraction * (1 - fraction)
        times = torch.stack([fraction, fraction * fraction, bump], dim=2) @ time_weight[:, :3].T
        length = torch.log(hours / 6)[:, None] * time_weight[:, 3]  # (B, width)
        kinds = self.embedding(classes) @ self.condition.weight[:, CONDITIONS:].T
        kinds = kinds + self.condition.bias + length[:, None]
        return pair.reshape(*changes.shape[:3], *pair.shape[1:]), times, kinds

    def corrections(
        self,
        raw: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
        fraction: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Corrections of the coarse field and gates of the filter, (B, T, M, C, h, w), from raw (B, T, M, C, 11, h, w).

        The other arguments are those of `forward`.
        """
        gate = (4 * fraction * (1 - fraction))[:, None, :, None, None, None]
        theta = fraction[:, None, :, None, None, None]
        size, before, after = change_size[:, :, None], before[:, :, None], after[:, :, None]
        correction = gate * (
            size * raw[..., 0, :, :] + raw[..., 1, :, :] * (1 - theta) * before + raw[..., 2, :, :] * theta * after
        )
        own_sun = size * (raw[:, :, :, :, CORRECTIONS:] * sun[:, :, :, None]).sum(dim=4)
        amplitude = (self.amplitude(classes) * unit[..., None])[:, None, None, :, :, None, None]
        everywhere, over_land = amplitude[:, :, :, :, :SUN_FEATURES], amplitude[:, :, :, :, SUN_FEATURES:]
        by_place = everywhere + over_land * land[:, None, None, None, None] * _per_variable(grounded)[:, :, None]
        class_sun = (by_place * sun[:, :, :, None]).sum(dim=4)
        return correction + own_sun + class_sun, gate * raw[..., 3, :, :]


class Head(nn.Module):
    """Features at a time -> s² sub-pixels of every coarse cell."""

    def __init__(self, width: int, scale_factor: int, bilinear: SpaceInterpolation) -> None:
        super().__init__()
        sub_pixels = scale_factor**2
        self.sub_pixels = sub_pixels
        self.code = nn.Conv2d(2 * sub_pixels, width, 1)
        self.post = SpaceConv(width, width)
        self.head = SpaceConv(width, sub_pixels)
        self.coefficients = nn.Conv2d(width, COEFFICIENTS, 1)
        self.slope = nn.Embedding(len(CLASSES), 2)
        self.bilinear = bilinear
        for layer in (self.head, self.coefficients):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.slope.weight)

    def forward(
        self,
        features: Tensor,
        spread: Tensor,
        slopes: Tensor,
        detail: Tensor,
        detail_normal: Tensor,
        filtered: Tensor,
        sharpened: Tensor,
        gate: Tensor | None,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> Tensor:
        """What features, terrain and the linear filter add.

        Args:
            features: (B, K, C, width, H + 4, W + 4), K times.
            spread: (B, K, C, H, W).
            slopes: (B, K, C, 2, H, W), on terrain and on land.
            detail: (B, 2·s², H, W), terrain and land beyond their own interpolation.
            detail_normal: (B, 2·s², H + 4, W + 4), by their local spread.
            filtered: (B, K, C, s², H, W), the linear filter's part.
            sharpened: (B, K, C, s², H, W), what the base's sharpening added.
            gate: (B, K, C, H, W), more of the filter, or none.
            classes: (B or 1, C).
            unit: (B or 1, C).
            grounded: (B or 1, C), 0 where terrain and land do not count.

        Returns:
            (B, K, C, s², H, W).
        """
        B, K, C = features.shape[:3]
        n = self.sub_pixels
        counts = _per_variable(grounded)
        code = F.conv2d(detail_normal, self.code.weight)[:, None, None] * counts
        bias = self.code.bias
        coded = features + code if bias is None else features + code + bias[:, None, None]
        hidden = F.relu(self.post(coded.flatten(0, 2)))
        sub_pixels = self.head(hidden)
        height, columns = sub_pixels.shape[-2:]
        spread = spread[:, :, :, None]
        total: Tensor = sub_pixels.reshape(B, K, C, n, height, columns) * spread
        fields: Tensor = self._interpolated(self.coefficients(hidden), height, columns)
        fields = fields.reshape(B, K, C, COEFFICIENTS, n, height, columns)
        constant = self.slope(classes)[:, None, :, :, None, None]  # (B, 1, C, 2, 1, 1)
        sized = unit[:, None, :, None, None, None]
        inner = crop_space(detail_normal, 2)
        for k in range(2):
            weight = fields[:, :, :, k] * slopes[:, :, :, k : k + 1]
            weight = weight + (fields[:, :, :, 4 + k] + constant[:, :, :, k : k + 1]) * sized
            part = weight * detail[:, None, None, n * k : n * (k + 1)]
            part = part + spread * fields[:, :, :, 2 + k] * inner[:, None, None, n * k : n * (k + 1)]
            total = total + part * counts
        strength = 1 + fields[:, :, :, 6]
        if gate is not None:
            strength = strength + gate[:, :, :, None]
        return total + filtered * strength + sharpened * fields[:, :, :, 7]

    def _interpolated(self, coefficients: Tensor, height: int, columns: int) -> Tensor:
        """(N, 8, H + 2, W + 2) -> (N·8, s², H, W), bilinear."""
        reach = self.bilinear.reach
        north, west = 1 - reach.north, 1 - reach.west
        planes = coefficients.flatten(0, 1)[:, None]
        rows, cols = height + reach.north + reach.south, columns + reach.west + reach.east
        return self.bilinear.sub_pixels(planes[:, :, north : north + rows, west : west + cols])


class Residual(nn.Module):
    """All learned parts together; `Fused` prepares what they take."""

    def __init__(self, width: int, blocks: int, keys: SpaceInterpolation, bilinear: SpaceInterpolation) -> None:
        super().__init__()
        self.trunk = Trunk(width, blocks)
        self.between = Between(width)
        self.head = Head(width, keys.scale_factor, bilinear)
        self.linear = nn.Conv2d(1, keys.scale_factor**2, LINEAR_SIZE, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.keys = keys
        # cells the trunk leaves around the core: the intervals use one, the corrections' interpolation two
        self.left = 3

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
        fraction: Tensor,
        hours: Tensor,
        changes: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
    ) -> Tensor:
        """Sub-pixels (B, T·M, C·s², H, W) to add to the base's; arguments as `Fused` prepares them."""
        features = self.trunk(fields, static_normal, grounded)
        at_times, correction, gate = self.at_times(
            features, changes, change_size, before, after, sun, land, fraction, hours, classes, unit, grounded
        )
        B, T, M, C = at_times.shape[:4]
        own = self.head(
            at_times.flatten(1, 2),
            _interpolate(spread, fraction).flatten(1, 2),
            _interpolate(slopes, fraction).flatten(1, 2),
            detail,
            detail_normal,
            _interpolate(self.filtered(curvature), fraction).flatten(1, 2),
            _interpolate(self._upsampled(lift), fraction).flatten(1, 2),
            crop_space(gate, 2).flatten(1, 2),
            classes,
            unit,
            grounded,
        )
        total: Tensor = own + self._upsampled(correction.flatten(1, 2))
        return total.reshape(B, T * M, C * self.head.sub_pixels, *total.shape[-2:])

    def at_times(
        self,
        features: Tensor,
        changes: Tensor,
        change_size: Tensor,
        before: Tensor,
        after: Tensor,
        sun: Tensor,
        land: Tensor,
        fraction: Tensor,
        hours: Tensor,
        classes: Tensor,
        unit: Tensor,
        grounded: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, T, M, C, width, h, w) at every fine time, corrections and gates; arguments as `Between`."""
        increments, correction, gate = self.between(
            features, changes, change_size, before, after, sun, land, fraction, hours, classes, unit, grounded
        )
        return _interpolate(crop_space(features[:, 1:-1], 1), fraction) + increments, correction, gate

    def space(
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
    ) -> Tensor:
        """The same for frames on their own: what `forward` gives at fraction 0."""
        features = crop_space(self.trunk(fields, static_normal, grounded), 1)
        filtered, sharpened = self.filtered(curvature), self._upsampled(lift)
        own: Tensor = self.head(
            features, spread, slopes, detail, detail_normal, filtered, sharpened, None, classes, unit, grounded
        )
        return own.flatten(2, 3)

    def filtered(self, curvature: Tensor) -> Tensor:
        """(B, T, C, H + 8, W + 8) Laplacian -> (B, T, C, s², H, W): a linear deconvolution, exact on ramps."""
        planes = self.linear(curvature.flatten(0, 2)[:, None])
        result: Tensor = planes.reshape(*curvature.shape[:3], *planes.shape[1:])
        return result

    def _upsampled(self, correction: Tensor) -> Tensor:
        """(B, K, C, H + 4, W + 4) -> (B, K, C, s², H, W)."""
        reach = self.keys.reach
        height, columns = correction.shape[-2:]
        rows = slice(2 - reach.north, height - 2 + reach.south)
        cols = slice(2 - reach.west, columns - 2 + reach.east)
        planes = self.keys.sub_pixels(correction[..., rows, cols].flatten(0, 2)[:, None])
        return planes.reshape(*correction.shape[:3], *planes.shape[1:])


def _interpolate(frames: Tensor, fraction: Tensor) -> Tensor:
    """(B, T + 1, C, ...) -> (B, T, M, C, ...), linear between frames k and k + 1."""
    theta = fraction[:, None, :].reshape(fraction.shape[0], 1, -1, *_ones(frames.dim() - 2))
    return (1 - theta) * frames[:, :-1, None] + theta * frames[:, 1:, None]


def _ones(count: int) -> Sequence[int]:
    return [1] * count


def _per_variable(flags: Tensor) -> Tensor:
    """(B or 1, C) -> (B or 1, 1, C, 1, 1, 1)."""
    return flags[:, None, :, None, None, None]
