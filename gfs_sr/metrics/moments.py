"""Sums of first and second moments: what RMSE, MAE, bias, correlation and their kin are made of."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.variables import VARIABLES, base_name
from gfs_sr.metrics.metric import Better, Metric, Statistic, Value, by_frame, mean_of, ratio
from gfs_sr.metrics.pooling import SIZES, Pool
from gfs_sr.metrics.ranges import Ranges
from gfs_sr.metrics.scene import Frame, Need, Scene, stacked

GROUP = "cell by cell"

WEIGHT, ERROR, ABSOLUTE, SQUARED, TRUTH, P, Y, PP, YY, PY = range(10)  # columns; P and Y from the origin


def origin_of(variable: str | None) -> float:
    """What second moments are taken about: squares of 1e5 Pa lose the digits a variance needs."""
    row = VARIABLES.get(base_name(variable)) if variable else None
    return row.typical[0] if row else 0.0


def frame_moments(frame: Frame, origin: float = 0.0) -> FloatArray:
    """(10,) weighted sums over the valid cells of a frame, of an ensemble those of its mean."""
    w = frame.weights[frame.valid]
    prediction, truth = frame.prediction[frame.valid], frame.truth[frame.valid]
    error, p, y = prediction - truth, prediction - origin, truth - origin
    terms = (np.ones_like(w), error, np.abs(error), error**2, truth, p, y, p * p, y * y, p * y)
    sums: FloatArray = np.array([w @ term for term in terms])
    return sums


def _sums(scene: Scene) -> FloatArray:
    origin = origin_of(scene.variable)
    return stacked([frame_moments(frame, origin) for frame in scene.frames()])


MOMENTS = Statistic("moments", _sums)


def rmse(sums: FloatArray) -> FloatArray:
    """Root of the mean squared error."""
    return np.sqrt(mse(sums))


def mse(sums: FloatArray) -> FloatArray:
    """Mean squared error."""
    return ratio(sums[..., SQUARED], sums[..., WEIGHT])


def mae(sums: FloatArray) -> FloatArray:
    """Mean absolute error."""
    return ratio(sums[..., ABSOLUTE], sums[..., WEIGHT])


def bias(sums: FloatArray) -> FloatArray:
    """Mean of prediction minus truth."""
    return ratio(sums[..., ERROR], sums[..., WEIGHT])


def nrmse(sums: FloatArray) -> FloatArray:
    """RMSE in percent of the truth's mean."""
    return 100 * ratio(rmse(sums), ratio(sums[..., TRUTH], sums[..., WEIGHT]))


def correlation(sums: FloatArray) -> FloatArray:
    """Pearson's; NaN where either field is constant to the last digits."""
    variance_p, variance_y, covariance = _second(sums)
    return ratio(covariance, np.sqrt(variance_p * variance_y))


def deviation_ratio(sums: FloatArray) -> FloatArray:
    """Standard deviation of the prediction over that of the truth."""
    variance_p, variance_y, _ = _second(sums)
    return np.sqrt(ratio(variance_p, variance_y))


def _second(sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    weight = sums[..., WEIGHT]
    p, y = ratio(sums[..., P], weight), ratio(sums[..., Y], weight)
    found = []
    for column, product in ((PP, p * p), (YY, y * y), (PY, p * y)):
        second = ratio(sums[..., column], weight)
        # what is left of a constant field is the rounding of the two terms
        found.append(np.where(np.abs(second - product) <= 1e-13 * np.abs(second), 0.0, second - product))
    return found[0], found[1], found[2]


def _restoration(scene: Scene) -> FloatArray:
    assert scene.reference is not None  # Need.REFERENCE was checked
    rows = []
    for index, frame in enumerate(scene.frames()):
        reference = np.asarray(scene.reference[index], np.float64)
        used = frame.valid & np.isfinite(reference)
        w, truth = frame.weights[used], frame.truth[used]
        rows.append((w @ (frame.prediction[used] - truth) ** 2, w @ (reference[used] - truth) ** 2))
    return stacked(rows)


RESTORATION = Statistic("restoration", _restoration, frozenset({Need.REFERENCE}))


def restoration_rate(sums: FloatArray) -> FloatArray:
    """1 - squared error / squared error of the reference: 0 no better than it, 1 perfect."""
    return 1 - ratio(sums[..., 0], sums[..., 1])


_POOLED: tuple[tuple[str, Value, Better], ...] = (
    ("RMSE", rmse, "lower"),
    ("MAE", mae, "lower"),
    ("bias", bias, "zero"),
)


def _pooled(pool: Pool) -> tuple[Metric, ...]:
    statistic = replace(MOMENTS, pool=pool)
    blocks = f"{'means' if pool.how == 'mean' else 'maxima'} over {pool.size} by {pool.size} cells"
    return tuple(
        Metric(
            f"{title} @ {pool.name}",
            "pooled",
            statistic,
            value,
            better,
            f"{title[0].upper()}{title[1:]} of {blocks}.",
            "{u}",
            title,
            pool.name,
        )
        for title, value, better in _POOLED
    )


METRICS: tuple[Metric, ...] = (
    Metric("RMSE", GROUP, MOMENTS, rmse, "lower", "Root of the mean squared error; large errors count most.", "{u}"),
    Metric("MSE", GROUP, MOMENTS, mse, "lower", "Mean squared error.", "({u})²"),
    Metric("MAE", GROUP, MOMENTS, mae, "lower", "Mean absolute error; every error counts by its size.", "{u}"),
    Metric("bias", GROUP, MOMENTS, bias, "zero", "Mean of forecast minus truth: too high or too low.", "{u}"),
    Metric("nRMSE", GROUP, MOMENTS, nrmse, "lower", "RMSE in percent of the truth's mean.", "%"),
    Metric(
        "correlation", GROUP, MOMENTS, correlation, "higher", "Pearson's: do highs and lows lie where they should?"
    ),
    Metric(
        "deviation ratio", GROUP, MOMENTS, deviation_ratio, "one",
        "Standard deviation over the truth's: below 1 the forecast is too smooth.",
    ),
    Metric(
        "restoration rate", GROUP, RESTORATION, restoration_rate, "higher",
        "Share of the squared error of interpolation in time that is removed: 0 none, 1 all.",
    ),
    *(metric for how in ("mean", "max") for size in SIZES for metric in _pooled(Pool(how, size))),
)  # fmt: skip


def _relative(ranges: Ranges, pool: Pool | None) -> Metric:
    def sums(frame: Frame) -> npt.ArrayLike:
        used = frame.valid & (frame.weights > 0)
        truth = np.where(used, frame.truth, -np.inf)
        used &= truth > ranges.least_truth
        w, y = frame.weights[used], frame.truth[used]
        return w @ (np.abs(frame.prediction[used] - y) / y), w.sum()

    statistic = Statistic("relative error", by_frame(sums), frozenset({Need.RANGES}), pool)
    suffix = f" @ {pool.name}" if pool else ""
    return Metric(
        f"relative error{suffix}",
        "pooled" if pool else GROUP,
        statistic,
        mean_of(),
        "lower",
        "Mean of the absolute error over the truth, where the truth is not too small to divide by.",
        title="relative error",
        scale=pool.name if pool else "",
    )


def metrics_of(ranges: Ranges) -> tuple[Metric, ...]:
    """Relative errors, of variables that have a least truth to divide by."""
    if not ranges.least_truth > 0:
        return ()
    pools = (None, *(Pool("mean", size) for size in SIZES))
    return tuple(_relative(ranges, pool) for pool in pools)
