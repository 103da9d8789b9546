"""Skill of a fine forecast against the best plain and the best sharpened interpolation, on a truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.interpolation import BASELINES, HEADLINE
from gfs_sr.data.sharpening import THEORY, sharpen
from gfs_sr.runtime.upscaler import FineForecast

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One line of the summary."""

    variable: str
    units: str
    rmse: float
    best_plain: str
    skill_plain: float  # 1 - RMSE / RMSE of the best of six plain interpolations
    best_sharpened: str
    skill_sharpened: float


def interpolations(
    coarse: Values,
    shape: tuple[int, int, int],
    scale_factor: int,
    time_factor: int,
    registration: Registration,
    a: float,
) -> dict[str, FloatArray]:
    """The six headline interpolations of (T, H, W) after sharpening by `a`, cut to `shape` (frames, rows, columns)."""
    source = sharpen(coarse, a, registration) if a else np.asarray(coarse, np.float64)
    frames, rows, columns = shape
    return {
        name: BASELINES[name](source, scale_factor, time_factor, registration)[:frames, :rows, :columns]
        for name in HEADLINE
    }


def weighted_rmse(estimate: npt.ArrayLike, truth: npt.ArrayLike, grid: Grid) -> float:
    """Area-weighted over all frames; cells without truth do not count."""
    error = np.asarray(estimate, np.float64) - np.asarray(truth, np.float64)
    weights = np.broadcast_to(grid.weights()[:, None], error.shape)
    valid = np.isfinite(error)
    return float(np.sqrt(np.average(error[valid] ** 2, weights=weights[valid])))


def score(
    fine: FineForecast,
    truth: Values,
    coarse: Values,
    units: dict[str, str],
    scale_factor: int,
    time_factor: int,
    registration: Registration,
) -> list[Row]:
    """A row per variable.

    Args:
        fine: the model's output.
        truth: (T, C, H, W) on its grid and times.
        coarse: (T_c, C, H_c, W_c) what it was made from.
        units: by variable.
        scale_factor: s.
        time_factor: r.
        registration: of the coarse data.
    """
    rows = []
    for channel, variable in enumerate(fine.variables):
        target = truth[:, channel]
        rmse = weighted_rmse(fine.values[:, channel], target, fine.grid)
        best: list[tuple[float, str]] = []
        for a in (0.0, THEORY[registration]):
            fields = interpolations(coarse[:, channel], target.shape, scale_factor, time_factor, registration, a)
            best.append(min((weighted_rmse(field, target, fine.grid), name) for name, field in fields.items()))
        (plain, plain_name), (sharpened, sharpened_name) = best
        rows.append(
            Row(variable, units[variable], rmse, plain_name, 1 - rmse / plain, sharpened_name, 1 - rmse / sharpened)
        )
    return rows
