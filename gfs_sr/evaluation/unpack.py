"""Curves, histograms and tables of the report, out of sums that were added over frames and forecasts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.evaluation.contest import SQUARED, WEIGHT, Contest
from gfs_sr.evaluation.detail import Detail
from gfs_sr.evaluation.intervals import DRAWS, LEVEL
from gfs_sr.evaluation.plots.units import range_in_words
from gfs_sr.evaluation.records import (
    INTERPOLATED,
    WHOLE,
    Curve,
    Density,
    Distribution,
    DomainMeans,
    Fractions,
    FrameScores,
    RankHistogram,
    Reliability,
    Spectrum,
    SpreadSkill,
    Task,
)
from gfs_sr.evaluation.score_rows import each_variable, frame_rows, units_of
from gfs_sr.metrics import bootstrap, registry
from gfs_sr.metrics.ensemble import SPREAD, mean_error, spread
from gfs_sr.metrics.events import WINDOW, probabilities_of, reliability_curve
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
    units = units_of(found, method, WHOLE, key, INTERPOLATED)
    return None if units is None else units.sum(axis=0)


def spectra(evaluation: "Evaluation") -> list[Spectrum]:
    """Mean radial power of truth and methods."""
    made = []
    for task, variable, found, methods in each_variable(evaluation):
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
        for task, variable, found, methods in each_variable(evaluation)
        for method in methods
    ]


def distributions(evaluation: "Evaluation") -> list[Distribution]:
    """The margins of the densities."""
    made = []
    for task, variable, found, methods in each_variable(evaluation):
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
    for task, variable, found, methods in each_variable(evaluation):
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
    for task, variable, found, methods in each_variable(evaluation):
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
    for task, variable, found, methods in each_variable(evaluation):
        ranges = ranges_of(variable)
        for method in methods:
            sums = _interpolated(found, method, RANKS.key)
            if sums is not None:
                made.append(RankHistogram(task, variable, method, "all values", rank_counts(sums)[0]))
            own = None if ranges is None else _interpolated(found, method, ranks_by_range(ranges).key)
            if ranges is not None and own is not None:
                made += [
                    RankHistogram(task, variable, method, range_in_words(variable, low, high), counts)
                    for (low, high), counts in zip(ranges.ranges, rank_counts(own, len(ranges.ranges)), strict=True)
                    if counts.sum() > 0
                ]
    return made


def spread_skill(evaluation: "Evaluation") -> list[SpreadSkill]:
    """Over the forecasts with the first one's lead times."""
    made = []
    for task, variable, found, methods in each_variable(evaluation):
        for method in methods:
            rows = [sums for sums, _ in frame_rows(found, method, SPREAD.key)]
            if rows:
                total = np.sum(rows, axis=0)
                made.append(SpreadSkill(task, variable, method, found[0].lead_hours, spread(total), mean_error(total)))
    return made


def frame_scores(evaluation: "Evaluation") -> list[FrameScores]:
    """Scores of single frames, all forecasts."""
    made = []
    for task, variable, found, methods in each_variable(evaluation):
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
    for task, variable, found, methods in each_variable(evaluation):
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
