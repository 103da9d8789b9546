"""How scores spread over frames: a panel per score, a violin per method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from matplotlib.collections import PolyCollection

from gfs_sr.evaluation.plots.style import SOFT, TEXT, TICK, Drawing, Ink, Strand, Values, chart
from gfs_sr.evaluation.plots.units import number


@dataclass(frozen=True, eq=False)
class ViolinPanel:
    """One score of every method, frame by frame."""

    metric: str
    units: str
    better: Literal["lower", "higher"]
    scores: Mapping[str, Values]  # label -> (N,)


def violins_figure(subject: str, panels: Sequence[ViolinPanel], inks: Mapping[str, Ink]) -> Drawing:
    """Violins with median, mean and the middle half; whose median is best is said above each panel."""
    labels = list(panels[0].scores)
    best = [_best(panel) for panel in panels]
    frames = max(values.size for values in panels[0].scores.values())
    finding = f"{labels[0]} has the best median in {best.count(labels[0])} of {len(panels)} scores over {frames} frames"
    strands = [Strand(label, inks[label], np.zeros(0)) for label in labels]
    figure, axes = chart(
        subject,
        finding,
        strands,
        columns=len(panels),
        height=2.75,
        width=7.9,
        gap=0.55,
        left=0.5,
        bottom=0.18,
        head=0.2,
    )
    told = []
    for axis, panel, winner in zip(axes, panels, best, strict=True):
        medians = []
        for at, label in enumerate(labels):
            values = panel.scores[label][np.isfinite(panel.scores[label])]
            if values.size == 0:
                continue
            ink = inks[label]
            if values.size > 2 and np.ptp(values) > 0:
                drawn = axis.violinplot([values], [at], widths=0.8, showextrema=False)
                for body in cast("list[PolyCollection]", drawn["bodies"]):
                    body.set_facecolor(ink.color)
                    body.set_alpha(0.3)
                    body.set_edgecolor(ink.color)
                    body.set_linestyle(ink.dash)
            quarter, middle, three = np.percentile(values, (25, 50, 75))
            axis.plot([at, at], [quarter, three], color=ink.color, linewidth=3.5, solid_capstyle="butt")
            axis.plot(at, middle, "o", color="white", markeredgecolor=ink.color, markersize=5, zorder=4)
            axis.plot(at, values.mean(), "x", color=ink.color, markersize=4.5, zorder=4)
            medians.append(f"{label} {number(float(middle))}")
        units = f" ({panel.units})" if panel.units else ""
        axis.set_title(f"{panel.metric}{units}", fontsize=TICK, color=TEXT, loc="left", pad=3)
        axis.set_xlabel(f"best: {winner}", fontsize=TICK - 1, color=SOFT, labelpad=2)
        axis.set_xticks([])
        axis.tick_params(labelleft=True, labelsize=TICK - 1)
        axis.grid(visible=False, axis="x")
        axis.locator_params(axis="y", nbins=5)
        told.append(f"{panel.metric}{units}, {panel.better} is better: {', '.join(medians)}")
    return Drawing(
        figure, finding, f"{subject}. Violins of scores over frames, one panel per score. Medians: {'; '.join(told)}."
    )


def _best(panel: ViolinPanel) -> str:
    medians = {
        label: float(np.median(values[np.isfinite(values)]))
        for label, values in panel.scores.items()
        if np.isfinite(values).any()
    }
    choose = min if panel.better == "lower" else max
    return choose(medians, key=medians.__getitem__) if medians else "none"
