"""The numbers of an evaluation as files and as text: metrics.csv, metrics.json, the terminal."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfs_sr.evaluation.records import Line, percent

if TYPE_CHECKING:
    from gfs_sr.evaluation.result import Evaluation

COLUMNS = (
    "model", "variable", "metric", "baseline", "region", "lead_class", "scale", "value", "ci_low", "ci_high", "task",
    "units", "threshold", "better", "group", "forecasts",
)  # fmt: skip


def write_csv(evaluation: "Evaluation", path: Path) -> None:
    """A row per score; `model` is the method, a baseline among them, and `baseline` what a skill refers to."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(_seed_rows(evaluation) if not evaluation.protocol.registered else _rows(evaluation))


def _rows(evaluation: "Evaluation") -> Iterator[dict[str, object]]:
    for score in evaluation.scores():
        row = {**vars(score), "model": score.method}
        yield {name: _cell(row[name]) for name in COLUMNS}


def _seed_rows(evaluation: "Evaluation") -> Iterator[dict[str, object]]:
    """Protocol A: means over the forecasts; the scale is the seed system's."""
    for (method, variable, metric, scale), value in evaluation.seed_means().items():
        yield dict.fromkeys(COLUMNS, "") | {
            "model": method, "variable": variable, "metric": metric, "region": "all", "lead_class": "all",
            "scale": scale, "value": _cell(value), "task": "joint", "forecasts": len(evaluation.cases),
        }  # fmt: skip


def _cell(value: object) -> object:
    return "" if isinstance(value, float) and math.isnan(value) else value


def write_json(evaluation: "Evaluation", path: Path) -> None:
    """Everything `as_dict` holds."""
    path.write_text(json.dumps(as_dict(evaluation), indent=1), encoding="utf-8")


def as_dict(evaluation: "Evaluation") -> dict[str, Any]:
    """For JSON: NaN and infinity become null."""
    registered = evaluation.protocol.registered
    facts: dict[str, Any] = {
        "model": evaluation.model,
        "models": list(evaluation.models),
        "model_facts": evaluation.model_facts,
        "protocol": evaluation.protocol.name,
        "settings": evaluation.settings,
        "forecasts": [case.case for case in evaluation.cases],
        "verdict": evaluation.verdict() if registered else [evaluation.protocol.summary],
        "overall": [vars(total) for total in evaluation.overall()] if registered else [],
        "lines": [vars(line) for line in evaluation.lines()] if registered else [],
        "regions": [vars(line) for region in evaluation.regions()[1:] for line in evaluation.lines(region)],
        "metrics": {score.metric: score.explanation for score in evaluation.scores()},
        "scores": [_without_words(vars(score)) for score in evaluation.scores()]
        if registered
        else [
            dict(zip(("method", "variable", "metric", "scale"), key, strict=True)) | {"value": value}
            for key, value in evaluation.seed_means().items()
        ],
        "left_out": sorted({text for case in evaluation.cases for text in case.left_out}),
        "warnings": list(evaluation.warnings),
    }
    plain: dict[str, Any] = _plain(facts)
    return plain


def _without_words(score: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in score.items() if name != "explanation"}


def text(evaluation: "Evaluation") -> str:
    """For the terminal."""
    if not evaluation.protocol.registered:
        rows = [
            f"{variable:6} {scale:10} {method:12} {metric:5} {value:12.6f}"
            for (method, variable, metric, scale), value in evaluation.seed_means().items()
            if metric == "RMSE"
        ]
        return "\n".join([evaluation.protocol.summary, "", *rows])
    lines = evaluation.lines()
    width = max(len(line.best_sharpened) for line in lines)
    several = len(evaluation.models) > 1
    named = max(len(model) for model in evaluation.models) if several else 0
    head = (
        f"{'model':{named}} {'task':6} {'variable':9} {'leads':13} {'RMSE':>10} {'':8} {'skill':>7} {'95 %':>18}  "
        f"{'best plain':{width}} {'skill':>7} {'95 %':>18}  best sharpened"
    )
    rows = [head if several else head.removeprefix("model ")]
    rows += [(f"{line.model:{named}} " if several else "") + _line(line, width) for line in lines]
    return "\n".join([*evaluation.verdict(), "", *rows])


def _line(line: Line, width: int) -> str:
    plain, sharp = (
        f"{percent(ci[0])} to {percent(ci[1])}" if ci else "" for ci in (line.skill_plain_ci, line.skill_sharpened_ci)
    )
    return (
        f"{line.task:6} {line.variable:9} {line.lead_class:13} {line.rmse:10.4g} {line.units:8} "
        f"{percent(line.skill_plain):>7} {plain:>18}  {line.best_plain:{width}} "
        f"{percent(line.skill_sharpened):>7} {sharp:>18}  {line.best_sharpened}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
