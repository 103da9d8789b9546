"""Scores of one case: model and rivals on the same cells and frames."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import ReadField
from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import Closure
from gfs_sr.evaluation.baselines import Rival, Setting, SpaceRival
from gfs_sr.evaluation.cases import Case
from gfs_sr.evaluation.protocols import NORMALIZED_RANGE, Protocol
from gfs_sr.evaluation.subject import Subject
from gfs_sr.metrics import registry
from gfs_sr.metrics.pointwise import mse, rmse

Values = npt.NDArray[Any]
Task = Literal["joint", "space"]

POINTWISE = ("RMSE", "MAE", "bias", "PSNR")  # of every rival
SCORED = (*POINTWISE, "correlation", "SSIM")  # of the model and the headline
SPACE_FRAMES = 12  # at most so many single frames, evenly spread, make the score of space alone
INTERPOLATED, EXTRAPOLATED, ALL = "interpolated", "extrapolated", "all"


@dataclass(frozen=True)
class Record:
    """One number: of one method on one variable of one case."""

    method: str
    task: Task
    variable: str
    metric: str
    lead_class: str
    scale: str  # physical or normalized
    value: float


@dataclass(frozen=True, eq=False)
class Curve:
    """RMSE by lead time of one method."""

    method: str
    variable: str
    lead_hours: npt.NDArray[np.float64]
    rmse: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Maps:
    """Fields of one variable at one fine frame, for the eye."""

    task: Task
    variable: str
    case: str
    lead_hours: float
    coarse_lead_hours: float
    frame: int
    interval_hours: float | None  # between coarse frames
    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    coarse: Values
    coarse_after: Values | None  # the next coarse frame, where the fine one lies between two
    coarse_lat: npt.NDArray[np.float64]
    coarse_lon: npt.NDArray[np.float64]
    truth: Values
    methods: dict[str, Values]


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Everything found on one case."""

    case: str
    records: list[Record]
    curves: list[Curve]
    maps: list[Maps]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Window:
    """The cells and frames that are scored, in indices of the fine field."""

    frames: int
    interpolated: int  # of the frames, those up to the last coarse one
    rows: slice
    cols: slice
    weights: Values | None  # (rows, 1)

    def cut(self, fine: Values) -> Values:
        """(T, H, W) -> its scored part."""
        return fine[: self.frames, self.rows, self.cols]

    def lead_classes(self) -> Iterator[tuple[str, slice]]:
        yield INTERPOLATED, slice(0, self.interpolated)
        if self.frames > self.interpolated:
            yield EXTRAPOLATED, slice(self.interpolated, self.frames)
            yield ALL, slice(0, self.frames)


def hull(case: Case, subject: Subject, protocol: Protocol, frames: int) -> _Window:
    """From the first to the last coarse point (under CELL in the middle of a cell); all of a periodic axis."""
    s, r = subject.scale_factor, subject.time_factor
    height, width = case.coarse.grid.shape
    fine_height, fine_width = case.truth.grid.shape
    # fine cells from the first coarse point on: those of a CELL hang half a coarse cell before it
    before = 0 if subject.registration is Registration.NODE else s // 2
    after = 1 if subject.registration is Registration.NODE else s - s // 2
    rows = slice(before, min(s * (height - 1) + after, fine_height)) if height > 1 else slice(0, fine_height)
    cols = slice(before, min(s * (width - 1) + after, fine_width)) if width > 1 else slice(0, fine_width)
    if case.coarse.grid.is_periodic:
        cols = slice(0, min(s * width, fine_width))
    weights = case.truth.grid.weights()[rows, None] if protocol.area_weighted else None
    return _Window(frames, min(frames, r * (len(case.coarse.times) - 1) + 1), rows, cols, weights)


def score_joint(case: Case, subject: Subject, rivals: Sequence[Rival], protocol: Protocol) -> CaseScores:
    """Space and time together, all frames of the truth that the model reaches."""
    r = subject.time_factor
    predicted = subject.predict(case.coarse)
    window = hull(case, subject, protocol, min(len(case.truth.times), predicted.shape[0]))
    setting = Setting(subject.scale_factor, r, subject.registration, case.coarse.grid.is_periodic)
    middle = _shown_frame(window.interpolated, r)
    hours = case.truth.times.lead_hours[: window.frames]
    records: list[Record] = []
    curves: list[Curve] = []
    maps: list[Maps] = []
    for channel, variable in enumerate(case.truth.variables):
        truth = window.cut(_series(case.truth.readers[channel], range(window.frames)))
        coarse = _series(case.coarse.readers[channel], range(len(case.coarse.times)))
        target = _target("joint", variable, truth, window, subject, protocol)
        fields = {}
        for method, fine, headline in _estimates(subject, predicted[:, channel], rivals, coarse, setting, target):
            records += _records(method, target, fine, SCORED if headline else POINTWISE)
            curves.append(Curve(method, variable, hours, _rmse_by_frame(fine, truth, window.weights)))
            if headline:
                fields[method] = fine[middle].astype(np.float32)
        maps.append(_maps(case, target.task, variable, middle, r, window, truth[middle], coarse[middle // r :], fields))
    return CaseScores(case.label, records, curves, maps, case.left_out)


def score_space(case: Case, subject: Subject, rivals: Sequence[SpaceRival], protocol: Protocol) -> CaseScores:
    """Single frames: what the model makes of each coarse frame alone."""
    r = subject.time_factor
    count = len(case.coarse.times)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SPACE_FRAMES)).round().astype(int)).tolist()
    predicted = np.concatenate([subject.predict(case.coarse.isel_time(slice(k, k + 1)))[:1] for k in chosen])
    window = replace(hull(case, subject, protocol, len(chosen)), interpolated=len(chosen))
    setting = Setting(subject.scale_factor, 1, subject.registration, case.coarse.grid.is_periodic)
    middle = len(chosen) // 2
    records: list[Record] = []
    maps: list[Maps] = []
    for channel, variable in enumerate(case.truth.variables):
        truth = window.cut(_series(case.truth.readers[channel], [k * r for k in chosen]))
        coarse = _series(case.coarse.readers[channel], chosen)
        target = _target("space", variable, truth, window, subject, protocol)
        fields = {}
        for method, fine, headline in _estimates(subject, predicted[:, channel], rivals, coarse, setting, target):
            records += _records(method, target, fine, SCORED if headline else POINTWISE)
            if headline:
                fields[method] = fine[middle].astype(np.float32)
        maps.append(
            _maps(
                case,
                target.task,
                variable,
                chosen[middle] * r,
                r,
                window,
                truth[middle],
                coarse[middle : middle + 1],
                fields,
            )
        )
    return CaseScores(case.label, records, [], maps, case.left_out)


def _series(read: ReadField, frames: Iterable[int]) -> Values:
    return np.stack([read(frame) for frame in frames])


@dataclass(frozen=True, eq=False)
class _Target:
    """The truth of one variable on both scales, by class of lead time."""

    task: Task
    variable: str
    window: _Window
    truth: Values
    scales: tuple[tuple[str, float, float], ...]  # name, mean, sd
    ranges: dict[tuple[str, str], float]  # (lead class, scale) -> data range
    border: Literal["valid", "zero"]


def _target(task: Task, variable: str, truth: Values, window: _Window, subject: Subject, protocol: Protocol) -> _Target:
    ranges = {}
    for lead_class, frames in window.lead_classes():
        ranges[lead_class, "physical"] = registry.percentile_range(truth[frames])
        ranges[lead_class, "normalized"] = NORMALIZED_RANGE
    scales = (("physical", 0.0, 1.0), ("normalized", *subject.normalization(variable)))
    return _Target(task, variable, window, truth, scales, ranges, protocol.ssim_border)


def _estimates(
    subject: Subject,
    predicted: Values,
    rivals: Sequence[Rival] | Sequence[SpaceRival],
    coarse: Values,
    setting: Setting,
    target: _Target,
) -> Iterator[tuple[str, Values, bool]]:
    window = target.window
    yield subject.name, window.cut(predicted), True
    for rival in rivals:
        # at the rim of a domain neither closure is better everywhere: each rival is given the one that suits it
        closed = [window.cut(rival.fine(coarse, setting, closure)) for closure in Closure]
        first = slice(0, window.interpolated)
        yield (
            rival.name,
            min(closed, key=lambda fine: mse(fine[first], target.truth[first], window.weights)),
            rival.headline,
        )


def _records(method: str, target: _Target, fine: Values, names: tuple[str, ...]) -> Iterator[Record]:
    for scale, mean, sd in target.scales:
        p, y = (fine - mean) / sd, (target.truth - mean) / sd
        for lead_class, frames in target.window.lead_classes():
            scene = registry.Scene(
                p[frames], y[frames], target.window.weights, target.ranges[lead_class, scale], target.border
            )
            for metric, value in registry.score(names, scene).items():
                yield Record(method, target.task, target.variable, metric, lead_class, scale, value)


def _rmse_by_frame(fine: Values, truth: Values, weights: Values | None) -> npt.NDArray[np.float64]:
    return np.array([rmse(p, y, weights) for p, y in zip(fine, truth, strict=True)])


def _shown_frame(interpolated: int, r: int) -> int:
    """Halfway between two coarse frames in the middle of the forecast, where interpolation in time is hardest."""
    interval = max(0, (interpolated - 1) // r // 2)
    return min(interpolated - 1, interval * r + r // 2)


def _maps(
    case: Case,
    task: Task,
    variable: str,
    frame: int,
    r: int,
    window: _Window,
    truth: Values,
    coarse: Values,
    fields: dict[str, Values],
) -> Maps:
    grid, coarse_grid = case.truth.grid, case.coarse.grid
    return Maps(
        task=task,
        variable=variable,
        case=case.label,
        lead_hours=float(case.truth.times.lead_hours[frame]),
        coarse_lead_hours=float(case.coarse.times.lead_hours[frame // r]),
        frame=frame,
        interval_hours=case.coarse.times.step_hours,
        lat=grid.lat[window.rows],
        lon=grid.lon[window.cols],
        coarse=coarse[0],
        coarse_after=coarse[1] if frame % r and len(coarse) > 1 else None,
        coarse_lat=coarse_grid.lat,
        coarse_lon=coarse_grid.lon,
        truth=truth,
        methods=fields,
    )
