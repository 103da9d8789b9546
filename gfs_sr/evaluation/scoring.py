"""Scores of one case: first every model and interpolation by its errors, then the best of them by everything else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.sharpening import FITTED
from gfs_sr.evaluation.baselines import Rival, is_sharpened, rivals, space_rivals
from gfs_sr.evaluation.cases import Case
from gfs_sr.evaluation.contest import SQUARED, WEIGHT, Contest, hold_contest
from gfs_sr.evaluation.detail import Detail, Shown, edges_of, look_closely, truth_range, vector_partner
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.records import ALL, EXTRAPOLATED, INTERPOLATED, SeedExample, Task
from gfs_sr.evaluation.regions import BoolArray, Box, region_masks
from gfs_sr.evaluation.subject import Subject
from gfs_sr.evaluation.view import View, views

__all__ = ["ALL", "EXTRAPOLATED", "INTERPOLATED", "CaseScores", "Options", "Scorer", "Task", "choose"]

Key = tuple[Task, str]  # task, variable


@dataclass(frozen=True)
class Options:
    """How cases are scored; picklable, so that a worker elsewhere scores alike."""

    tasks: tuple[Task, ...] = ("joint", "space")
    sharpening: float | None = None  # of the sharpened baselines; None takes the fitted constant
    metrics: tuple[str, ...] | None = None  # names or titles; None is all, () none but the errors that skill is made of
    boxes: tuple[Box, ...] = ()
    statics: Path | None = None  # terrain and coast of the regions; None takes the bundled map
    by_terrain: bool = True


@dataclass(frozen=True)
class SeedScore:
    """One number of protocol A."""

    method: str
    variable: str
    metric: str
    scale: str  # physical or normalized
    value: float


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Everything found on one case; mergeable with others by adding sums."""

    case: str
    left_out: tuple[str, ...]
    contests: dict[Key, Contest] = field(default_factory=dict)
    ranges: dict[Key, tuple[float, float]] = field(default_factory=dict)  # of the truth
    details: dict[Key, Detail] = field(default_factory=dict)
    seed: tuple[SeedScore, ...] = ()  # protocol A
    examples: tuple[SeedExample, ...] = ()
    warnings: list[str] = field(default_factory=list)  # of the models


class Scorer:
    """One case and the models; what they made is kept between the two steps, unless `forget` is called."""

    def __init__(self, case: Case, subjects: Sequence[Subject], options: Options, protocol: Protocol) -> None:
        self.case = case
        self.options = options
        self.protocol = protocol
        self.subjects = [subject for subject in subjects if any(subject.offers(name) for name in case.variables)]
        self._views: list[View] | None = None

    @property
    def views(self) -> list[View]:
        """The tasks, with what the models made."""
        if self._views is None:
            self._views = list(views(self.case, self.subjects, self.options.tasks, self.protocol))
        return self._views

    @property
    def held_bytes(self) -> int:
        """Of the predictions, in memory or on disk."""
        cells = int(np.prod(self.case.truth.grid.shape)) * len(self.case.variables) * 4
        made = (prediction for view in self._views or () for prediction in view.predictions.values())
        return cells * sum(prediction.members * prediction.frames for prediction in made)

    def forget(self) -> None:
        """Let go of the predictions; they are made again when they are asked for."""
        self._views = None

    def contest(self) -> CaseScores:
        """The first step: every model and interpolation."""
        a = amount(self.case.registration, self.options)
        found = CaseScores(self.case.label, self.case.left_out)
        for view in self.views:
            regions = self._regions(view)
            for name in self.case.variables:
                fields = view.of(name)
                if fields.models:
                    found.contests[view.task, name] = hold_contest(fields, _rivals(view, a), regions)
                    found.ranges[view.task, name] = truth_range(fields)
        found.warnings.extend(text for subject in self.subjects for text in subject.warnings)
        return found

    def detail(self, scores: CaseScores, shown: Mapping[Key, Shown], *, keep_fields: bool) -> CaseScores:
        """The second step, of the methods in `shown`."""
        for view in self.views:
            regions = self._regions(view)
            for name in self.case.variables:
                key = (view.task, name)
                if key in scores.contests:
                    partner = (view.task, vector_partner(name) or "")
                    scores.details[key] = look_closely(
                        view.of(name),
                        scores.contests[key],
                        shown[key],
                        regions,
                        self.protocol,
                        self.options.metrics,
                        keep_fields=keep_fields,
                        partner=(view.of(partner[1]), scores.contests[partner]) if partner in scores.contests else None,
                    )
        return scores

    def _regions(self, view: View) -> dict[str, BoolArray]:
        options = self.options
        return region_masks(view.window.grid, options.boxes, options.statics, options.by_terrain)


def amount(registration: Registration, options: Options) -> float:
    """Strength of the baselines' sharpening."""
    return options.sharpening if options.sharpening is not None else FITTED[registration]


def headline_names(task: Task) -> tuple[str, ...]:
    """The interpolations that skill refers to, sharpened ones included."""
    return tuple(rival.name for rival in (rivals(1.0) if task == "joint" else space_rivals(1.0)) if rival.headline)


def first_of_their_kind(scores: Sequence[CaseScores]) -> list[bool]:
    """Which forecasts are the first with some variable: their fields are kept for the maps."""
    seen: set[Key] = set()
    found = []
    for case in scores:
        found.append(not seen.issuperset(case.contests))
        seen.update(case.contests)
    return found


def choose(scores: Iterable[CaseScores], a: float) -> dict[Key, Shown]:
    """The best plain and the best sharpened interpolation of each variable over all cases, and common bins."""
    errors: dict[Key, dict[str, FloatArray]] = {}
    ends: dict[Key, list[tuple[float, float]]] = {}
    for case in scores:
        for key, contest in case.contests.items():
            frames = contest.classes[INTERPOLATED]
            for name, sums in contest.frames.items():
                total = errors.setdefault(key, {})
                total[name] = total.get(name, np.zeros(4)) + sums[frames].sum(axis=0)
            ends.setdefault(key, []).append(case.ranges[key])
    found = {}
    for (task, variable), total in errors.items():
        names = [name for name in headline_names(task) if name in total]
        best = [
            min((name for name in names if is_sharpened(name) == sharp), key=lambda name: _mse(total[name]))
            for sharp in (False, True)
        ]
        every = {rival.name: rival for rival in (rivals(a) if task == "joint" else space_rivals(a))}
        low, high = min(low for low, _ in ends[task, variable]), max(high for _, high in ends[task, variable])
        found[task, variable] = Shown(tuple(every[name] for name in best), *edges_of(variable, low, high))
    return found


def _mse(sums: FloatArray) -> float:
    return float(sums[SQUARED] / sums[WEIGHT]) if sums[WEIGHT] > 0 else float("inf")


def _rivals(view: View, a: float) -> list[Rival]:
    return rivals(a) if view.task == "joint" else space_rivals(a)
