"""The registry's scores, and what the report draws, of the models and of the interpolations nearest to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import TimeReduction
from gfs_sr.data.grid import FloatArray
from gfs_sr.data.resampling import Closure
from gfs_sr.data.variables import lookup
from gfs_sr.errors import UsageError
from gfs_sr.evaluation.baselines import Rival
from gfs_sr.evaluation.cases import BUCKETS
from gfs_sr.evaluation.contest import Contest
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.records import WHOLE, CellMaps, Fields, Task
from gfs_sr.evaluation.regions import BoolArray
from gfs_sr.evaluation.view import VariableView, View
from gfs_sr.metrics import registry
from gfs_sr.metrics.cell_maps import CellSums
from gfs_sr.metrics.distributions import joint_counts
from gfs_sr.metrics.ensemble import CRPS, SPREAD
from gfs_sr.metrics.metric import Metric
from gfs_sr.metrics.moments import MOMENTS
from gfs_sr.metrics.pointwise import PSNR, VECTOR
from gfs_sr.metrics.ranges import ranges_of
from gfs_sr.metrics.scene import Borders, Coarse, Need, Scene

BINS = 60  # per axis of a density
LEAST_AMOUNT = 0.1  # lower end of a logarithmic axis
SAMPLED_VALUES = 1 << 20  # of the truth, for its percentiles
FIELD_BYTES = 64 << 20  # of one variable's fields that are kept for the report
FEW_SUMS = 16  # of a statistic; larger ones are kept by coarse interval, not by frame
REFERENCE = Rival("bicubic", "linear")  # of the restoration rate

Read = Callable[[slice], FloatArray]  # chunk -> (M, t, H, W)


@dataclass(frozen=True)
class Shown:
    """What is looked at closely, the same for all forecasts."""

    rivals: tuple[Rival, ...]  # the best plain one and the best sharpened one
    edges: tuple[float, ...]  # of histograms
    log: bool


@dataclass(frozen=True, eq=False)
class Rows:
    """Sums of one statistic: a row per frame, or per coarse interval where a row is long."""

    values: FloatArray  # (N, K)
    by_frame: bool

    def of(self, frames: slice, units: npt.NDArray[np.int64]) -> FloatArray:
        """(n, K) rows of a class of lead time, given each frame's interval."""
        return self.values[frames] if self.by_frame else self.values[np.unique(units[frames])]


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
    edges: FloatArray  # (BINS + 1,)
    log: bool
    counts: Mapping[str, FloatArray]  # method -> (BINS, BINS) truth, prediction
    means: Mapping[str, FloatArray]  # "truth" and methods -> (T,); models with members (M, T) in `member_means`
    member_means: Mapping[str, FloatArray]
    fields: Fields | None  # of the first case
    cell_maps: CellMaps | None


def truth_range(fields: VariableView) -> tuple[float, float]:
    """Least and largest value of the truth."""
    ends = [(np.nanmin(truth), np.nanmax(truth)) for truth in map(fields.truth, fields.view.chunks)]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def edges_of(variable: str, low: float, high: float) -> tuple[tuple[float, ...], bool]:
    """(edges of `BINS` bins over a range of values with a margin, whether they rise by a factor)."""
    ranges = ranges_of(variable)
    if ranges is not None and ranges.log_bins and high > LEAST_AMOUNT:
        return tuple(np.geomspace(LEAST_AMOUNT, 1.1 * high, BINS + 1).tolist()), True
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
        scenes = _Scenes(fields, read, data_range, protocol, method, contest)
        if partner is not None and method in partner_readers:
            scenes = replace(scenes, partner=(partner[0], partner_readers[method]))
        names = _names(registry.available(scenes.of(view.chunks[0])), wanted, fields.variable)
        metrics[method] = names
        for region, found in scenes.rows(names, regions).items():
            rows[method, region] = found
        counts[method], member_means[method], means["truth"] = _sweep(fields, read, edges)
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
        fields=_kept_fields(fields, readers) if keep_fields else None,
        cell_maps=_cell_maps(fields, sums) if keep_fields else None,
    )


KM_PER_DEGREE = 111.195  # of a great circle of the earth's radius


@dataclass(frozen=True, eq=False)
class _Scenes:
    """Chunks of one method as the metrics want them."""

    fields: VariableView
    read: Read
    data_range: float
    protocol: Protocol
    method: str
    contest: Contest
    partner: tuple[VariableView, Read] | None = None

    def of(self, chunk: slice) -> Scene:
        """All that metrics may ask of these frames."""
        view = self.fields.view
        window, how = view.window, view.case.how
        r = view.time_factor
        scene = Scene(
            prediction=self.read(chunk),
            truth=self.fields.truth(chunk),
            weights=window.weights,
            data_range=self.data_range,
            border=self.protocol.ssim_border,
            variable=self.fields.variable,
            grid=window.grid,
            scale_factor=how.scale_factor,
            time_factor=r if r > 1 else None,
            borders=self._borders(view),
            first_frame=chunk.start,
        )
        if not view.case.is_pair:
            in_time = how.time if r > 1 else TimeReduction.EVERY
            place = (-window.rows.start, -window.cols.start, -chunk.start)
            scene = replace(scene, coarse=Coarse(self.fields.coarse, replace(how, time_factor=r, time=in_time), *place))
        if r > 1 and view.case.kind not in BUCKETS:
            scene = replace(scene, reference=self.fields.rival(REFERENCE, Closure.RAMP, chunk))
        if self.partner is not None:
            other, read = self.partner
            scene = replace(
                scene, partner=replace(scene, prediction=read(chunk), truth=other.truth(chunk), variable=other.variable)
            )
        return scene

    def _borders(self, view: View) -> Borders | None:
        prediction = view.predictions.get(self.method)
        if prediction is None or prediction.tile is None:
            return None
        lines = [
            tuple(index - cells.start for index in range(0, cells.stop, side) if cells.start < index < cells.stop)
            for side, cells in zip(prediction.tile, view.window.cells, strict=True)
        ]
        return Borders(*lines)

    def rows(self, names: Sequence[str], regions: Mapping[str, BoolArray]) -> dict[str, dict[str, Rows]]:
        """Region -> every statistic of the named metrics; in parts of the window of those that are sums over cells."""
        own = _of_regions(names, self.fields.variable)
        parts: dict[str, dict[str, list[FloatArray]]] = {}
        for chunk in self.fields.view.chunks:
            scene = self.of(chunk)
            for region, mask in regions.items():
                part = scene if region == WHOLE else _within(scene, mask)
                found = self._tally(names, chunk, part) if region == WHOLE else registry.tally(own, part)
                for key, rows in found.items():
                    parts.setdefault(region, {}).setdefault(key, []).append(rows)
        return {
            region: {key: self._kept(np.concatenate(each)) for key, each in found.items()}
            for region, found in parts.items()
        }

    def _tally(self, names: Sequence[str], chunk: slice, scene: Scene) -> dict[str, FloatArray]:
        table = registry.metrics_of(self.fields.variable)
        alone = [name for name in names if Need.FRAMES not in table[name].needs]
        together = [name for name in names if Need.FRAMES in table[name].needs]
        found = registry.tally(alone, scene)
        return found | self._with_neighbors(together, chunk) if together else found

    def _with_neighbors(self, names: Sequence[str], chunk: slice) -> dict[str, FloatArray]:
        """Statistics that look at the frames before and after."""
        count = len(self.fields.view.window.frames)
        wide = slice(max(chunk.start - 1, 0), min(chunk.stop + 1, count))
        if wide.stop - wide.start < 2:
            return {}
        inner = slice(chunk.start - wide.start, chunk.stop - wide.start)
        return {key: rows[inner] for key, rows in registry.tally(names, self.of(wide)).items()}

    def _kept(self, rows: FloatArray) -> Rows:
        if rows.shape[1] <= FEW_SUMS:
            return Rows(rows, by_frame=True)
        units = self.contest.units
        summed = np.zeros((int(units.max()) + 1, rows.shape[1]))
        np.add.at(summed, units, rows)
        return Rows(summed, by_frame=False)


def _within(scene: Scene, mask: BoolArray) -> Scene:
    """The same of some of its cells."""
    weights = np.where(mask, 1.0 if scene.weights is None else scene.weights, 0.0)
    partner = None if scene.partner is None else replace(scene.partner, weights=weights)
    return replace(scene, weights=weights, partner=partner)


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


def _of_regions(names: Sequence[str], variable: str) -> list[str]:
    """Of the names, those that are sums over cells: a region is a choice of cells."""
    table = registry.metrics_of(variable)
    keys = {each.key for each in (MOMENTS, PSNR, VECTOR, CRPS, SPREAD)}
    return [name for name in names if table[name].statistic.key in keys]


def _data_range(fields: VariableView) -> float:
    """p99 - p1 of the truth, frames after the last coarse one apart; of every n-th cell where there are very many."""
    window = fields.view.window
    count = window.interpolated
    step = max(1, int(np.ceil(np.sqrt(count * window.shape[0] * window.shape[1] / SAMPLED_VALUES))))
    parts = [fields.truth(chunk)[: max(0, count - chunk.start), ::step, ::step] for chunk in fields.view.chunks]
    return registry.percentile_range(np.concatenate(parts))


def _sweep(fields: VariableView, read: Read, edges: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(joint counts, domain means of the members (M, T), those of the truth (T,))."""
    weights = fields.view.window.weights
    counts = np.zeros((edges.size - 1, edges.size - 1))
    means, truths = [], []
    for chunk in fields.view.chunks:
        values, truth = read(chunk), fields.truth(chunk)
        valid = np.isfinite(truth) & np.isfinite(values).all(axis=0)
        area = np.where(valid, weights, 0.0)
        for member in values:
            counts += joint_counts(member, truth, edges, area) / len(values)
        total = area.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):  # a frame without any valid cell
            means.append(np.where(valid, values * area, 0.0).sum(axis=(2, 3)) / total)
            truths.append(np.where(valid, truth * area, 0.0).sum(axis=(1, 2)) / total)
    return counts, np.concatenate(means, axis=1), np.concatenate(truths)


def _kept_fields(fields: VariableView, readers: Mapping[str, Read]) -> Fields:
    view = fields.view
    window, case = view.window, view.case
    count, (height, width) = len(window.frames), window.shape
    layers = 1 + sum(view.predictions[name].members + 1 if name in view.predictions else 1 for name in readers)
    middle = _shown_frame(window.interpolated, view.time_factor)
    every = max(1, -(-4 * count * height * width * layers // FIELD_BYTES))
    kept = np.arange(middle % every, count, every)

    def whole(read: Callable[[slice], FloatArray]) -> npt.NDArray[np.float32]:
        parts = [
            read(chunk)[..., (kept[(kept >= chunk.start) & (kept < chunk.stop)] - chunk.start), :, :]
            for chunk in view.chunks
        ]
        return np.concatenate(parts, axis=-3).astype(np.float32)

    members = {
        name: whole(read)
        for name, read in readers.items()
        if name in view.predictions and view.predictions[name].members > 1
    }
    times = case.truth.times
    frames = [window.frames[index] for index in kept]
    coarse_times = case.coarse.times.lead_hours[list(view.coarse_frames)]
    return Fields(
        task=view.task,
        variable=fields.variable,
        case=case.label,
        bucket=case.kind in BUCKETS,
        lat=window.grid.lat,
        lon=window.grid.lon,
        lead_hours=times.lead_hours[frames],
        valid_times=times.valid_times[frames],
        interval_hours=case.coarse.times.step_hours,
        time_factor=view.time_factor,
        shown_frame=int(np.searchsorted(kept, middle)),
        truth=whole(fields.truth),
        methods={
            name: members[name].mean(axis=0) if name in members else whole(read)[0] for name, read in readers.items()
        },
        members=members,
        coarse=fields.coarse,
        coarse_lat=case.coarse.grid.lat,
        coarse_lon=case.coarse.grid.lon,
        coarse_lead_hours=coarse_times,
    )


def _shown_frame(interpolated: int, r: int) -> int:
    """Halfway between two coarse frames in the middle of the forecast, where interpolation in time is hardest."""
    interval = max(0, (interpolated - 1) // r // 2)
    return min(interpolated - 1, interval * r + r // 2)


def _cell_maps(fields: VariableView, sums: Mapping[str, CellSums]) -> CellMaps:
    grid = fields.view.window.grid
    maps = {
        name: {
            "RMSE": each.rmse(),
            "nRMSE": each.nrmse(),
            "bias": each.bias(),
            "NMB": each.normalized_bias(),
            "Pearson": each.correlation(),
        }
        for name, each in sums.items()
    }
    return CellMaps(fields.view.task, fields.variable, grid.lat, grid.lon, maps)


def vector_partner(variable: str) -> str | None:
    """The component whose error joins this one's: the vector is scored once, under its eastward component."""
    partner = lookup(variable).vector_partner
    if partner is None or partner < lookup(variable).name:
        return None
    at = variable.partition("@")
    return partner + at[1] + at[2]
