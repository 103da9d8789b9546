"""Skill per variable, and the models side by side."""

from collections.abc import Sequence

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.gallery.cast import shorten
from gfs_sr.evaluation.gallery.section import Group, Section
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots.skill import SkillPoint, SkillSeries, skill_figure
from gfs_sr.evaluation.plots.style import PLAIN, SHARPENED, inks
from gfs_sr.evaluation.records import INTERPOLATED, Interval, Line, Task
from gfs_sr.evaluation.result import NO_DIFFERENCE, Evaluation

TASKS: dict[Task, str] = {"joint": "Space and time together", "space": "Space alone"}


def skill_section(evaluation: Evaluation) -> Section:
    """A figure per task: both references for one model, the sharpened one for several."""
    groups = []
    for task, words in TASKS.items():
        lines = [line for line in evaluation.lines() if line.task == task and line.lead_class == INTERPOLATED]
        if lines:
            draw = _one_model if len(evaluation.models) == 1 else _several_models
            groups.append(Group(words, [draw(evaluation, task, words, lines)]))
    return Section(
        "skill",
        "Skill",
        "Skill is 1 − RMSE / RMSE of an interpolation: +20% means a fifth less error, 0 no gain, below 0 worse. Bars "
        "through the marks are 95% intervals. The sharpened interpolation undoes smoothing with "
        "one fitted number; only skill beyond it is knowledge of the weather.",
        groups,
    )


def _one_model(evaluation: Evaluation, task: Task, words: str, lines: Sequence[Line]) -> Picture:
    better = sum(line.skill_sharpened > NO_DIFFERENCE for line in lines)
    title = f"{words}: better than the best sharpened interpolation for {better} of {len(lines)} variables"
    series = [
        SkillSeries("against the best interpolation", PLAIN,
                    [_point(line.skill_plain, line.skill_plain_ci) for line in lines]),
        SkillSeries("against the best sharpened one", SHARPENED,
                    [_point(line.skill_sharpened, line.skill_sharpened_ci) for line in lines]),
    ]  # fmt: skip
    return picture(
        f"skill_{task}",
        skill_figure(title, [_row(line.variable) for line in lines], series),
        f"Skill of {evaluation.model} over the interpolated lead times.",
        "wide",
    )


def _several_models(evaluation: Evaluation, task: Task, words: str, lines: Sequence[Line]) -> Picture:
    variables = list(dict.fromkeys(line.variable for line in lines))
    table = {(line.model, line.variable): line for line in lines}
    colors = inks(evaluation.models)
    series = []
    wins = dict.fromkeys(evaluation.models, 0)
    for variable in variables:
        rivals = [line for line in lines if line.variable == variable]
        wins[max(rivals, key=lambda line: line.skill_sharpened).model] += 1
    for model in evaluation.models:
        found = [table.get((model, variable)) for variable in variables]
        points = [
            _point(line.skill_sharpened, line.skill_sharpened_ci) if line else SkillPoint(float("nan"))
            for line in found
        ]
        series.append(SkillSeries(shorten(model), colors[model], points))
    first = max(wins, key=wins.__getitem__)
    title = f"{words}: {shorten(first)} is best for {wins[first]} of {len(variables)} variables"
    return picture(
        f"skill_{task}",
        skill_figure(title, [_row(variable) for variable in variables], series),
        "Skill of every model against the best sharpened interpolation, over the interpolated lead times.",
        "wide",
    )


def _point(value: float, interval: Interval | None) -> SkillPoint:
    return SkillPoint(value) if interval is None else SkillPoint(value, *interval)


def _row(variable: str) -> str:
    return f"{lookup(variable).long_name} ({variable})"
