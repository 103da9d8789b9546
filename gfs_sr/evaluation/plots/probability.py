"""Are probabilities and members honest? Rank histograms and reliability."""

from collections.abc import Sequence

import numpy as np

from gfs_sr.evaluation.plots.style import BLUE, SOFT, VERMILION, Drawing, Strand, Values, chart
from gfs_sr.evaluation.plots.units import percent

FLAT_TOLERANCE = 0.1  # of a mean bar: less is called flat


def rank_histogram(subject: str, counts: Values, label: str) -> Drawing:
    """Where the truth falls among the sorted members; flat in an honest ensemble.

    Args:
        subject: the variable.
        counts: (M + 1,).
        label: which values were counted.
    """
    total = float(counts.sum())
    shares = counts / total if total > 0 else np.zeros_like(counts, dtype=np.float64)
    flat = 1 / counts.size
    outside = float(shares[0] + shares[-1])
    if outside > 2 * flat * (1 + FLAT_TOLERANCE):
        finding = f"The truth lies outside all members in {percent(outside)} of cells; honest is {percent(2 * flat)}"
    elif outside < 2 * flat * (1 - FLAT_TOLERANCE):
        finding = f"Members spread too wide: only {percent(outside)} outside them; honest is {percent(2 * flat)}"
    else:
        finding = f"Close to flat: {percent(outside)} outside all members; honest is {percent(2 * flat)}"
    figure, (axis,) = chart(subject, finding)
    axis.bar(np.arange(counts.size), shares, width=0.86, color=BLUE, zorder=2)
    axis.axhline(flat, color=VERMILION, linewidth=1.4, linestyle=(0, (4, 1.5)), zorder=3)
    axis.annotate("flat", (1, flat), xycoords=("axes fraction", "data"), fontsize=7, color=VERMILION, ha="right",
                  va="bottom")  # fmt: skip
    axis.set_xlabel(f"rank of the truth among {counts.size - 1} members; {label}")
    axis.set_ylabel("share of cells")
    axis.grid(visible=False, axis="x")
    axis.set_xticks(np.unique(np.linspace(0, counts.size - 1, min(counts.size, 9)).round()))
    heights = ", ".join(percent(float(share)) for share in shares) if counts.size <= 12 else ""
    return Drawing(
        figure,
        finding,
        f"{subject}. Bar chart of the truth's rank among {counts.size - 1} members, {label}. {finding}. {heights}",
    )


def reliability_figure(
    subject: str,
    forecasts: Sequence[Values],
    strands: Sequence[Strand],
    counts: Sequence[Values],
    event: str,
    kind: str,
) -> Drawing:
    """Observed frequency over forecast probability; on the diagonal a probability means what it says.

    Args:
        subject: the variable.
        forecasts: (B,) mean forecast probability of each bin, per strand.
        strands: (B,) observed frequency of each method; NaN where a bin is empty.
        counts: (B,) cells in each bin, per strand.
        event: what is forecast, with threshold and units.
        kind: where the probability comes from: members or the neighborhood.
    """
    gaps = {}
    table = list(zip(forecasts, strands, counts, strict=True))
    for forecast, strand, count in table:
        valid = (count > 0) & np.isfinite(strand.values)
        weight = count[valid]
        gap = np.abs(strand.values[valid] - forecast[valid])
        gaps[strand.label] = float(np.average(gap, weights=weight)) if weight.sum() > 0 else float("nan")
    model = strands[0].label
    finding = f"{event}: {model}'s probabilities are off by {percent(gaps[model], 1)} on average"
    figure, (axis,) = chart(subject, finding, strands, height=3.7, markers=True)
    axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1.0)
    for forecast, strand, count in table:
        valid = (count > 0) & np.isfinite(strand.values)
        axis.plot(
            forecast[valid], strand.values[valid], color=strand.ink.color, linestyle=strand.ink.dash,
            linewidth=strand.ink.width, marker=strand.ink.marker, markersize=4.5,
        )  # fmt: skip
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel(f"forecast probability ({kind})")
    axis.set_ylabel("observed frequency")
    above = sum(float(np.nansum((strand.values - mean) * (count > 0))) for mean, strand, count in table)
    # where the curves leave room
    inset = axis.inset_axes((0.64, 0.09, 0.33, 0.2) if above > 0 else (0.07, 0.72, 0.33, 0.2))
    inset.bar(forecasts[0], counts[0] / max(float(counts[0].sum()), 1), width=0.07, color=strands[0].ink.color)
    inset.set_yscale("log")
    inset.minorticks_off()
    inset.tick_params(labelsize=5.5, length=2, pad=1)
    inset.set_title("share of cells", fontsize=6, pad=2, color=SOFT)
    inset.spines[["top", "right"]].set_visible(False)
    told = ", ".join(f"{label} {percent(gap, 1)}" for label, gap in gaps.items())
    return Drawing(
        figure,
        finding,
        f"{subject}. Observed frequency over forecast probability of {event}, {kind}; the diagonal is perfect. Mean "
        f"distance from "
        f"it: {told}.",
    )
