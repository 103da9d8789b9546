"""Coarse from fine: the two protocols, time first, then space."""

import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import Field, Forecast, ReadField, check_values
from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.resampling import SPACE, resample_axis
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import LAND_SEA_MASK, TimeKind, lookup
from gfs_sr.errors import ShapeMismatch, UsageError

SIGMA = 3.0  # fine cells; the published evaluation's value
TRUNCATE = 4.0  # standard deviations
CACHED_CELLS = 1 << 15  # float64: 256 KiB
LEAST_WEIGHT = 1e-8  # of valid cells under the Gaussian: below it the result is missing


class TimeReduction(StrEnum):
    """Which fine frames make a coarse one."""

    EVERY = "every"  # frames 0, r, 2r, ...
    MEAN_FORWARD = "mean_forward"  # means of r frames, each dated at the first of them
    MEAN_TRAILING = "mean_trailing"  # means of the frames (r·(k-1), r·k], each dated at the last of them

    def offsets(self, time_factor: int) -> npt.NDArray[np.int64]:
        """Frames that make a coarse one, counted from the frame it is dated at."""
        if self is TimeReduction.EVERY:
            return np.zeros(1, np.int64)
        first = 0 if self is TimeReduction.MEAN_FORWARD else 1 - time_factor
        return np.arange(first, first + time_factor)


class SpaceReduction(StrEnum):
    """How fine cells make a coarse one."""

    GAUSS_DECIMATE = "gauss_decimate"  # a Gaussian blur, then every s-th point: NODE, all others are CELL
    BLOCK_MEAN = "block_mean"  # area-weighted means, the conservative remapping of whole blocks
    NEAREST = "nearest"  # the fine field at the middle of the coarse cell, by one of the interpolations: they alias
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True)
class Coarsening:
    """How coarse fields are made.

    Raises:
        UsageError: a way in space that makes fields of the other registration.
    """

    registration: Registration = Registration.NODE  # NODE blurs and decimates, CELL takes block means
    scale_factor: int = 6
    time_factor: int = 6
    sigma: float = SIGMA  # of the Gaussian, fine cells; NODE only
    time: TimeReduction = TimeReduction.EVERY
    crop: bool = False  # CELL: drop rows and columns beyond the last full block instead of refusing
    method: SpaceReduction | None = None  # in place of the one that the registration stands for

    def __post_init__(self) -> None:
        """Refuse a contradiction."""
        wanted = Registration.NODE if self.space is SpaceReduction.GAUSS_DECIMATE else Registration.CELL
        if self.registration is not wanted:
            raise UsageError(
                f"{self.space} makes fields registered by {wanted}, not by {self.registration}",
                "--method", f"give --registration {wanted}, or another method",
            )  # fmt: skip

    @property
    def space(self) -> SpaceReduction:
        """What is done in space."""
        if self.method is not None:
            return self.method
        return SpaceReduction.GAUSS_DECIMATE if self.registration is Registration.NODE else SpaceReduction.BLOCK_MEAN


def gaussian_weights(sigma: float) -> FloatArray:
    """(2·radius + 1,) weights that sum to 1, truncated at four sigma."""
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    normalized: FloatArray = weights / weights.sum()
    return normalized


def gauss_decimate(fine: npt.NDArray[Any], sigma: float, scale_factor: int, periodic: bool = False) -> FloatArray:
    """Blur, then keep every s-th point.

    Args:
        fine: (..., H, W); NaN cells carry no weight.
        sigma: of the Gaussian, fine cells; 0 only decimates.
        scale_factor: s.
        periodic: longitudes go once around the globe; all other edges are replicated.

    Returns:
        (..., ceil(H/s), ceil(W/s)), NaN where no valid cell lies under the Gaussian.
    """
    values = np.asarray(fine, np.float64)
    valid = np.isfinite(values)
    if valid.all():
        return _decimated(values, sigma, scale_factor, periodic)
    weight = _decimated(valid.astype(np.float64), sigma, scale_factor, periodic)
    total = _decimated(np.where(valid, values, 0.0), sigma, scale_factor, periodic)
    return np.where(weight < LEAST_WEIGHT, np.nan, total / np.maximum(weight, LEAST_WEIGHT))


def _decimated(values: FloatArray, sigma: float, scale_factor: int, periodic: bool) -> FloatArray:
    if scale_factor == 1:
        return _blurred(values, gaussian_weights(sigma), periodic)
    weights = gaussian_weights(sigma)
    radius = weights.size // 2
    for axis, wraps in ((-2, False), (-1, periodic)):
        source = np.moveaxis(values, axis, 0)
        centers = np.arange(0, source.shape[0], scale_factor)
        blurred = np.zeros((centers.size, *source.shape[1:]))
        for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
            index = centers + offset
            index = index % source.shape[0] if wraps else np.clip(index, 0, source.shape[0] - 1)
            blurred += weight * source[index]
        values = np.moveaxis(blurred, 0, axis)
    return values


def _blurred(values: FloatArray, weights: FloatArray, periodic: bool) -> FloatArray:
    """The same sums at every point, in stripes of a plane that stay in a cache: a fifth of the time."""
    out = np.zeros(values.shape)
    for plane, target in zip(
        values.reshape(-1, *values.shape[-2:]), out.reshape(-1, *values.shape[-2:]), strict=True
    ):  # fmt: skip
        down = np.zeros(plane.shape)
        _add_taps(plane.T, weights, down.T, periodic=False)
        _add_taps(down, weights, target, periodic=periodic)
    return out


def _add_taps(source: FloatArray, weights: FloatArray, target: FloatArray, *, periodic: bool) -> None:
    """Along the second axis, a few rows at a time."""
    radius, (rows, length) = weights.size // 2, source.shape
    stripe = max(1, CACHED_CELLS // length)
    for first in range(0, rows, stripe):
        some = slice(first, first + stripe)
        padded = np.pad(source[some], ((0, 0), (radius, radius)), mode="wrap" if periodic else "edge")
        for tap, weight in enumerate(weights):
            target[some] += weight * padded[:, tap : tap + length]


def block_mean(
    fine: npt.NDArray[Any], scale_factor: int, weights: npt.NDArray[Any] | None = None, crop: bool = False
) -> FloatArray:
    """Area-weighted means over s by s cells.

    Args:
        fine: (..., H, W); NaN cells carry no weight.
        scale_factor: s.
        weights: (H,) area of a cell in each row; equal where None.
        crop: drop the rows and columns beyond the last full block.

    Returns:
        (..., floor(H/s), floor(W/s)), NaN where a block has no valid cell.

    Raises:
        ShapeMismatch: H or W is no multiple of s, and `crop` is not given.
    """
    s = scale_factor
    height, width = _full_blocks(fine.shape, s, crop)
    rows, cols = height // s, width // s
    values = np.asarray(fine, np.float64)[..., : rows * s, : cols * s]
    area = np.ones(rows * s) if weights is None else np.asarray(weights, np.float64)[: rows * s]
    valid = np.isfinite(values)
    blocks = (*values.shape[:-2], rows, s, cols, s)
    total = (np.where(valid, values, 0.0) * area[:, None]).reshape(blocks).sum(axis=(-3, -1))
    weight = (valid * area[:, None]).reshape(blocks).sum(axis=(-3, -1))
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)


def coarsen_everywhere(
    fine: npt.NDArray[np.floating], registration: Registration, scale_factor: int,
    lat: npt.NDArray[np.float64] | None = None, periodic: bool = False, sigma: float = SIGMA,
) -> Field:  # fmt: skip
    """(..., H, W) -> the coarse value of a coarse cell that starts at each fine one.

    NODE: the Gaussian blur at that point; CELL: the mean of the s by s cells from there, (H - s + 1, W - s + 1),
    weighted by cos φ where `lat` (H,) is given.
    """
    out: list[Field] = []
    flat = fine.reshape(-1, *fine.shape[-2:])
    for plane in flat:
        if registration is Registration.NODE:
            out.append(gauss_decimate(plane, sigma, 1, periodic).astype(np.float32))
        else:
            out.append(_sliding_mean(plane, scale_factor, lat).astype(np.float32))
    return np.stack(out).reshape(*fine.shape[:-2], *out[0].shape)


def _sliding_mean(
    plane: npt.NDArray[np.floating], size: int, lat: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    area = np.ones(plane.shape[0]) if lat is None or lat.ndim != 1 else np.maximum(np.cos(np.deg2rad(lat)), 1e-6)
    weighted = np.asarray(plane, np.float64) * area[:, None]
    rows = np.lib.stride_tricks.sliding_window_view(weighted, size, axis=0).sum(axis=-1)
    rows /= np.lib.stride_tricks.sliding_window_view(area, size).sum(axis=-1)[:, None]
    mean: npt.NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(rows, size, axis=1).mean(axis=-1)
    return mean


def footprint(
    registration: Registration,
    starts: npt.NDArray[np.integer[Any]],
    scale_factor: int,
    length: int,
    *,
    sigma: float = SIGMA,
    area: npt.NDArray[Any] | None = None,
    periodic: bool = False,
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Along one axis: the fine cells that make the coarse cells starting at `starts`, and their weights.

    Args:
        registration: NODE weighs by the Gaussian around each start, CELL takes the mean of the s cells from there.
        starts: (n,) fine indices, repeated or not.
        scale_factor: s; CELL only.
        length: of the fine axis, which is replicated at its ends.
        sigma: of the Gaussian, fine cells; NODE only.
        area: (length,) of a cell of each row; CELL only, equal where None.
        periodic: the axis goes once around the globe.

    Returns:
        (cells (u,) rising, weights (n, u), rows summing to 1): coarse = weights @ fine[cells].
    """
    if registration is Registration.NODE:
        taps = gaussian_weights(sigma)
        reached = np.asarray(starts)[:, None] + np.arange(taps.size) - taps.size // 2
        reached = reached % length if periodic else np.clip(reached, 0, length - 1)
        shares = np.broadcast_to(taps, reached.shape)
    else:
        reached = np.asarray(starts)[:, None] + np.arange(scale_factor)
        weight = np.ones(reached.shape) if area is None else np.asarray(area, np.float64)[reached]
        shares = weight / weight.sum(axis=1, keepdims=True)
    cells, place = np.unique(reached, return_inverse=True)
    weights = np.zeros((reached.shape[0], cells.size))
    np.add.at(weights, (np.arange(reached.shape[0])[:, None], place.reshape(reached.shape)), shares)
    return cells.astype(np.int64), weights


def resize(fine: npt.NDArray[Any], scale_factor: int, method: str, periodic: bool = False) -> FloatArray:
    """The fine field at the middles of s by s cells, by an interpolation; nothing is averaged, so small scales alias.

    Args:
        fine: (..., H, W); NaN cells are filled from the nearest valid one, and a coarse cell is missing where the fine
            cell nearest to its middle is.
        scale_factor: s; H and W are multiples of it.
        method: a name of `gfs_sr.data.resampling.SPACE`.
        periodic: longitudes go once around the globe.

    Returns:
        (..., H/s, W/s).

    Source: the half-pixel map of image libraries, u = s·j + (s - 1)/2, with the kernels of our own interpolations.
    """
    s = scale_factor
    coarse, mask = fill_nearest(np.asarray(fine, np.float64), periodic)
    missing: npt.NDArray[Any] = mask.astype(np.float64)
    for axis, wraps in ((-2, False), (-1, periodic)):
        middles = s * np.arange(fine.shape[axis] // s) + (s - 1) / 2
        coarse = resample_axis(coarse, middles, SPACE[method], axis, wraps)
        missing = resample_axis(missing, middles, SPACE["nearest"], axis, wraps)
    return np.where(missing > 0.5, np.nan, coarse)


def coarsen_field(fine: npt.NDArray[Any], name: str, how: Coarsening, grid: Grid) -> FloatArray:
    """One variable's fields (..., H, W) on `grid` -> coarse ones; masks are never mixed by an interpolation."""
    if how.space is SpaceReduction.GAUSS_DECIMATE:
        return gauss_decimate(fine, how.sigma, how.scale_factor, grid.is_periodic)
    if how.space is SpaceReduction.BLOCK_MEAN:
        return block_mean(fine, how.scale_factor, grid.weights(), how.crop)
    rows, columns = _full_blocks(fine.shape, how.scale_factor, how.crop)
    is_mask = name == LAND_SEA_MASK
    method = SpaceReduction.NEAREST if is_mask else how.space
    return resize(fine[..., :rows, :columns], how.scale_factor, method, grid.is_periodic)


def _full_blocks(shape: tuple[int, ...], scale_factor: int, crop: bool) -> tuple[int, int]:
    """(rows, columns) that fill whole blocks.

    Raises:
        ShapeMismatch: there are more, and `crop` is not given.
    """
    height, width = shape[-2:]
    s = scale_factor
    if (height % s or width % s) and not crop:
        raise ShapeMismatch(
            f"{height} by {width} cells are no multiple of {s}",
            "coarsening by cells",
            f"pass --crop to drop the last {height % s} rows and {width % s} columns",
        )
    return height // s * s, width // s * s


def decimate_time(fine: npt.NDArray[Any], time_factor: int, mode: TimeReduction = TimeReduction.EVERY) -> FloatArray:
    """(T, ...) -> (floor((T - 1)/r) + 1, ...) for `every`, (floor(T/r), ...) for the means; surplus frames warn."""
    members = members_in_time(fine.shape[0], time_factor, mode)
    return np.stack([np.asarray(fine[list(frames)], np.float64).mean(axis=0) for frames in members])


def members_in_time(frames: int, time_factor: int, mode: TimeReduction) -> list[range]:
    """The fine frames that make each coarse frame; surplus frames are dropped with a warning."""
    r = time_factor
    if mode is TimeReduction.EVERY:
        return [range(k, k + 1) for k in range(0, frames, r)]
    count = frames // r
    if count == 0:
        raise ShapeMismatch(
            f"{frames} frames are fewer than {r}", "coarsening in time", "give more frames or a smaller r"
        )
    if frames % r:
        warnings.warn(f"{frames % r} of {frames} frames do not fill a mean of {r} and are dropped", stacklevel=2)
    return [range(k * r, (k + 1) * r) for k in range(count)]


def coarsen_grid(grid: Grid, scale_factor: int, registration: Registration) -> Grid:
    """Every s-th point for NODE, the mean coordinate of each full block for CELL."""
    if registration is Registration.NODE:
        return Grid(grid.lat[::scale_factor], grid.lon[::scale_factor])
    lat, lon = (
        axis[: axis.size // scale_factor * scale_factor].reshape(-1, scale_factor).mean(axis=1)
        for axis in (grid.lat, grid.lon)
    )
    return Grid(lat, lon)


def coarsen_times(times: TimeAxis, members: list[range], mode: TimeReduction) -> TimeAxis:
    """Dates of the coarse frames."""
    last = mode is TimeReduction.MEAN_TRAILING
    dates = [frames[-1] if last else frames[0] for frames in members]
    return TimeAxis(times.reference_time, times.valid_times[dates])


def coarsen(fine: Forecast, how: Coarsening) -> Forecast:
    """The coarse forecast, made frame by frame when it is read.

    Under `mean_trailing` a frame at the reference time belongs to no interval and is left out.

    Raises:
        ShapeMismatch: CELL, and the grid is no multiple of s without `crop`.
    """
    notes: list[str] = []
    if how.time is TimeReduction.MEAN_TRAILING and len(fine.times) > 1 and fine.times.lead_hours[0] == 0:
        fine = fine.isel_time(slice(1, None))
        notes.append("the frame at the reference time ends no interval and was left out of trailing means")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        members = members_in_time(len(fine.times), how.time_factor, how.time)
    notes += [str(warning.message) for warning in caught]
    for note in notes:
        warnings.warn(note, stacklevel=2)
    grid = coarsen_grid(fine.grid, how.scale_factor, how.registration)
    if how.registration is Registration.CELL:
        _full_blocks(fine.grid.shape, how.scale_factor, how.crop)  # refuses here, before reading
    reader = _CoarseReader(fine, how, members)
    return Forecast(
        variables=fine.variables,
        grid=grid,
        times=coarsen_times(fine.times, members, how.time),
        readers=tuple(reader.of(channel) for channel in range(len(fine.variables))),
        layout=fine.layout,
        registration=how.registration,
        source=f"{fine.source}, coarsened",
        notes=(*fine.notes, *notes),
        findings=fine.findings,
        buckets={name: interval * how.time_factor for name, interval in fine.buckets.items()},
    )


@dataclass(frozen=True, eq=False)
class _CoarseReader:
    fine: Forecast
    how: Coarsening
    members: list[range]

    def of(self, channel: int) -> ReadField:
        """Read frame k of one variable, coarsened."""
        return lambda index: self._read(channel, index)

    def _read(self, channel: int, index: int) -> Field:
        name = self.fine.variables[channel]
        kind = lookup(name).time_kind
        frames = self.members[index]
        if self.how.time is TimeReduction.EVERY and kind in (TimeKind.ACCUMULATED, TimeKind.AVERAGED):
            # the interval that ends at this frame; the first one has only the frame itself
            frames = range(max(0, frames[0] - self.how.time_factor + 1), frames[0] + 1)
        total = np.zeros(self.fine.grid.shape)
        for frame in frames:
            total += self._checked(name, channel, frame)
        mean = total / len(frames)
        if kind is TimeKind.ACCUMULATED:
            mean *= self.how.time_factor
        return coarsen_field(mean, name, self.how, self.fine.grid).astype(np.float32)

    def _checked(self, name: str, channel: int, frame: int) -> Field:
        values = self.fine.readers[channel](frame)
        check_values(values, name, f"{self.fine.source}, {self.fine.describe_time(frame)}")
        return values
