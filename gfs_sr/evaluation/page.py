"""index.html: one page that needs no other file and no network."""

from collections.abc import Sequence
from html import escape
from typing import Protocol as Shape

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.baselines import is_sharpened
from gfs_sr.evaluation.result import NO_DIFFERENCE, Evaluation, Line, Mean, percent, skill
from gfs_sr.evaluation.scoring import INTERPOLATED

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --good: #116329; --bad: #a40e26; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 1240px; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .2rem; }
p.sub, figcaption, .note { color: var(--soft); font-size: .92rem; }
.verdict { border-left: 5px solid #0b3c5d; background: #f3f7fa; padding: .8rem 1.1rem; margin: 1.2rem 0;
  font-size: 1.08rem; }
.verdict p { margin: .3rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; min-width: 100%; }
caption { text-align: left; color: var(--soft); padding: .2rem 0 .5rem; }
th, td { padding: .32rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; }
thead th { border-bottom: 2px solid #8c959f; vertical-align: bottom; }
th[scope=row], td.text, th.text { text-align: left; }
td.good { color: var(--good); font-weight: 600; } td.bad { color: var(--bad); font-weight: 600; }
figure { margin: 1.4rem 0; } figure img { max-width: 100%; height: auto; display: block; }
figure.chart img { max-width: min(100%, 800px); }
details { margin: .8rem 0; } summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.warn { background: #fff8e5; border-left: 5px solid #d98e04; padding: .5rem 1rem; font-size: .92rem; }
@media (max-width: 600px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  body { padding: 1rem .8rem; }
  figure.map .scroll img { max-width: none; width: 900px; } }
"""


class Shown(Shape):
    """What the page needs of a picture."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def uri(self) -> str: ...  # noqa: D102

    @property
    def caption(self) -> str: ...  # noqa: D102

    @property
    def alt(self) -> str: ...  # noqa: D102


def page(evaluation: Evaluation, pictures: Sequence[Shown]) -> str:
    """The whole report as HTML."""
    forecasts = len(evaluation.cases)
    registered = evaluation.protocol.registered
    body = [
        f"<h1>{escape(evaluation.model)} against the truth</h1>",
        f"<p class=sub>{forecasts} forecast{'s' * (forecasts != 1)} · protocol {evaluation.protocol.name} · "
        f"{escape(evaluation.settings['factors'])} · {escape(evaluation.settings['registration'])} registration</p>",
        "<section class=verdict aria-label=Verdict>",
        *(f"<p>{escape(text)}</p>" for text in (evaluation.verdict() if registered else [evaluation.protocol.summary])),
        "</section>",
    ]
    if registered:
        body += _registered(evaluation, pictures)
    else:
        body += ["<h2>Scores in the seed system's terms</h2>", _seed_table(evaluation.means())]
    body += _about(evaluation)
    return (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        '<link rel=icon href="data:,">\n'
        f"<title>{escape(evaluation.model)}: evaluation</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _registered(evaluation: Evaluation, pictures: Sequence[Shown]) -> list[str]:
    by_name = {picture.name: picture for picture in pictures}
    lines = evaluation.lines()
    body = ["<h2>Skill</h2>", _skill_table(lines)]
    body += [_figure(by_name[name], "chart") for name in ("skill_joint", "skill_space") if name in by_name]
    if "lead_times" in by_name:
        body += ["<h2>By lead time</h2>", _figure(by_name["lead_times"], "wide")]
    maps = [picture for picture in pictures if picture.name.startswith("maps_")]
    if maps:
        body.append("<h2>Maps</h2>")
        for picture in maps:
            variable = picture.name.removeprefix("maps_")
            body += [f"<h3>{variable}: {lookup(variable).long_name}</h3>", _figure(picture, "map")]
    body += ["<h2>All scores</h2>", _scores_table(evaluation, "physical"), _scores_table(evaluation, "normalized")]
    body += ["<h2>Against each interpolation</h2>", *_every_rival(evaluation)]
    return body


def _skill_table(lines: Sequence[Line]) -> str:
    rows = [
        f"<tr><th scope=row>{line.variable}</th><td class=text>{_task(line.task)}</td>"
        f"<td class=text>{line.lead_class}</td><td>{line.rmse:.4g} {_units(line.units)}</td>"
        f"{_skill_cell(line.skill_plain)}<td class=text>{escape(line.best_plain)} ({line.rmse_plain:.4g})</td>"
        f"{_skill_cell(line.skill_sharpened)}<td class=text>{escape(line.best_sharpened)} "
        f"({line.rmse_sharpened:.4g})</td></tr>"
        for line in lines
    ]
    return (
        "<p class=note>Skill is 1 − RMSE / RMSE of the best interpolation; above 0 the model is better. One fitted "
        "scalar of sharpening undoes most of the coarsening, so only skill beyond it is knowledge.</p>"
        "<div class=scroll tabindex=0 role=region aria-label='Skill per variable'><table><thead><tr><th class=text "
        "scope=col>variable</th><th class=text scope=col>task</th><th class=text scope=col>leads</th><th scope=col>RMSE"
        "</th><th scope=col>skill</th><th class=text scope=col>best interpolation (its RMSE)</th><th scope=col>skill"
        "</th><th class=text scope=col>best sharpened one (its RMSE)</th></tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table></div>"
    )


def _scores_table(evaluation: Evaluation, scale: str) -> str:
    headline = {name for names in evaluation.headline.values() for name in names}
    means = [m for m in evaluation.means() if m.scale == scale and m.method in {evaluation.model, *headline}]
    metrics = list(dict.fromkeys(mean.metric for mean in means))
    table: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for mean in means:
        table.setdefault((mean.task, mean.variable, mean.lead_class, mean.method), {})[mean.metric] = mean.value
    rows = []
    for (task, variable, lead_class, method), values in table.items():
        cells = "".join(f"<td>{_number(values.get(metric))}</td>" for metric in metrics)
        name = f"<strong>{escape(method)}</strong>" if method == evaluation.model else escape(method)
        rows.append(
            f"<tr><th scope=row>{variable}</th><td class=text>{_task(task)}</td><td class=text>{lead_class}</td>"
            f"<td class=text>{name}</td>{cells}</tr>"
        )
    head = "".join(f"<th scope=col>{metric}</th>" for metric in metrics)
    words = "in physical units; R is p99 − p1 of the truth" if scale == "physical" else "normalized; R is 4"
    return (
        f"<details><summary>{scale.capitalize()} scale</summary><div class=scroll tabindex=0 role=region "
        f"aria-label='Scores, {scale}'><table><caption>RMSE, MAE and bias {words} for PSNR and SSIM (valid windows "
        "only).</caption><thead><tr><th class=text scope=col>variable</th><th class=text scope=col>task</th><th "
        f"class=text scope=col>leads</th><th class=text scope=col>method</th>{head}</tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table></div></details>"
    )


def _every_rival(evaluation: Evaluation) -> list[str]:
    out = []
    for task in ("joint", "space"):
        found = {
            variable: methods
            for (of_task, variable, lead_class), methods in evaluation.rmse().items()
            if of_task == task and lead_class == INTERPOLATED
        }
        if not found:
            continue
        names = [name for name in next(iter(found.values())) if name != evaluation.model]
        head = "".join(f"<th scope=col>{variable}</th>" for variable in found)
        rows = []
        for name in sorted(names, key=lambda name: (is_sharpened(name), name)):
            cells = "".join(_skill_cell(skill(methods[evaluation.model], methods[name])) for methods in found.values())
            rows.append(f"<tr><th scope=row>{escape(name)}</th>{cells}</tr>")
        out.append(
            f"<details><summary>{_task(task).capitalize()}</summary><div class=scroll tabindex=0 role=region "
            f"aria-label='Skill against each interpolation, {_task(task)}'><table><caption>Skill of "
            f"{escape(evaluation.model)}, interpolated leads. Each interpolation is closed at the rim of the domain by "
            "the better of two rules (end value or end slope continued).</caption><thead><tr><th class=text scope=col>"
            f"interpolation</th>{head}</tr></thead><tbody>" + "".join(rows) + "</tbody></table></div></details>"
        )
    return out


def _seed_table(means: Sequence[Mean]) -> str:
    metrics = list(dict.fromkeys(mean.metric for mean in means))
    table: dict[tuple[str, str, str], dict[str, float]] = {}
    for mean in means:
        table.setdefault((mean.scale, mean.variable, mean.method), {})[mean.metric] = mean.value
    rows = "".join(
        f"<tr><th scope=row>{variable}</th><td class=text>{scale}</td><td class=text>{escape(method)}</td>"
        + "".join(f"<td>{_number(values.get(metric))}</td>" for metric in metrics)
        + "</tr>"
        for (scale, variable, method), values in table.items()
    )
    head = "".join(f"<th scope=col>{metric}</th>" for metric in metrics)
    return (
        "<div class=scroll tabindex=0 role=region aria-label='Protocol A'><table><thead><tr><th class=text scope=col>"
        f"variable</th><th class=text scope=col>scale</th><th class=text scope=col>method</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _about(evaluation: Evaluation) -> list[str]:
    facts = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in evaluation.settings.items())
    cases = "".join(f"<dt>truth</dt><dd>{escape(case.case)}</dd>" for case in evaluation.cases)
    left_out = sorted({text for case in evaluation.cases for text in case.left_out})
    out = [
        "<h2>What was compared</h2>",
        f"<p class=note>{escape(evaluation.protocol.summary)} The coarse fields were made from the truth itself, so "
        "these scores say how well fine structure is restored, not how good the forecast is; a real coarse forecast "
        "differs from a coarsened fine one.</p>",
        f"<dl>{facts}{cases}</dl>",
    ]
    if left_out:
        out.append(f"<p class=note>Not scored: {escape('; '.join(left_out))}.</p>")
    if evaluation.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in evaluation.warnings)
        out.append(f"<div class=warn><strong>The model said</strong><ul>{items}</ul></div>")
    return out


def _figure(picture: Shown, kind: str) -> str:
    image = f'<img src="{picture.uri}" alt="{escape(picture.alt)}">'
    if kind == "map":
        image = f'<div class=scroll tabindex=0 role=region aria-label="{escape(picture.name)}">{image}</div>'
    return f"<figure class={kind}>{image}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _task(task: str) -> str:
    return "space and time" if task == "joint" else "space alone"


def _units(units: str) -> str:
    return units.replace("-1", "⁻¹").replace("-2", "⁻²")


def _skill_cell(value: float) -> str:
    kind = "good" if value > NO_DIFFERENCE else "bad" if value < -NO_DIFFERENCE else "even"
    return f"<td class={kind}>{percent(value)}</td>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}".replace("-", "−")
