"""Metrics by name: what a report asks for."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.errors import UsageError
from gfs_sr.metrics import (
    conservation,
    distributions,
    ensemble,
    events,
    extremes,
    gradients,
    joins,
    moments,
    neighborhood,
    objects,
    outliers,
    pointwise,
    rank_correlation,
    ranks,
    seams,
    spectra,
    ssim,
)
from gfs_sr.metrics.metric import Metric
from gfs_sr.metrics.pooling import Pool
from gfs_sr.metrics.ranges import Ranges, ranges_of
from gfs_sr.metrics.scene import Scene, Values

__all__ = ["METRICS", "Metric", "Scene", "available", "metrics_of", "percentile_range", "score", "tally", "values"]


_OF_ANY: tuple[tuple[Metric, ...], ...] = (
    moments.METRICS,
    pointwise.METRICS,
    ssim.METRICS,
    rank_correlation.METRICS,
    spectra.METRICS,
    gradients.METRICS,
    extremes.METRICS,
    outliers.METRICS,
    distributions.METRICS,
    neighborhood.METRICS,
    objects.METRICS,
    ensemble.METRICS,
    ranks.METRICS,
    seams.METRICS,
    joins.METRICS,
    conservation.METRICS,
)
_OF_RANGES: tuple[Callable[[Ranges], tuple[Metric, ...]], ...] = (
    moments.metrics_of,
    distributions.metrics_of,
    neighborhood.metrics_of,
    ranks.metrics_of,
    events.metrics_of,
)


@cache
def metrics_of(variable: str | None) -> Mapping[str, Metric]:
    """Every metric of a variable (None: of any), by name. Those with thresholds or ranges are the variable's own."""
    rows = [metric for group in _OF_ANY for metric in group]
    ranges = ranges_of(variable) if variable else None
    if ranges is not None:
        rows += [metric for make in _OF_RANGES for metric in make(ranges)]
    table = {metric.name: metric for metric in rows}
    assert len(table) == len(rows), "two metrics share a name"
    return table


METRICS: Mapping[str, Metric] = metrics_of(None)
"""Metrics of any variable."""


def available(scene: Scene) -> dict[str, Metric]:
    """The metrics that a scene can answer."""
    has = scene.has
    return {
        name: metric
        for name, metric in metrics_of(scene.variable).items()
        if metric.needs <= has and (metric.statistic.pool is None or metric.statistic.pool.fits(scene))
    }


def tally(names: Iterable[str], scene: Scene) -> dict[str, FloatArray]:
    """Sums of the named metrics: statistic key -> (T, K). Each statistic is computed once, however many share it.

    Raises:
        UsageError: a name is unknown, or the scene lacks what the metric needs.
    """
    statistics = {metric.statistic.key: metric.statistic for metric in _named(names, scene)}
    pooled: dict[Pool | None, Scene] = {None: scene}
    for statistic in statistics.values():
        if statistic.pool is not None and statistic.pool not in pooled:
            pooled[statistic.pool] = statistic.pool.of(scene)
    return {key: statistic.sums(pooled[statistic.pool]) for key, statistic in statistics.items()}


def values(names: Iterable[str], sums: Mapping[str, FloatArray], variable: str | None = None) -> dict[str, float]:
    """Scores of sums (K,) by statistic key: of rows of `tally`, added up as the question wants."""
    table = metrics_of(variable)
    return {name: float(table[name].value(sums[table[name].statistic.key])) for name in names}


def score(names: Iterable[str], scene: Scene) -> dict[str, float]:
    """The named metrics of one scene, all frames together.

    Raises:
        UsageError: a name is unknown, or the scene lacks what the metric needs.
    """
    names = tuple(names)
    return values(names, {key: rows.sum(axis=0) for key, rows in tally(names, scene).items()}, scene.variable)


def percentile_range(truth: Values) -> float:
    """p99 - p1 of the finite values: the data range of physical scales."""
    finite = truth[np.isfinite(truth)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 0.0)
    return float(high - low)


def _named(names: Iterable[str], scene: Scene) -> list[Metric]:
    table, has = metrics_of(scene.variable), scene.has
    found = []
    for name in names:
        if name not in table:
            raise UsageError(f"unknown metric {name!r}", "metrics", f"use one of: {', '.join(table)}")
        missing = sorted(table[name].needs - has)
        if missing:
            raise UsageError(
                f"metric {name!r} needs what the scene does not have: {', '.join(missing)}",
                f"variable {scene.variable}",
                "give it, or leave the metric out",
            )
        found.append(table[name])
    return found
