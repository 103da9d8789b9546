"""Radial power spectra, and what two of them differ by.

The mean is removed and, since the edges of a region do not meet, a Hann window is laid over every axis that is not
periodic (`taper=False` leaves it out, as the seed systems do). Power is |F|² over the number of cells and the window's
mean square, averaged over the modes whose wavenumber rounds to the same integer radius r = 1, 2, ... of cycles per L,
L the longer extent of the region, up to the wavenumber that the coarser spacing still resolves. On a square of equal
spacings this is the radially averaged spectrum over radii below half the side. Frames with more than a tenth of their
cells missing have no spectrum; fewer are filled by the mean of the others.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import EARTH_RADIUS_M, FloatArray, Grid
from gfs_sr.metrics.ensemble import crps
from gfs_sr.metrics.metric import Metric, Statistic, mean_of, ratio
from gfs_sr.metrics.ranges import ranges_of
from gfs_sr.metrics.scene import Frame, Need, Scene, stacked

GROUP = "spectra"
# of the truth's mean power: less counts as this much, so that a dry forecast is 100 dB off, not infinitely
FLOOR = 1e-10
MOST_MISSING = 0.1  # of the cells
HALF = 0.5  # of the truth's power


@dataclass(frozen=True, eq=False)
class Bins:
    """Which mode of a real FFT belongs to which radius."""

    radius: npt.NDArray[np.int64]  # (H, W//2 + 1)
    modes: FloatArray  # (H, W//2 + 1), 1 or 2: modes of the full transform that the entry stands for
    wavelength: FloatArray  # (R,), of radius 1 ... R, units of the spacing

    def mean(self, power: FloatArray) -> FloatArray:
        """(H, W//2 + 1) -> (R,)."""
        size = self.wavelength.size + 1
        index = np.minimum(self.radius, size).ravel()
        total = np.bincount(index, (power * self.modes).ravel(), size + 1)
        count = np.bincount(index, self.modes.ravel(), size + 1)
        mean: FloatArray = (total / np.maximum(count, 1))[1:size]
        return mean


@lru_cache(maxsize=8)
def bins(shape: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0)) -> Bins:
    """Radii of a field (H, W) with these (lat, lon) spacings."""
    height, width = shape
    extent = max(height * spacing[0], width * spacing[1])
    ky = np.fft.fftfreq(height, spacing[0])[:, None]
    kx = np.fft.rfftfreq(width, spacing[1])[None]
    radius = np.rint(np.hypot(ky, kx) * extent).astype(np.int64)
    modes = np.full(radius.shape, 2.0)
    modes[:, 0] = 1.0
    if width % 2 == 0:
        modes[:, -1] = 1.0
    count = max(int(np.ceil(extent / (2 * max(spacing)) - 1e-9)) - 1, 0)
    return Bins(radius, modes, extent / np.arange(1, count + 1))


def spacing_km(grid: Grid) -> tuple[float, float]:
    """Mean (lat, lon) spacing on the sphere, the latter at the mean cosine of latitude."""
    dlat, dlon = np.deg2rad(grid.spacing_deg) * EARTH_RADIUS_M / 1000
    return float(dlat), float(dlon * np.cos(np.deg2rad(grid.lat)).mean())


def radial_spectrum(
    field: npt.NDArray[Any],
    spacing: tuple[float, float] = (1.0, 1.0),
    taper: bool = True,
    periodic: bool = False,
) -> FloatArray:
    """(H, W) -> (R,) power by radius, units squared; R follows from shape and spacing.

    Args:
        field: without missing cells.
        spacing: (lat, lon), any unit of length.
        taper: window the axes that are not periodic.
        periodic: longitudes go once around the globe.
    """
    values = np.asarray(field, np.float64)
    values = values - values.mean()
    height, width = values.shape
    if taper:
        window = _hann(height)[:, None] * (np.ones(width) if periodic else _hann(width))[None]
        values = values * (window / np.sqrt(np.mean(window**2)))
    power = np.abs(np.fft.rfft2(values)) ** 2 / values.size
    return bins((height, width), spacing).mean(power)


def decibels(prediction: FloatArray, truth: FloatArray) -> FloatArray:
    """(..., R), (R,) -> 10 lg(prediction / truth), both floored at 100 dB below the truth's mean power."""
    floor = FLOOR * truth.mean()
    difference: FloatArray = 10 * np.log10(np.maximum(prediction, floor) / np.maximum(truth, floor))
    return difference


def ralsd(prediction: FloatArray, truth: FloatArray) -> float:
    """Radially averaged log spectral distance of two spectra (R,), dB: the RMS over radii of 10 lg of their ratio."""
    return float(np.sqrt(np.mean(decibels(prediction, truth) ** 2)))


def _hann(size: int) -> FloatArray:
    window: FloatArray = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    return window


def _spectra(scene: Scene, frame: Frame) -> tuple[FloatArray, FloatArray] | None:
    """Truth (R,) and members (M, R); None where there is nothing to compare."""
    if frame.valid.mean() < 1 - MOST_MISSING or min(frame.truth.shape) < 4:
        return None
    spacing, periodic = _geometry(scene)
    truth, *fields = (
        radial_spectrum(np.where(frame.valid, field, np.nanmean(field)), spacing, periodic=periodic)
        for field in (frame.truth, *frame.fields)
    )
    return (truth, np.stack(fields)) if truth.mean() > 0 else None


def _geometry(scene: Scene) -> tuple[tuple[float, float], bool]:
    return (spacing_km(scene.grid), scene.grid.is_periodic) if scene.grid is not None else ((1.0, 1.0), False)


def _spectrum_sums(scene: Scene) -> FloatArray:
    wavelength = bins(scene.shape[1:], _geometry(scene)[0]).wavelength
    rows = []
    for frame in scene.frames():
        found = _spectra(scene, frame)
        if found is None:
            rows.append(np.zeros(1 + 3 * wavelength.size))
        else:
            rows.append(np.concatenate([[1.0], wavelength, found[0], found[1].mean(axis=0)]))
    return stacked(rows)


def _distance_sums(scene: Scene) -> FloatArray:
    ranges = ranges_of(scene.variable) if scene.variable else None
    rows = []
    for frame in scene.frames():
        found = _spectra(scene, frame)
        if found is None or (ranges is not None and not np.nanmean(frame.truth) > ranges.least_mean):
            rows.append((0.0, 0.0, 0.0))
            continue
        truth, members = found
        apart = decibels(members.mean(axis=0), truth)
        ranked = crps(decibels(members, truth), np.zeros_like(truth), fair=False)
        rows.append((np.sum(apart**2), ranked.sum(), apart.size))
    return stacked(rows)


def _fine_sums(scene: Scene) -> FloatArray:
    assert scene.scale_factor is not None  # Need.SCALE_FACTOR was checked
    spacing, _ = _geometry(scene)
    table = bins(scene.shape[1:], spacing)
    below = table.wavelength < 2 * scene.scale_factor * max(spacing)
    modes = np.bincount(table.radius.ravel(), table.modes.ravel(), table.wavelength.size + 1)[1 : below.size + 1]
    rows = []
    for frame in scene.frames():
        found = _spectra(scene, frame)
        rows.append(
            (0.0, 0.0) if found is None else [(modes * p)[below].sum() for p in (found[1].mean(axis=0), found[0])]
        )
    return stacked(rows)


def curves(sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sums of SPECTRUM (..., K) -> wavelength in km, power of the truth and of the forecast, each (..., R)."""
    count = (sums.shape[-1] - 1) // 3
    means = ratio(sums[..., 1:], sums[..., :1])
    return means[..., :count], means[..., count : 2 * count], means[..., 2 * count :]


def effective_resolution(sums: FloatArray) -> FloatArray:
    """Shortest wavelength down to which the forecast has at least half of the truth's power, km."""
    wavelength, truth, prediction = curves(sums)
    lost = prediction < HALF * truth
    last = np.where(lost.any(axis=-1), lost.argmax(axis=-1), lost.shape[-1]) - 1
    found = np.take_along_axis(wavelength, np.maximum(last, 0)[..., None], axis=-1)[..., 0]
    return np.where(last >= 0, found, np.nan)


SPECTRUM = Statistic("spectrum", _spectrum_sums, frozenset({Need.GRID}))
DISTANCE = Statistic("spectral distance", _distance_sums)
DISTANCE_OF_MEMBERS = Statistic("spectral distance", _distance_sums, frozenset({Need.MEMBERS}))
FINE = Statistic("fine power", _fine_sums, frozenset({Need.SCALE_FACTOR}))

METRICS: tuple[Metric, ...] = (
    Metric(
        "RALSD", GROUP, DISTANCE, lambda sums: np.sqrt(ratio(sums[..., 0], sums[..., 2])), "lower",
        "Log spectral distance: does the forecast have the truth's variability at every wavelength?", "dB",
    ),
    Metric(
        "CRPS of spectra", GROUP, DISTANCE_OF_MEMBERS, mean_of(1, 2), "lower",
        "CRPS of the members' log spectra, averaged over wavelengths.", "dB",
    ),
    Metric(
        "fine power ratio", GROUP, FINE, mean_of(), "one",
        "Power at wavelengths the coarse field cannot hold, over the truth's: below 1 detail is missing.",
    ),
    Metric(
        "effective resolution", GROUP, SPECTRUM, effective_resolution, "lower",
        "Shortest wavelength down to which the forecast has at least half of the truth's power.", "km",
    ),
)  # fmt: skip
