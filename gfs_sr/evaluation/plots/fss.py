"""Fractions skill score by scale, a panel per threshold or all thresholds of one model together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from gfs_sr.evaluation.plots.style import LABEL, SOFT, TEXT, TICK, WIDTH, Drawing, Strand, Values, chart, opponent
from gfs_sr.evaluation.plots.units import measured, number

USEFUL = 0.5  # plus half the base rate: Roberts and Lean (2008), where the skill of a uniform forecast ends


@dataclass(frozen=True, eq=False)
class FssPanel:
    """One threshold."""

    event: str  # with threshold and units
    strands: Sequence[Strand]  # (S,) each, the model first
    base_rate: float | None  # share of cells with the event


def fss_figure(subject: str, scales_km: Values, panels: Sequence[FssPanel]) -> Drawing:
    """FSS over the width of the neighborhood, a panel per threshold.

    Args:
        subject: the variable.
        scales_km: (S,) widths of the neighborhood.
        panels: rising thresholds.
    """
    finding = _finding(panels, scales_km)
    columns = len(panels)
    figure, axes = chart(
        subject, finding, panels[0].strands, columns=columns, width=WIDTH if columns == 1 else 7.9, gap=0.2, head=0.16,
        height=3.1, markers=True,
    )  # fmt: skip
    for axis, panel in zip(axes, panels, strict=True):
        for strand in panel.strands[::-1]:
            axis.plot(
                scales_km, strand.values, color=strand.ink.color, linestyle=strand.ink.dash,
                linewidth=strand.ink.width, marker=strand.ink.marker, markersize=4.5,
            )  # fmt: skip
        if panel.base_rate is not None:
            useful = USEFUL + panel.base_rate / 2
            axis.axhline(useful, color=SOFT, linewidth=0.9, linestyle=":")
            axis.annotate("useful above", (1, useful), xycoords=("axes fraction", "data"), fontsize=6.5, color=SOFT,
                          ha="right", va="bottom")  # fmt: skip
        axis.set_title(panel.event, fontsize=TICK, color=TEXT, loc="left", pad=3)
        _scale_axis(axis, scales_km)
    axes[0].set_ylabel("fractions skill score")
    for axis in axes:
        axis.set_xlabel("")
    figure.text(0.5, 0.02, "width of the neighborhood (km)", fontsize=LABEL, ha="center", va="bottom")
    widths = ", ".join(number(float(scale)) for scale in scales_km)
    told = " ".join(f"{panel.event}: {_told(panel.strands)}." for panel in panels)
    return Drawing(figure, finding, f"{subject}. Fractions skill score over neighborhoods of {widths} km. {told}")


def all_fss_figure(subject: str, scales_km: Values, strands: Sequence[Strand], model: str) -> Drawing:
    """FSS of one model over the width of the neighborhood, a line per threshold."""
    hardest = min(strands, key=lambda strand: float(np.nan_to_num(strand.values[0])))
    finding = f"{model} has most trouble with {hardest.label}"
    figure, (axis,) = chart(subject, finding, strands, markers=True)
    for strand in strands:
        axis.plot(
            scales_km, strand.values, color=strand.ink.color, linestyle=strand.ink.dash, linewidth=strand.ink.width,
            marker=strand.ink.marker, markersize=4.5,
        )  # fmt: skip
    _scale_axis(axis, scales_km)
    axis.set_ylabel("fractions skill score")
    return Drawing(
        figure, finding, f"{subject}. Fractions skill score of {model} by threshold over scale: {_told(strands)}."
    )


def _finding(panels: Sequence[FssPanel], scales_km: Values) -> str:
    """At the rarest event that is known: where the model is useful, and the gain at the smallest scale."""
    model, other = panels[-1].strands[0], opponent(panels[-1].strands)
    smallest = number(float(scales_km[0]))
    text = f"{panels[-1].event}: {model.label} scores {measured(float(model.values[0]), 2)} at {smallest} km"
    if other is not None:
        text += f", {other.label} {measured(float(other.values[0]), 2)}"
    return text


def _told(strands: Sequence[Strand]) -> str:
    return "; ".join(f"{s.label} {', '.join(number(float(v), 3) for v in s.values)}" for s in strands)


def _scale_axis(axis: Axes, scales_km: Values) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(scales_km)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.minorticks_off()
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("width of the neighborhood (km)")
