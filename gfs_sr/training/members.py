"""Members in validation: the random numbers that they are drawn from, and how they score."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gfs_sr.contract import NoiseDistribution, NoiseGrid
from gfs_sr.models.model import Model
from gfs_sr.training.distributed import gathered
from gfs_sr.training.supervised import Supervised


def noise_inputs(network: Model, coarse: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The random inputs of a network, by name, for a coarse field (B, T, C, H, W) with all that surrounds it."""
    facts = network.facts
    B, T, _, H, W = coarse.shape
    fine, many = facts.time_factor * T, facts.scale_factor**2
    drawn = {}
    for noise in network.noise:
        draw = torch.randn if noise.distribution is NoiseDistribution.NORMAL else torch.rand
        size = {
            NoiseGrid.COARSE: (B, T, noise.channels, H, W),
            NoiseGrid.FINE: (B, fine, noise.channels * many, H, W),
            NoiseGrid.SHARED: (B, fine, noise.channels, 1, 1),
        }[noise.grid]
        drawn[noise.graph_input] = draw(size, generator=generator).to(coarse.device)
    return drawn


def keyed(*key: int) -> torch.Generator:
    """Random numbers of a key: the same after a resume."""
    return torch.Generator().manual_seed(hash(key) & 0x7FFFFFFFFFFFFFFF)


class MemberScores:
    """Fair CRPS of members, and the error of their mean, over the steps of a validation; normalized units."""

    def __init__(self) -> None:
        self._counted: list[tuple[float, float, int]] = []

    def reset(self) -> None:
        """A fresh count."""
        self._counted = []

    def update(self, members: Tensor, truth: Tensor, mask: Tensor) -> None:
        """(M, B, T, C, H, W) members of the truth (B, T, C, H, W), where `mask` is set."""
        where = mask.bool().expand_as(truth)
        score = fair_crps(members, truth)[where].mean()
        error = (members.mean(dim=0) - truth).abs()[where].mean()
        self._counted.append((float(score), float(error), truth.shape[0]))

    def compute(self) -> dict[str, float]:
        """By name, over the steps of all processes; nothing where nothing was counted."""
        counted: Sequence[tuple[float, float, int]] = [each for part in gathered(self._counted) for each in part]
        total = sum(count for *_, count in counted)
        names = ("val/crps", "val/mae_of_mean")
        return {
            name: sum(each[place] * each[2] for each in counted) / total for place, name in enumerate(names) if total
        }


class Drawing(Supervised):
    """Training of a network that draws members: its validations log their scores beside loss and skill."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._crps = MemberScores()

    def on_validation_epoch_start(self) -> None:
        """A fresh count."""
        super().on_validation_epoch_start()
        self._crps.reset()

    def on_validation_epoch_end(self) -> None:
        """Beside loss and skill: fair CRPS of the members, and the error of their mean, normalized units."""
        super().on_validation_epoch_end()
        self.log_dict(self._crps.compute())


def fair_crps(members: Tensor, truth: Tensor) -> Tensor:
    """(M, ...) members and (...) truth -> (...), the fair estimate (Ferro 2014)."""
    count = members.shape[0]
    error = (members - truth).abs().mean(dim=0)
    ordered = members.sort(dim=0).values
    # the sum over pairs of |x - y| from the order: the k-th of M is larger than k - 1 and smaller than M - k
    rank = torch.arange(count, device=members.device, dtype=members.dtype).reshape(-1, *[1] * truth.dim())
    pairs = ((2 * rank + 1 - count) * ordered).sum(dim=0)
    return error - pairs / (count * (count - 1))
