"""What values occur: densities, empirical distribution functions, violins of scores."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from matplotlib.collections import PolyCollection

from gfs_sr.evaluation.plots.style import SOFT, TICK, Drawing, Ink, Strand, Values, chart, number

TAIL = 0.99


def density_figure(edges: Values, truth: Strand, strands: Sequence[Strand], quantity: str, log: bool) -> Drawing:
    """Density of all values on a logarithmic ordinate, so that the rare ones show.

    Args:
        edges: (B + 1,).
        truth: (B,) counts.
        strands: (B,) counts each.
        quantity: name and units.
        log: logarithmic abscissa too, as for precipitation.
    """
    every = [truth, *strands]
    widths, centers = np.diff(edges), _centers(edges, log)
    finding = _tail_finding(edges, truth, strands[0], quantity)
    figure, (axis,) = chart(finding, every)
    for order, strand in enumerate(every[::-1]):
        density = strand.values / max(float(strand.values.sum()), 1) / widths
        axis.plot(
            centers, np.where(density > 0, density, np.nan), color=strand.ink.color, linestyle=strand.ink.dash,
            linewidth=strand.ink.width, zorder=3 + order / 10,
        )  # fmt: skip
    axis.set_yscale("log")
    if log:
        axis.set_xscale("log")
    axis.set_xlabel(quantity)
    axis.set_ylabel("density")
    return Drawing(figure, finding, f"Density of {quantity} for {_names(every)}, logarithmic ordinate. {finding}.")


def cumulative_figure(edges: Values, truth: Strand, strands: Sequence[Strand], quantity: str, log: bool) -> Drawing:
    """Empirical distribution functions; the gap between them is what a bias correction would close."""
    every = [truth, *strands]
    shares = [np.concatenate([[0.0], np.cumsum(s.values) / max(float(s.values.sum()), 1)]) for s in every]
    gaps = [float(np.abs(share - shares[0]).max()) for share in shares[1:]]
    finding = f"{strands[0].label}'s distribution is at most {gaps[0]:.1%} away from the truth's"
    figure, (axis,) = chart(finding, every)
    for order, (strand, share) in enumerate(zip(every[::-1], shares[::-1], strict=True)):
        axis.plot(
            edges, share, color=strand.ink.color, linestyle=strand.ink.dash, linewidth=strand.ink.width,
            zorder=3 + order / 10,
        )  # fmt: skip
    if log:
        axis.set_xscale("log")
    axis.set_ylim(0, 1.01)
    axis.set_xlabel(quantity)
    axis.set_ylabel("share of cells at or below")
    told = ", ".join(f"{s.label} {gap:.1%}" for s, gap in zip(strands, gaps, strict=True))
    return Drawing(
        figure, finding, f"Empirical distribution functions of {quantity} for {_names(every)}. Largest gap: {told}."
    )


def violins_figure(scores: Mapping[str, Values], inks: Mapping[str, Ink], metric: str, better: str) -> Drawing:
    """How a score spreads over frames: a violin per method with median and mean.

    Args:
        scores: method -> (N,), one value per frame.
        inks: method -> ink.
        metric: name and units.
        better: `lower` or `higher`.
    """
    kept = {name: values[np.isfinite(values)] for name, values in scores.items()}
    kept = {name: values for name, values in kept.items() if values.size}
    medians = {name: float(np.median(values)) for name, values in kept.items()}
    choose = min if better == "lower" else max
    best = choose(medians, key=medians.__getitem__)
    finding = f"{metric}: {best} is best, median {number(medians[best])} over {kept[best].size} frames"
    figure, (axis,) = chart(finding, bottom=0.4, height=2.7)
    for at, (name, values) in enumerate(kept.items()):
        ink = inks[name]
        if values.size > 2 and np.ptp(values) > 0:
            bodies = cast(
                "list[PolyCollection]", axis.violinplot([values], [at], widths=0.75, showextrema=False)["bodies"]
            )
            for body in bodies:
                body.set_facecolor(ink.color)
                body.set_alpha(0.3)
                body.set_edgecolor(ink.color)
        quarter, middle, three = np.percentile(values, (25, 50, 75))
        axis.plot([at, at], [quarter, three], color=ink.color, linewidth=4, solid_capstyle="butt")
        axis.plot(at, middle, "o", color="white", markeredgecolor=ink.color, markersize=5.5, zorder=4)
        axis.plot(at, values.mean(), "x", color=ink.color, markersize=5, zorder=4)
    axis.set_xticks(range(len(kept)), [name.replace(" ", "\n", 1) for name in kept], fontsize=TICK - 0.5)
    axis.set_ylabel(metric)
    axis.grid(visible=False, axis="x")
    axis.text(0.99, 0.98, "circle: median, cross: mean,\nbar: middle half of frames", transform=axis.transAxes,
              ha="right", va="top", fontsize=6, color=SOFT)  # fmt: skip
    told = ", ".join(f"{name} {number(value)}" for name, value in medians.items())
    return Drawing(figure, finding, f"Violins of {metric} over frames, {better} is better. Medians: {told}.")


def maxima_figure(members: Values, observed: Values, label: str, quantity: str) -> Drawing:
    """Annual maxima of the domain mean over all members as a smooth density, the highest observed as marks.

    Args:
        members: (N,) every member's maximum of every year.
        observed: (Y,) the truth's maximum of every year; the five highest are marked.
        label: of the model.
        quantity: name and units.
    """
    top = np.sort(observed)[::-1][:5]
    inside = float(np.mean((top >= members.min()) & (top <= members.max())))
    finding = f"{inside:.0%} of the highest observed annual maxima lie within {label}'s range"
    figure, (axis,) = chart(finding)
    at, density = smooth_density(members)
    axis.fill_between(at, density, color="#0b4f8a", alpha=0.25)
    axis.plot(at, density, color="#0b4f8a", linewidth=1.6)
    for value in top:
        axis.axvline(value, ymax=0.9, color="black", linewidth=1.1, linestyle=(0, (4, 1.5)))
    axis.set_ylim(0, None)
    axis.set_xlabel(f"annual maximum, {quantity}")
    axis.set_ylabel("density of members")
    marks = ", ".join(number(float(value), 4) for value in top)
    return Drawing(
        figure,
        finding,
        f"Smooth density of {members.size} annual maxima of {label}; dashed marks at the {top.size} highest observed: "
        f"{marks}. {finding}.",
    )


def smooth_density(values: Values, points: int = 200) -> tuple[Values, Values]:
    """Gaussian kernel density with Silverman's (1986, eq. 3.31) width, over the values and three widths beyond."""
    spread = (
        float(min(values.std(ddof=1), np.subtract(*np.percentile(values, (75, 25))) / 1.34)) if values.size > 1 else 0.0
    )
    width = 0.9 * (spread or 1.0) * values.size ** (-1 / 5)
    at = np.linspace(values.min() - 3 * width, values.max() + 3 * width, points)
    z = (at[:, None] - values) / width
    return at, np.exp(-0.5 * z**2).sum(axis=1) / (values.size * width * np.sqrt(2 * np.pi))


def quantile(edges: Values, counts: Values, share: float) -> float:
    """The value below which `share` of the counts lie, linear within a bin."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts) / max(float(counts.sum()), 1)])
    return float(np.interp(share, cumulative, edges))


def _tail_finding(edges: Values, truth: Strand, model: Strand, quantity: str) -> str:
    units = quantity[quantity.rfind("(") + 1 : -1]
    q_truth, q_model = (quantile(edges, strand.values, TAIL) for strand in (truth, model))
    return f"The highest 1 % begin at {number(q_model, 4)} {units} in {model.label}, {number(q_truth, 4)} in truth"


def _centers(edges: Values, log: bool) -> Values:
    return np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2


def _names(strands: Sequence[Strand]) -> str:
    return ", ".join(strand.label for strand in strands)
