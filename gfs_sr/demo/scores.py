"""Skill of a fine forecast against the best plain and the best sharpened interpolation, on a truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.resampling import Closure
from gfs_sr.data.sharpening import FITTED
from gfs_sr.evaluation.baselines import Setting, is_sharpened, rivals
from gfs_sr.metrics.pointwise import rmse
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

    @property
    def best(self) -> str:
        """The interpolation that is hardest to beat."""
        return self.best_sharpened if self.skill_sharpened < self.skill_plain else self.best_plain


def interpolations(
    coarse: Values,
    truth: Values,
    weights: FloatArray,
    scale_factor: int,
    time_factor: int,
    registration: Registration,
) -> dict[str, tuple[FloatArray, float]]:
    """The headline interpolations of (T, H, W), plain and sharpened: the field on the truth's cells, and its error.

    At the rim no way to continue the field is better everywhere: each is given the one that suits it.
    """
    setting = Setting(scale_factor, time_factor, registration, periodic=False)
    frames, rows, columns = truth.shape
    found = {}
    for rival in rivals(FITTED[registration]):
        if rival.headline:
            fields = [rival.fine(coarse, setting, closure)[:frames, :rows, :columns] for closure in Closure]
            errors = [rmse(field, truth, weights) for field in fields]
            found[rival.name] = fields[int(np.argmin(errors))], min(errors)
    return found


def score(
    fine: FineForecast,
    truth: Values,
    coarse: Values,
    units: dict[str, str],
    scale_factor: int,
    time_factor: int,
    registration: Registration,
) -> list[Row]:
    """A row per variable; area-weighted over all frames and cells of the output.

    Args:
        fine: the model's output.
        truth: (T, C, H, W) on its grid and times.
        coarse: (T_c, C, H_c, W_c) what it was made from.
        units: by variable.
        scale_factor: s.
        time_factor: r.
        registration: of the coarse data.
    """
    weights = fine.grid.weights()[:, None]
    rows = []
    for channel, variable in enumerate(fine.variables):
        target = truth[:, channel]
        error = rmse(fine.values[:, channel], target, weights)
        found = interpolations(coarse[:, channel], target, weights, scale_factor, time_factor, registration)
        errors = {name: rival_error for name, (_, rival_error) in found.items()}
        plain = min((name for name in errors if not is_sharpened(name)), key=lambda name: errors[name])
        sharpened = min((name for name in errors if is_sharpened(name)), key=lambda name: errors[name])
        rows.append(
            Row(
                variable,
                units[variable],
                error,
                plain,
                1 - error / errors[plain],
                sharpened,
                1 - error / errors[sharpened],
            )
        )
    return rows
