"""Losses of frames against their neighbours in time."""

from torch import Tensor

from gfs_sr.training.losses.masked import difference_mean, masked_mean


def temporal_coherence(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean |d_t p - d_t y| where both frames are valid; 0 for a single frame."""
    change = prediction.diff(dim=1) - target.diff(dim=1)
    return difference_mean(change.abs(), mask, area, dim=1)


def bend(
    before: Tensor,
    between: Tensor,
    after: Tensor,
    fraction: float | Tensor,
    mask: Tensor,
    area: Tensor | None = None,
) -> Tensor:
    """Mean |(A - X₀)/θ - (X₁ - A)/(1 - θ)|: the second difference in time on an uneven grid; 0 on a straight line.

    Args:
        before: X₀, (B, T, C, H, W).
        between: A, the field at fraction θ between the others.
        after: X₁.
        fraction: θ between 0 and 1, broadcastable to the fields.
        mask: 1 where all three count.
        area: weights of the cells.

    Source: specification of the self-supervised family, section 3.4.
    """
    return masked_mean(((between - before) / fraction - (after - between) / (1 - fraction)).abs(), mask, area)


def smooth_in_time(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """`bend` of every three consecutive frames, which are evenly spaced; the target has no part. 0 below 3 frames."""
    frames = prediction.shape[1]
    if frames < 3:
        return prediction.sum() * 0.0
    whole = mask[:, 2:] * mask[:, 1:-1] * mask[:, :-2]
    if area is not None:
        area = area.expand_as(mask)[:, 1:-1]
    return bend(prediction[:, :-2], prediction[:, 1:-1], prediction[:, 2:], 0.5, whole, area)
