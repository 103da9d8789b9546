"""Means over the cells that count."""

from torch import Tensor

from gfs_sr.training.distributed import parts, summed

MASK_EPSILON = 1e-6  # a batch without a valid cell has loss 0, not NaN


def masked_mean(values: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean over the cells where `mask` (of the same shape, 0 or 1) is 1, weighted by `area` (broadcastable).

    Where a batch lies on several processes, this one's share of the mean: the average of the shares is the mean.
    """
    weight = mask if area is None else mask * area
    return parts() * (values * weight).sum() / (summed(weight.sum()) + MASK_EPSILON)


def difference_mean(values: Tensor, mask: Tensor, area: Tensor | None, dim: int) -> Tensor:
    """Mean of `values`, which belong to neighbours along `dim`, over those pairs of which both cells count.

    Args:
        values: one shorter along `dim` than the fields.
        mask: of the fields.
        area: of the fields, broadcastable to them; a pair has the mean of its two.
        dim: the axis.
    """
    pairs = _later(mask, dim) * _earlier(mask, dim)
    if area is not None:
        area = area.expand_as(mask)
        area = (_later(area, dim) + _earlier(area, dim)) / 2
    return masked_mean(values, pairs, area)


def plane_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(..., H, W) -> (..., 1, 1): mean over the valid cells of each field; 0 where there is none."""
    total = (values * mask).sum(dim=(-2, -1), keepdim=True)
    return total / mask.sum(dim=(-2, -1), keepdim=True).clamp(min=MASK_EPSILON)


def _later(fields: Tensor, dim: int) -> Tensor:
    return fields.narrow(dim, 1, fields.shape[dim] - 1)


def _earlier(fields: Tensor, dim: int) -> Tensor:
    return fields.narrow(dim, 0, fields.shape[dim] - 1)
