"""What `fused` computes from its inputs before any weight: fields without their scale, terrain, changes, the sun.

All in fp32 whatever the network computes in, since differences of large values are taken here. Planes are
(N, 1, H, W) or (N, K, H, W); the number in a name such as `margin` counts the coarse cells left around the core.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gfs_sr.models.blocks import crop_space

WINDOW: Final = 4  # reach of the local mean and spread
SUN_FEATURES: Final = 7
RIDGE: Final = 1e-3  # of the regression on terrain, in squared units of it
STATIC_FLOOR: Final = 1e-4  # squared
REPEATED: Final = 1e-3  # a change this small, squared and relative to the others, is a repeated frame


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Centered differences x[i+1] - x[i-1] to the east and to the south; reach 1."""
    return x[..., 1:-1, 2:] - x[..., 1:-1, :-2], x[..., 2:, 1:-1] - x[..., :-2, 1:-1]


def laplacian(x: Tensor) -> Tensor:
    """The 5-point Laplacian; reach 1."""
    sides = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2]
    return sides - 4 * x[..., 1:-1, 1:-1]


def local_mean(x: Tensor) -> Tensor:
    """(N, K, H, W) averaged over 9 by 9 cells; reach 4."""
    return _mean(x, 2 * WINDOW + 1)


def window_mean(x: Tensor) -> Tensor:
    """Averaged over 7 by 7 cells; reach 3, with the gradient before it 4."""
    return _mean(x, 2 * WINDOW - 1)


def _mean(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(F.avg_pool2d(x, (size, 1), 1), (1, size), 1)  # 2·size values a cell, not size²


def local_spread(x: Tensor, floor: float) -> Tensor:
    """The size of the gradient around, at least `floor`; reach 4."""
    east, south = gradients(x)
    return torch.sqrt(window_mean(east * east + south * south) + floor**2)


@dataclass(frozen=True, eq=False)
class Statics:
    """Terrain and land as the network takes them, once per tile for all variables and frames."""

    east: Tensor  # (B, 2, ...) gradients, one cell used up
    south: Tensor
    power: Tensor  # (B, 2, ...) window means of squared gradients, four cells used up
    cross: Tensor  # (B, 1, ...) of their products
    normal: Tensor  # (B, 2, ...) coarse terrain and land without local mean and spread, four cells used up
    spread: Tensor  # (B, 2, ...), four cells used up


def prepare_statics(coarse: Tensor) -> Statics:
    """Terrain and land on the coarse cells with the halo, (B, 2, H + halo, W + halo)."""
    east, south = gradients(coarse)
    power = window_mean(east * east + south * south)
    spread = torch.sqrt(power + STATIC_FLOOR)
    return Statics(
        east=east,
        south=south,
        power=power,
        cross=window_mean(east[:, :1] * east[:, 1:] + south[:, :1] * south[:, 1:]),
        normal=(crop_space(coarse, WINDOW) - local_mean(coarse)) / spread,
        spread=spread,
    )


def slopes_on_statics(planes: Tensor, statics: Statics) -> Tensor:
    """How much a field changes with terrain and with land around each cell, by local ridge regression.

    Args:
        planes: (B, K, H + halo, W + halo), fields.
        statics: of the same cells.

    Returns:
        (B, K, 2, ...), field units per unit of terrain and of land; four cells used up.
    """
    east, south = gradients(planes)
    first, second = (
        window_mean(east * statics.east[:, k : k + 1] + south * statics.south[:, k : k + 1]) for k in range(2)
    )
    own, other = statics.power[:, :1] + RIDGE, statics.power[:, 1:] + RIDGE
    determinant = own * other - statics.cross * statics.cross
    terrain = (other * first - statics.cross * second) / determinant
    land = (own * second - statics.cross * first) / determinant
    return torch.stack([terrain, land], dim=2)


@dataclass(frozen=True, eq=False)
class Changes:
    """How the frames k-1, k, k+1, k+2 around each interval differ; (B, T, C, ...)."""

    spread: Tensor  # size of the changes around each cell, one cell used up
    features: Tensor  # (B, T, C, 6, ...), one cell used up
    before: Tensor  # second difference at k
    after: Tensor  # second difference at k + 1


def prepare_changes(coarse: Tensor, spread: Tensor, floor: float) -> Changes:
    """Differences along time.

    Args:
        coarse: (B, T + 3, C, h, w).
        spread: (B, T + 3, C, h - 2, w - 2), the local spread of each frame.
        floor: least size of a change.
    """
    step = coarse[:, 1:] - coarse[:, :-1]  # (B, T + 2, ...)
    second = step[:, 1:] - step[:, :-1]  # (B, T + 1, ...)
    first, before, after = step[:, 1:-1], second[:, :-1], second[:, 1:]
    energy = first * first + 0.5 * (before * before + after * after)
    size = torch.sqrt(_pooled(energy) + floor**2)
    ratio = torch.log(size) - 0.5 * torch.log(spread[:, 1:-2] * spread[:, 2:-1])
    least = REPEATED * size * size
    features = [crop_space(each, 1) / size for each in (first, before, after)]
    features.append(ratio)
    # frames repeated at the ends of a series are marked: their differences say nothing
    features += [least / (least + _pooled(each * each)) for each in (step[:, :-2], step[:, 2:])]
    return Changes(size, torch.stack(features, dim=3), before, after)


def _pooled(x: Tensor) -> Tensor:
    pooled = F.avg_pool2d(x.flatten(0, 2)[:, None], 3, 1)
    return pooled.reshape(*x.shape[:3], *pooled.shape[2:])


def sun_features(parts: Tensor) -> Tensor:
    """(..., 3, H, W) solar components -> (..., 7, H, W): daylight now, 2 h and 4 h ago, daily and half-daily waves."""
    constant, cosine, sine = parts[..., 0, :, :], parts[..., 1, :, :], parts[..., 2, :, :]
    features = [F.relu(constant + cosine)]
    for lag_hours in (2, 4):
        angle = lag_hours * math.pi / 12
        features.append(F.relu(constant + cosine * math.cos(angle) + sine * math.sin(angle)))
    features += [cosine, sine, cosine * cosine - sine * sine, 2 * cosine * sine]
    return torch.stack(features, dim=-3)


def sun_anomalies(coarse_times: Tensor, fine_times: Tensor, fraction: Tensor) -> Tensor:
    """What linear interpolation between the frames misses of the sun.

    Args:
        coarse_times: (B, T + 1, 3, H, W), solar components at the frames around the intervals.
        fine_times: (B, T, M, 3, H, W), at M times of each interval.
        fraction: (B or 1, M), of the interval.

    Returns:
        (B, T, M, 7, H, W); 0 at fraction 0.
    """
    at_frames = sun_features(coarse_times)
    theta = fraction[:, None, :, None, None, None]
    linear = (1 - theta) * at_frames[:, :-1, None] + theta * at_frames[:, 1:, None]
    return sun_features(fine_times) - linear
