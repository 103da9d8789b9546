"""How far a network sees: each layer declares its reach, a chain adds them up, a gradient probe checks the sum."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gfs_sr.contract import Halo


@dataclass(frozen=True)
class Reach:
    """Coarse frames and cells on each side that one layer reads beyond the cell it computes."""

    before: int = 0
    after: int = 0
    north: int = 0
    south: int = 0
    west: int = 0
    east: int = 0

    @classmethod
    def space(cls, cells: int) -> "Reach":
        """The same number of cells on every side, no frames."""
        return cls(north=cells, south=cells, west=cells, east=cells)

    @classmethod
    def time(cls, frames: int) -> "Reach":
        """The same number of frames before and after, no cells."""
        return cls(before=frames, after=frames)

    @classmethod
    def fine(cls, cells: int, scale_factor: int) -> "Reach":
        """`cells` fine cells on every side: they touch this many coarse ones."""
        return cls.space(math.ceil(cells / scale_factor))

    def __add__(self, other: "Reach") -> "Reach":
        """One layer after the other."""
        return Reach(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: "Reach") -> "Reach":
        """What is left of this margin when `other` has been used up."""
        return Reach(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))

    def __or__(self, other: "Reach") -> "Reach":
        """Branches side by side: the larger of the two on each side."""
        return Reach(*(max(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)))

    def halo(self) -> Halo:
        """As the contract says it."""
        return Halo(**{each.name: getattr(self, each.name) for each in fields(self)})


def chain(reaches: Iterable[Reach]) -> Reach:
    """Layers one after the other."""
    return sum(reaches, Reach())


def crop(x: Tensor, margin: Reach) -> Tensor:
    """(B, T, C, H, W) -> without `margin`: what a parallel branch of that reach has left of its input."""
    for axis, before, after in (
        (1, margin.before, margin.after),
        (3, margin.north, margin.south),
        (4, margin.west, margin.east),
    ):
        if before or after:  # an end counted from the end: a traced graph needs no shapes for it
            x = x[(slice(None),) * axis + (slice(before, -after or None),)]
    return x


def probe(
    forward: Callable[[Tensor], Tensor], coarse: Tensor, halo: Reach, scale_factor: int, time_factor: int
) -> Reach:
    """The reach that gradients show: how far from its own coarse cell an output cell is moved.

    Args:
        forward: the network, other inputs bound.
        coarse: (B, T, C, H, W) with the halo; its core must be one frame of one cell.
        halo: what the network declares.
        scale_factor: s.
        time_factor: r.

    Returns:
        The reach of the outputs of that one cell together. Dead units hide reach: give weights of one sign.
    """
    probed = coarse.detach().clone().requires_grad_()
    fine = forward(probed)
    if fine.shape[1] != time_factor or fine.shape[3:] != (scale_factor, scale_factor):
        raise ValueError(f"the core must be one frame of one cell, the output is {tuple(fine.shape)}")
    (gradient,) = torch.autograd.grad(fine.sum(), probed)
    seen = gradient.abs().sum(dim=(0, 2)) > 0  # (T, H, W)
    sides = []
    for axis, origin in ((0, halo.before), (1, halo.north), (2, halo.west)):
        others = tuple(each for each in range(3) if each != axis)
        index = seen.sum(dim=others).nonzero().flatten()
        sides += [origin - int(index.min()), int(index.max()) - origin]
    return Reach(*sides)
