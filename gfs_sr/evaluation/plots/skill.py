"""Skill per variable, as points with intervals, for one model or several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter

from gfs_sr.evaluation.plots.style import LABEL, RULE, TICK, Drawing, Ink, Strand, chart
from gfs_sr.evaluation.plots.units import percent


@dataclass(frozen=True)
class SkillPoint:
    """Skill against one reference, with its interval where one is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SkillSeries:
    """What one mark of the figure stands for: a model against a reference, a point per row."""

    label: str
    ink: Ink
    points: Sequence[SkillPoint]


def skill_figure(title: str, rows: Sequence[str], series: Sequence[SkillSeries], width: float = 7.9) -> Drawing:
    """A row per variable, a mark per series; right of the rule is better than the interpolation."""
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * min(0.26, 0.8 / max(len(series), 1))
    left = min(0.3 + 0.075 * max(len(row) for row in rows), 2.4)
    height = 1.15 + len(rows) * max(0.36, 0.12 + 0.19 * len(series))
    strands = [Strand(one.label, one.ink, np.zeros(0)) for one in series]
    figure, (axis,) = chart(
        "Skill against interpolation", title, strands, height=height, width=width, left=left, bottom=0.5, markers=True
    )
    for one, offset in zip(series, offsets, strict=True):
        at = np.arange(len(rows)) + offset
        values = np.array([point.value for point in one.points])
        for y, point in zip(at, one.points, strict=True):
            if point.low is not None and point.high is not None:
                axis.plot([point.low, point.high], [y, y], color=one.ink.color, linewidth=2.2, alpha=0.55, zorder=3)
        axis.plot(values, at, one.ink.marker, color=one.ink.color, markersize=6, zorder=4)
        for y, point in zip(at, one.points, strict=True):
            if np.isfinite(point.value):
                end = point.high if point.high is not None else point.value
                axis.annotate(
                    f"{round(point.value, 3) + 0.0:+.1%}".replace("-", "−"), (end, y), xytext=(7, 0),
                    textcoords="offset points", va="center", fontsize=TICK - 0.5, color=one.ink.color,
                )  # fmt: skip
    axis.axvline(0, color="black", linewidth=1.0, zorder=2)
    axis.set_yticks(np.arange(len(rows)), rows, fontsize=LABEL)
    axis.set_ylim(len(rows) - 0.45, -0.55)
    axis.margins(x=0.1)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -0.02), max(high, 0.02) + 0.06 * (high - low))
    axis.grid(visible=False, axis="y")
    for edge in np.arange(len(rows) - 1) + 0.5:
        axis.axhline(edge, color=RULE, linewidth=0.6, zorder=1)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axis.set_xlabel("skill: 1 − RMSE / RMSE of the interpolation; left of 0 the interpolation is better")
    told = "; ".join(
        f"{one.label}: "
        + ", ".join(f"{row} {percent(point.value, 1)}" for row, point in zip(rows, one.points, strict=True))
        for one in series
    )
    return Drawing(figure, title, f"Points with intervals, one row per variable. {told}.")
