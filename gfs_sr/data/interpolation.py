"""Registered interpolations in NumPy float64: the baselines of every score.

Space: fine index i lies at u(i) = i/s for `node`, (i + 1/2)/s - 1/2 for `cell`, in coarse index units. Time: fine frame
n lies at v(n) = n/r.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.resampling import SPACE, Closure, Values, upsample_columns, upsample_rows
from gfs_sr.data.time_interpolation import TIME, split_buckets
from gfs_sr.data.variables import TimeKind


def upsample_space(
    coarse: Values,
    scale_factor: int,
    registration: Registration,
    method: str = "bicubic",
    *,
    periodic: bool = False,
    closure: Closure = Closure.EDGE,
) -> FloatArray:
    """Interpolate to the full extent of the fine cells.

    Args:
        coarse: (..., H, W); NaN cells are filled from the nearest valid one and masked again after.
        scale_factor: s.
        registration: where fine cells lie.
        method: a name of `SPACE`.
        periodic: longitudes go once around the globe.
        closure: what stencils read beyond the ends.

    Returns:
        (..., s·H, s·W), float64.
    """
    filled, mask = fill_nearest(np.asarray(coarse, np.float64), periodic)
    fine = upsample_rows(filled, scale_factor, registration, method, closure)
    fine = upsample_columns(fine, scale_factor, registration, method, periodic, closure)
    if mask.any():
        fine[upsample_mask(mask, scale_factor, registration, periodic)] = np.nan
    return fine


def upsample_mask(
    mask: npt.NDArray[np.bool_], scale_factor: int, registration: Registration, periodic: bool = False
) -> npt.NDArray[np.bool_]:
    """(..., s·H, s·W): true where the nearest coarse cell of `mask` (..., H, W) is."""
    fine = upsample_rows(mask, scale_factor, registration, "nearest")
    nearest: npt.NDArray[np.bool_] = upsample_columns(fine, scale_factor, registration, "nearest", periodic) > 0.5
    return nearest


@dataclass(frozen=True)
class Baseline:
    """A pair of interpolations, time on the coarse frames first, then space."""

    space: str
    time: str

    @property
    def name(self) -> str:
        """`space/time`."""
        return f"{self.space}/{self.time}"

    def __call__(
        self,
        coarse: Values,
        scale_factor: int,
        time_factor: int,
        registration: Registration,
        *,
        periodic: bool = False,
        closure: Closure = Closure.RAMP,
        kind: TimeKind = TimeKind.INSTANT,
    ) -> FloatArray:
        """(T, ..., H, W) -> (r·T, ..., s·H, s·W), full extent; a single frame is held.

        The default closure keeps a linear field exact in the whole hull; EDGE gives what an untrained model gives.
        """
        frames = self.frames(coarse, time_factor, periodic=periodic, closure=closure, kind=kind)
        return upsample_space(frames, scale_factor, registration, self.space, periodic=periodic, closure=closure)

    def frames(
        self,
        coarse: Values,
        time_factor: int,
        *,
        periodic: bool = False,
        closure: Closure = Closure.RAMP,
        kind: TimeKind = TimeKind.INSTANT,
    ) -> FloatArray:
        """(T, ..., H, W) -> (r·T, ..., H, W), in time alone; amounts and means by `split_buckets`."""
        if kind is TimeKind.INSTANT:
            return TIME[self.time](coarse, time_factor, closure, periodic)
        averaged = kind is TimeKind.AVERAGED
        return split_buckets(coarse, time_factor, self.time, averaged=averaged, closure=closure, periodic=periodic)


READ_BEYOND = frozenset({"bicubic", "lanczos", "catmull_rom"})  # stencils wider than the interval they fill

BASELINES: dict[str, Baseline] = {f"{space}/{time}": Baseline(space, time) for space in SPACE for time in TIME}
"""Every pair, by name such as `bicubic/linear`."""

HEADLINE = tuple(f"{s}/{t}" for s in ("bilinear", "bicubic") for t in ("linear", "catmull_rom", "natural_spline"))
"""The six that skill refers to; the rest is shown beside them."""

SEED_METHODS: dict[str, Baseline] = {
    "bicubic": Baseline("bicubic", "hold"),
    "tempinterp": Baseline("nearest", "natural_spline"),
    "st_combined": Baseline("bicubic", "natural_spline"),
    "linear": Baseline("bicubic", "linear"),
    "monotone": Baseline("bicubic", "pchip"),
}
"""The seed system's method names, registered."""
