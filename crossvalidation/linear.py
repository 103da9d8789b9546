"""`python -m crossvalidation.linear`: how much of what bicubic interpolation misses is linear in the coarse field.

The learned kernel of `geodiff`, 5 by 5 coarse cells to the fine ones of the middle, the same on every level, is fitted
in closed form and added to bicubic interpolation: to the very frames that are scored (no linear filter of that size
errs less there), to one half of them and scored on the other, and, as a training begins, to all sources that a
configuration trains on, every field by its own size. Whole frames are scored, up to the rim.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from crossvalidation.columns import ALL, BASELINE, Interpolated, Scorer, configured, read_sources
from crossvalidation.command import tabled, write_csv
from gfs_sr.errors import UsageError
from gfs_sr.models.geodiff import Geodiff
from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.learned_kernel import Kernel
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training import main as training

SIDE: Final = 5
ITSELF: Final = "the frames scored"
HALVES: Final = "the other half"
TRAINED: Final = "all sources trained on"

Sample = Mapping[str, Tensor]


@dataclass(frozen=True)
class KernelLine:
    """A kernel on one source."""

    source: str
    fitted_to: str
    frames: int  # that are scored
    rmse: float  # K, over all levels
    bicubic: float  # K
    ratio: float


class Bound:
    """Fits kernels to what bicubic interpolation misses, and scores them.

    Args:
        model: says levels, factors and units.
    """

    def __init__(self, model: Geodiff) -> None:
        self.scorer = Scorer(model)
        self.bicubic = Interpolated(BASELINE, self.scorer)

    def fitted(self, samples: Sequence[Sample]) -> Kernel:
        """The kernel of least error in kelvin over all frames, levels and cells, up to the rim."""
        s = self.scorer.scale_factor
        gram = torch.zeros(SIDE**2, SIDE**2, dtype=torch.float64)
        moment = torch.zeros(SIDE**2, s**2, dtype=torch.float64)
        for part in samples:
            coarse, missing = self._in_kelvin(part)
            around = F.unfold(pad_edges(coarse, Reach.space(SIDE // 2)).flatten(0, 2)[:, None], SIDE)
            X = (around - around.mean(dim=1, keepdim=True)).transpose(1, 2).flatten(0, 1)
            Y = F.pixel_unshuffle(missing.flatten(0, 2)[:, None], s).permute(0, 2, 3, 1).flatten(0, 2)
            gram += X.T @ X
            moment += X.T @ Y
        kernel = Kernel(SIDE, s)
        with torch.no_grad():
            # without a mean, one direction is free: the least weights of all that fit equally
            found = torch.linalg.lstsq(gram, moment, driver="gelsd").solution
            kernel.weight.copy_(found.T.reshape(kernel.weight.shape))
        return kernel

    def begun(self, samples: Sequence[Sample]) -> Kernel:
        """The kernel with which a training on them begins: every field counts by its own size."""
        kernel = Kernel(SIDE, self.scorer.scale_factor)
        kernel.fit((*self._in_kelvin(part), part["mask"]) for part in samples)
        return kernel

    def errors(self, samples: Sequence[Sample], kernel: Kernel) -> tuple[Tensor, Tensor]:
        """Mean squares in kelvin², of the kernel's fields and of bicubic ones, by frame."""
        found = []
        for part in samples:
            coarse, missing = self._in_kelvin(part)
            with torch.no_grad():
                left = missing - kernel(coarse.float()).double()
            found.append([each.square().mean() for each in (left, missing)])
        sums = torch.tensor(found)
        return sums[:, 0], sums[:, 1]

    def lines(self, name: str, samples: Sequence[Sample], trained: Kernel) -> Iterator[KernelLine]:
        """Of one source; a single frame has no halves."""
        yield self._line(name, ITSELF, *self.errors(samples, self.fitted(samples)))
        half = len(samples) // 2
        if half:
            parts = [samples[:half], samples[half:]]
            crossed = [self.errors(parts[k], self.fitted(parts[1 - k])) for k in (0, 1)]
            yield self._line(name, HALVES, *(torch.cat(each) for each in zip(*crossed, strict=True)))
        yield self._line(name, TRAINED, *self.errors(samples, trained))

    def _in_kelvin(self, part: Sample) -> tuple[Tensor, Tensor]:
        """Coarse fields (1, 1, D, H, W), and what bicubic interpolation misses, (1, 1, D, s·H, s·W)."""
        kelvin = self.scorer.physics.temperature
        missing = kelvin(part["fine"]) - kelvin(self.bicubic(part)[0])
        return kelvin(part["coarse"][:, :, : self.bicubic.levels]).double(), missing.double()

    def _line(self, source: str, fitted_to: str, own: Tensor, plain: Tensor) -> KernelLine:
        rmse, bicubic = float(own.mean().sqrt()), float(plain.mean().sqrt())
        return KernelLine(source, fitted_to, len(own), _rounded(rmse), _rounded(bicubic), _rounded(rmse / bicubic))


def table(lines: Sequence[KernelLine]) -> str:
    """Markdown: ratios to bicubic interpolation over all levels, a row for each source."""
    kinds = [ITSELF, HALVES, TRAINED]
    ratios = {(line.source, line.fitted_to): line.ratio for line in lines}
    rows = [f"| {ALL}: kernel fitted to | {' | '.join(kinds)} |", "|" + " --- |" * (1 + len(kinds))]
    for source in dict.fromkeys(line.source for line in lines):
        shown = (f"{ratios[source, kind]:.2f}" if (source, kind) in ratios else "" for kind in kinds)
        rows.append(f"| {source} | {' | '.join(shown)} |")
    return "\n".join(rows) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.linear", description=__doc__)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True, help="of a geodiff")
    parser.add_argument("--folder", type=Path, default=None, help="of the data; default the configuration's")
    parser.add_argument("--sources", nargs="+", required=True, help="of the configuration, or NAME=FILE")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV; its table is written beside it, .md")
    asked = parser.parse_args(argv)

    def score() -> str:
        command = training.parse([*configured(asked.config, asked.folder), "--output=."])
        model, data = command.model.network, command.datamodule
        if not isinstance(model, Geodiff):
            raise UsageError("the configuration trains no geodiff", "--config", "give one of its family")
        bound = Bound(model)
        kept_back = {*data.validation, *data.leave_out}
        learned = list(dict.fromkeys(each.name for each in data.sources if each.name not in kept_back))
        sets = read_sources(asked.config, asked.folder, [*learned, *asked.sources])
        samples = {
            name: [part for each in found for part in bound.scorer.samples(each)] for name, found in sets.items()
        }
        trained = bound.begun([part for name in learned for part in samples[name]])
        wanted = (text.partition("=")[0] for text in asked.sources)
        lines = [line for name in wanted for line in bound.lines(name, samples[name], trained)]
        write_csv(KernelLine, lines, asked.output)
        return table(lines)

    return tabled(score, asked.output)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


if __name__ == "__main__":
    sys.exit(main())
