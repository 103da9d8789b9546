"""Extremes of a frame: how far its quantiles, maximum and minimum are off, averaged over frames."""

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, Value, by_frame, ratio
from gfs_sr.metrics.scene import Frame

GROUP = "gradients and extremes"
LEVELS = (0.0, 0.001, 0.01, 0.99, 0.999, 1.0)  # 0 and 1 are minimum and maximum


def quantile_errors(prediction: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> FloatArray:
    """Quantiles of the prediction minus those of the truth, one per level; linear between order statistics."""
    errors: FloatArray = np.quantile(prediction, LEVELS) - np.quantile(truth, LEVELS)
    return errors


def _sums(frame: Frame) -> npt.ArrayLike:
    if not frame.valid.any():
        return np.zeros(len(LEVELS) + 1)
    errors = [quantile_errors(field[frame.valid], frame.truth[frame.valid]) for field in frame.fields]
    return [*np.mean(errors, axis=0), 1.0]


def _error(column: int) -> Value:
    return lambda sums: ratio(sums[..., column], sums[..., -1])


EXTREMES = Statistic("extremes", by_frame(_sums))

_TITLES = ("minimum error", "q0.1 error", "q1 error", "q99 error", "q99.9 error", "maximum error")
_WORDS = ("minimum", "0.1 % quantile", "1 % quantile", "99 % quantile", "99.9 % quantile", "maximum")

METRICS: tuple[Metric, ...] = tuple(
    Metric(title, GROUP, EXTREMES, _error(column), "zero", f"Error of the {words} of a frame, mean over frames.", "{u}")
    for column, (title, words) in enumerate(zip(_TITLES, _WORDS, strict=True))
)
