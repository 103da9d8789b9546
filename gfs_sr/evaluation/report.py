"""The report's folder: metrics.json, metrics.csv, figures, and one page that holds all of it."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation import plots, protocol_a
from gfs_sr.evaluation.page import page
from gfs_sr.evaluation.result import Evaluation, Line
from gfs_sr.evaluation.scoring import INTERPOLATED, Curve, Maps

DPI = 110


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    name: str  # of its file, without extension
    png: bytes
    caption: str
    alt: str

    @property
    def uri(self) -> str:
        """For an `img` of a page that needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write everything into `folder`, which is made where it is missing."""
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    evaluation.write_json(folder / "metrics.json")
    evaluation.write_csv(folder / "metrics.csv")
    if not evaluation.protocol.registered:
        protocol_a.write_tables(
            [protocol_a.rename(case, evaluation.model, "model") for case in evaluation.cases], folder
        )
    pictures = list(draw(evaluation)) if evaluation.protocol.registered else []
    for picture in pictures:
        (figures / f"{picture.name}.png").write_bytes(picture.png)
    (folder / "index.html").write_text(page(evaluation, pictures), encoding="utf-8")


def draw(evaluation: Evaluation) -> Iterator[Picture]:
    """Every figure of the report, in the order of the page."""
    lines = [line for line in evaluation.lines() if line.lead_class == INTERPOLATED]
    for task, title in (("joint", "Space and time together"), ("space", "Space alone, single frames")):
        chosen = [line for line in lines if line.task == task]
        if chosen:
            yield _picture(
                f"skill_{task}",
                plots.skill_figure(chosen, title),
                f"{title}: skill of {evaluation.model} over the interpolated leads.",
                f"Bar chart of skill per variable, {title.lower()}; the numbers are in the table.",
            )
    first = evaluation.cases[0]
    task = "joint" if any(line.task == "joint" for line in lines) else "space"
    best = {line.variable: line for line in lines if line.task == task}
    curves = _mean_curves(evaluation)
    if curves:
        yield _picture(
            "lead_times",
            plots.curves_figure(curves, list(best.values()), evaluation.model, _interval(first.maps)),
            "RMSE by lead time, mean over the forecasts. Vertical lines stand on the coarse frames, where only space "
            "is interpolated.",
            "Line charts of RMSE over lead time, one per variable, for the model and the two best interpolations.",
        )
    for maps in first.maps:
        if maps.task == task:
            line = best[maps.variable]
            yield _picture(
                f"maps_{maps.variable}",
                plots.maps_figure(maps, evaluation.model, line.best_plain, line.best_sharpened),
                _map_caption(maps, line, evaluation.model),
                f"Maps of {lookup(maps.variable).long_name} at lead time {maps.lead_hours:g} h: coarse input, truth, "
                "model, two interpolations, and their differences from the truth.",
            )


def _map_caption(maps: Maps, line: Line, model: str) -> str:
    between = "between two coarse frames" if maps.lead_hours != maps.coarse_lead_hours else "on a coarse frame"
    return (
        f"{lookup(maps.variable).long_name} at lead time {maps.lead_hours:g} h, {between}. Fields share one color bar, "
        f"differences another. {model} against {line.best_plain} and {line.best_sharpened}; {maps.case}."
    )


def _mean_curves(evaluation: Evaluation) -> list[Curve]:
    """Over the forecasts that have the first one's lead times."""
    collected: dict[tuple[str, str], list[Curve]] = {}
    for case in evaluation.cases:
        for curve in case.curves:
            same = collected.setdefault((curve.method, curve.variable), [])
            if not same or same[0].lead_hours.tolist() == curve.lead_hours.tolist():
                same.append(curve)
    return [
        Curve(method, variable, found[0].lead_hours, np.mean([curve.rmse for curve in found], axis=0))
        for (method, variable), found in collected.items()
    ]


def _interval(maps: list[Maps]) -> float:
    return next((m.interval_hours for m in maps if m.interval_hours), 6.0)


def _picture(name: str, figure: Figure, caption: str, alt: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return Picture(name, buffer.getvalue(), caption, alt)
