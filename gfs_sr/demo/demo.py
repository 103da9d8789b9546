"""`gfs-sr demo`: an ARPEGE day with its truth and a GFS analysis, upscaled, scored and drawn."""

import time
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gfs_sr.atomic import made
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.variables import lookup
from gfs_sr.demo.picture import Comparison, draw
from gfs_sr.demo.scores import Row, interpolations, score
from gfs_sr.runtime.pipeline import Progress
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import open_sink
from gfs_sr.runtime.summary import RunSummary
from gfs_sr.runtime.upscaler import FineForecast, Upscaler

ARPEGE = ("arpege_2m", "arpege_10m", "arpege_P_sea_level")
GFS = "gfs_0p25_poland_all_20200829_06z_f000.grib2"
SHOWN = ("t2m", "wspd", "r2")


@dataclass(frozen=True)
class DemoReport:
    """What the demo made and found."""

    rows: tuple[Row, ...]
    runs: tuple[RunSummary, ...]
    picture: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """The summary table."""
        arpege, gfs = self.runs
        lines = [
            f"ARPEGE 0.1°, 2018-05-01: {arpege.frames} hourly frames from 6-hourly ones, ×6 in space and time "
            f"→ {arpege.output}",
            f"{'variable':9} {'RMSE':>12}  {'skill vs best interpolation':34} {'vs best sharpened interpolation':34}",
        ]
        lines += [
            f"{row.variable:9} {row.rmse:9.4g} {row.units:5}{row.skill_plain:+8.1%} ({row.best_plain})".ljust(60)
            + f"{row.skill_sharpened:+8.1%} ({row.best_sharpened})"
            for row in self.rows
        ]
        lines.append(
            f"{'mean':26}{np.mean([row.skill_plain for row in self.rows]):+8.1%}".ljust(60)
            + f"{np.mean([row.skill_sharpened for row in self.rows]):+8.1%}"
        )
        lines += [
            f"GFS 0.25° over Poland, 2020-08-29 06 UTC: {gfs.frames} frame of {', '.join(gfs.variables)} "
            f"(no truth, so no skill) → {gfs.output}",
            f"model {arpege.model} ({arpege.model_sha256[:12]}) on {arpege.backend}; maps → {self.picture}; "
            f"{self.seconds:.1f} s",
        ]
        return "\n".join(lines)


def run_demo(output: Path, model: str, backend: str, progress: Progress | None = None) -> DemoReport:
    """Write fine.nc, gfs_fine.nc and comparison.png into `output`."""
    start = time.perf_counter()
    sample = Path(str(files("gfs_sr.demo") / "sample"))
    picture = output / "comparison.png"
    with made(output), Upscaler.open(model, backend=backend) as upscaler:
        contract = upscaler.contract
        day = open_forecast([sample / f"{name}_NW_20180501000000.grib" for name in ARPEGE])
        truth = day.select([name for name in contract.outputs if name in day.variables])
        coarse = coarsen(
            truth,
            Coarsening(contract.registration, contract.scale_factor, contract.time_factor, crop=True),
        )
        run = upscaler.run(coarse, open_sink(output / "fine.nc"), progress=progress)
        fine = upscaler.upscale_forecast(coarse)
        values, coarse_values = _cut(truth, fine), coarse.load()
        units = {name: lookup(name).units for name in fine.variables}
        factors = (contract.scale_factor, contract.time_factor, contract.registration)
        rows = score(fine, values, coarse_values, units, *factors)
        draw(
            [
                _comparison(name, fine, values, coarse, coarse_values, rows, factors)
                for name in SHOWN
                if name in fine.variables
            ],
            picture,
            f"ARPEGE 0.1° coarsened ×{factors[0]} in space and ×{factors[1]} in time, and upscaled by {contract.name}: "
            "each variable at the lead time of its median gain",
        )
        gfs = open_forecast([sample / GFS])
        gfs_run = upscaler.run(gfs, open_sink(output / "gfs_fine.nc"), Request(registration=contract.registration))
    return DemoReport(tuple(rows), (run, gfs_run), str(picture), time.perf_counter() - start)


def _cut(truth: Forecast, fine: FineForecast) -> Any:
    """Truth (T, C, H, W) on the fine output's own grid, by index."""
    rows, columns = fine.grid.shape
    frames = len(fine.times)
    return truth.select(fine.variables).isel_time(slice(0, frames)).load()[:, :, :rows, :columns]


def typical_frame(model: Any, baseline: Any, truth: Any, weights: Any, time_factor: int) -> int:
    """The frame between coarse ones at which the model gains as much over an interpolation as at half of the others.

    Args:
        model: (T, H, W).
        baseline: (T, H, W).
        truth: (T, H, W).
        weights: (H, 1) of the rows.
        time_factor: fine frames per coarse one; 1 leaves every frame to choose from.
    """
    mine, other = (((fields - truth) ** 2 * weights).sum(axis=(1, 2)) for fields in (model, baseline))
    between = [frame for frame in range(len(truth)) if frame % time_factor or time_factor == 1]
    between.sort(key=lambda frame: mine[frame] / max(other[frame], 1e-300))
    return between[len(between) // 2]


def _comparison(
    name: str,
    fine: FineForecast,
    truth: Any,
    coarse: Forecast,
    coarse_values: Any,
    rows: list[Row],
    factors: tuple[int, int, Any],
) -> Comparison:
    channel = fine.variables.index(name)
    row = rows[channel]
    s, r, registration = factors
    weights = fine.grid.weights()[:, None]
    baseline, _ = interpolations(coarse_values[:, channel], truth[:, channel], weights, s, r, registration)[row.best]
    frame = typical_frame(fine.values[:, channel], baseline, truth[:, channel], weights, r)
    hour = fine.times.lead_hours[frame]
    return Comparison(
        title=f"{name}, lead time {hour:g} h",
        variable=name,
        grid=fine.grid,
        coarse_grid=coarse.grid,
        coarse=coarse_values[frame // r, channel],
        coarse_label=f"lead time {coarse.times.lead_hours[frame // r]:g} h",
        truth=truth[frame, channel],
        model=fine.values[frame, channel],
        model_label="this model",
        baseline=baseline[frame],
        baseline_label=row.best,
    )
