"""Skill on validation samples: against the best interpolation of every variable, plain and sharpened."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from gfs_sr.contract import Skill
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import VARIABLES
from gfs_sr.models.interpolation import Interpolation, pad_edges
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.distributed import gathered

# fitted on real fields (specification section 2.6 names the range): what sharpening before each kernel pays most
AMOUNTS: Final = {
    Registration.NODE: {"bilinear": 0.26, "bicubic": 0.2},
    Registration.CELL: {"bilinear": 0.18, "bicubic": 0.08},
}


class SkillMeter:
    """Adds up squared errors per variable: of the network and of every baseline, on the same cells."""

    def __init__(self, scale_factor: int, time_factor: int, registration: Registration) -> None:
        self.registration = registration
        self.baselines: dict[tuple[str, bool], Interpolation] = {}
        for space in ("bilinear", "bicubic"):
            for time in ("linear", "catmull_rom") if time_factor > 1 else ("linear",):
                for amount in (0.0, AMOUNTS[registration][space]):
                    layer = Interpolation(scale_factor, time_factor, registration, space, time, amount)
                    self.baselines[f"{space}/{time}", amount > 0] = layer
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._squares: dict[str, defaultdict[object, float]] = {}
        self._count: defaultdict[str, float] = defaultdict(float)

    @property
    def reach(self) -> Reach:
        """Of the widest baseline."""
        reach = Reach()
        for layer in self.baselines.values():
            reach = reach | layer.reach
        return reach

    def update(
        self,
        prediction: Tensor,
        batch: Mapping[str, Tensor],
        margin: Reach,
        names: list[list[str]],
    ) -> None:
        """Count one batch.

        Args:
            prediction: (B, T, C, H, W).
            batch: its `coarse` with `margin` around the core, `fine`, `mask`, and `area` where cells are weighed.
            margin: of the coarse input.
            names: per sample, per channel: the variable.
        """
        truth, mask = batch["fine"], batch["mask"].float()
        if "area" in batch:
            mask = mask * batch["area"]
        outputs: dict[object, Tensor] = {None: prediction}
        # a network that pads by itself is given less context than a baseline reads: both see the edge continued
        have = margin | self.reach
        given = batch["coarse"][:, :, : truth.shape[2]]  # what else a network takes in comes after
        coarse = pad_edges(given.float(), have - margin)
        for key, layer in self.baselines.items():
            outputs[key] = layer.to(truth.device).within(coarse, have)
        for which, output in outputs.items():
            if output.shape != truth.shape:  # fractions drawn at random: no fixed factor interpolates to them
                continue
            squares = ((output.float() - truth) ** 2 * mask).sum(dim=(1, 3, 4))
            for sample, channels in enumerate(names):
                for channel, name in enumerate(channels):
                    self._squares.setdefault(name, defaultdict(float))[which] += float(squares[sample, channel])
        for sample, channels in enumerate(names):
            for channel, name in enumerate(channels):
                self._count[name] += float(mask[sample, :, channel].sum())

    def compute(self, data: str) -> tuple[Skill, ...]:
        """A line per variable that was seen, by whichever process."""
        lines = []
        every_rank = gathered((self._squares, self._count))
        seen = {name for squares, _ in every_rank for name in squares}
        for name in sorted(seen):
            squares: defaultdict[object, float] = defaultdict(float)
            for part, _ in every_rank:
                for key, value in part.get(name, {}).items():
                    squares[key] += value
            own = squares[None] ** 0.5
            plain = {key: value for key, value in squares.items() if isinstance(key, tuple) and not key[1]}
            every = {key: value for key, value in squares.items() if isinstance(key, tuple)}
            if not plain or not any(count.get(name) for _, count in every_rank):
                continue
            best = min(plain, key=lambda key: plain[key])
            best_all = min(every.values())
            lines.append(
                Skill(
                    data=data,
                    variable=name,
                    skill=1 - own / max(plain[best] ** 0.5, 1e-12),
                    skill_sharpened=1 - own / max(best_all**0.5, 1e-12),
                    best_baseline=str(best[0]),
                )
            )
        return tuple(lines)


def names_of(batch: Mapping[str, Tensor], variables: tuple[str, ...]) -> list[list[str]]:
    """Per sample and channel: the variable."""
    if "variable" not in batch:
        return [list(variables)] * batch["coarse"].shape[0]
    table = list(VARIABLES)
    return [[table[int(each)] for each in sample.reshape(-1)] for sample in batch["variable"]]
