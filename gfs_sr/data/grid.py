"""Latitude-longitude grids: axes, boundaries, registration, refinement."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gfs_sr.errors import UnsupportedGrid

FloatArray = npt.NDArray[np.float64]

EARTH_RADIUS_M = 6371229.0  # the sphere of GFS and of GRIB2 code table 3.2, entry 6
SPACING_TOLERANCE = 2e-3  # of one spacing: GRIB stores millidegrees, files round to float32


class Registration(StrEnum):
    """Where fine cells lie in coarse ones."""

    NODE = "node"  # coarse point i lies exactly on fine point s·i
    CELL = "cell"  # a coarse cell is the mean of s by s fine cells


class Boundary(StrEnum):
    """What lies beyond the end of an axis."""

    EDGE = "edge"
    PERIODIC = "periodic"
    POLE = "pole"


@dataclass(frozen=True)
class AxisWindow:
    """A run of fine indices: `start` may be negative, `size` counts from there."""

    start: int
    size: int


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid: `lat` falls (north to south), `lon` rises (west to east, may pass 360), degrees."""

    lat: FloatArray  # (H,)
    lon: FloatArray  # (W,)

    @classmethod
    def from_axes(cls, lat: npt.ArrayLike, lon: npt.ArrayLike, where: str) -> "Grid":
        """A checked grid from axes already in order (lat falling, lon rising after unwrapping).

        Raises:
            UnsupportedGrid: an axis is not one-dimensional, not finite or not evenly spaced.
        """
        axes = []
        for name, values, sign in (("latitude", lat, -1.0), ("longitude", lon, 1.0)):
            axis = np.atleast_1d(np.asarray(values, np.float64))
            if axis.ndim != 1 or not np.isfinite(axis).all():
                raise UnsupportedGrid(f"{name} is not a finite one-dimensional axis", where, "give a regular grid")
            steps = np.diff(axis) * sign
            if steps.size and (steps.min() <= 0 or np.ptp(steps) > 2 * SPACING_TOLERANCE * steps.mean()):
                raise UnsupportedGrid(
                    f"{name} is not evenly spaced: steps from {steps.min():g} to {steps.max():g} degrees",
                    where,
                    "interpolate to a regular latitude-longitude grid first",
                )
            axes.append(axis)
        if np.abs(axes[0]).max() > 90 + 1e-6:
            raise UnsupportedGrid(
                f"latitude {axes[0][np.abs(axes[0]).argmax()]:g} is beyond a pole", where, "check lat"
            )
        return cls(axes[0], axes[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.lat.size, self.lon.size

    @property
    def spacing_deg(self) -> tuple[float, float]:
        """Positive (lat, lon) spacing; the other axis' where one has a single point."""
        height, width = self.shape
        dlat = float(self.lat[0] - self.lat[-1]) / (height - 1) if height > 1 else None
        dlon = float(self.lon[-1] - self.lon[0]) / (width - 1) if width > 1 else None
        fallback = dlat or dlon or 1.0
        return dlat or fallback, dlon or fallback

    @property
    def is_periodic(self) -> bool:
        """True where the longitudes go once around the globe."""
        dlon = self.spacing_deg[1]
        return self.lon.size > 1 and abs(self.lon.size * dlon - 360.0) < 0.5 * dlon * 0.1

    @property
    def pole_offsets(self) -> tuple[int | None, int | None]:
        """Per end (north, south): how the rows continue over the pole, or None where the axis ends before it.

        0: the last row lies on the pole, which is not repeated; 1: half a spacing before it, so row i mirrors onto
        itself shifted by 180 degrees. Anything else, or a grid that is not global, gives None.
        """
        if not self.is_periodic or self.lon.size % 2:
            return None, None
        dlat = self.spacing_deg[0]

        def at(end: float) -> int | None:
            gap = (90.0 - abs(end)) / dlat
            if abs(gap) < 0.05:
                return 0
            return 1 if abs(gap - 0.5) < 0.05 else None

        north = at(self.lat[0]) if self.lat[0] > 0 else None
        south = at(self.lat[-1]) if self.lat[-1] < 0 else None
        return north, south

    def weights(self) -> FloatArray:
        """(H,) area weights cos φ, mean 1; a row on a pole has the area of its half cell."""
        dlat = np.deg2rad(self.spacing_deg[0])
        phi = np.deg2rad(self.lat)
        upper, lower = np.minimum(phi + dlat / 2, np.pi / 2), np.maximum(phi - dlat / 2, -np.pi / 2)
        area: FloatArray = np.sin(upper) - np.sin(lower)
        weights: FloatArray = area / area.mean()
        return weights

    def refine(
        self, scale_factor: int, registration: Registration, extent: str = "hull"
    ) -> "tuple[Grid, AxisWindow, AxisWindow]":
        """The fine grid and, per axis, which of the s·N model output indices it keeps.

        Args:
            scale_factor: s, fine cells per coarse cell.
            registration: NODE puts fine index s·i on coarse point i, CELL centers s fine cells on it.
            extent: `hull` (first to last coarse point for NODE, but all of a periodic axis; s·N for CELL) or `full`.

        Returns:
            (fine grid, window over lat, window over lon).

        Source: design section 1.2 of the registration rules, docs/guide/registration.md.
        """
        fine_axes, windows = [], []
        for axis, step, periodic in (
            (self.lat, -self.spacing_deg[0], False),
            (self.lon, self.spacing_deg[1], self.is_periodic),
        ):
            size = scale_factor * axis.size
            if registration is Registration.NODE and extent == "hull" and not periodic:
                size = scale_factor * (axis.size - 1) + 1
            offset = 0.0 if registration is Registration.NODE else (scale_factor - 1) / 2
            units = (np.arange(size) - offset) / scale_factor  # fine index in coarse index units
            inside = np.clip(units, 0, axis.size - 1)
            fine = np.interp(inside, np.arange(axis.size), axis) + (units - inside) * step
            if step < 0:
                keep = np.abs(fine) <= 90 + 1e-9  # beyond a pole there is nothing
                first = int(keep.argmax())
                windows.append(AxisWindow(first, int(keep.sum())))
                fine_axes.append(fine[keep])
            else:
                windows.append(AxisWindow(0, size))
                fine_axes.append(fine)
        return Grid(fine_axes[0], fine_axes[1]), windows[0], windows[1]
