"""Scores, curves and tables out of sums that were added over frames and forecasts."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.contest import SQUARED, WEIGHT, Contest
from gfs_sr.evaluation.detail import Detail
from gfs_sr.evaluation.intervals import DRAWS, LEAST_UNITS, LEVEL, MANY_FORECASTS
from gfs_sr.evaluation.records import (
    ALL,
    INTERPOLATED,
    WHOLE,
    Curve,
    Density,
    Distribution,
    DomainMeans,
    Fractions,
    FrameScores,
    Interval,
    RankHistogram,
    Reliability,
    Score,
    Spectrum,
    SpreadSkill,
    Task,
)
from gfs_sr.metrics import bootstrap, registry
from gfs_sr.metrics.ensemble import SPREAD, mean_error, spread
from gfs_sr.metrics.events import WINDOW, probabilities_of, reliability_curve
from gfs_sr.metrics.metric import Metric
from gfs_sr.metrics.neighborhood import SCALES, fss_table
from gfs_sr.metrics.neighborhood import statistic_of as fss_of
from gfs_sr.metrics.ranges import ranges_of
from gfs_sr.metrics.ranks import RANKS, rank_counts, ranks_by_range
from gfs_sr.metrics.spectra import SPECTRUM
from gfs_sr.metrics.spectra import curves as spectral_curves

if TYPE_CHECKING:
    from gfs_sr.evaluation.result import Evaluation

OF_FRAMES = ("PSNR", "SSIM", "MAE", "RMSE", "correlation", "rank correlation")
LEAST_FORECASTS = 5  # that make an interval of a curve
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
                    units = _units(found, method, region, metric.statistic.key, lead_class)
                    value = math.nan if units is None else float(metric.value(units.sum(axis=0)))
                    if name in PLAIN or units is None or math.isnan(value):
                        continue
                    yield score(
                        evaluation, method, task, variable, metric, value,
                        region=region, lead_class=lead_class, interval=_interval(metric, units),
                    )  # fmt: skip


def lead_scores(evaluation: "Evaluation") -> Iterator[Score]:
    """Scores by lead time, `3 h`, over the forecasts that have the first one's; space and time together."""
    for task, variable, found, methods in _each(evaluation):
        if task != "joint":
            continue
        table = registry.metrics_of(variable)
        for method in methods:
            for name in (name for name in BY_LEAD if name in found[0].metrics[method]):
                rows = [sums for sums, _ in _frame_rows(found, method, table[name].statistic.key)]
                values = table[name].value(np.sum(rows, axis=0)) if rows else np.empty(0)
                for hours, value in zip(found[0].lead_hours, values, strict=bool(rows)):
                    if np.isfinite(value):
                        yield score(
                            evaluation, method, task, variable, table[name], float(value),
                            region=WHOLE, lead_class=f"{hours:g} h", interval=None,
                        )  # fmt: skip


def _units(found: Sequence[Detail], method: str, region: str, key: str, lead_class: str) -> FloatArray | None:
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


def curves(evaluation: "Evaluation") -> list[Curve]:
    """RMSE by lead time, over the forecasts with the first one's lead times."""
    found = []
    for task, variable in evaluation.tasks():
        first, *others = evaluation.contests(task, variable)
        if task != "joint" and first.lead_hours.size < 2:
            continue
        same = [first, *(each for each in others if np.array_equal(each.lead_hours, first.lead_hours))]
        found += [
            _curve(task, variable, method, WHOLE, [each.frames[method] for each in same], first)
            for method in first.frames
        ]
        for number, region in enumerate(first.regions):
            if region != WHOLE:
                found += [
                    _curve(
                        task, variable, method, region,
                        [each.by_region[method][:, number] for each in same if each.regions == first.regions], first,
                    )
                    for method in first.by_region
                ]  # fmt: skip
    return found


def _curve(task: Task, variable: str, method: str, region: str, sums: Sequence[FloatArray], first: Contest) -> Curve:
    stack = np.stack(sums)  # (forecasts, T, 4)
    low = high = None
    if len(stack) >= LEAST_FORECASTS:
        drawn = bootstrap.resamples((len(stack),), 1, DRAWS)
        sums_drawn = np.einsum("df,ftk->dtk", drawn.astype(np.float64), stack)
        low, high = np.quantile(_rmse(sums_drawn), ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return Curve(method, task, variable, region, "RMSE", first.lead_hours, _rmse(stack.sum(axis=0)), low, high)


def _rmse(sums: FloatArray) -> FloatArray:
    weight = sums[..., WEIGHT]
    found: FloatArray = np.sqrt(
        np.divide(sums[..., SQUARED], weight, out=np.full_like(weight, np.nan), where=weight > 0)
    )
    return found


def _interpolated(found: Sequence[Detail], method: str, key: str) -> FloatArray | None:
    """(K,) sums of a statistic over all interpolated frames."""
    units = _units(found, method, WHOLE, key, INTERPOLATED)
    return None if units is None else units.sum(axis=0)


def _each(evaluation: "Evaluation") -> Iterator[tuple[Task, str, list[Detail], list[str]]]:
    """(task, variable, details, methods)."""
    for task, variable in evaluation.tasks():
        found = details(evaluation, task, variable)
        if found:
            yield task, variable, found, list(dict.fromkeys(name for each in found for name in each.metrics))


def spectra(evaluation: "Evaluation") -> list[Spectrum]:
    """Mean radial power of truth and methods."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        power: dict[str, FloatArray] = {}
        wavelength = None
        for method in methods:
            sums = _interpolated(found, method, SPECTRUM.key)
            if sums is not None and sums[0] > 0:
                wavelength, power["truth"], power[method] = spectral_curves(sums)
        if wavelength is not None:
            made.append(Spectrum(task, variable, wavelength, power))
    return made


def densities(evaluation: "Evaluation") -> list[Density]:
    """Prediction against truth."""
    return [
        Density(task, variable, method, found[0].edges, _counts(found, method))
        for task, variable, found, methods in _each(evaluation)
        for method in methods
    ]


def distributions(evaluation: "Evaluation") -> list[Distribution]:
    """The margins of the densities."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        counts = {"truth": _counts(found, methods[0]).sum(axis=1)}
        counts |= {method: _counts(found, method).sum(axis=0) for method in methods}
        made.append(Distribution(task, variable, found[0].edges, found[0].log, counts))
    return made


def _counts(found: Sequence[Detail], method: str) -> FloatArray:
    total: FloatArray = np.sum([each.counts[method] for each in found if method in each.counts], axis=0)
    return total


def fractions(evaluation: "Evaluation") -> list[Fractions]:
    """Fractions skill scores at the variable's thresholds."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        ranges = ranges_of(variable)
        if ranges is None:
            continue
        scores = {}
        for method in methods:
            sums = _interpolated(found, method, fss_of(ranges).key)
            if sums is not None:
                scores[method] = fss_table(sums)
        if scores:
            thresholds, scales = np.asarray(ranges.thresholds), np.asarray(SCALES, np.float64)
            made.append(Fractions(task, variable, thresholds, scales, found[0].spacing_km, scores))
    return made


def reliability(evaluation: "Evaluation") -> list[Reliability]:
    """One per threshold and method."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        ranges = ranges_of(variable)
        if ranges is None:
            continue
        for method in methods:
            sums = _interpolated(found, method, probabilities_of(ranges).key)
            if sums is None:
                continue
            table = reliability_curve(sums)
            kind = "members" if found[0].members.get(method, 1) > 1 else f"neighborhood of {WINDOW} cells"
            made += [
                Reliability(
                    task, variable, method, threshold, kind, table.forecast[row], table.observed[row], table.count[row]
                )
                for row, threshold in enumerate(ranges.thresholds)
            ]
    return made


def ranks(evaluation: "Evaluation") -> list[RankHistogram]:
    """Of all values, then of each range of the variable."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        ranges = ranges_of(variable)
        for method in methods:
            sums = _interpolated(found, method, RANKS.key)
            if sums is not None:
                made.append(RankHistogram(task, variable, method, "all values", rank_counts(sums)[0]))
            own = None if ranges is None else _interpolated(found, method, ranks_by_range(ranges).key)
            if ranges is not None and own is not None:
                units = lookup(variable).units
                made += [
                    RankHistogram(task, variable, method, f"{low:g} to {high:g} {units}", counts)
                    for (low, high), counts in zip(ranges.ranges, rank_counts(own, len(ranges.ranges)), strict=True)
                    if counts.sum() > 0
                ]
    return made


def spread_skill(evaluation: "Evaluation") -> list[SpreadSkill]:
    """Over the forecasts with the first one's lead times."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        for method in methods:
            rows = [sums for sums, _ in _frame_rows(found, method, SPREAD.key)]
            if rows:
                total = np.sum(rows, axis=0)
                made.append(SpreadSkill(task, variable, method, found[0].lead_hours, spread(total), mean_error(total)))
    return made


def _frame_rows(found: Sequence[Detail], method: str, key: str) -> Iterable[tuple[FloatArray, Detail]]:
    """Rows by frame of the forecasts that have the first one's lead times."""
    for each in found:
        rows = each.rows.get((method, WHOLE), {}).get(key)
        if rows is not None and rows.by_frame and np.array_equal(each.lead_hours, found[0].lead_hours):
            yield rows.values, each


def frame_scores(evaluation: "Evaluation") -> list[FrameScores]:
    """Scores of single frames, all forecasts."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        table = registry.metrics_of(variable)
        for name in (name for name in OF_FRAMES if name in table):
            values: dict[str, FloatArray] = {}
            for method in methods:
                rows = [each.rows[method, WHOLE].get(table[name].statistic.key) for each in found]
                if name in found[0].metrics[method] and all(each is not None and each.by_frame for each in rows):
                    values[method] = _values(table[name].value, [each.values for each in rows if each is not None])
            if values:
                made.append(FrameScores(task, variable, name, values))
    return made


def _values(value: Callable[[FloatArray], FloatArray], rows: Sequence[FloatArray]) -> FloatArray:
    return value(np.concatenate(rows))


def domain_means(evaluation: "Evaluation") -> list[DomainMeans]:
    """Every frame of every forecast."""
    made = []
    for task, variable, found, methods in _each(evaluation):
        complete = [method for method in methods if all(method in each.means for each in found)]
        ensembles = [method for method in complete if all(method in each.member_means for each in found)]
        made.append(
            DomainMeans(
                task,
                variable,
                np.concatenate([each.valid_times for each in found]),
                np.concatenate([each.means["truth"] for each in found]),
                {method: np.concatenate([each.means[method] for each in found]) for method in complete},
                {method: np.concatenate([each.member_means[method] for each in found], axis=1) for method in ensembles},
            )
        )
    return made
