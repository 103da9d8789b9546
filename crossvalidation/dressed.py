"""`python -m crossvalidation.dressed FINE... --model DIR -o OUT.csv`: members against one forecast with fitted noise.

The rival is the deterministic model's field dressed with Gaussian noise that is independent in every cell. Its size is
fitted, by variable, to the very truth that both are scored on: no real forecast could know it, so this flatters it.
With `--packed` there is a second rival, whose noise is fitted as a user could fit it: on what the same model leaves on
the sources of a packed training set.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crossvalidation.command import write_csv
from crossvalidation.rival import SIZES, dress, fitted_sizes
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import GfsSrError, UsageError
from gfs_sr.metrics.ensemble import crps, energy_score
from gfs_sr.metrics.registry import score as metrics
from gfs_sr.metrics.scene import Scene
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.training.field_set import FieldSet, read_packed

Values = npt.NDArray[Any]

POOLS: Final = (1, 4, 16)  # cells on a side


@dataclass(frozen=True)
class Line:
    """One variable at one pooling scale."""

    variable: str
    pool: int
    frames: int
    members: int
    crps: float  # fair, units of the variable
    crps_dressed: float  # of the field with noise fitted to this truth
    crps_user: float  # with noise fitted to other sources; no number where none has the variable
    energy: float
    energy_dressed: float
    energy_user: float
    noise: float  # standard deviation of the one, units of the variable
    noise_user: float  # and of the other
    ralsd: float  # dB, of each member's spectrum from the truth's; of cells as they are alone, else no number
    ralsd_field: float  # of the deterministic field's, before noise

    @property
    def ratio(self) -> float:
        """Below 1 the members are better than the rival that knows the truth."""
        return self.crps / self.crps_dressed

    @property
    def ratio_user(self) -> float:
        """Below 1 they are better than the one that could be had."""
        return self.crps / self.crps_user


def best_size(field: Values, truth: Values, members: int, seed: int) -> float:
    """Standard deviation of the noise whose members have the least fair CRPS against this truth."""
    error = float(np.sqrt(np.mean((field - truth) ** 2)))
    scores = [float(crps(dress(field, size * error, members, seed), truth).mean()) for size in SIZES]
    return float(SIZES[int(np.argmin(scores))]) * error


def pooled(fields: Values, size: int) -> Values:
    """(..., H, W) -> means over size by size cells; what fills no block is left out."""
    height, width = (length // size for length in fields.shape[-2:])
    cut = fields[..., : height * size, : width * size]
    means: Values = cut.reshape(*cut.shape[:-2], height, size, width, size).mean(axis=(-3, -1))
    return means


def compare(
    variable: str, members: Values, field: Values, truth: Values, seed: int, noise_user: float = math.nan
) -> Iterator[Line]:
    """Members (M, T, H, W) and one field (T, H, W) against the truth (T, H, W), at every scale that has room."""
    noise = best_size(field, truth, members.shape[0], seed)
    rivals = [dress(field, size, members.shape[0], seed) for size in (noise, noise_user)]
    for size in POOLS:
        if min(truth.shape[-2:]) < size:
            continue
        x, dressed, user, y = (pooled(each, size) for each in (members, *rivals, truth))
        rough = [roughness(each, truth) if size == 1 else np.nan for each in (members, field)]
        scores = [float(crps(each, y).mean()) for each in (x, dressed, user)]
        energies = [_energy(each, y) for each in (x, dressed, user)]
        yield Line(
            variable=variable, pool=size, frames=y.shape[0], members=x.shape[0],
            crps=scores[0], crps_dressed=scores[1], crps_user=scores[2],
            energy=energies[0], energy_dressed=energies[1], energy_user=energies[2],
            noise=noise, noise_user=noise_user, ralsd=rough[0], ralsd_field=rough[1],
        )  # fmt: skip


def _energy(fields: Values, truth: Values) -> float:
    return float(np.mean([energy_score(fields[:, t], truth[t]) for t in range(truth.shape[0])]))


def roughness(fields: Values, truth: Values) -> float:
    """([M,] T, H, W) against (T, H, W) -> the distance of their spectra, dB; the mean over members and frames."""
    scene = Scene(fields, truth, None, 1.0)
    return float(metrics(["RALSD"], scene)["RALSD"])


def score(
    fine: Forecast,
    drawing: Upscaler,
    deterministic: Upscaler,
    members: int,
    seed: int,
    noise_user: Mapping[str, float] | None = None,
) -> list[Line]:
    """The fine forecast is coarsened as the drawing model was trained, drawn by the one and refined by the other.

    Args:
        fine: of a region that no model was trained on.
        drawing: draws members.
        deterministic: refines as it does, by one field.
        members: 2 or more.
        seed: of members and of noise.
        noise_user: by variable, the noise that was fitted elsewhere.

    Raises:
        UsageError: a model that draws no members, or two models of different refinement.
    """
    contract, other = drawing.contract, deterministic.contract
    if not contract.stochastic or members < 2:
        raise UsageError("an ensemble has two members at least", "--model, --members", "name a model that draws them")
    if (contract.scale_factor, contract.registration) != (other.scale_factor, other.registration):
        raise UsageError(f"{contract.name} and {other.name} refine differently", "--against", "name a model alike")
    coarse = coarsen(fine, Coarsening(contract.registration, contract.scale_factor, time_factor=1, crop=True))
    drawn = drawing.upscale_forecast(coarse, Request(members=members, seed=seed))
    with deterministic.frames_alone() as frames:
        refined = frames.upscale_forecast(coarse, Request(variables=drawn.variables))
    rows, columns = drawn.grid.shape
    truth = fine.select(drawn.variables).load()[:, :, :rows, :columns]
    return [
        line
        for channel, name in enumerate(drawn.variables)
        for line in compare(
            name, drawn.members[:, :, channel], refined.values[:, channel], truth[:, channel], seed,
            (noise_user or {}).get(name, math.nan),
        )
    ]  # fmt: skip


def training_sets(packed: Path, without: Sequence[str]) -> list[FieldSet]:
    """Of a packed set, but for the sources `without`.

    Raises:
        UsageError: a source that is not in it.
    """
    sets, _ = read_packed(packed)
    known = sorted({each.source for each in sets})
    unknown = sorted(set(without) - set(known))
    if unknown:
        raise UsageError(f"no source {', '.join(unknown)}", "--without", f"use: {', '.join(known)}")
    return [each for each in sets if each.source not in without]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.dressed", description=__doc__)
    parser.add_argument(
        "fine", nargs="+", type=Path, help="One fine forecast, of a region that no model was trained on."
    )
    parser.add_argument("--model", required=True, help="Artifact that draws members.")
    parser.add_argument("--against", default="fused-node", help="Deterministic artifact or bundled model.")
    parser.add_argument("--packed", type=Path, help="Packed set whose errors size the second rival's noise.")
    parser.add_argument("--without", nargs="+", default=[], help="Sources of it that are left out: what is scored on.")
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
            sizes = (
                {} if given.packed is None else fitted_sizes(training_sets(given.packed, given.without), deterministic)
            )
            lines = score(fine, drawing, deterministic, given.members, given.seed, sizes)
    except GfsSrError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    write_csv(Line, lines, given.output, "ratio", "ratio_user")
    for line in lines:
        sys.stdout.write(
            f"{line.variable} pool {line.pool}: fair CRPS {line.crps:.4g}, to noise fitted here {line.ratio:.3f}, "
            f"elsewhere {line.ratio_user:.3f}; energy score {line.energy:.4g}, {line.energy_dressed:.4g}, "
            f"{line.energy_user:.4g}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
