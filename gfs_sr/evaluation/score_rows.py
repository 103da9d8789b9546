"""The rows of metrics.csv that the registry makes, out of sums that were added over frames and forecasts."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.detail import Detail
from gfs_sr.evaluation.intervals import DRAWS, LEAST_UNITS, LEVEL, MANY_FORECASTS
from gfs_sr.evaluation.records import ALL, INTERPOLATED, WHOLE, Interval, Score, Task
from gfs_sr.metrics import bootstrap, registry
from gfs_sr.metrics.metric import Metric

if TYPE_CHECKING:
    from gfs_sr.evaluation.result import Evaluation

BY_LEAD = ("RMSE", "MAE", "bias", "SSIM", "CRPS")
PLAIN = ("RMSE", "MAE", "bias")  # every method has them, see `result.CELL_SCORES`


class Ends(TypedDict):
    """The ends of an interval as a record has them."""

    ci_low: float
    ci_high: float


def ends(interval: Interval | None) -> Ends:
    """NaN where there is none."""
    low, high = interval if interval is not None else (math.nan, math.nan)
    return Ends(ci_low=low, ci_high=high)


def score(
    evaluation: "Evaluation",
    method: str,
    task: Task,
    variable: str,
    metric: Metric,
    value: float,
    *,
    region: str,
    lead_class: str,
    interval: Interval | None,
) -> Score:
    """A row of metrics.csv."""
    return Score(
        method=method,
        is_model=method in evaluation.models,
        task=task,
        variable=variable,
        metric=metric.title or metric.name,
        baseline="",
        region=region,
        lead_class=lead_class,
        scale=metric.scale.removeprefix("mean ") or "1",
        value=value,
        **ends(interval),
        units=metric.units_of(lookup(variable).units),
        better=metric.better,
        group=metric.group,
        explanation=metric.explanation,
        threshold=math.nan if metric.threshold is None else metric.threshold,
        forecasts=len(evaluation.contests(task, variable)),
    )


def details(evaluation: "Evaluation", task: Task, variable: str) -> list[Detail]:
    """Of every forecast that was looked at closely."""
    return [case.details[task, variable] for case in evaluation.cases if (task, variable) in case.details]


def registry_scores(evaluation: "Evaluation") -> Iterator[Score]:
    """Every score of the registry, by method, region and class of lead time."""
    for task, variable in evaluation.tasks():
        found = details(evaluation, task, variable)
        if not found:
            continue
        table = registry.metrics_of(variable)
        for method, region in dict.fromkeys(pair for each in found for pair in each.rows):
            names = dict.fromkeys(name for each in found for name in each.metrics.get(method, ()))
            for lead_class in dict.fromkeys(name for each in found for name in each.classes):
                for name in names:
                    metric = table[name]
                    units = units_of(found, method, region, metric.statistic.key, lead_class)
                    value = math.nan if units is None else float(metric.value(units.sum(axis=0)))
                    if name in PLAIN or units is None or math.isnan(value):
                        continue
                    yield score(
                        evaluation, method, task, variable, metric, value,
                        region=region, lead_class=lead_class, interval=_interval(metric, units),
                    )  # fmt: skip


def lead_scores(evaluation: "Evaluation") -> Iterator[Score]:
    """Scores by lead time, `3 h`, over the forecasts that have the first one's; space and time together."""
    for task, variable, found, methods in each_variable(evaluation):
        if task != "joint":
            continue
        table = registry.metrics_of(variable)
        for method in methods:
            for name in (name for name in BY_LEAD if name in found[0].metrics[method]):
                rows = [sums for sums, _ in frame_rows(found, method, table[name].statistic.key)]
                values = table[name].value(np.sum(rows, axis=0)) if rows else np.empty(0)
                for hours, value in zip(found[0].lead_hours, values, strict=bool(rows)):
                    if np.isfinite(value):
                        yield score(
                            evaluation, method, task, variable, table[name], float(value),
                            region=WHOLE, lead_class=f"{hours:g} h", interval=None,
                        )  # fmt: skip


def units_of(found: Sequence[Detail], method: str, region: str, key: str, lead_class: str) -> FloatArray | None:
    """(N, K) sums by coarse interval, or by forecast where there are many; None where nothing was computed."""
    parts = []
    for each in found:
        rows = each.rows.get((method, region), {}).get(key)
        frames = each.classes.get(lead_class, each.classes[INTERPOLATED] if lead_class == ALL else None)
        if rows is None or frames is None:
            continue
        own = rows.of(frames, each.units)
        if rows.by_frame:
            labels, index = np.unique(each.units[frames], return_inverse=True)
            summed = np.zeros((labels.size, own.shape[1]))
            np.add.at(summed, index, own)
            own = summed
        parts.append(own)
    if not parts:
        return None
    width = max(part.shape[1] for part in parts)
    parts = [part for part in parts if part.shape[1] == width]  # spectra of other grids do not add
    return np.concatenate(
        [part.sum(axis=0, keepdims=True) for part in parts] if len(parts) >= MANY_FORECASTS else parts
    )


def _interval(metric: Metric, units: FloatArray) -> Interval | None:
    """By drawing units with replacement."""
    if len(units) < LEAST_UNITS:
        return None
    found = bootstrap.interval(metric.value, units, bootstrap.resamples((len(units),), 1, DRAWS), LEVEL)
    return (found.low, found.high) if math.isfinite(found.low) else None


def frame_rows(found: Sequence[Detail], method: str, key: str) -> Iterable[tuple[FloatArray, Detail]]:
    """Rows by frame of the forecasts that have the first one's lead times."""
    for each in found:
        rows = each.rows.get((method, WHOLE), {}).get(key)
        if rows is not None and rows.by_frame and np.array_equal(each.lead_hours, found[0].lead_hours):
            yield rows.values, each


def each_variable(evaluation: "Evaluation") -> Iterator[tuple[Task, str, list[Detail], list[str]]]:
    """(task, variable, details, methods)."""
    for task, variable in evaluation.tasks():
        found = details(evaluation, task, variable)
        if found:
            yield task, variable, found, list(dict.fromkeys(name for each in found for name in each.metrics))
