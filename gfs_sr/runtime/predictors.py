"""Computed predictors: fields known from place and time, gathered by the same plan as the forecast itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Predictor, PredictorGrid
from gfs_sr.data.calendar import SEASONS, season_of
from gfs_sr.data.grid import Boundary
from gfs_sr.data.solar import cos_solar_zenith, solar_components
from gfs_sr.data.statics import fine_cells
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.runtime import tiling
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.sink import FloatField
from gfs_sr.runtime.tiling import AxisPlan, Plan

FloatAxis = npt.NDArray[np.float64]
SEASON_NAMES = tuple(f"season_{name.lower()}" for name in SEASONS)


class PredictorFields:
    """Computes and gathers what the contract's predictors name."""

    def __init__(self, layout: Layout) -> None:
        contract, plan = layout.contract, layout.plan
        r, s = contract.time_factor, contract.scale_factor
        self._wanted = {grid: contract.predictors_on(grid) for grid in PredictorGrid if contract.predictors_on(grid)}
        coarse = layout.job.horizontal.coarse
        times = layout.job.forecast.times
        self._coarse_times = times.valid_times
        room = layout.job.slots
        self._fine_times = fine_times(times.valid_times, r, contract.interval_hours) if room is None else room.all_times
        self._axes = {
            PredictorGrid.COARSE: (coarse.lat, coarse.lon),
            PredictorGrid.COARSE_FINE_TIME: (coarse.lat, coarse.lon),
            PredictorGrid.FINE: fine_cells(coarse, s, contract.registration),
        }
        fine_time = AxisPlan(r * plan.time.length, r * plan.time.core, 0, 0, Boundary.EDGE)
        self._plans = {
            PredictorGrid.COARSE: plan,
            PredictorGrid.COARSE_FINE_TIME: replace(plan, time=fine_time),
            PredictorGrid.FINE: Plan(fine_time, fine_axis(plan.lat, s), fine_axis(plan.lon, s)),
        }

    def of(self, time_tile: int, first_frame: int, frames: int) -> dict[str, list[FloatField]]:
        """Fields of one window per graph input: one (P, H, W) per frame, from `first_frame` on."""
        return {f"predictor_{grid}": self._compute(grid, time_tile, first_frame, frames) for grid in self._wanted}

    def gather(
        self,
        fields: Mapping[str, list[FloatField]],
        first_frame: int,
        time_tile: int,
        tiles: range,
        buffers: Mapping[str, Array],
        threads: int,
    ) -> None:
        """Fill the predictor buffers of one batch."""
        for grid, predictors in self._wanted.items():
            name = f"predictor_{grid}"
            gather_plain(
                fields[name],
                first_frame if grid is PredictorGrid.COARSE else self._first_fine(time_tile),
                self._plans[grid],
                time_tile,
                tiles,
                buffers[name][: len(tiles)],
                len(predictors),
                threads,
            )

    def _first_fine(self, time_tile: int) -> int:
        core: int = self._plans[PredictorGrid.COARSE_FINE_TIME].time.core
        return time_tile * core

    def _compute(self, grid: PredictorGrid, time_tile: int, first_frame: int, frames: int) -> list[FloatField]:
        if grid is PredictorGrid.COARSE:
            times = self._coarse_times[first_frame : first_frame + frames]
        else:
            core = self._plans[PredictorGrid.COARSE_FINE_TIME].time.core
            first = self._first_fine(time_tile)
            times = self._fine_times[first : first + core]
        lat, lon = self._axes[grid]
        return list(np.ascontiguousarray(predictor_fields(self._wanted[grid], times, lat, lon), np.float32))


def gather_plain(
    frames: list[FloatField],
    first_frame: int,
    plan: Plan,
    time_tile: int,
    tiles: range,
    out: Array,
    channels: int,
    threads: int,
) -> None:
    """Gather fields that are in model units already."""
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    flip = np.zeros(channels, bool)
    tiling.gather(
        frames, first_frame, plan, time_tile, tiles, offset=zeros, scale=ones, flip=flip, out=out, threads=threads
    )


def fine_axis(axis: AxisPlan, scale_factor: int) -> AxisPlan:
    """The fine twin of a coarse axis: the same tiles, no halo; what lies beyond its end is never kept."""
    boundary = Boundary.PERIODIC if axis.boundary is Boundary.PERIODIC else Boundary.EDGE
    return AxisPlan(scale_factor * axis.length, scale_factor * axis.core, 0, 0, boundary)


def predictor_fields(predictors: Sequence[Predictor], times: TimeArray, lat: FloatAxis, lon: FloatAxis) -> FloatAxis:
    """(T, P, H, W) of the named predictors."""
    sun = {"solar_polar": 0, "solar_cos": 1, "solar_sin": 2}
    parts = solar_components(times, lat, lon) if any(each.name in sun for each in predictors) else None
    fields = []
    for predictor in predictors:
        if predictor.name in SEASON_NAMES:
            shape = (times.size, lat.size, lon.size)
            chosen = np.array([season_of(time) for time in times]) == SEASON_NAMES.index(predictor.name)
            fields.append(np.broadcast_to(chosen.astype(np.float64)[:, None, None], shape))
        elif predictor.name == "latitude":
            shape = (times.size, lat.size, lon.size)
            fields.append(np.broadcast_to(np.deg2rad(lat)[None, :, None], shape))
        elif predictor.name == "longitude":
            shape = (times.size, lat.size, lon.size)
            fields.append(np.broadcast_to(np.deg2rad(lon)[None, None, :], shape))
        elif parts is not None and predictor.name in sun:
            fields.append(parts[:, sun[predictor.name]])
        else:
            fields.append(cos_solar_zenith(times, lat, lon))
    return np.stack(fields, axis=1)


def fine_times(times: TimeArray, time_factor: int, interval_hours: tuple[float, ...]) -> TimeArray:
    """(r·T,) valid times of every frame the model gives."""
    if times.size > 1:
        interval = times[1] - times[0]
    else:  # a single frame's neighbors are never written: the trained interval keeps the graph where it was trained
        interval = np.timedelta64(round((interval_hours[0] if interval_hours else 1.0) * 3600e9), "ns")
    fine: TimeArray = times[0] + interval / time_factor * np.arange(time_factor * times.size)
    return fine
