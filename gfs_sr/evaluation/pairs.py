"""Real pairs: the coarse forecast of one model laid onto the fine one of another, cell on cell and frame on frame."""

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import Coarsening, TimeReduction, coarsen
from gfs_sr.data.forecast import Field, Forecast, ReadField
from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import GapInLeadTimes, ShapeMismatch

OFF_POINT = 0.02  # of a fine cell: GRIB1 keeps millidegrees
HOUR = np.timedelta64(3600 * 10**9, "ns")


def align(truth: Forecast, coarse: Forecast, how: Coarsening) -> tuple[Forecast, Forecast]:
    """Cut both to what they share, so that fine index 0 belongs to coarse index 0 in every axis.

    Args:
        truth: the fine forecast.
        coarse: of the same variables; frames may come more often than every r-th fine one.
        how: factors and registration; where the coarse frames come too often, amounts and means are those of all that
            one of the wanted frames covers.

    Raises:
        ShapeMismatch: the grids do not fit the scale factor or the registration, or do not overlap.
        GapInLeadTimes: the times do not fit the time factor, or do not overlap.
    """
    where = f"{truth.source} against {coarse.source}"
    rows = _shared(truth.grid.lat[0] - truth.grid.lat, truth.grid.lat[0] - coarse.grid.lat, how, "latitude", where)
    turns = np.round((coarse.grid.lon - truth.grid.lon.mean()) / 360.0) * 360.0
    east = coarse.grid.lon - turns - truth.grid.lon[0]
    cols = _shared(truth.grid.lon - truth.grid.lon[0], east, how, "longitude", where)
    coarse = cut(_in_time(truth, coarse, how, where), rows[1], cols[1])
    fine = cut(truth, rows[0], cols[0])
    return _same_times(fine, coarse, how.time_factor, where)


def _shared(fine: FloatArray, coarse: FloatArray, how: Coarsening, axis: str, where: str) -> tuple[slice, slice]:
    """(fine, coarse) slices; both positions run from the first fine point on, degrees."""
    s = how.scale_factor
    spacing = (fine[-1] - fine[0]) / max(fine.size - 1, 1)
    if coarse.size > 1:
        found = (coarse[-1] - coarse[0]) / (coarse.size - 1) / spacing
        if abs(found - s) > 0.01 * s:
            raise ShapeMismatch(
                f"coarse cells are {found:.3g} fine ones wide in {axis}, and the model refines {s} times",
                where,
                f"use a model of scale factor {round(found)}, or other coarse fields",
            )
    offset = 0.0 if how.registration is Registration.NODE else (s - 1) / 2
    first = coarse / spacing - offset  # fine index of each coarse cell's first fine cell
    index = np.rint(first).astype(np.int64)
    if np.abs(first - index).max() > OFF_POINT * s:
        raise ShapeMismatch(
            f"coarse points lie {np.abs(first - index).max():.2g} fine cells beside those of {how.registration} "
            f"registration in {axis}",
            where,
            "use a model of the other registration, or interpolate the coarse fields to points that fit",
        )
    width = 1 if how.registration is Registration.NODE else s
    inside = np.flatnonzero((index >= 0) & (index + width <= fine.size))
    if not inside.size:
        raise ShapeMismatch(f"the {axis}s do not overlap", where, "give fields of the same region")
    start = int(index[inside[0]])
    stop = min(int(index[inside[-1]]) + s, fine.size)
    return slice(start, stop), slice(int(inside[0]), int(inside[-1]) + 1)


def _in_time(truth: Forecast, coarse: Forecast, how: Coarsening, where: str) -> Forecast:
    """The coarse forecast with a frame for every r fine ones."""
    if len(coarse.times) == 1 or len(truth.times) == 1:
        return coarse
    given = (coarse.times.step_hours or 1.0) / (truth.times.step_hours or 1.0)
    every = how.time_factor / given
    if abs(given - round(given)) > 1e-6 or abs(every - round(every)) > 1e-6:
        raise GapInLeadTimes(
            f"a coarse frame comes every {given:g} fine ones, and the model wants one every {how.time_factor}",
            where,
            f"use a model of time factor {given:g}, or give other coarse frames",
        )
    if round(every) == 1:
        return coarse
    instant = lookup(coarse.variables[0]).time_kind is TimeKind.INSTANT
    reduction = TimeReduction.EVERY if instant else TimeReduction.MEAN_TRAILING
    in_time = Coarsening(Registration.NODE, 1, round(every), 0.0, reduction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # surplus frames
        return replace(coarsen(coarse, in_time), registration=coarse.registration)


def _same_times(fine: Forecast, coarse: Forecast, r: int, where: str) -> tuple[Forecast, Forecast]:
    """Cut to the coarse frames that the truth covers, and the truth to begin with the first of them."""
    if len(fine.times) == 1 and len(coarse.times) == 1:
        return fine, coarse
    instant = lookup(fine.variables[0]).time_kind is TimeKind.INSTANT
    place = {time: index for index, time in enumerate(fine.times.valid_times)}
    ends = np.array([place.get(time, -1) for time in coarse.times.valid_times])
    first = ends - (0 if instant else r - 1)  # the first fine frame of each coarse one
    covered = np.flatnonzero((ends >= 0) & (first >= 0))
    if not covered.size or (np.diff(ends[covered]) != r).any():
        raise GapInLeadTimes("the times do not overlap", where, "give frames of the same hours")
    kept = coarse.isel_time(slice(int(covered[0]), int(covered[-1]) + 1))
    start, last = int(first[covered[0]]), int(ends[covered[-1]])
    stop = min(last + r, len(fine.times)) if instant else last + 1
    return fine.isel_time(slice(start, stop)), kept


def cut(forecast: Forecast, rows: slice, cols: slice) -> Forecast:
    """Some of its rows and columns."""
    grid = Grid(forecast.grid.lat[rows], forecast.grid.lon[cols])
    return replace(forecast, grid=grid, readers=tuple(_part(read, rows, cols) for read in forecast.readers))


def _part(read: ReadField, rows: slice, cols: slice) -> ReadField:
    def part(index: int) -> Field:
        field: npt.NDArray[np.float32] = read(index)[rows, cols]
        return field

    return part
