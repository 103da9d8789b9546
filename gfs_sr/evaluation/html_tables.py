"""The report's tables as HTML: verdict at a glance, ranking, every score, every rival."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.baselines import SHARPENED, is_sharpened
from gfs_sr.evaluation.plots.units import display, measured, number, superscript
from gfs_sr.evaluation.records import INTERPOLATED, Interval, Line, Score, Task
from gfs_sr.evaluation.result import NO_DIFFERENCE, Evaluation, percent

SIZE = re.compile(r"(max )?(\d+)( cells)?")  # of a score's blocks or windows
TASK_WORDS: dict[Task, str] = {"joint": "space and time", "space": "space alone"}


def table(
    label: str, head: Sequence[str], rows: Iterable[str], caption: str = "", text_columns: Sequence[int] = (0,)
) -> str:
    """A table that scrolls inside itself and can be reached by keyboard; `head` is plain text, `rows` are HTML."""
    cells = "".join(
        f"<th scope=col{' class=text' * (k in text_columns)}>{escape(title)}</th>" for k, title in enumerate(head)
    )
    words = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class=scroll tabindex=0 role=region aria-label="{escape(label)}"><table>{words}<thead><tr>{cells}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def glance(lines: Sequence[Line]) -> str:
    """Variable by variable: the error, the best interpolations', the skill, and what that means in words."""
    rows = []
    only_space = all(line.task == "space" for line in lines)
    for line in lines:
        shown = display(line.variable)
        alone = ", space alone" if line.task == "space" and not only_space else ""
        own, plain, sharp = (measured(shown.error(x)) for x in (line.rmse, line.rmse_plain, line.rmse_sharpened))
        rows.append(
            f"<tr><th scope=row>{escape(lookup(line.variable).long_name)} <small>{line.variable}{alone}</small></th>"
            f"<td class=text>{verdict_word(line)}</td>"
            f"{skill_cell(line.skill_sharpened, line.skill_sharpened_ci)}"
            f"{skill_cell(line.skill_plain, line.skill_plain_ci)}"
            f"<td>{own} {shown.difference}</td>"
            f"<td>{sharp}<small>{escape(line.best_sharpened.removeprefix(SHARPENED))}</small></td>"
            f"<td>{plain}<small>{escape(line.best_plain)}</small></td></tr>"
        )
    head = ("variable", "verdict", "skill over sharpened", "skill over plain", "RMSE", "best sharpened", "best plain")
    return table("Verdict per variable", head, rows, text_columns=(0, 1))


def strictest(line: Line) -> tuple[float, Interval | None]:
    """Skill against the best of all interpolations, sharpened or not, with its interval."""
    if line.skill_plain < line.skill_sharpened:
        return line.skill_plain, line.skill_plain_ci
    return line.skill_sharpened, line.skill_sharpened_ci


def verdict_word(line: Line) -> str:
    """What the skill against the best of all interpolations amounts to."""
    value, interval = strictest(line)
    if not math.isfinite(value):
        return "cannot be said"
    if abs(value) <= NO_DIFFERENCE:
        return "no difference"
    word = "better" if value > 0 else "worse"
    if interval is None or not all(math.isfinite(end) for end in interval):
        return word
    sure = interval[0] > NO_DIFFERENCE if value > 0 else interval[1] < -NO_DIFFERENCE
    return f"clearly {word}" if sure else f"{word}, within chance"


def ranking(evaluation: Evaluation) -> str:
    """Every model by its mean skill."""
    rows = []
    overall = [one for one in evaluation.overall() if one.lead_class == INTERPOLATED]
    for task in ("joint", "space"):
        found = [one for one in overall if one.task == task]
        found.sort(key=lambda one: -one.skill_sharpened)
        lines = [line for line in evaluation.lines() if line.task == task and line.lead_class == INTERPOLATED]
        for place, one in enumerate(found, 1):
            wins = sum(
                line.skill_sharpened >= max(o.skill_sharpened for o in lines if o.variable == line.variable)
                for line in lines
                if line.model == one.model
            )
            rows.append(
                f"<tr><th scope=row>{place}. {escape(one.model)}</th><td class=text>{TASK_WORDS[one.task]}</td>"
                f"{skill_cell(one.skill_sharpened, one.skill_sharpened_ci)}"
                f"{skill_cell(one.skill_plain, one.skill_plain_ci)}<td>{wins} of {one.variables}</td></tr>"
            )
    head = ("model", "task", "mean skill against the best sharpened", "against the best interpolation",
            "best model for")  # fmt: skip
    return table("Models by rank", head, rows, text_columns=(0, 1))


def lead_classes(evaluation: Evaluation) -> str:
    """Interpolated and extrapolated leads apart, every model and region "all"."""
    return _lines_table("Skill by class of lead time", evaluation.lines(), by="lead_class")


def regions(evaluation: Evaluation) -> str:
    """Region by region; empty where only the whole domain was scored."""
    names = [name for name in evaluation.regions() if name != "all"]
    lines = [
        line for name in names for line in evaluation.lines(name) if line.lead_class == INTERPOLATED
    ]  # fmt: skip
    order = list(dict.fromkeys((line.task, line.variable, line.model) for line in evaluation.lines()))
    lines.sort(key=lambda line: order.index((line.task, line.variable, line.model)))
    return _lines_table("Skill by region", lines, by="region") if lines else ""


def _lines_table(label: str, lines: Sequence[Line], by: str) -> str:
    rows = []
    for line in lines:
        shown = display(line.variable)
        rows.append(
            f"<tr><th scope=row>{line.variable}</th><td class=text>{escape(str(getattr(line, by)))}</td>"
            f"<td class=text>{TASK_WORDS[line.task]}</td><td class=text>{escape(line.model)}</td>"
            f"<td>{measured(shown.error(line.rmse))} {shown.difference}</td>"
            f"{skill_cell(line.skill_plain, line.skill_plain_ci)}"
            f"<td class=text>{escape(line.best_plain)} ({measured(shown.error(line.rmse_plain))})</td>"
            f"{skill_cell(line.skill_sharpened, line.skill_sharpened_ci)}"
            f"<td class=text>{escape(line.best_sharpened)} ({measured(shown.error(line.rmse_sharpened))})</td></tr>"
        )
    head = ("variable", "region" if by == "region" else "leads", "task", "model", "RMSE", "skill",
            "best interpolation (RMSE)", "skill", "best sharpened (RMSE)")  # fmt: skip
    return table(label, head, rows, text_columns=(0, 1, 2, 3, 6, 8))


def score_groups(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(heading, HTML) per group of metrics: models and the best interpolations over the whole domain."""
    best = {}
    for line in evaluation.lines():
        if line.lead_class == INTERPOLATED:
            best[line.task, line.variable] = {*evaluation.models, line.best_plain, line.best_sharpened}
    groups: dict[str, list[Score]] = {}
    for score in evaluation.scores():
        shown = score.region == "all" and score.lead_class == INTERPOLATED and score.metric != "skill"
        if shown and score.method in best.get((score.task, score.variable), ()):
            groups.setdefault(score.group, []).append(score)
    return [(group, _score_table(group, scores)) for group, scores in groups.items()]


def _score_table(group: str, scores: Sequence[Score]) -> str:
    """Scores without a threshold, those of every threshold in rows of their own, and what they say."""
    of_events = [score for score in scores if math.isfinite(score.threshold)]
    others = [score for score in scores if not math.isfinite(score.threshold)]
    made = _rows_of(f"Scores, {group}", others) if others else ""
    if of_events:
        made += _rows_of(f"Scores of events, {group}", of_events)
    explained = dict(_explained(score) for score in scores if score.explanation)
    words = "".join(f"<dt>{escape(metric)}</dt><dd>{escape(text)}</dd>" for metric, text in explained.items())
    return f"{made}<dl>{words}</dl>"


def _explained(score: Score) -> tuple[str, str]:
    """Name and explanation of a score; of any size where it is taken at several."""
    size = SIZE.fullmatch(score.scale)
    if size is None or score.scale == "1":
        return score.metric, score.explanation
    text = re.sub(rf"\b{size[2]} (by {size[2]} )?cells", lambda found: "n by n cells" if found[1] else "n cells",
                  score.explanation)  # fmt: skip
    return f"{score.metric} ({size[1] or ''}n{size[3] or ''})", text


def _rows_of(label: str, scores: Sequence[Score]) -> str:
    columns = list(dict.fromkeys((score.metric, score.scale) for score in scores))
    cells: dict[tuple[Task, str, str, bool], dict[tuple[str, str], Score]] = {}
    for score in scores:
        key = (score.task, _of_what(score), score.method, score.is_model)
        cells.setdefault(key, {})[score.metric, score.scale] = score
    rows = []
    order = list(dict.fromkeys(key[:2] for key in cells))  # events of one threshold together
    for (task, what, method, is_model), found in sorted(cells.items(), key=lambda item: order.index(item[0][:2])):
        name = f"<strong>{escape(method)}</strong>" if is_model else escape(method)
        rows.append(
            f"<tr><th scope=row>{escape(what)}</th><td class=text>{TASK_WORDS[task]}</td><td class=text>{name}</td>"
            + "".join(_score_cell(found.get(column)) for column in columns)
            + "</tr>"
        )
    head = ["variable", "task", "method", *(metric + (f" ({scale})" if scale not in ("", "1") else "")
                                            for metric, scale in columns)]  # fmt: skip
    return table(label, head, rows, text_columns=(0, 1, 2))


def _of_what(score: Score) -> str:
    """The variable, or the event."""
    if not math.isfinite(score.threshold):
        return score.variable
    shown = display(score.variable)
    return f"{score.variable} ≥ {number(shown.field(score.threshold), 4)} {shown.units}"


def _score_cell(score: Score | None) -> str:
    if score is None or not math.isfinite(score.value):
        return "<td>–</td>"
    units = f" {superscript(score.units)}" if score.units not in ("", "1") else ""
    interval = ""
    if math.isfinite(score.ci_low) and math.isfinite(score.ci_high):
        interval = f"<small>{measured(score.ci_low)} … {measured(score.ci_high)}</small>"
    return f"<td>{measured(score.value, 4)}{units}{interval}</td>"


def rivals(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(heading, HTML) per task: skill of the first model against each interpolation, interpolated leads."""
    found = []
    for task, words in TASK_WORDS.items():
        scores = [
            score
            for score in evaluation.scores()
            if score.metric == "skill" and score.task == task and score.method == evaluation.model
            and score.region == "all" and score.lead_class == INTERPOLATED and score.scale in ("", "1", "physical")
        ]  # fmt: skip
        if not scores:
            continue
        variables = list(dict.fromkeys(score.variable for score in scores))
        names = sorted({score.baseline for score in scores}, key=lambda name: (is_sharpened(name), name))
        cells = {(score.baseline, score.variable): score for score in scores}
        rows = []
        for name in names:
            row = [cells.get((name, variable)) for variable in variables]
            rows.append(
                f"<tr><th scope=row>{escape(name)}</th>"
                + "".join("<td>–</td>" if s is None else skill_cell(s.value, (s.ci_low, s.ci_high)) for s in row)
                + "</tr>"
            )
        caption = (
            f"Skill of {escape(evaluation.model)}. Each interpolation is closed at the rim of the domain by the better "
            "of two rules (end value or end slope continued)."
        )
        found.append((words, table(f"Skill against each interpolation, {words}", ["interpolation", *variables], rows,
                                   caption)))  # fmt: skip
    return found


def seed_table(means: Mapping[tuple[str, str, str, str], float]) -> str:
    """Protocol A: (method, variable, metric, scale) -> mean, the seed system's four methods on both scales."""
    metrics = list(dict.fromkeys(metric for _, _, metric, _ in means))
    cells: dict[tuple[str, str, str], dict[str, float]] = {}
    for (method, variable, metric, scale), value in means.items():
        cells.setdefault((scale, variable, method), {})[metric] = value
    rows = (
        f"<tr><th scope=row>{variable}</th><td class=text>{escape(scale)}</td><td class=text>{escape(method)}</td>"
        + "".join(f"<td>{measured(values[m], 4) if m in values else '–'}</td>" for m in metrics)
        + "</tr>"
        for (scale, variable, method), values in sorted(cells.items(), key=lambda item: item[0][:2])
    )
    return table("Protocol A", ["variable", "scale", "method", *metrics], rows, text_columns=(0, 1, 2))


def skill_cell(value: float, interval: Interval | None) -> str:
    """A skill with its interval below; bold where it is beyond nothing, and signed, so that color is not needed."""
    kind = "good" if value > NO_DIFFERENCE else "bad" if value < -NO_DIFFERENCE else "even"
    ends = ""
    if interval is not None and all(math.isfinite(end) for end in interval):
        ends = f"<small>{percent(interval[0])} … {percent(interval[1])}</small>"
    return f"<td class={kind}>{percent(value)}{ends}</td>"
