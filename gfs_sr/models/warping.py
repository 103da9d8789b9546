"""Motion: fields sampled where flows point, and flows between two frames at any time between them.

Flows are (..., 2, H, W) in grid cells, southward (dy) then eastward (dx). Everything here is fp32: coordinates of large
fields would be lost in half precision.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(field: Tensor, flows: Tensor, margin: int = 0) -> Tensor:
    """The field at (y + flow_y, x + flow_x) by bilinear sampling; beyond its edges the edge value.

    Args:
        field: (N, C, H + 2·margin, W + 2·margin).
        flows: (N, M, 2, H, W), M flows of the cells inside the margin.
        margin: cells of the field around those of the flows. Flows no longer than it never see the edge rule.

    Returns:
        (N, M, C, H, W).

    Source: Jaderberg et al. 2015 (NIPS 28); exported as ONNX GridSample.
    """
    N, M, _, H, W = flows.shape
    # one more flow, of nothing: what rounded coordinates make of the field at rest is known, and taken away from all
    flows = torch.cat([flows, torch.zeros_like(flows[:, :1])], dim=1)
    rows = torch.arange(H, dtype=field.dtype, device=field.device)[:, None] + margin
    columns = torch.arange(W, dtype=field.dtype, device=field.device) + margin
    # -1 … 1 between the centers of the outermost cells; where there is one alone, nothing is left to choose
    south = (rows + flows[:, :, 0]) * _per_cell(field.shape[-2]) - 1
    east = (columns + flows[:, :, 1]) * _per_cell(field.shape[-1]) - 1
    places = torch.stack([east, south], dim=-1).flatten(1, 2)  # below each other: no copy of the field
    sampled = F.grid_sample(field, places, mode="bilinear", padding_mode="border", align_corners=True)
    sampled = sampled.reshape(N, -1, M + 1, H, W).transpose(1, 2)
    rest = field[..., margin:-margin, margin:-margin] if margin else field
    return rest[:, None] + (sampled[:, :-1] - sampled[:, -1:])


def flows_at(forward: Tensor, backward: Tensor, fraction: Tensor) -> tuple[Tensor, Tensor]:
    """Flows from time t between two frames to either of them.

    F(t→0) = -(1 - t)·t·u_f + t²·u_b, F(t→1) = (1 - t)²·u_f - t·(1 - t)·u_b.

    Args:
        forward: u_f, flow from the frame before to the one after.
        backward: u_b, the way back.
        fraction: t, broadcastable to them.

    Source: Jiang et al. 2018 (Super SloMo, CVPR), section 3.2.
    """
    rest = 1 - fraction
    to_before = fraction * fraction * backward - rest * fraction * forward
    to_after = rest * rest * forward - fraction * rest * backward
    return to_before, to_after


def bounded(flow: Tensor, largest: float) -> Tensor:
    """A flow none of whose components is longer than `largest` cells: L·tanh(u / L)."""
    return largest * torch.tanh(flow / largest)


def fused_views(before: Tensor, after: Tensor, visible: Tensor, fraction: Tensor) -> Tensor:
    """[(1 - t)·V·before + t·(1 - V)·after] / [(1 - t)·V + t·(1 - V)]: one view alone at t = 0 and at t = 1.

    Args:
        before: the view from the frame before, at time t.
        after: the view from the frame after.
        visible: V, between 0 and 1: how far the first frame shows what is there; broadcastable.
        fraction: t, broadcastable.
    """
    first, second = (1 - fraction) * visible, fraction * (1 - visible)
    return (first * before + second * after) / (first + second)


def agreement(forward: Tensor, backward: Tensor, margin: int) -> Tensor:
    """1 where a flow and the way back end near where they began, 0 where they do not: hidden in the other frame.

    |u_f(x) + u_b(x + u_f(x))|² < 0.01·(|u_f(x)|² + |u_b(x + u_f(x))|²) + 0.5

    Args:
        forward: (N, 2, H + 2·margin, W + 2·margin).
        backward: the same shape.
        margin: cells that are used up; flows no longer than it stay inside.

    Returns:
        (N, 1, H, W).

    Source: Sundaram, Brox & Keutzer 2010 (ECCV), section 4.
    """
    inner = slice(margin, -margin or None)
    there = forward[..., inner, inner]
    back = warp(backward, there[:, None], margin)[:, 0]
    gap = (there + back).square().sum(dim=1, keepdim=True)
    size = (there.square() + back.square()).sum(dim=1, keepdim=True)
    return (gap < 0.01 * size + 0.5).to(forward.dtype)


def seen_from_first(forward: Tensor, backward: Tensor, margin: int) -> Tensor:
    """(N, 1, H, W) V of `fused_views` from the flows alone: 1/2 where both frames show a place, or neither does."""
    least = 1e-3  # a view that nothing else replaces is kept
    first = agreement(forward, backward, margin) + least
    second = agreement(backward, forward, margin) + least
    return first / (first + second)


def _per_cell(size: int) -> float | Tensor:
    return 2.0 / max(size - 1, 1)
