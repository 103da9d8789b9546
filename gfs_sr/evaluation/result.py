"""What an evaluation found: means over forecasts, skill against every baseline, the best one named."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.baselines import is_sharpened
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.scoring import INTERPOLATED, CaseScores, Task

COLUMNS = (
    "model", "variable", "metric", "baseline", "region", "lead_class", "scale", "value", "ci_low", "ci_high", "task",
    "units", "forecasts",
)  # fmt: skip

NO_DIFFERENCE = 0.0005  # of skill: less than what is printed


@dataclass(frozen=True)
class Mean:
    """One score, averaged over the forecasts."""

    method: str
    task: Task
    variable: str
    metric: str
    lead_class: str
    scale: str
    value: float
    forecasts: int


@dataclass(frozen=True)
class Line:
    """Skill of the model on one variable: 1 - RMSE / RMSE of the best of the headline interpolations."""

    task: Task
    variable: str
    units: str
    lead_class: str
    rmse: float
    best_plain: str
    rmse_plain: float
    skill_plain: float
    best_sharpened: str
    rmse_sharpened: float
    skill_sharpened: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All scores of one model."""

    model: str
    protocol: Protocol
    settings: dict[str, str]  # for the report: registration, factors, sharpening, engine
    headline: dict[Task, tuple[str, ...]]  # the interpolations that skill refers to, sharpened ones included
    cases: Sequence[CaseScores]
    warnings: tuple[str, ...] = ()

    def means(self) -> list[Mean]:
        """Every score, averaged over the forecasts."""
        collected: dict[tuple[str, Task, str, str, str, str], list[float]] = {}
        for case in self.cases:
            for r in case.records:
                key = (r.method, r.task, r.variable, r.metric, r.lead_class, r.scale)
                collected.setdefault(key, []).append(r.value)
        return [Mean(*key, _mean(values), len(values)) for key, values in collected.items()]

    def rmse(self) -> dict[tuple[Task, str, str], dict[str, float]]:
        """(task, variable, lead class) -> method -> RMSE in physical units."""
        table: dict[tuple[Task, str, str], dict[str, float]] = {}
        for mean in self.means():
            if mean.metric == "RMSE" and mean.scale == "physical":
                table.setdefault((mean.task, mean.variable, mean.lead_class), {})[mean.method] = mean.value
        return table

    def lines(self) -> list[Line]:
        """The verdict, line by line."""
        found = []
        for (task, variable, lead_class), methods in self.rmse().items():
            headline = [name for name in self.headline[task] if name in methods]
            plain = min((name for name in headline if not is_sharpened(name)), key=methods.__getitem__)
            sharp = min((name for name in headline if is_sharpened(name)), key=methods.__getitem__)
            own = methods[self.model]
            found.append(
                Line(
                    task,
                    variable,
                    lookup(variable).units,
                    lead_class,
                    own,
                    plain,
                    methods[plain],
                    skill(own, methods[plain]),
                    sharp,
                    methods[sharp],
                    skill(own, methods[sharp]),
                )
            )
        return found

    def verdict(self) -> list[str]:
        """One sentence per task, the least and the mean named."""
        sentences = []
        for task, words in (("joint", "In space and time together"), ("space", "In space alone")):
            lines = [line for line in self.lines() if line.task == task and line.lead_class == INTERPOLATED]
            if not lines:
                continue
            parts = []
            for against, values in (
                ("the best plain interpolation", [line.skill_plain for line in lines]),
                ("the best sharpened one", [line.skill_sharpened for line in lines]),
            ):
                better = sum(value > NO_DIFFERENCE for value in values)
                count = "none" if better == 0 else "all" if better == len(values) else str(better)
                mean, least = float(np.mean(values)), min(values)
                parts.append(
                    f"beats {against} on {count} of {len(values)} variables (mean skill {percent(mean)}, least "
                    f"{percent(least)})"
                )
            sentences.append(f"{words}, {self.model} {' and '.join(parts)}.")
        return sentences

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN and infinity become null."""
        skills = [
            {"task": task, "variable": variable, "lead_class": lead_class, "baseline": name, "rmse": value,
             "skill": skill(methods[self.model], value)}
            for (task, variable, lead_class), methods in self.rmse().items()
            for name, value in methods.items()
            if name != self.model
        ]  # fmt: skip
        plain: dict[str, Any] = _plain(
            {
                "model": self.model,
                "protocol": self.protocol.name,
                "settings": self.settings,
                "forecasts": [case.case for case in self.cases],
                "verdict": self.verdict() if self.protocol.registered else [self.protocol.summary],
                "lines": [vars(line) for line in self.lines()] if self.protocol.registered else [],
                "skill": skills,
                "scores": [vars(mean) for mean in self.means()],
                "left_out": sorted({text for case in self.cases for text in case.left_out}),
                "warnings": list(self.warnings),
            }
        )
        return plain

    def table(self) -> str:
        """For the terminal."""
        if not self.protocol.registered:
            return "\n".join([self.protocol.summary, "", *_seed_text(self.means())])
        rows = [*self.verdict(), ""]
        width = max(len(line.best_sharpened) for line in self.lines())
        rows.append(
            f"{'task':6} {'variable':9} {'leads':13} {'RMSE':>10} {'':6} {'skill':>7}  {'best plain':{width}} "
            f"{'skill':>7}  best sharpened"
        )
        rows += [
            f"{line.task:6} {line.variable:9} {line.lead_class:13} {line.rmse:10.4g} {line.units:6} "
            f"{percent(line.skill_plain):>7}  {line.best_plain:{width}} "
            f"{percent(line.skill_sharpened):>7}  {line.best_sharpened}"
            for line in self.lines()
        ]
        return "\n".join(rows)

    def write_csv(self, path: Path) -> None:
        """metrics.csv: a row per score, then a row per skill against each baseline."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self._csv_rows())

    def _csv_rows(self) -> Iterator[dict[str, object]]:
        count = len(self.cases)
        for mean in self.means():
            in_units = mean.metric in ("RMSE", "MAE", "bias") and mean.scale == "physical"
            yield {
                "model": mean.method, "variable": mean.variable, "metric": mean.metric, "region": "all",
                "lead_class": mean.lead_class, "scale": mean.scale, "value": mean.value, "task": mean.task,
                "units": lookup(mean.variable).units if in_units else "dB" if mean.metric == "PSNR" else "1",
                "forecasts": mean.forecasts,
            }  # fmt: skip
        for (task, variable, lead_class), methods in self.rmse().items():
            for name, value in methods.items():
                if name != self.model:
                    yield {
                        "model": self.model, "variable": variable, "metric": "skill", "baseline": name, "region": "all",
                        "lead_class": lead_class, "scale": "physical", "value": skill(methods[self.model], value),
                        "task": task, "units": "1", "forecasts": count,
                    }  # fmt: skip

    def write_json(self, path: Path) -> None:
        """metrics.json."""
        path.write_text(json.dumps(self.as_dict(), indent=1), encoding="utf-8")


def percent(value: float) -> str:
    """A skill as a reader writes it; what rounds to nothing has no sign."""
    if not math.isfinite(value):
        return "–"
    return "0.0%" if abs(value) < NO_DIFFERENCE else f"{value:+.1%}".replace("-", "−")


def skill(error: float, reference: float) -> float:
    """1 - error / the baseline's error; NaN where the baseline has none."""
    return 1 - error / reference if reference > 0 else float("nan")


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _seed_text(means: Sequence[Mean]) -> list[str]:
    return [
        f"{mean.variable:6} {mean.scale:10} {mean.method:12} {mean.metric:5} {mean.value:12.6f}"
        for mean in means
        if mean.metric == "RMSE"
    ]
