"""The registry's scores, and what the report draws, of the models and of the interpolations nearest to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.resampling import Closure
from gfs_sr.data.variables import lookup
from gfs_sr.errors import UsageError
from gfs_sr.evaluation.baselines import Rival
from gfs_sr.evaluation.contest import Contest
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.records import CellMaps, Fields, Task
from gfs_sr.evaluation.regions import BoolArray
from gfs_sr.evaluation.scenes import Read, Rows, Scenes
from gfs_sr.evaluation.shown import cell_maps, kept_fields, sweep
from gfs_sr.evaluation.view import VariableView
from gfs_sr.metrics import registry
from gfs_sr.metrics.cell_maps import CellSums
from gfs_sr.metrics.metric import Metric
from gfs_sr.metrics.ranges import ranges_of

KM_PER_DEGREE = 111.195  # of a great circle of the earth's radius
BINS = 60  # per axis of a density, and one more below LEAST_AMOUNT
LEAST_AMOUNT = 0.1  # lower end of a logarithmic axis; what lies below is dry
SAMPLED_VALUES = 1 << 20  # of the truth, for its percentiles


@dataclass(frozen=True)
class Shown:
    """What is looked at closely, the same for all forecasts."""

    rivals: tuple[Rival, ...]  # the best plain one and the best sharpened one
    edges: tuple[float, ...]  # of histograms
    log: bool


@dataclass(frozen=True, eq=False)
class Detail:
    """One variable of one case, looked at closely."""

    task: Task
    variable: str
    lead_hours: FloatArray  # (T,)
    valid_times: npt.NDArray[np.datetime64]  # (T,)
    classes: Mapping[str, slice]
    units: npt.NDArray[np.int64]
    spacing_km: float
    members: Mapping[str, int]  # of the models
    metrics: Mapping[str, tuple[str, ...]]  # method -> names that could be computed
    rows: Mapping[tuple[str, str], Mapping[str, Rows]]  # (method, region) -> statistic -> rows
    edges: FloatArray  # (B + 1,), B of BINS
    log: bool
    counts: Mapping[str, FloatArray]  # method -> (B, B) truth, prediction
    means: Mapping[str, FloatArray]  # "truth" and methods -> (T,); models with members (M, T) in `member_means`
    member_means: Mapping[str, FloatArray]
    fields: Fields | None  # of the first case
    cell_maps: CellMaps | None


def truth_range(fields: VariableView) -> tuple[float, float]:
    """Least and largest value of the truth."""
    ends = [(np.nanmin(truth), np.nanmax(truth)) for truth in map(fields.truth, fields.view.chunks)]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def edges_of(variable: str, low: float, high: float) -> tuple[tuple[float, ...], bool]:
    """(Edges of `BINS` bins over a range of values with a margin, whether they rise by a factor).

    Those that rise by a factor have one bin more before them, from 0: cells without any.
    """
    ranges = ranges_of(variable)
    if ranges is not None and ranges.log_bins and high > LEAST_AMOUNT:
        return (0.0, *np.geomspace(LEAST_AMOUNT, 1.1 * high, BINS + 1).tolist()), True
    margin = 0.03 * (high - low) or 1.0
    return tuple(np.linspace(low - margin, high + margin, BINS + 1).tolist()), False


def look_closely(
    fields: VariableView,
    contest: Contest,
    shown: Shown,
    regions: Mapping[str, BoolArray],
    protocol: Protocol,
    wanted: tuple[str, ...] | None,
    *,
    keep_fields: bool,
    partner: tuple[VariableView, Contest] | None = None,
) -> Detail:
    """Compute everything the registry can say.

    Args:
        fields: the variable.
        contest: its sums, for the closures.
        shown: which interpolations.
        regions: masks; pointwise scores are taken in each.
        protocol: for the border of SSIM.
        wanted: names or titles of metrics; None is all.
        keep_fields: keep what maps and animations are drawn from.
        partner: the other component of a vector, if its error is to be scored here.
    """
    view = fields.view
    data_range = _data_range(fields)
    edges = np.asarray(shown.edges)
    rows: dict[tuple[str, str], dict[str, Rows]] = {}
    metrics, counts, means, member_means = {}, {}, {}, {}
    sums: dict[str, CellSums] = {}
    readers = _readers(fields, contest, shown.rivals)
    partner_readers = {} if partner is None else _readers(*partner, shown.rivals)
    for method, read in readers.items():
        scenes = Scenes(fields, read, data_range, protocol, method, contest)
        if partner is not None and method in partner_readers:
            scenes = replace(scenes, partner=(partner[0], partner_readers[method]))
        names = _names(registry.available(scenes.of(view.chunks[0])), wanted, fields.variable)
        metrics[method] = names
        for region, found in scenes.rows(names, regions).items():
            rows[method, region] = found
        counts[method], member_means[method], means["truth"] = sweep(fields, read, edges)
        means[method] = member_means[method].mean(axis=0)
        if keep_fields:
            sums[method] = sum(
                (CellSums.of(scenes.of(chunk)) for chunk in view.chunks[1:]), CellSums.of(scenes.of(view.chunks[0]))
            )
    members = {model: view.predictions[model].members for model in fields.models}
    times = view.case.truth.times
    return Detail(
        task=view.task,
        variable=fields.variable,
        lead_hours=contest.lead_hours,
        valid_times=times.valid_times[list(view.window.frames)],
        classes=contest.classes,
        units=contest.units,
        spacing_km=float(view.window.grid.spacing_deg[0]) * KM_PER_DEGREE,
        members=members,
        metrics=metrics,
        rows=rows,
        edges=edges,
        log=shown.log,
        counts=counts,
        means=means,
        member_means={name: member_means[name] for name, count in members.items() if count > 1},
        fields=kept_fields(fields, readers) if keep_fields else None,
        cell_maps=cell_maps(fields, sums) if keep_fields else None,
    )


def _readers(fields: VariableView, contest: Contest, rivals: Sequence[Rival]) -> dict[str, Read]:
    readers: dict[str, Read] = {}
    for model in fields.models:
        readers[model] = _members_of(fields, model)
    for rival in rivals:
        readers[rival.name] = _rival_of(fields, rival, contest.closures[rival.name])
    return readers


def _members_of(fields: VariableView, model: str) -> Read:
    return lambda chunk: fields.members(model, chunk)


def _rival_of(fields: VariableView, rival: Rival, closure: Closure) -> Read:
    return lambda chunk: fields.rival(rival, closure, chunk)[None]


def _names(available: Mapping[str, Metric], wanted: tuple[str, ...] | None, variable: str) -> tuple[str, ...]:
    if wanted is None:
        return tuple(available)
    known = registry.metrics_of(variable)
    titles = {title for name, metric in known.items() for title in (name, metric.title)}
    for each in wanted:
        if each not in titles:
            listed = ", ".join(dict.fromkeys(metric.title or name for name, metric in known.items()))
            raise UsageError(f"unknown metric {each!r}", "--metrics", f"use some of: {listed}")
    return tuple(name for name, metric in available.items() if name in wanted or metric.title in wanted)


def _data_range(fields: VariableView) -> float:
    """p99 - p1 of the truth, frames after the last coarse one apart; of every n-th cell where there are very many."""
    window = fields.view.window
    count = window.interpolated
    step = max(1, int(np.ceil(np.sqrt(count * window.shape[0] * window.shape[1] / SAMPLED_VALUES))))
    parts = [fields.truth(chunk)[: max(0, count - chunk.start), ::step, ::step] for chunk in fields.view.chunks]
    return registry.percentile_range(np.concatenate(parts))


def vector_partner(variable: str) -> str | None:
    """The component whose error joins this one's: the vector is scored once, under its eastward component."""
    partner = lookup(variable).vector_partner
    if partner is None or partner < lookup(variable).name:
        return None
    at = variable.partition("@")
    return partner + at[1] + at[2]
