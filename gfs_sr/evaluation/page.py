"""index.html: one page that needs no other file and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from gfs_sr.evaluation import html_tables as tables
from gfs_sr.evaluation.gallery.section import Group, Section
from gfs_sr.evaluation.picture import Picture
from gfs_sr.evaluation.records import INTERPOLATED, Interval, Line
from gfs_sr.evaluation.result import Evaluation, percent
from gfs_sr.evaluation.slider import films_html

ANOTHER_MODEL = "another model's forecast"  # of the settings' coarse fields
SPACE = {"joint": "between the coarse points and frames", "space": "between the coarse points"}


@dataclass(frozen=True)
class _Part:
    """A heading of the page and what stands below it."""

    key: str
    title: str
    html: str


def page(evaluation: Evaluation, sections: Sequence[Section], embedded: frozenset[str]) -> str:
    """The whole report as HTML.

    Args:
        evaluation: its results.
        sections: pictures in the order of the page.
        embedded: names of the pictures the page holds; the others are named as files.
    """
    parts = (
        _registered(evaluation, sections, embedded)
        if evaluation.protocol.registered
        else [
            _Part("scores", "Scores in the seed system's terms", tables.seed_table(evaluation.seed_means())),
            *(_section(section, embedded) for section in sections),
        ]
    )
    parts.append(_Part("about", "What was compared", _about(evaluation)))
    contents = "".join(f'<li><a href="#{part.key}">{escape(part.title)}</a></li>' for part in parts)
    body = "".join(
        f'<section id="{part.key}" aria-labelledby="{part.key}-title">'
        f'<h2 id="{part.key}-title">{escape(part.title)}</h2>'
        f"{part.html}</section>\n"
        for part in parts
    )
    assets = files("gfs_sr.evaluation") / "assets"
    style = (assets / "page.css").read_text(encoding="utf-8")
    script = (assets / "page.js").read_text(encoding="utf-8")
    title = escape(page_title(evaluation.models))
    return (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        '<link rel=icon href="data:,">\n'
        f"<title>{title}: evaluation</title>\n<style>{style}</style>\n</head>\n<body>\n"
        "<a class=skip href=#main>Skip to the verdict</a>\n"
        f"<header><h1>{title} against the truth</h1>\n<p class=sub>{_facts(evaluation)}</p></header>\n"
        f"<main id=main>\n{_verdict(evaluation)}\n"
        f"<nav aria-label=Contents><ol>{contents}</ol></nav>\n{body}</main>\n"
        "<footer><p class=note>Every number of this page is in metrics.csv and metrics.json beside it, in canonical "
        "units; every picture is in figures/.</p></footer>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def page_title(models: Sequence[str]) -> str:
    """The first three by name; the table of ranks has all."""
    shown = [*models[:3], *([f"{len(models) - 3} more"] if len(models) > 3 else [])]
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)


def headline(evaluation: Evaluation) -> str:
    """The finding in one sentence: against the best of all interpolations, variable by variable."""
    lines = _headline_lines(evaluation)
    model = evaluation.model
    if not lines:
        return f"{model} could not be compared"
    words = [tables.verdict_word(line) for line in lines]
    better, clear = (sum(word.startswith(start) for word in words) for start in (("better", "clearly b"), "clearly b"))
    worse = sum(word.startswith(("worse", "clearly w")) for word in words)
    chance = sum(word == "better, within chance" for word in words)
    count = len(lines)
    tasks = {line.task for line in lines}
    where = f" {SPACE[tasks.pop()]}" if len(tasks) == 1 else ""
    if better == 0:
        each = "its one variable" if count == 1 else f"any of {count} variables"
        return f"{model} restores no detail{where} that the best interpolation does not, for {each}"
    what = f"{model} restores detail{where} better than every interpolation"
    if better < count:
        sure = f", {clear} of them beyond doubt" if clear else ""
        return f"{what} for {better} of {count} variables{sure}, worse for {worse or 'none'}"
    each = "its one variable" if count == 1 else f"all {count} variables"
    if chance == count:
        return f"{what}, for {each}, but within chance"
    sure = " beyond doubt" if clear == count else f", for {clear} of them beyond doubt" if clear else ""
    return f"{what}, for {each}{sure}"


def _headline_lines(evaluation: Evaluation) -> list[Line]:
    """One per variable: in space and time together where that was scored."""
    best: dict[str, Line] = {}
    for line in evaluation.lines():
        is_own = line.model == evaluation.model and line.lead_class == INTERPOLATED
        if is_own and (line.variable not in best or line.task == "joint"):
            best[line.variable] = line
    return list(best.values())


def _facts(evaluation: Evaluation) -> str:
    count = len(evaluation.cases)
    parts = [f"{count} forecast{'s' * (count != 1)}", f"protocol {evaluation.protocol.name}"]
    parts += [evaluation.settings[key] for key in ("factors",) if key in evaluation.settings]
    if "registration" in evaluation.settings:
        parts.append(f"{evaluation.settings['registration']} registration")
    return escape(" · ".join(parts))


def _verdict(evaluation: Evaluation) -> str:
    if not evaluation.protocol.registered:
        return (
            "<section class=verdict aria-labelledby=verdict-title><h2 id=verdict-title>No verdict under protocol A</h2>"
            f"<p>{escape(evaluation.protocol.summary)}</p></section>"
        )
    sentences = "".join(f"<p class=note>{escape(text)}</p>" for text in evaluation.verdict())
    numbers = f"<details><summary>In numbers, task by task</summary>{sentences}</details>"
    lines = _headline_lines(evaluation)
    return (
        "<section class=verdict aria-labelledby=verdict-title>"
        f"<h2 id=verdict-title>{escape(headline(evaluation))}.</h2>"
        f"{_average(evaluation, lines)}{numbers}</section>"
        f"{f'<div class=glance>{tables.glance(lines)}</div>' if lines else ''}"
        "<p class=note>RMSE: typical size of the error over the interpolated lead times. Small print under a skill is "
        "its 95% interval from resampled blocks of the forecasts; “clearly” means that it leaves out 0. The sharpened "
        "interpolation undoes smoothing with one fitted number; the verdict is about the better of the two.</p>"
    )


def _average(evaluation: Evaluation, lines: Sequence[Line]) -> str:
    tasks = {line.task for line in lines}
    found = [one for one in evaluation.overall() if {one.task} == tasks and one.model == evaluation.model]
    if not found or found[0].variables < 2:
        return ""

    def words(value: float, interval: Interval | None) -> str:
        size = f"<strong>{percent(abs(value)).lstrip('+')}</strong> {'below' if value > 0 else 'above'}"
        return size + (f" (skill {percent(interval[0])} to {percent(interval[1])})" if interval else "")

    one = found[0]
    return (
        f"<p>On average over the {one.variables} variables its error lies "
        f"{words(one.skill_sharpened, one.skill_sharpened_ci)} that of the best sharpened interpolation and "
        f"{words(one.skill_plain, one.skill_plain_ci)} that of the best plain one.</p>"
    )


def _registered(evaluation: Evaluation, sections: Sequence[Section], embedded: frozenset[str]) -> list[_Part]:
    parts = []
    if len(evaluation.models) > 1:
        parts.append(_Part("ranking", "Models by rank", tables.ranking(evaluation)))
    parts += [_section(section, embedded) for section in sections if section.groups or section.films]
    regions = tables.regions(evaluation)
    if regions:
        parts.append(_Part("regions", "By region", f"<details><summary>Show the table</summary>{regions}</details>"))
    groups = [("Skill by class of lead time", tables.lead_classes(evaluation))]
    groups += [(f"Skill against each interpolation, {words}", html) for words, html in tables.rivals(evaluation)]
    groups += [(group.capitalize(), html) for group, html in tables.score_groups(evaluation)]
    html = "".join(f"<details><summary>{escape(title)}</summary>{text}</details>" for title, text in groups)
    parts.append(_Part("scores", "All scores", html))
    skipped = [skipped for section in sections for skipped in section.skipped]
    if skipped:
        items = "".join(f"<li>{escape(one.kind)}: {escape(one.reason)}</li>" for one in skipped)
        parts.append(_Part("skipped", "Not shown, and why", f"<ul class=plain>{items}</ul>"))
    return parts


def _section(section: Section, embedded: frozenset[str]) -> _Part:
    intro = f"<p class=note>{escape(section.how_to_read)}</p>"
    html = films_html(section.films) if section.films else ""
    for group in section.groups:
        if group.title and (len(section.groups) > 1 or group.title != section.title):
            html += f"<h3>{escape(group.title)}</h3>"
        html += _pictures(group, embedded)
    if section.folded:
        count = sum(picture.name in embedded for picture in section.pictures())
        html = f"<details><summary>Show {count} picture{'s' * (count != 1)}</summary>{html}</details>"
    return _Part(section.key, section.title, intro + html)


def _pictures(group: Group, embedded: frozenset[str]) -> str:
    shown = [picture for picture in group.pictures if picture.name in embedded]
    left = [picture for picture in group.pictures if picture.name not in embedded]
    html = ""
    moving = [picture for picture in shown if picture.extension == "gif"]
    still = [picture for picture in shown if picture.extension != "gif"]
    if still:
        html += f"<div class=pictures>{''.join(_figure(picture) for picture in still)}</div>"
    for picture in moving:
        # closed: a moving picture is only for those who ask for it
        html += f"<details><summary>Animation: {escape(picture.finding)}</summary>{_figure(picture)}</details>"
    if left:
        names = ", ".join(f"figures/{escape(picture.file_name)}" for picture in left)
        html += f"<p class=note>To keep this page small, also beside it: {names}.</p>"
    return html


def _figure(picture: Picture) -> str:
    width, height = picture.size
    image = f'<img src="{picture.uri}" alt="{escape(picture.alt)}" width="{width}" height="{height}">'
    if picture.kind != "chart":
        image = f'<div class=scroll tabindex=0 role=region aria-label="{escape(picture.finding)}">{image}</div>'
    return f"<figure class={picture.kind}>{image}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _about(evaluation: Evaluation) -> str:
    facts = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in evaluation.settings.items())
    for model, known in ((model, known) for model, known in evaluation.model_facts.items() if known):
        text = ", ".join(f"{key} {value}" for key, value in known.items())
        facts += f"<dt>{escape(model)}</dt><dd>{escape(text)}</dd>"
    cases = "".join(f"<dt>truth</dt><dd>{escape(case.case)}</dd>" for case in evaluation.cases)
    left_out = sorted({text for case in evaluation.cases for text in case.left_out})
    html = f"<p class=note>{escape(evaluation.protocol.summary)} {_origin(evaluation)}</p><dl>{facts}{cases}</dl>"
    if left_out:
        html += f"<p class=note>Not scored: {escape('; '.join(left_out))}.</p>"
    if evaluation.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in evaluation.warnings)
        html += f"<div class=warn><strong>Warnings</strong><ul>{items}</ul></div>"
    return html


def _origin(evaluation: Evaluation) -> str:
    """What the coarse fields were, and what the scores therefore say."""
    if evaluation.settings.get("coarse fields") == ANOTHER_MODEL:
        return (
            "The coarse fields are another model's forecast, so the scores hold both: how well fine structure is "
            "restored, and how much the two models differ."
        )
    return (
        "The coarse fields were made from the truth itself, so these scores say how well fine structure is restored, "
        "not how good the forecast is; a real coarse forecast differs from a coarsened fine one."
    )
