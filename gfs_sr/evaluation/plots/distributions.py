"""What values occur: densities, empirical distribution functions, maxima of periods."""

from collections.abc import Sequence

import numpy as np

from gfs_sr.evaluation.plots.style import Drawing, Strand, Values, chart
from gfs_sr.evaluation.plots.units import number

TAIL = 0.99


def density_figure(
    subject: str, edges: Values, truth: Strand, strands: Sequence[Strand], quantity: str, log: bool
) -> Drawing:
    """Density of all values on a logarithmic ordinate, so that the rare ones show.

    Args:
        subject: the variable.
        edges: (B + 1,).
        truth: (B,) counts.
        strands: (B,) counts each.
        quantity: name and units.
        log: logarithmic abscissa too, as for precipitation; the first bin begins at 0 and has no place on it.
    """
    every = [truth, *strands]
    placed = slice(1, None) if log else slice(None)
    widths, centers = np.diff(edges), _centers(edges, log)
    finding = _tail_finding(edges, truth, strands[0], quantity)
    figure, (axis,) = chart(subject, finding, every)
    for order, strand in enumerate(every[::-1]):
        density = strand.values / max(float(strand.values.sum()), 1) / widths
        axis.plot(
            centers[placed], np.where(density > 0, density, np.nan)[placed], color=strand.ink.color,
            linestyle=strand.ink.dash, linewidth=strand.ink.width, zorder=3 + order / 10,
        )  # fmt: skip
    axis.set_yscale("log")
    axis.minorticks_off()
    if log:
        axis.set_xscale("log")
    axis.set_xlabel(quantity)
    axis.set_ylabel("density")
    return Drawing(
        figure, finding, f"{subject}. Density of {quantity} for {_names(every)}, logarithmic ordinate. {finding}."
    )


def cumulative_figure(
    subject: str, edges: Values, truth: Strand, strands: Sequence[Strand], quantity: str, log: bool
) -> Drawing:
    """Empirical distribution functions; the gap between them is what a bias correction would close.

    With `log` they begin at the upper end of the first bin: the share of dry cells.
    """
    every = [truth, *strands]
    placed = slice(1, None) if log else slice(None)
    shares = [np.concatenate([[0.0], np.cumsum(s.values) / max(float(s.values.sum()), 1)]) for s in every]
    gaps = [float(np.abs(share - shares[0]).max()) for share in shares[1:]]
    finding = f"{strands[0].label}'s distribution is at most {gaps[0]:.1%} away from the truth's"
    figure, (axis,) = chart(subject, finding, every)
    for order, (strand, share) in enumerate(zip(every[::-1], shares[::-1], strict=True)):
        axis.plot(
            edges[placed], share[placed], color=strand.ink.color, linestyle=strand.ink.dash, linewidth=strand.ink.width,
            zorder=3 + order / 10,
        )  # fmt: skip
    if log:
        axis.set_xscale("log")
    least = np.floor(10 * min(share[placed][0] for share in shares)) / 10
    axis.set_ylim(least, 1 + 0.01 * (1 - least))
    axis.set_xlabel(quantity)
    axis.set_ylabel("share of cells at or below")
    told = ", ".join(f"{s.label} {gap:.1%}" for s, gap in zip(strands, gaps, strict=True))
    return Drawing(
        figure,
        finding,
        f"{subject}. Empirical distribution functions of {quantity} for {_names(every)}. Largest gap: {told}.",
    )


def means_figure(subject: str, truth: Strand, strands: Sequence[Strand], quantity: str, log: bool) -> Drawing:
    """Smooth densities of a few values, such as domain means: too few for a histogram.

    Args:
        subject: the variable.
        truth: (N,) values.
        strands: (N,) values each.
        quantity: name and units.
        log: smooth the logarithms, those of values above 0.
    """
    every = [truth, *strands]
    usable = [np.log10(s.values[s.values > 0]) if log else s.values for s in every]
    shift = float(strands[0].values.mean() - truth.values.mean())
    spread = float(strands[0].values.std() / truth.values.std()) if truth.values.std() > 0 else float("nan")
    finding = f"{strands[0].label}'s means are off by {number(shift, 2)}, their spread is {spread:.0%} of the truth's"
    figure, (axis,) = chart(subject, finding, every)
    for order, (strand, values) in enumerate(zip(every[::-1], usable[::-1], strict=True)):
        if values.size < 2:
            continue
        at, density = smooth_density(values)
        axis.plot(
            10**at if log else at, density, color=strand.ink.color, linestyle=strand.ink.dash,
            linewidth=strand.ink.width, zorder=3 + order / 10,
        )  # fmt: skip
    if log:
        axis.set_xscale("log")
    axis.set_ylim(0, None)
    axis.set_xlabel(quantity)
    axis.set_ylabel("density")
    return Drawing(
        figure,
        finding,
        f"{subject}. Smooth densities of {truth.values.size} values of {quantity} for {_names(every)}. {finding}.",
    )


def maxima_figure(
    subject: str, members: Values, observed: Values, label: str, quantity: str, word: str = "annual"
) -> Drawing:
    """Maxima of the domain mean by period over all members as a smooth density, the highest observed as marks.

    Args:
        subject: the variable.
        members: (N,) every member's maximum of every period.
        observed: (P,) the truth's maximum of every period; the five highest are marked.
        label: of the model.
        quantity: name and units.
        word: what the maximum of a period is called.
    """
    top = np.sort(observed)[::-1][:5]
    inside = float(np.mean((top >= members.min()) & (top <= members.max())))
    finding = f"{inside:.0%} of the highest observed {word} maxima lie within {label}'s range"
    figure, (axis,) = chart(subject, finding)
    at, density = smooth_density(members)
    axis.fill_between(at, density, color="#0b4f8a", alpha=0.25)
    axis.plot(at, density, color="#0b4f8a", linewidth=1.6)
    for value in top:
        axis.axvline(value, ymax=0.9, color="black", linewidth=1.1, linestyle=(0, (4, 1.5)))
    axis.set_ylim(0, None)
    axis.set_xlabel(f"{word} maximum, {quantity}")
    axis.set_ylabel("density of members")
    marks = ", ".join(number(float(value), 4) for value in top)
    return Drawing(
        figure,
        finding,
        f"{subject}. Smooth density of {members.size} {word} maxima of {label}; dashed marks at the {top.size} "
        f"highest observed: "
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
