"""What `temdeep_narrow` computes of frames before any weight: changes without their size, motion in closed form.

Planes are (B, T, C, ...); names of the numbers count the coarse cells that are used up.
"""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gfs_sr.models.blocks import crop_space
from gfs_sr.models.fused_inputs import REPEATED, gradients

MOTION_WINDOW: Final = 7  # cells, of the least-squares fit
MOTION_REACH: Final = 5  # smoothing 1, gradient 1, window 3
MOTION_FEATURES: Final = 6  # two scales: southward, eastward, how much of the change they explain
RIDGE: Final = 0.1  # of the fit, in squared gradients of fields without scale


def motion(before: Tensor, after: Tensor) -> Tensor:
    """How far patterns move from one frame to the next, by local least squares, at two scales.

    The constraint u·∇(X₀ + X₁)/2 = -(X₁ - X₀) is fitted over a window around each cell.

    Args:
        before: (B, T, C, H + 10, W + 10), fields without local mean and spread.
        after: the same shape.

    Returns:
        (B, T, C, 6, H, W): cells to the south, to the east, and the share of the squared change that they explain, of
        the fields as they are and of their means over 3 by 3 cells.

    Source: Lucas & Kanade 1981 (IJCAI 7).
    """
    shape = before.shape[:3]
    first, second = before.flatten(0, 2)[:, None], after.flatten(0, 2)[:, None]
    plain = _fitted(crop_space(first, 1), crop_space(second, 1))
    smooth = _fitted(F.avg_pool2d(first, 3, 1), F.avg_pool2d(second, 3, 1))
    found = torch.cat([*plain, *smooth], dim=1)
    return found.reshape(*shape, *found.shape[1:])


def _fitted(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    east, south = gradients(first + second)  # over two cells of two fields: four times the mean slope
    east, south = east / 4, south / 4
    change = crop_space(second - first, 1)
    ee, ss, es, ec, sc, cc = (
        _window(one * other)
        for one, other in (
            (east, east), (south, south), (east, south), (east, change), (south, change), (change, change),
        )
    )  # fmt: skip
    own, other = ss + RIDGE, ee + RIDGE
    determinant = own * other - es * es
    down = (es * ec - other * sc) / determinant
    right = (es * sc - own * ec) / determinant
    explained = -(down * sc + right * ec) / (cc + RIDGE)
    return down, right, explained


def _window(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.avg_pool2d(x, (MOTION_WINDOW, 1), 1), (1, MOTION_WINDOW), 1)


@dataclass(frozen=True, eq=False)
class Steps:
    """How the frames around each interval differ."""

    size: Tensor  # (B, T, C, H, W) of the changes around each cell
    features: Tensor  # (B, T, C, 2 + 2·bends, H, W) without size
    bends: tuple[Tensor, ...]  # second differences at the frame before, and at the frame after where it is known


def prepare_steps(frames: Tensor, spread: Tensor, before: int, after: int, floor: float) -> Steps:
    """Differences along time of the frames k - before … k + after around each interval k, k + 1.

    Args:
        frames: (B, T + before + after, C, H + 2, W + 2).
        spread: (B, T + before + after, C, H, W), local spread of each frame.
        before: 0 or 1.
        after: 1 or 2.
        floor: least size of a change.
    """
    step = frames[:, 1:] - frames[:, :-1]
    intervals = step.shape[1] - before - (after - 1)
    own = step[:, before : before + intervals]
    bends, outer = [], []
    if before:
        bends.append(own - step[:, :intervals])
        outer.append(step[:, :intervals])
    if after == 2:
        bends.append(step[:, before + 1 :] - own)
        outer.append(step[:, before + 1 :])
    energy = own * own
    for bend in bends:
        energy = energy + 0.5 * bend * bend
    size = torch.sqrt(_pooled(energy) + floor**2)
    around = spread[:, before : before + intervals] * spread[:, before + 1 : before + 1 + intervals]
    features = [crop_space(own, 1) / size, torch.log(size) - 0.5 * torch.log(around)]
    least = REPEATED * size * size
    # frames repeated at the ends of a series are marked: their differences say nothing
    features += [least / (least + _pooled(each * each)) for each in outer]
    features += [crop_space(bend, 1) / size for bend in bends]
    return Steps(size, torch.stack(features, dim=3), tuple(crop_space(bend, 1) for bend in bends))


def _pooled(x: Tensor) -> Tensor:
    pooled = F.avg_pool2d(x.flatten(0, 2)[:, None], 3, 1)
    return pooled.reshape(*x.shape[:3], *pooled.shape[2:])
