"""`python -m crossvalidation.changes FINE... --model DIR... -o OUT.csv`: do the hours of a member belong together?

One fine forecast is coarsened as the models were trained and drawn by each. Members whose frames know nothing of each
other flicker: they change more from one frame to the next than the truth does, and what they add to the mean of one
frame says nothing of what they add to the next one's.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossvalidation.command import write_csv
from crossvalidation.dressed import roughness
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import GfsSrError, UsageError
from gfs_sr.metrics.ensemble import crps, energy_score
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Line:
    """One variable of one model; scores and changes in its units."""

    model: str
    variable: str
    frames: int
    members: int
    crps: float  # fair, of each frame's cells
    energy: float  # of each frame
    crps_of_change: float  # fair, of what a cell changes by from one frame to the next
    change: float  # root mean square of that, of members
    change_truth: float
    change_mean: float  # of what members lie around
    memory: float  # correlation of what is left around the mean with what is left a frame later, of members
    memory_truth: float
    ralsd: float  # dB, of the members' spectrum from the truth's


def memory_of(left: Values) -> float:
    """Correlation of (..., T, H, W) with itself a frame later."""
    before, after = left[..., :-1, :, :].astype(np.float64), left[..., 1:, :, :].astype(np.float64)
    return float((before * after).mean() / np.sqrt((before**2).mean() * (after**2).mean()))


def line_of(model: str, variable: str, members: Values, mean: Values, truth: Values) -> Line:
    """Members (M, T, H, W), their mean field and the truth (T, H, W)."""
    changes = [np.diff(each, axis=-3) for each in (members, mean, truth)]
    rms = [float(np.sqrt(np.mean(each.astype(np.float64) ** 2))) for each in changes]
    return Line(
        model=model, variable=variable, frames=truth.shape[0], members=members.shape[0],
        crps=float(crps(members, truth).mean()),
        energy=float(np.mean([energy_score(members[:, t], truth[t]) for t in range(truth.shape[0])])),
        crps_of_change=float(crps(changes[0], changes[2]).mean()),
        change=rms[0], change_truth=rms[2], change_mean=rms[1],
        memory=memory_of(members - mean), memory_truth=memory_of(truth - mean), ralsd=roughness(members, truth),
    )  # fmt: skip


def score(fine: Forecast, upscaler: Upscaler, members: int, seed: int) -> Iterator[Line]:
    """Draw all frames, and compare.

    Raises:
        UsageError: one member, a single frame, or a model that asks no denoiser.
    """
    contract = upscaler.contract
    if contract.denoising is None or members < 2:
        raise UsageError("an ensemble has two members at least", "--model, --members", "name a model that draws them")
    if len(fine.times) < 2:
        raise UsageError("one frame changes into nothing", "FINE, --frames", "give a series")
    coarse = coarsen(fine, Coarsening(contract.registration, contract.scale_factor, time_factor=1, crop=True))
    drawn = upscaler.upscale_forecast(coarse, Request(members=members, seed=seed))
    mean = upscaler.upscale_forecast(coarse, Request(mean=True)).values
    rows, columns = drawn.grid.shape
    truth = fine.select(drawn.variables).load()[:, :, :rows, :columns]
    for channel, name in enumerate(drawn.variables):
        yield line_of(
            contract.name, name, drawn.members[:, :, channel], mean[:, channel], truth[:, channel]
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.changes", description=__doc__)
    parser.add_argument("fine", nargs="+", type=Path, help="One fine forecast, a series.")
    parser.add_argument("--model", nargs="+", required=True, help="Artifacts that draw members.")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, help="Of the forecast's first ones; default all.")
    parser.add_argument("--threads", type=int, help="Threads that compute; default all cores.")
    parser.add_argument("-o", "--output", required=True, type=Path)
    given = parser.parse_args(arguments)
    lines: list[Line] = []
    try:
        fine = open_forecast(given.fine).isel_time(slice(0, given.frames))
        for model in given.model:
            with Upscaler.open(model, threads=given.threads) as upscaler:
                lines += score(fine, upscaler, given.members, given.seed)
    except GfsSrError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    write_csv(Line, lines, given.output)
    for line in lines:
        sys.stdout.write(
            f"{line.model}, {line.variable}: fair CRPS {line.crps:.4g}, of changes {line.crps_of_change:.4g}; change "
            f"{line.change:.4g}, truth {line.change_truth:.4g}; "
            f"memory {line.memory:.2f}, truth {line.memory_truth:.2f}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
