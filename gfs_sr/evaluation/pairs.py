"""Real pairs: the coarse forecast of one model laid onto the fine one of another, cell on cell and frame on frame."""

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data import pairing
from gfs_sr.data.coarsen import Coarsening, TimeReduction, coarsen
from gfs_sr.data.forecast import Field, Forecast, ReadField
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import GapInLeadTimes


def align(truth: Forecast, coarse: Forecast, how: Coarsening) -> tuple[Forecast, Forecast]:
    """Cut both to what they share, so that fine index 0 belongs to coarse index 0 in every axis.

    Args:
        truth: the fine forecast.
        coarse: of the same variables; frames may come more often than every r-th fine one.
        how: factors and registration; where the coarse frames come too often, amounts and means are those of all that
            one of the wanted frames covers.

    Raises:
        ShapeMismatch: the grids do not fit the scale factor, or do not overlap.
        RegistrationMismatch: the coarse points lie otherwise than the registration says.
        GapInLeadTimes: the times do not fit the time factor, or do not overlap.
    """
    where = f"{truth.source} against {coarse.source}"
    found = pairing.align(coarse.grid, truth.grid, how.scale_factor, how.registration, where)
    rows, cols = found.rows, found.columns
    given = cut(_in_time(truth, coarse, how, where), as_slice(rows.coarse), as_slice(cols.coarse))
    fine = cut(truth, as_slice(rows.fine), as_slice(cols.fine))
    return _same_times(fine, given, how.time_factor, where)


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


def as_slice(indices: range) -> slice:
    """The same run of indices."""
    return slice(indices.start, indices.stop)
