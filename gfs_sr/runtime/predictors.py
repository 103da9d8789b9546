"""Predictors and statics: fields known without any forecast, gathered by the same plan as the forecast itself."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Predictor, PredictorGrid
from gfs_sr.data.grid import Boundary, Grid, Registration
from gfs_sr.data.solar import cos_solar_zenith
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.errors import ShapeMismatch
from gfs_sr.runtime import tiling
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.sink import FloatField
from gfs_sr.runtime.tiling import AxisPlan, Plan

FloatAxis = npt.NDArray[np.float64]


class PredictorFields:
    """Computes and gathers what the contract's predictors name."""

    def __init__(self, layout: Layout) -> None:
        contract, plan = layout.contract, layout.plan
        r, s = contract.time_factor, contract.scale_factor
        self._wanted = {grid: contract.predictors_on(grid) for grid in PredictorGrid if contract.predictors_on(grid)}
        coarse = layout.job.horizontal.coarse
        times = layout.job.forecast.times
        self._coarse_times = times.valid_times
        self._fine_times = _fine_times(times.valid_times, r, contract.interval_hours)
        self._axes = {
            PredictorGrid.COARSE: (coarse.lat, coarse.lon),
            PredictorGrid.COARSE_FINE_TIME: (coarse.lat, coarse.lon),
            PredictorGrid.FINE: fine_axes(coarse, s, contract.registration),
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
        stacked = np.stack([_field(predictor, times, lat, lon) for predictor in self._wanted[grid]], axis=1)
        return list(np.ascontiguousarray(stacked, np.float32))


class Statics:
    """The model's static fields on this job's grid, in model units."""

    def __init__(self, layout: Layout, fields: Mapping[str, FloatField], grid: Grid) -> None:
        """Sample `fields` (H, W) of `grid` at the coarse and fine cells.

        Raises:
            ShapeMismatch: the statics do not cover the forecast.
        """
        contract, plan = layout.contract, layout.plan
        s = contract.scale_factor
        coarse = layout.job.horizontal.coarse
        one = AxisPlan(1, 1, 0, 0, Boundary.EDGE)
        wanted = {
            "static_coarse": (contract.statics_coarse, (coarse.lat, coarse.lon), replace(plan, time=one)),
            "static_fine": (
                contract.statics_fine,
                fine_axes(coarse, s, contract.registration),
                Plan(one, fine_axis(plan.lat, s), fine_axis(plan.lon, s)),
            ),
        }
        self._fields: dict[str, tuple[FloatField, Plan]] = {}
        for name, (variables, (lat, lon), tiles) in wanted.items():
            if variables:
                stacked = [
                    (sample(fields[variable], grid, lat, lon) - contract.normalization[variable].mean)
                    / contract.normalization[variable].sd
                    for variable in variables
                ]
                self._fields[name] = (np.ascontiguousarray(np.stack(stacked), np.float32), tiles)

    def gather(self, tiles: range, buffers: Mapping[str, Array], threads: int) -> None:
        """Fill the static buffers of one batch."""
        for name, (field, plan) in self._fields.items():
            gather_plain([field], 0, plan, 0, tiles, buffers[name][: len(tiles)], field.shape[0], threads)


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


def fine_axes(grid: Grid, scale_factor: int, registration: Registration) -> tuple[FloatAxis, FloatAxis]:
    """(lat (s·H), lon (s·W)) of every cell the model gives, beyond a pole too, where latitudes pass 90 degrees."""
    offset = 0.0 if registration is Registration.NODE else (scale_factor - 1) / 2
    axes = []
    for axis, step in ((grid.lat, -grid.spacing_deg[0]), (grid.lon, grid.spacing_deg[1])):
        position = (np.arange(scale_factor * axis.size) - offset) / scale_factor
        inside = np.clip(position, 0, axis.size - 1)
        axes.append(np.interp(inside, np.arange(axis.size), axis) + (position - inside) * step)
    return axes[0], axes[1]


def sample(field: FloatField, grid: Grid, lat: FloatAxis, lon: FloatAxis) -> FloatAxis:
    """Bilinear values of `field` (H, W) on `grid` at every (lat, lon) -> (lat.size, lon.size).

    Raises:
        ShapeMismatch: a point lies more than one spacing outside `grid`.
    """
    rows = (grid.lat[0] - np.clip(lat, -90, 90)) / grid.spacing_deg[0]
    columns = (lon - grid.lon[0]) / grid.spacing_deg[1]
    height, width = field.shape
    if grid.is_periodic:
        columns = np.mod(columns, width)
        field = np.concatenate([field, field[:, :1]], axis=1)
        width += 1
    else:
        columns = columns - 360 / grid.spacing_deg[1] * np.round(
            (columns.mean() - width / 2) * grid.spacing_deg[1] / 360
        )
    for axis, position, size in (("latitude", rows, height), ("longitude", columns, width)):
        if position.min() < -1 or position.max() > size:
            raise ShapeMismatch(
                f"the statics do not cover the forecast's {axis}s", "--statics", "give fields of a larger region"
            )
    top, south = _split(rows, height)
    left, east = _split(columns, width)
    upper = field[top][:, left] * (1 - east) + field[top][:, left + 1] * east
    lower = field[top + 1][:, left] * (1 - east) + field[top + 1][:, left + 1] * east
    result: FloatAxis = upper * (1 - south[:, None]) + lower * south[:, None]
    return result


def _split(position: FloatAxis, size: int) -> tuple[npt.NDArray[np.intp], FloatAxis]:
    inside = np.clip(position, 0, size - 1)
    index = np.minimum(inside.astype(np.intp), size - 2)
    return index, inside - index


def _field(predictor: Predictor, times: TimeArray, lat: FloatAxis, lon: FloatAxis) -> FloatAxis:
    if predictor.name == "latitude":
        shape = (times.size, lat.size, lon.size)
        return np.broadcast_to(np.deg2rad(lat)[None, :, None], shape)
    return np.asarray(cos_solar_zenith(times, lat, lon), np.float64)


def _fine_times(times: TimeArray, time_factor: int, interval_hours: tuple[float, ...]) -> TimeArray:
    """(r·T,) valid times of every frame the model gives."""
    if times.size > 1:
        interval = times[1] - times[0]
    else:  # a single frame's neighbors are never written: the trained interval keeps the graph where it was trained
        interval = np.timedelta64(round((interval_hours[0] if interval_hours else 1.0) * 3600e9), "ns")
    fine: TimeArray = times[0] + interval / time_factor * np.arange(time_factor * times.size)
    return fine
