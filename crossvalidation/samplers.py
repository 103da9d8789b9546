"""`python -m crossvalidation.samplers FINE... --model DIR -o OUT.csv`: what a denoiser's members cost, and what for.

One fine forecast is coarsened as the model was trained, and drawn again by every solver with every number of noise
levels (and, where the solver takes it, every churn). A line tells the cost, in evaluations of the denoiser and in
seconds, and the scores of the members: the curve of quality against cost.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crossvalidation.command import tabled, write_csv
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import UsageError
from gfs_sr.metrics.registry import Scene, available, score
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import FineForecast, Upscaler
from gfs_sr.sampling.config import CHURNING, SamplingConfig

SAMPLERS: Final = ("euler", "heun", "dpm2", "dpmpp_2m")
LEVELS: Final = (4, 6, 8, 12, 20)
SCORES: Final = {  # column -> metric
    "crps": "CRPS",
    "crps_4": "CRPS @ mean 4",
    "crps_16": "CRPS @ mean 16",
    "energy": "energy score",
    "spread": "spread",
    "error": "RMSE of the mean",
    "spread_skill": "spread-skill ratio",
    "ralsd": "RALSD",
}


@dataclass(frozen=True)
class Line:
    """One variable, drawn one way."""

    sampler: str
    levels: int
    churn: float
    evaluations: int  # of the denoiser, for each member (NFE)
    seconds: float  # that drawing took, of all variables and members together
    variable: str
    frames: int
    members: int
    crps: float  # fair, units of the variable; cell by cell, and of means over 4 by 4 and 16 by 16 cells
    crps_4: float
    crps_16: float  # no number where the field is smaller
    energy: float  # fair
    spread: float
    error: float  # of the members' mean
    spread_skill: float  # 1 is right
    ralsd: float  # dB


@dataclass(frozen=True)
class Way:
    """One setting of the sweep."""

    sampler: dict[str, Any]
    schedule: dict[str, Any]
    config: SamplingConfig  # what comes of it


def ways(
    recommended: SamplingConfig, samplers: Sequence[str], levels: Sequence[int], churns: Sequence[float]
) -> list[Way]:
    """Every solver with every number of levels, and with every churn where it takes any.

    Raises:
        UsageError: no such solver, or a setting that cannot be.
    """
    found = []
    for name in samplers:
        for count in levels:
            for churn in churns if name in CHURNING else (0.0,):
                sampler, schedule = {"integrator": name, "s_churn": churn}, {"n": count}
                try:
                    found.append(Way(sampler, schedule, recommended.changed(sampler, schedule)))
                except ValueError as error:
                    text = f"{name} with {count} levels and churn {churn:g} cannot be"
                    raise UsageError(
                        text, "--samplers, --levels, --churn", "name solvers of docs/guide/ensembles.md"
                    ) from error
    return found


def sweep(
    fine: Forecast,
    upscaler: Upscaler,
    samplers: Sequence[str] = SAMPLERS,
    levels: Sequence[int] = LEVELS,
    churns: Sequence[float] = (0.0,),
    members: int = 8,
    seed: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Line]:
    """Draw and score, way by way, the cheapest first.

    Raises:
        UsageError: a model that asks no denoiser, one member, or a setting that cannot be.
    """
    contract = upscaler.contract
    if contract.denoising is None:
        raise UsageError(f"{contract.name} draws nothing by a sampler", "--model", "name one of the family edm or vp")
    if members < 2:
        raise UsageError("one member has no spread", "--members", "give 2 or more")
    every = ways(contract.denoising.sampling, samplers, levels, churns)
    coarse = coarsen(fine, Coarsening(contract.registration, contract.scale_factor, contract.time_factor, crop=True))
    for way in sorted(every, key=lambda each: each.config.evaluations):
        request = Request(members=members, seed=seed, sampler=way.sampler, schedule=way.schedule)
        start = clock()
        drawn = upscaler.upscale_forecast(coarse, request)
        yield from _scored(drawn, fine, way, clock() - start)


def _scored(drawn: FineForecast, fine: Forecast, way: Way, seconds: float) -> Iterator[Line]:
    rows, columns = drawn.grid.shape
    frames = len(drawn.times)
    truth = fine.select(drawn.variables).load()[:frames, :, :rows, :columns]
    for channel, name in enumerate(drawn.variables):
        scene = Scene(
            drawn.members[:, :, channel], truth[:, channel], drawn.grid.weights()[:, None], 1.0, variable=name,
            grid=drawn.grid,
        )  # fmt: skip
        room = available(scene)
        found = score([metric for metric in SCORES.values() if metric in room], scene)
        yield Line(
            sampler=way.config.sampler.integrator, levels=way.config.schedule.n, churn=way.config.sampler.s_churn,
            evaluations=way.config.evaluations, seconds=round(seconds, 2), variable=name, frames=frames,
            members=drawn.members.shape[0],
            **{column: float(f"{found.get(metric, math.nan):.5g}") for column, metric in SCORES.items()},
        )  # fmt: skip


def table(lines: Sequence[Line]) -> str:
    """Markdown: for every variable the ways to draw it, the cheapest first; in bold what no cheaper one reached."""
    names = (
        "variable | evaluations | sampler | levels | churn | seconds | fair CRPS | 4 | 16 | spread/error | RALSD, dB"
    )
    rows = [f"| {names} |", f"|{'---|' * 11}"]
    for variable in dict.fromkeys(line.variable for line in lines):
        best = math.inf
        for line in (each for each in lines if each.variable == variable):
            reached = f"**{line.crps:.4g}**" if line.crps < best else f"{line.crps:.4g}"
            best = min(best, line.crps)
            rows.append(
                f"| {line.variable} | {line.evaluations} | {line.sampler} | {line.levels} | {line.churn:g} "
                f"| {line.seconds:.1f} | {reached} | {line.crps_4:.4g} | {line.crps_16:.4g} | {line.spread_skill:.3f} "
                f"| {line.ralsd:.2f} |"
            )
    return "\n".join(rows) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.samplers", description=__doc__)
    add = parser.add_argument
    add("fine", nargs="+", type=Path, help="One fine forecast, of a region that the model was not trained on.")
    add("--model", required=True, help="Artifact that draws members step by step.")
    add("--samplers", nargs="+", default=list(SAMPLERS))
    add("--levels", nargs="+", type=int, default=list(LEVELS), help="Numbers of noise levels.")
    add("--churn", nargs="+", type=float, default=[0.0], help="Of the solvers that take any.")
    add("--members", type=int, default=8)
    add("--seed", type=int, default=1)
    add("--frames", type=int, help="Of the forecast's first ones; default all.")
    add("--variables", nargs="+", help="Canonical names; default all that model and forecast share.")
    add("--threads", type=int, help="Threads that compute; default all cores.")
    add("-o", "--output", required=True, type=Path, help="CSV; its table is written beside it, .md")
    asked = parser.parse_args(argv)

    def score_all() -> str:
        fine = open_forecast(asked.fine, asked.variables).isel_time(slice(0, asked.frames))
        lines: list[Line] = []
        with Upscaler.open(asked.model, threads=asked.threads) as upscaler:
            for line in sweep(fine, upscaler, asked.samplers, asked.levels, asked.churn, asked.members, asked.seed):
                lines.append(line)
                write_csv(Line, lines, asked.output)  # way by way: a long sweep may be stopped
        return table(lines)

    return tabled(score_all, asked.output)


if __name__ == "__main__":
    sys.exit(main())
