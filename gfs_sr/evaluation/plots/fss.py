"""Fractions skill score by scale, one threshold or all of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from gfs_sr.evaluation.plots.style import SOFT, Drawing, Strand, Values, chart, number

USEFUL = 0.5  # plus half the base rate: Roberts and Lean (2008), where the skill of a uniform forecast ends


def fss_figure(scales_km: Values, strands: Sequence[Strand], event: str, base_rate: float | None) -> Drawing:
    """FSS over the width of the neighborhood at one threshold.

    Args:
        scales_km: (S,) widths of the neighborhood.
        strands: (S,) each; the first is the model under test.
        event: with threshold and units.
        base_rate: share of cells with the event.
    """
    useful = USEFUL + base_rate / 2 if base_rate is not None else None
    model = strands[0]
    finding = f"{event}: {model.label} scores {number(float(model.values[0]), 3)} at {number(float(scales_km[0]))} km"
    if useful is not None:
        at = np.flatnonzero(model.values >= useful)
        where = f"useful from {number(float(scales_km[at[0]]))} km on" if at.size else "useful at no scale"
        finding = f"{event}: {model.label} is {where}"
    figure, (axis,) = chart(finding, strands, markers=True)
    for strand in strands[::-1]:
        axis.plot(
            scales_km, strand.values, color=strand.ink.color, linestyle=strand.ink.dash, linewidth=strand.ink.width,
            marker=strand.ink.marker, markersize=4.5,
        )  # fmt: skip
    if useful is not None:
        axis.axhline(useful, color=SOFT, linewidth=0.9, linestyle=":")
        axis.annotate("useful above", (1, useful), xycoords=("axes fraction", "data"), fontsize=6.5, color=SOFT,
                      ha="right", va="bottom")  # fmt: skip
    _scale_axis(axis, scales_km)
    told = "; ".join(f"{s.label} {', '.join(number(float(v), 3) for v in s.values)}" for s in strands)
    widths = ", ".join(number(float(scale)) for scale in scales_km)
    return Drawing(
        figure, finding, f"Line chart of the fractions skill score of {event} over {widths} km neighborhoods: {told}."
    )


def all_fss_figure(scales_km: Values, strands: Sequence[Strand], model: str, variable: str) -> Drawing:
    """FSS of one model over the width of the neighborhood, a line per threshold."""
    hardest = min(strands, key=lambda strand: float(np.nan_to_num(strand.values[0])))
    finding = f"{variable}: {model} has most trouble with {hardest.label}"
    figure, (axis,) = chart(finding, strands, markers=True)
    for strand in strands:
        axis.plot(
            scales_km, strand.values, color=strand.ink.color, linestyle=strand.ink.dash, linewidth=strand.ink.width,
            marker=strand.ink.marker, markersize=4.5,
        )  # fmt: skip
    _scale_axis(axis, scales_km)
    told = "; ".join(f"{s.label} {', '.join(number(float(v), 3) for v in s.values)}" for s in strands)
    return Drawing(figure, finding, f"Line chart of {model}'s fractions skill score by threshold over scale: {told}.")


def _scale_axis(axis: Axes, scales_km: Values) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(scales_km)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("width of the neighborhood (km)")
    axis.set_ylabel("fractions skill score")
