"""`python -m crossvalidation.dressed FINE... --model DIR -o OUT.csv`: members against one forecast with fitted noise.

The rival is the deterministic model's field dressed with Gaussian noise that is independent in every cell. Its size is
fitted, by variable, to the very truth that both are scored on: no real forecast could know it, so this flatters it.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import GfsSrError, UsageError
from gfs_sr.metrics.ensemble import crps, energy_score
from gfs_sr.metrics.registry import score as metrics
from gfs_sr.metrics.scene import Scene
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler

Values = npt.NDArray[Any]

POOLS: Final = (1, 4, 16)  # cells on a side
SIZES: Final = np.geomspace(0.05, 5.0, 47)  # of the noise, in errors of the field, among which the fit chooses


@dataclass(frozen=True)
class Line:
    """One variable at one pooling scale."""

    variable: str
    pool: int
    frames: int
    members: int
    crps: float  # fair, units of the variable
    crps_dressed: float
    energy: float
    energy_dressed: float
    ralsd: float  # dB, of each member's spectrum from the truth's; of cells as they are alone, else no number
    ralsd_field: float  # of the deterministic field's, before noise

    @property
    def ratio(self) -> float:
        """Below 1 the members are better."""
        return self.crps / self.crps_dressed


def dress(field: Values, truth: Values, members: int, seed: int) -> Values:
    """(M, ...) of `field` with the Gaussian noise whose members have the least fair CRPS."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((members, *np.shape(field)))
    error = float(np.sqrt(np.mean((field - truth) ** 2)))
    scores = [float(crps(field + size * error * noise, truth).mean()) for size in SIZES]
    best: Values = field + SIZES[int(np.argmin(scores))] * error * noise
    return best


def pooled(fields: Values, size: int) -> Values:
    """(..., H, W) -> means over size by size cells; what fills no block is left out."""
    height, width = (length // size for length in fields.shape[-2:])
    cut = fields[..., : height * size, : width * size]
    means: Values = cut.reshape(*cut.shape[:-2], height, size, width, size).mean(axis=(-3, -1))
    return means


def compare(variable: str, members: Values, field: Values, truth: Values, seed: int) -> Iterator[Line]:
    """Members (M, T, H, W) and one field (T, H, W) against the truth (T, H, W), at every scale that has room."""
    rival = dress(field, truth, members.shape[0], seed)
    for size in POOLS:
        if min(truth.shape[-2:]) < size:
            continue
        x, dressed, y = (pooled(each, size) for each in (members, rival, truth))
        rough = [roughness(each, truth) if size == 1 else np.nan for each in (members, field)]
        energies = [np.mean([energy_score(each[:, t], y[t]) for t in range(y.shape[0])]) for each in (x, dressed)]
        yield Line(
            variable, size, y.shape[0], x.shape[0], float(crps(x, y).mean()), float(crps(dressed, y).mean()),
            float(energies[0]), float(energies[1]), float(rough[0]), float(rough[1]),
        )  # fmt: skip


def roughness(fields: Values, truth: Values) -> float:
    """([M,] T, H, W) against (T, H, W) -> the distance of their spectra, dB; the mean over members and frames."""
    scene = Scene(fields, truth, None, 1.0)
    return float(metrics(["RALSD"], scene)["RALSD"])


def score(fine: Forecast, drawing: Upscaler, deterministic: Upscaler, members: int, seed: int) -> list[Line]:
    """The fine forecast is coarsened as the drawing model was trained, drawn by the one and refined by the other.

    Raises:
        UsageError: a model that draws no members, or two models of different refinement.
    """
    contract, other = drawing.contract, deterministic.contract
    if not contract.stochastic or members < 2:
        raise UsageError("an ensemble has two members at least", "--model, --members", "name a model that draws them")
    if (contract.scale_factor, contract.registration) != (other.scale_factor, other.registration):
        raise UsageError(f"{contract.name} and {other.name} refine differently", "--against", "name a model alike")
    coarse = coarsen(fine, Coarsening(contract.registration, contract.scale_factor, time_factor=1))
    drawn = drawing.upscale_forecast(coarse, Request(members=members, seed=seed))
    with deterministic.frames_alone() as frames:
        refined = frames.upscale_forecast(coarse, Request(variables=drawn.variables))
    rows, columns = drawn.grid.shape
    truth = fine.select(drawn.variables).load()[:, :, :rows, :columns]
    return [
        line
        for channel, name in enumerate(drawn.variables)
        for line in compare(name, drawn.members[:, :, channel], refined.values[:, channel], truth[:, channel], seed)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.dressed", description=__doc__)
    parser.add_argument(
        "fine", nargs="+", type=Path, help="One fine forecast, of a region that no model was trained on."
    )
    parser.add_argument("--model", required=True, help="Artifact that draws members.")
    parser.add_argument("--against", default="fused-node", help="Deterministic artifact or bundled model.")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, help="Of the forecast's first ones; default all.")
    parser.add_argument("--threads", type=int, help="Threads that compute; default all cores.")
    parser.add_argument("-o", "--output", required=True, type=Path)
    given = parser.parse_args(arguments)
    try:
        fine = open_forecast(given.fine)
        fine = fine.isel_time(slice(0, given.frames))
        with (
            Upscaler.open(given.model, threads=given.threads) as drawing,
            Upscaler.open(given.against, threads=given.threads) as deterministic,
        ):
            lines = score(fine, drawing, deterministic, given.members, given.seed)
    except GfsSrError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    names = ["variable", "pool", "frames", "members", "crps", "crps_dressed", "ratio", "energy", "energy_dressed",
             "ralsd", "ralsd_field"]  # fmt: skip
    with given.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(line, name) for name in names] for line in lines)
    for line in lines:
        sys.stdout.write(
            f"{line.variable} pool {line.pool}: fair CRPS {line.crps:.4g} against {line.crps_dressed:.4g} "
            f"({line.ratio:.3f}), energy score {line.energy:.4g} against {line.energy_dressed:.4g}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
