"""Quality against cost: what members of a sampler score for the evaluations that they take."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator

from gfs_sr.evaluation.plots.style import Drawing, Strand, Values, chart
from gfs_sr.evaluation.plots.units import measured


def cost_curve(subject: str, evaluations: Sequence[int], strands: Sequence[Strand], units: str) -> Drawing:
    """Fair CRPS over evaluations of the denoiser, a mark for every way to draw.

    Args:
        subject: the variable.
        evaluations: of each way, for a member.
        strands: of each way, in the same order; (1,) each, units of a difference.
        units: of the score.
    """
    scores = [float(strand.values[0]) for strand in strands]
    best = int(np.argmin(scores))
    cheapest = int(np.lexsort((scores, evaluations))[0])
    finding = f"{strands[best].label} scores best, {measured(scores[best])} {units} for {evaluations[best]} evaluations"
    if evaluations[cheapest] < evaluations[best]:
        finding += f"; the cheapest {measured(scores[cheapest])} for {evaluations[cheapest]}"
    figure, (axis,) = chart(subject, finding, strands, height=3.4, markers=True)
    for cost, strand in zip(evaluations, strands, strict=True):
        axis.plot(cost, strand.values, strand.ink.marker, color=strand.ink.color, markersize=6, zorder=3)
    every: Values = np.unique(evaluations)
    axis.set_xscale("log", base=2)
    axis.set_xticks(every)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel("evaluations of the denoiser, for each member")
    axis.set_ylabel(f"fair CRPS ({units})")
    told = "; ".join(
        f"{strand.label}: {measured(score)} for {cost}"
        for cost, score, strand in zip(evaluations, scores, strands, strict=True)
    )
    return Drawing(figure, finding, f"{subject}. Fair CRPS in {units} over evaluations per member: {told}. {finding}.")
