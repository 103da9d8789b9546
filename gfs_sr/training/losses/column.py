"""Losses of columns of temperature: static stability, gradients, and how both hang together.

Unlike the other losses, they take physical units: (B, T, D, H, W) in K on D levels of falling pressure. Each is scaled,
so that 1 is a typical size of what it compares. Levels without a valid target have no part; with one level alone there
is no column, and what needs one is 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gfs_sr.models.column_physics import on_levels, stability
from gfs_sr.training.losses.masked import difference_mean, masked_mean

LEAST_SCALE = 1e-12


@dataclass(frozen=True, eq=False)
class Column:
    """Levels, and typical sizes per level of what the losses compare."""

    pressure: Tensor  # (D, 1, 1), Pa
    slopes: Tensor  # (D, D), of `pressure_slopes`
    stability: Tensor  # (D, 1, 1), K/Pa
    gradient: Tensor  # (D, 1, 1), K per cell
    shear: Tensor  # (D, 1, 1), K/Pa per cell

    @property
    def is_one(self) -> bool:
        """Whether there is one level alone."""
        return self.pressure.shape[0] == 1

    @classmethod
    def measured(cls, pressure: Tensor, slopes: Tensor, truth: Tensor, mask: Tensor) -> "Column":
        """With the sizes that a true field (B, T, D, H, W), K, has."""
        each = _each_level(truth, mask)
        shear = on_levels(slopes, truth)
        whole = _whole(mask)
        sizes = [
            _spread(stability(truth, slopes, pressure), whole),
            torch.stack([_size(part.diff(dim=dim), _pairs(count, dim)) for part, count in each for dim in (-1, -2)]),
            torch.stack([_size(shear[:, :, k : k + 1].diff(dim=dim), _pairs(whole, dim))
                         for k in range(pressure.shape[0]) for dim in (-1, -2)]),
        ]  # fmt: skip
        both = [each.reshape(-1, 2).square().mean(dim=1).sqrt() for each in sizes[1:]]
        scales = (each.clamp(min=LEAST_SCALE).reshape(-1, 1, 1) for each in (sizes[0], *both))
        return cls(pressure, slopes, *scales)


def stability_error(prediction: Tensor, target: Tensor, mask: Tensor, column: Column) -> Tensor:
    """Mean |sigma(p) - sigma(y)| + mean max(0, -sigma(p)): the air that overturns costs more."""
    if column.is_one:
        return prediction.new_zeros(())
    guess, truth = (stability(each, column.slopes, column.pressure) for each in (prediction, target))
    values = ((guess - truth).abs() + torch.relu(-guess)) / column.stability
    return masked_mean(values, _whole(mask).expand_as(values))


def gradient_error(prediction: Tensor, target: Tensor, mask: Tensor, column: Column) -> Tensor:
    """Mean |d_x p - d_x y| + mean |d_y p - d_y y| over pairs of valid neighbours."""
    error = (prediction - target) / column.gradient
    return difference_mean(error.diff(dim=-1).abs(), mask, None, -1) + difference_mean(
        error.diff(dim=-2).abs(), mask, None, -2
    )


def coupling_error(
    prediction: Tensor, target: Tensor, mask: Tensor, column: Column, omega: Tensor | None = None
) -> Tensor:
    """Mean |d_p grad p - d_p grad y|, and mean |omega (sigma(p) - sigma(y))| where vertical motion is known.

    Args:
        prediction: (B, T, D, H, W), K.
        target: the same shape.
        mask: the same shape, 1 where the target counts.
        column: levels and sizes.
        omega: the same shape, in units of its typical size.
    """
    if column.is_one:
        return prediction.new_zeros(())
    error = prediction - target
    whole = _whole(mask).expand_as(error)
    shear = on_levels(column.slopes, error) / column.shear
    total = difference_mean(shear.diff(dim=-1).abs(), whole, None, -1)
    total = total + difference_mean(shear.diff(dim=-2).abs(), whole, None, -2)
    if omega is not None:
        moved = omega * stability(error, column.slopes, column.pressure) / column.stability
        total = total + masked_mean(moved.abs(), whole)
    return total


def _whole(mask: Tensor) -> Tensor:
    """(B, T, 1, H, W): 1 where every level counts."""
    return mask.amin(dim=2, keepdim=True)


def _each_level(fields: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(fields[:, :, k : k + 1], mask[:, :, k : k + 1]) for k in range(fields.shape[2])]


def _pairs(mask: Tensor, dim: int) -> Tensor:
    size = mask.shape[dim] - 1
    return mask.narrow(dim, 1, size) * mask.narrow(dim, 0, size)


def _size(values: Tensor, counts: Tensor) -> Tensor:
    return ((values.square() * counts).sum() / counts.sum().clamp(min=1)).sqrt()


def _spread(values: Tensor, counts: Tensor) -> Tensor:
    """(D,) standard deviation per level."""
    weight = counts.expand_as(values)
    total = weight.sum(dim=(0, 1, 3, 4)).clamp(min=1)
    mean = (values * weight).sum(dim=(0, 1, 3, 4)) / total
    off = (values - mean[:, None, None]).square() * weight
    return (off.sum(dim=(0, 1, 3, 4)) / total).sqrt()
