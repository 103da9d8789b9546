"""Coarse fields of another source on fine ones: which coarse cell lies on which fine cells, told by coordinates."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.regrid import index_units
from gfs_sr.errors import GapInLeadTimes, RegistrationMismatch, ShapeMismatch

SLACK = 0.05  # of a fine cell: GRIB1 keeps millidegrees, which is that much of 0.02 degrees


@dataclass(frozen=True)
class AxisAlignment:
    """Along one axis: the coarse cells that lie on fine ones, and where."""

    coarse: range  # indices of the coarse axis
    fine: range  # indices of the fine axis; the first coarse cell starts at its start


@dataclass(frozen=True)
class Alignment:
    """The part that two grids share: coarse cell i of it starts at fine cell s·i of it."""

    scale_factor: int
    registration: Registration
    rows: AxisAlignment
    columns: AxisAlignment


def align(
    coarse: Grid, fine: Grid, scale_factor: int | None = None, registration: Registration | None = None,
    where: str = "pairing",
) -> Alignment:  # fmt: skip
    """How a coarse grid lies on a fine one.

    Args:
        coarse: of the coarse source.
        fine: of the fine one.
        scale_factor: what it must be, where that is known; else what the spacings say.
        registration: what it must be; needed where s is odd, since then both may hold.
        where: for messages.

    Raises:
        ShapeMismatch: the spacings are no multiple, or another one than `scale_factor`, or the grids share no cell.
        RegistrationMismatch: coarse points lie neither on fine points nor between them as cells do, or otherwise than
            `registration` says.
    """
    factors = [wide / narrow for wide, narrow in zip(coarse.spacing_deg, fine.spacing_deg, strict=True)]
    s = round(factors[0])
    told = " and ".join(dict.fromkeys(f"{factor:.4g}" for factor in factors))
    if s < 1 or max(abs(factor - s) for factor in factors) > 0.01 * s:
        raise ShapeMismatch(
            f"a coarse cell is {told} fine cells wide, no whole number", where,
            "remap one of the two first, for example with gfs-sr build-dataset",
        )  # fmt: skip
    if scale_factor is not None and s != scale_factor:
        raise ShapeMismatch(
            f"a coarse cell is {told} fine cells wide, not {scale_factor}", where,
            f"give data of that factor, or take scale factor {s}",
        )  # fmt: skip
    units = index_units(fine, coarse)
    fits = [each for each in Registration if all(_starts(axis, s, each) is not None for axis in units)]
    if not fits or (registration is not None and registration not in fits):
        offsets = ", ".join(f"{axis[0] - np.floor(axis[0]):.3g}" for axis in units)
        says = f"by {fits[0]}" if fits else f"neither by node nor by cell: they are off by {offsets} fine cells"
        raise RegistrationMismatch(
            f"coarse points lie {says}", where,
            f"take a model of registration {fits[0]}" if fits else "remap one of the two first",
        )  # fmt: skip
    if registration is None and len(fits) > 1:
        raise RegistrationMismatch(f"with factor {s} points and cells coincide", where, "say node or cell")
    chosen = registration or fits[0]
    axes = []
    for axis, length in zip(units, fine.shape, strict=True):
        starts = _starts(axis, s, chosen)
        assert starts is not None  # `chosen` fits
        last = length - 1 if chosen is Registration.NODE else length - s
        inside = np.flatnonzero((starts >= 0) & (starts <= last))
        if not inside.size:
            raise ShapeMismatch("the two grids share no cell", where, "give data of one region")
        first = int(starts[inside[0]])
        axes.append(
            AxisAlignment(
                range(int(inside[0]), int(inside[-1]) + 1), range(first, min(length, first + s * int(inside.size)))
            )
        )
    return Alignment(s, chosen, axes[0], axes[1])


def _starts(units: npt.NDArray[np.float64], s: int, registration: Registration) -> npt.NDArray[np.int64] | None:
    """Fine index at which each coarse cell starts; None where it is no whole one."""
    shift = 0.0 if registration is Registration.NODE else (s - 1) / 2
    starts = np.rint(units - shift)
    return starts.astype(np.int64) if np.abs(units - shift - starts).max() <= SLACK else None


@dataclass(frozen=True)
class FramePairs:
    """Frames of two forecasts that hold at the same time."""

    coarse: tuple[int, ...]
    fine: tuple[int, ...]


def common_frames(coarse: Forecast, fine: Forecast) -> FramePairs:
    """Frames at the same valid time, in order.

    Raises:
        GapInLeadTimes: there is none.
    """
    times, of_coarse, of_fine = np.intersect1d(
        coarse.times.valid_times, fine.times.valid_times, assume_unique=True, return_indices=True
    )
    if not times.size:
        raise GapInLeadTimes(
            "the two sources share no valid time", f"{coarse.source}; {fine.source}", "give files of the same times"
        )
    return FramePairs(tuple(of_coarse.tolist()), tuple(of_fine.tolist()))
