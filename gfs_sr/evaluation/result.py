"""What an evaluation found: scores over all forecasts, skill against every baseline, the best of them named."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.variables import lookup
from gfs_sr.evaluation import score_rows, tables, unpack
from gfs_sr.evaluation.baselines import is_sharpened
from gfs_sr.evaluation.contest import ABSOLUTE, ERROR, SQUARED, WEIGHT, Contest, region_of
from gfs_sr.evaluation.intervals import Resampler, interval_of, skill_draws
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.records import (
    ALL,
    INTERPOLATED,
    NO_DIFFERENCE,
    WHOLE,
    CellMaps,
    Curve,
    Density,
    Distribution,
    DomainMeans,
    Fields,
    Fractions,
    FrameScores,
    Interval,
    Line,
    Overall,
    RankHistogram,
    Reliability,
    Score,
    SeedExample,
    Spectrum,
    SpreadSkill,
    Task,
    percent,
    skill,
)
from gfs_sr.evaluation.scoring import CaseScores, headline_names
from gfs_sr.metrics import registry

__all__ = [
    "NO_DIFFERENCE", "CellMaps", "Curve", "Density", "Distribution", "DomainMeans", "Evaluation", "Fields", "Fractions",
    "FrameScores", "Line", "Overall", "RankHistogram", "Reliability", "Score", "SeedExample", "Spectrum", "SpreadSkill",
    "percent", "skill",
]  # fmt: skip

TASK_WORDS: tuple[tuple[Task, str], ...] = (("joint", "In space and time together"), ("space", "In space alone"))
CELL_SCORES: dict[str, Callable[[FloatArray], float]] = {
    "RMSE": lambda sums: float(np.sqrt(sums[SQUARED] / sums[WEIGHT])),
    "MAE": lambda sums: float(sums[ABSOLUTE] / sums[WEIGHT]),
    "bias": lambda sums: float(sums[ERROR] / sums[WEIGHT]),
}
"""What every method has; the registry's other scores are those of the methods looked at closely."""

Cell = tuple[Task, str, str]  # task, variable, class of lead time


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All scores of one or several models."""

    models: tuple[str, ...]  # the best first
    protocol: Protocol
    settings: dict[str, str]  # for the report: registration, factors, sharpening, regions
    model_facts: dict[str, dict[str, str]]  # model -> family, digest, backend
    cases: Sequence[CaseScores]
    warnings: tuple[str, ...] = ()
    evaluations: Mapping[str, int] = field(default_factory=dict)  # of a denoiser, for each member

    @property
    def model(self) -> str:
        """The first of the models."""
        return self.models[0]

    @property
    def headline(self) -> dict[Task, tuple[str, ...]]:
        """The interpolations that skill refers to, sharpened ones included."""
        return {task: headline_names(task) for task, _ in TASK_WORDS}

    def tasks(self) -> list[tuple[Task, str]]:
        """(task, variable) in the order of the data, space and time together first."""
        found = dict.fromkeys(key for case in self.cases for key in case.contests)
        return sorted(found, key=lambda key: key[0] != "joint")

    def regions(self) -> list[str]:
        """The whole first."""
        every = [name for case in self.cases for contest in case.contests.values() for name in contest.regions]
        return list(dict.fromkeys(every))

    def contests(self, task: Task, variable: str) -> list[Contest]:
        """Of every forecast that has it."""
        return [case.contests[task, variable] for case in self.cases if (task, variable) in case.contests]

    def totals(self, region: str = WHOLE) -> dict[Cell, dict[str, FloatArray]]:
        """(task, variable, lead class) -> method -> sums (4,) over all forecasts."""
        table: dict[Cell, dict[str, FloatArray]] = {}
        for task, variable in self.tasks():
            contests = self.contests(task, variable)
            for lead_class in dict.fromkeys(name for contest in contests for name in contest.classes):
                cell: dict[str, FloatArray] = {}
                for contest in contests:
                    where = region_of(contest, region)
                    frames = contest.classes.get(lead_class)
                    if frames is None and lead_class == ALL:
                        frames = contest.classes[INTERPOLATED]
                    if where is None or frames is None:
                        continue
                    rows = contest.frames if region == WHOLE else contest.by_region
                    for method, sums in rows.items():
                        own = sums[frames] if region == WHOLE else sums[frames, where]
                        cell[method] = cell.get(method, np.zeros(4)) + own.sum(axis=0)
                if cell:
                    table[task, variable, lead_class] = cell
        return table

    def rmse(self, region: str = WHOLE) -> dict[Cell, dict[str, float]]:
        """(task, variable, lead class) -> method -> RMSE; in a region of its own, of the models and the headline."""
        score = CELL_SCORES["RMSE"]
        return {
            cell: {method: score(sums) for method, sums in methods.items() if sums[WEIGHT] > 0}
            for cell, methods in self.totals(region).items()
        }

    def lines(self, region: str = WHOLE) -> list[Line]:
        """The verdict, line by line, model by model."""
        return self._lines.get(region, [])

    @cached_property
    def _lines(self) -> dict[str, list[Line]]:
        return {region: self._lines_of(region) for region in self.regions()}

    def _lines_of(self, region: str) -> list[Line]:
        found = []
        for (task, variable, lead_class), methods in self.rmse(region).items():
            names = [name for name in headline_names(task) if name in methods]
            if not names:
                continue
            plain, sharp = (
                min((name for name in names if is_sharpened(name) == kind), key=methods.__getitem__)
                for kind in (False, True)
            )
            for model in (model for model in self.models if model in methods):
                intervals = self._intervals(task, variable, region, lead_class, model)
                found.append(
                    Line(
                        model=model,
                        task=task,
                        variable=variable,
                        units=lookup(variable).units,
                        region=region,
                        lead_class=lead_class,
                        rmse=methods[model],
                        best_plain=plain,
                        rmse_plain=methods[plain],
                        skill_plain=skill(methods[model], methods[plain]),
                        best_sharpened=sharp,
                        rmse_sharpened=methods[sharp],
                        skill_sharpened=skill(methods[model], methods[sharp]),
                        skill_plain_ci=intervals[0],
                        skill_sharpened_ci=intervals[1],
                    )
                )
        return found

    @cached_property
    def _resamplers(self) -> dict[Task, Resampler]:
        return {
            task: Resampler(
                [{name: each for (kind, name), each in case.contests.items() if kind == task} for case in self.cases]
            )
            for task, _ in TASK_WORDS
        }

    @cached_property
    def _drawn(self) -> dict[tuple[Task, str, str, str], dict[str, FloatArray]]:
        return {}

    def draws(self, task: Task, variable: str, region: str, lead_class: str) -> Mapping[str, FloatArray]:
        """Method -> resampled RMSE, see `Resampler`."""
        key = (task, variable, region, lead_class)
        if key not in self._drawn:
            self._drawn[key] = self._resamplers[task].rmse(variable, region, lead_class)
        return self._drawn[key]

    def _skill_draws(
        self, task: Task, variable: str, region: str, lead_class: str, model: str
    ) -> tuple[FloatArray | None, FloatArray | None]:
        drawn = self.draws(task, variable, region, lead_class)
        names = headline_names(task)
        plain, sharp = ([name for name in names if is_sharpened(name) == kind] for kind in (False, True))
        return skill_draws(drawn, model, plain), skill_draws(drawn, model, sharp)

    def _intervals(
        self, task: Task, variable: str, region: str, lead_class: str, model: str
    ) -> tuple[Interval | None, Interval | None]:
        plain, sharp = self._skill_draws(task, variable, region, lead_class, model)
        return interval_of(plain), interval_of(sharp)

    def overall(self) -> list[Overall]:
        """Mean skill over the variables, interpolated leads: per task and model."""
        found = []
        for task, _ in TASK_WORDS:
            for model in self.models:
                lines = self._shown_lines(task, model)
                if not lines:
                    continue
                draws = [self._skill_draws(task, line.variable, WHOLE, INTERPOLATED, model) for line in lines]
                means = [_mean_draws([each[kind] for each in draws]) for kind in (0, 1)]
                found.append(
                    Overall(
                        model=model,
                        task=task,
                        lead_class=INTERPOLATED,
                        variables=len(lines),
                        skill_plain=float(np.mean([line.skill_plain for line in lines])),
                        skill_sharpened=float(np.mean([line.skill_sharpened for line in lines])),
                        skill_plain_ci=interval_of(means[0]),
                        skill_sharpened_ci=interval_of(means[1]),
                    )
                )
        return found

    def _shown_lines(self, task: Task, model: str) -> list[Line]:
        return [
            line
            for line in self.lines()
            if line.task == task and line.model == model and line.lead_class == INTERPOLATED
        ]

    def verdict(self) -> list[str]:
        """One sentence per task and model: on how many variables it wins, the mean and the least skill."""
        sentences = []
        for task, words in TASK_WORDS:
            for total in (each for each in self.overall() if each.task == task):
                lines = self._shown_lines(task, total.model)
                parts = []
                for against, values, mean, interval in (
                    ("the best plain interpolation", [line.skill_plain for line in lines], total.skill_plain,
                     total.skill_plain_ci),
                    ("the best sharpened one", [line.skill_sharpened for line in lines], total.skill_sharpened,
                     total.skill_sharpened_ci),
                ):  # fmt: skip
                    better = sum(value > NO_DIFFERENCE for value in values)
                    between = f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else ""
                    if len(values) == 1:
                        verb = "beats" if better else "does not beat"
                        parts.append(f"{verb} {against} (skill {percent(mean)}{between})")
                        continue
                    count = "none" if better == 0 else "all" if better == len(values) else str(better)
                    parts.append(
                        f"beats {against} on {count} of {len(values)} variables (mean skill {percent(mean)}{between}, "
                        f"least {percent(min(values))})"
                    )
                sentences.append(f"{words}, {total.model} {' and '.join(parts)}.")
        return sentences

    def scores(self) -> list[Score]:
        """All numbers, the rows of metrics.csv."""
        return self._scores

    @cached_property
    def _scores(self) -> list[Score]:
        registered = (*score_rows.registry_scores(self), *score_rows.lead_scores(self))
        return [*self._cell_scores(), *registered, *self._skills()]

    def _cell_scores(self) -> list[Score]:
        found = []
        for region in self.regions():
            for (task, variable, lead_class), methods in self.totals(region).items():
                drawn = self.draws(task, variable, region, lead_class)
                for method, sums in methods.items():
                    if not sums[WEIGHT] > 0:
                        continue
                    for name, value in CELL_SCORES.items():
                        interval = interval_of(drawn.get(method)) if name == "RMSE" else None
                        found.append(
                            score_rows.score(
                                self, method, task, variable, registry.METRICS[name], value(sums),
                                region=region, lead_class=lead_class, interval=interval,
                            )
                        )  # fmt: skip
        return found

    def _skills(self) -> list[Score]:
        found = []
        for region in self.regions():
            for (task, variable, lead_class), methods in self.rmse(region).items():
                drawn = self.draws(task, variable, region, lead_class)
                for model in (model for model in self.models if model in methods):
                    for name, value in methods.items():
                        if name not in self.models:
                            found.append(
                                Score(
                                    method=model, is_model=True, task=task, variable=variable, metric="skill",
                                    baseline=name, region=region, lead_class=lead_class, scale="1",
                                    value=skill(methods[model], value),
                                    **score_rows.ends(interval_of(skill_draws(drawn, model, (name,)))),
                                    units="1", better="higher", group="skill",
                                    explanation="1 - RMSE / RMSE of the baseline: 0 no better than it, 1 perfect.",
                                    threshold=math.nan, forecasts=len(self.contests(task, variable)),
                                )
                            )  # fmt: skip
        return found

    def curves(self) -> list[Curve]:
        """RMSE by lead time of every method."""
        return unpack.curves(self)

    @property
    def fields(self) -> list[Fields]:
        """Of the first forecast."""
        return [each.fields for case in self.cases for each in case.details.values() if each.fields is not None]

    @property
    def cell_maps(self) -> list[CellMaps]:
        """Of the first forecast."""
        return [each.cell_maps for case in self.cases for each in case.details.values() if each.cell_maps is not None]

    @property
    def examples(self) -> list[SeedExample]:
        """Protocol A: the seed system's figures."""
        return [example for case in self.cases for example in case.examples]

    def spectra(self) -> list[Spectrum]:
        """Mean radial power of truth and methods."""
        return unpack.spectra(self)

    def densities(self) -> list[Density]:
        """Prediction against truth, cell by cell."""
        return unpack.densities(self)

    def distributions(self) -> list[Distribution]:
        """How often which value occurs."""
        return unpack.distributions(self)

    def fractions(self) -> list[Fractions]:
        """Fractions skill scores."""
        return unpack.fractions(self)

    def reliability(self) -> list[Reliability]:
        """Stated against observed frequencies."""
        return unpack.reliability(self)

    def ranks(self) -> list[RankHistogram]:
        """Rank histograms, of models with members."""
        return unpack.ranks(self)

    def spread_skill(self) -> list[SpreadSkill]:
        """Spread and error by lead time, of models with members."""
        return unpack.spread_skill(self)

    def frame_scores(self) -> list[FrameScores]:
        """Scores of single frames."""
        return unpack.frame_scores(self)

    def domain_means(self) -> list[DomainMeans]:
        """Area-weighted means, frame by frame."""
        return unpack.domain_means(self)

    def seed_means(self) -> dict[tuple[str, str, str, str], float]:
        """Protocol A: (method, variable, metric, scale) -> mean over the forecasts."""
        collected: dict[tuple[str, str, str, str], list[float]] = {}
        for case in self.cases:
            for each in case.seed:
                collected.setdefault((each.method, each.variable, each.metric, each.scale), []).append(each.value)
        return {key: float(np.mean(values)) for key, values in collected.items()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinity become null."""
        return tables.as_dict(self)

    def table(self) -> str:
        """For the terminal."""
        return tables.text(self)

    def write_csv(self, path: Path) -> None:
        """metrics.csv: a row per score."""
        tables.write_csv(self, path)

    def write_json(self, path: Path) -> None:
        """metrics.json."""
        tables.write_json(self, path)


def _mean_draws(draws: Sequence[FloatArray | None]) -> FloatArray | None:
    """Mean over variables, draw by draw; None where one has none."""
    present = [each for each in draws if each is not None]
    if len(present) < len(draws):
        return None
    mean: FloatArray = np.mean(present, axis=0)
    return mean
