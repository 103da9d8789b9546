"""Metrics by name: what a report asks for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.errors import UsageError
from gfs_sr.metrics import pointwise
from gfs_sr.metrics.ssim import ssim

Values = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scene:
    """What a metric may look at: one variable of one forecast."""

    prediction: Values  # (T, H, W)
    truth: Values  # (T, H, W), same units
    weights: Values | None  # (H, 1) area weights
    data_range: float  # R of PSNR and SSIM, same units
    border: Literal["valid", "zero"] = "valid"  # of SSIM


@dataclass(frozen=True)
class Metric:
    """A score with what a reader must know to rank by it."""

    name: str
    score: Callable[[Scene], float]
    better: Literal["lower", "higher", "zero"]
    in_units: bool  # carries the variable's units
    unit: str = ""  # where it has one of its own


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("RMSE", lambda s: pointwise.rmse(s.prediction, s.truth, s.weights), "lower", True),
        Metric("MAE", lambda s: pointwise.mae(s.prediction, s.truth, s.weights), "lower", True),
        Metric("bias", lambda s: pointwise.bias(s.prediction, s.truth, s.weights), "zero", True),
        Metric("PSNR", lambda s: pointwise.psnr(s.prediction, s.truth, s.data_range, s.weights), "higher", False, "dB"),
        Metric("SSIM", lambda s: ssim(s.prediction, s.truth, s.data_range, s.weights, s.border), "higher", False),
        Metric("correlation", lambda s: pointwise.correlation(s.prediction, s.truth, s.weights), "higher", False),
        Metric("nRMSE", lambda s: pointwise.nrmse(s.prediction, s.truth, s.weights), "lower", False, "%"),
    )
}
"""Every metric a report can show; one more is one more row."""


def score(names: tuple[str, ...], scene: Scene) -> dict[str, float]:
    """The named metrics of one scene.

    Raises:
        UsageError: a name is unknown.
    """
    for name in names:
        if name not in METRICS:
            raise UsageError(f"unknown metric {name!r}", "metrics", f"use one of: {', '.join(METRICS)}")
    return {name: METRICS[name].score(scene) for name in names}


def percentile_range(truth: Values) -> float:
    """p99 - p1 of the finite values: the data range of physical scales."""
    finite = truth[np.isfinite(truth)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 0.0)
    return float(high - low)
