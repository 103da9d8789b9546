"""`python -m crossvalidation.precipitation FINE... --model DIR -o OUT.csv`: members of rain, and what needs no members.

The fine forecast is made coarse and drawn again, as it comes and with the coarse amounts kept (`--conserve` of `gfs-sr
upscale`). The rivals, none of them below 0, and each with the coarse amounts kept too: the interpolation with the least
error here, the mean that members lie around, and that mean dressed with noise of log10(1 + x), independent in every wet
cell, whose size is fitted to the very truth that all are scored on. Both choices flatter the rivals.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crossvalidation.command import write_csv
from crossvalidation.dressed import POOLS, pooled, roughness
from crossvalidation.rival import SIZES, dress
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.interpolation import upsample_space
from gfs_sr.data.resampling import SPACE
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.transforms import Transform
from gfs_sr.errors import GfsSrError, UsageError
from gfs_sr.metrics.ensemble import crps, energy_score
from gfs_sr.runtime.amounts import correction, on_fine
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler

Values = npt.NDArray[Any]

RAIN: Final = "tp"
WET: Final = 0.1  # kg m-2: what a gauge counts
HEAVY: Final = 1.0
LOG: Final = Transform.LOG10_1P


@dataclass(frozen=True)
class Line:
    """One forecast, or the truth, at one pooling scale; amounts in kg m-2."""

    forecast: str
    conserved: bool  # every coarse cell has its amount
    pool: int  # cells on a side
    frames: int
    members: int  # 1 of a single field
    crps: float  # fair; of a single field its mean absolute error
    energy: float
    spread: float  # of the members, over the error of their mean; no number of a single field
    wet: float  # share of the cells with WET or more
    heavy: float  # with HEAVY or more
    p99: float  # which 1 % of the cells exceed
    p999: float
    mean: float
    least: float
    zeros: float  # share of the cells with nothing at all
    stray: float  # of the cells under dry coarse ones, those with anything; no number where cells are pooled
    ralsd: float  # dB, of the spectrum from the truth's; no number where cells are pooled


@dataclass(frozen=True, eq=False)
class Case:
    """What all are scored on."""

    truth: Values  # (T, H, W)
    coarse: Values  # (T, H/s, W/s)
    weights: Values  # (H,) areas of rows
    scale_factor: int

    def kept(self, fields: Values) -> Values:
        """(M, T, H, W) with the amounts of the coarse cells."""
        s = self.scale_factor
        pairs = [correction(each, self.coarse, self.weights, s, 1, adds=True) for each in fields.astype(np.float64)]
        rescaled = [
            field * on_fine(factor, s, 1) + on_fine(added, s, 1)
            for field, (factor, added) in zip(fields, pairs, strict=True)
        ]
        return np.stack(rescaled)

    @property
    def dry(self) -> npt.NDArray[np.bool_]:
        """(T, H, W): under coarse cells without rain, so that the truth has none either."""
        return on_fine(self.coarse, self.scale_factor, 1) <= 0


def best_interpolation(case: Case) -> tuple[str, FloatArray]:
    """(name, (1, T, H, W)) of the one with the least mean absolute error."""
    fields = {
        name: np.maximum(upsample_space(case.coarse, case.scale_factor, Registration.CELL, name), 0.0)[None]
        for name in SPACE
    }
    name = min(fields, key=lambda each: float(np.abs(fields[each] - case.truth).mean()))
    return name, fields[name]


def dressed_rain(field: Values, size: float, members: int, seed: int) -> Values:
    """(M, T, H, W) of a field (T, H, W) with noise of log10(1 + x) where it is wet: nothing comes of nothing."""
    noisy = LOG.inverse(dress(LOG.forward(field), size, members, seed))
    return np.where(field > 0, noisy, 0.0)


def best_dressed(field: Values, truth: Values, members: int, seed: int) -> Values:
    """With the noise whose members have the least fair CRPS against this truth."""
    is_wet = (field > 0) | (truth > 0)
    error = float(np.sqrt(np.mean((LOG.forward(field[is_wet]) - LOG.forward(truth[is_wet])) ** 2)))
    every = (dressed_rain(field, size * error, members, seed) for size in SIZES)
    return min(every, key=lambda each: float(crps(each, truth).mean()))


def lines_of(name: str, conserved: bool, fields: Values, case: Case) -> Iterator[Line]:
    """(M, T, H, W) against the truth, at every scale that has room."""
    count = fields.shape[0]
    for size in POOLS:
        if min(case.truth.shape[-2:]) < size:
            continue
        x, y = pooled(fields, size), pooled(case.truth, size)
        spread = math.nan
        if count > 1:
            error = np.mean((x.mean(axis=0) - y) ** 2) * count / (count + 1)
            spread = float(np.sqrt(x.var(axis=0, ddof=1).mean() / error))
        yield Line(
            forecast=name, conserved=conserved, pool=size, frames=y.shape[0], members=count,
            crps=float(crps(x, y, fair=count > 1).mean()),
            energy=float(np.mean([energy_score(x[:, t], y[t]) for t in range(y.shape[0])])),
            spread=spread, wet=float((x >= WET).mean()), heavy=float((x >= HEAVY).mean()),
            p99=float(np.quantile(x, 0.99)), p999=float(np.quantile(x, 0.999)), mean=float(x.mean()),
            least=float(x.min()), zeros=float((x == 0).mean()),
            stray=float((x[:, case.dry] > 0).mean()) if size == 1 and case.dry.any() else math.nan,
            ralsd=roughness(x, y) if size == 1 else math.nan,
        )  # fmt: skip


def score(fine: Forecast, upscaler: Upscaler, members: int, seed: int) -> list[Line]:
    """Draw, make the rivals, and score all.

    Args:
        fine: has rain; what lies below nothing there, by the rounding of its file, is taken for nothing.
        upscaler: draws members of rain, of means over cells.
        members: 2 or more.
        seed: of members and of noise.

    Raises:
        UsageError: one member, or a model that draws no rain by a denoiser, or takes values at points.
    """
    contract = upscaler.contract
    if contract.denoising is None or members < 2:
        raise UsageError("an ensemble has two members at least", "--model, --members", "name a model that draws them")
    if contract.registration is not Registration.CELL or RAIN not in contract.outputs:
        raise UsageError(f"{contract.name} draws no {RAIN} of cells", "--model", "see configs/edm-precipitation.yaml")
    rain = fine.select([RAIN])
    amounts = Forecast.from_arrays(
        np.maximum(rain.load(), 0), rain.variables, rain.grid, rain.times, registration=Registration.CELL,
        source=rain.source, buckets=rain.buckets,
    )  # fmt: skip
    coarse = coarsen(amounts, Coarsening(Registration.CELL, contract.scale_factor, time_factor=1, crop=True))
    drawn = [
        upscaler.upscale_forecast(coarse, Request(members=members, seed=seed, conserve=conserve))
        for conserve in (False, True)
    ]
    mean = upscaler.upscale_forecast(coarse, Request(mean=True)).values[:, 0]
    rows, columns = drawn[0].grid.shape
    truth = amounts.load()[:, 0, :rows, :columns]
    case = Case(truth, coarse.load()[:, 0], np.asarray(drawn[0].grid.weights()), contract.scale_factor)
    interpolation, interpolated = best_interpolation(case)
    dressed = best_dressed(mean, truth, members, seed)
    rivals: dict[str, Values] = {interpolation: interpolated, "mean": mean[None], "dressed mean": dressed}
    lines = list(lines_of("truth", True, truth[None], case))
    for conserved in (False, True):
        own = {"members": drawn[conserved].members[:, :, 0]}
        fields = own | {name: case.kept(each) if conserved else each for name, each in rivals.items()}
        for name, each in fields.items():
            lines += lines_of(name, conserved, each, case)
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.precipitation", description=__doc__)
    parser.add_argument("fine", nargs="+", type=Path, help="One fine forecast of rain that no model was trained on.")
    parser.add_argument("--model", required=True, help="Artifact that draws members.")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="Takes every n-th frame of the forecast.")
    parser.add_argument("--threads", type=int, help="Threads that compute; default all cores.")
    parser.add_argument("-o", "--output", required=True, type=Path)
    given = parser.parse_args(arguments)
    try:
        fine = open_forecast(given.fine, [RAIN]).isel_time(slice(None, None, given.every))
        with Upscaler.open(given.model, threads=given.threads) as upscaler:
            lines = score(fine, upscaler, given.members, given.seed)
    except GfsSrError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    write_csv(Line, lines, given.output)
    for line in lines:
        kept = ", amounts kept" if line.conserved else ""
        sys.stdout.write(
            f"{line.forecast}{kept}, pool {line.pool}: fair CRPS {line.crps:.4g}, wet {100 * line.wet:.2f} %, "
            f"heavy {100 * line.heavy:.2f} %, 1 % exceed {line.p99:.3g}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
