"""`python -m crossvalidation.combined FINE... --time-model DIR -o OUT.csv`: one model of both, or one after the other?

The fine forecast is coarsened in space and time as the model was trained. The model refines both at once; then it
refines space alone, and the model of time makes the frames between them, after it or before it. What is scored are the
frames between the coarse ones.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crossvalidation.command import tabled, write_csv
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources import open_forecast
from gfs_sr.runtime.chain import run_chain
from gfs_sr.runtime.output_times import OutputTimes
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import MemorySink
from gfs_sr.runtime.upscaler import Upscaler

Values = npt.NDArray[Any]

ORDERS: Final = {"space, then time": False, "time, then space": True}


@dataclass(frozen=True)
class Line:
    """One variable, refined in one order."""

    variable: str
    hours: float  # between coarse frames
    order: str
    frames: int
    rmse: float  # canonical units, of the frames between
    rmse_alone: float  # of the model of both

    @property
    def gain(self) -> float:
        """Above 0 where two models are better than one."""
        return round(1 - self.rmse / self.rmse_alone, 4)


def score(fine: Forecast, both: Upscaler, in_time: Upscaler) -> Iterator[Line]:
    """Every variable that all know, in either order."""
    contract = both.contract
    r = contract.time_factor
    how = Coarsening(contract.registration, contract.scale_factor, r)
    coarse = coarsen(fine, how)
    alone = both.upscale_forecast(coarse)
    shared = [name for name in alone.variables if name in in_time.contract.inputs]
    last = r * (len(coarse.times) - 1)
    between = np.flatnonzero(np.arange(last) % r)
    rows, columns = alone.grid.shape
    truth = fine.select(tuple(shared)).load()[between, :, :rows, :columns]
    chosen = [alone.variables.index(name) for name in shared]
    before = errors(alone.values[between][:, chosen], truth)
    hours = coarse.times.step_hours
    assert hours is not None  # what the model of both could not have taken
    steps = OutputTimes.parse(f"{hours / r * 60:g}min")
    for order, time_first in ORDERS.items():
        sink = MemorySink()
        run_chain(both, in_time, coarse, sink, Request(tuple(shared), times=steps), time_first=time_first)
        values = sink.values[..., ::-1, :] if sink.description.lat_ascending else sink.values
        names = [each.name for each in sink.description.data]
        after = errors(values[between][:, [names.index(name) for name in shared]], truth)
        for name, ours, one in zip(shared, after, before, strict=True):
            yield Line(name, hours, order, between.size, float(f"{ours:.5g}"), float(f"{one:.5g}"))


def errors(made: Values, truth: Values) -> Values:
    """(T, C, H, W) twice -> (C,) root mean square errors where there is a truth."""
    squares = (made.astype(np.float64) - truth) ** 2
    found: Values = np.sqrt(np.nanmean(squares, axis=(0, 2, 3)))
    return found


def table(lines: Sequence[Line]) -> str:
    """Markdown: by how much smaller the error is, by variable and order, and the mean."""
    rows = ["| variable | hours | " + " | ".join(ORDERS) + " |", f"|{'---|' * (2 + len(ORDERS))}"]
    keys = list(dict.fromkeys((line.variable, line.hours) for line in lines))
    for name, hours in keys:
        gains = {line.order: line.gain for line in lines if (line.variable, line.hours) == (name, hours)}
        rows.append(f"| {name} | {hours:g} | " + " | ".join(f"{100 * gains[order]:.1f} %" for order in ORDERS) + " |")
    means = [float(np.mean([line.gain for line in lines if line.order == order])) for order in ORDERS]
    rows.append("| mean | | " + " | ".join(f"{100 * mean:.1f} %" for mean in means) + " |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.combined", description=__doc__)
    parser.add_argument("fine", nargs="+", type=Path, help="One fine forecast that neither model was trained on.")
    parser.add_argument("--model", default="fused-node", help="Of space and time.")
    parser.add_argument("--time-model", required=True, help="Artifact of time alone.")
    parser.add_argument("--threads", type=int, help="Threads that compute; default all cores.")
    parser.add_argument("-o", "--output", required=True, type=Path, help="CSV; a table is written beside it, .md")
    given = parser.parse_args(arguments)

    def made() -> str:
        with (
            Upscaler.open(given.model, threads=given.threads) as both,
            Upscaler.open(given.time_model, threads=given.threads) as in_time,
        ):
            lines = list(score(open_forecast(given.fine), both, in_time))
        write_csv(Line, lines, given.output, "gain")
        return table(lines)

    return tabled(made, given.output)


if __name__ == "__main__":
    sys.exit(main())
