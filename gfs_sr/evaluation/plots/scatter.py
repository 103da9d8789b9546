"""Prediction against truth: all cells as a density, domain means as points with their margins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm

from gfs_sr.evaluation.plots.style import LABEL, SOFT, TEXT, TICK, Drawing, Strand, Values, chart
from gfs_sr.evaluation.plots.units import MINUS, number


@dataclass(frozen=True, eq=False)
class Density:
    """Counts of cells by truth and prediction on one set of edges."""

    label: str
    counts: Values  # (B, B): truth, prediction
    correlation: float


def density_scatter(subject: str, edges: Values, panels: Sequence[Density], quantity: str) -> Drawing:
    """Joint density, a panel per method, on one color scale; on the diagonal the prediction is right.

    Args:
        subject: the variable.
        edges: (B + 1,) of both axes.
        panels: the model first.
        quantity: name and units of both axes.
    """
    best = max(panels, key=lambda panel: panel.correlation)
    finding = f"{best.label} lies closest to the truth: correlation {best.correlation:.4f}"
    figure, axes = chart(subject, finding, columns=len(panels), height=3.0, head=0.26)
    most = max(float(panel.counts.max()) for panel in panels)
    # the outermost cells would leave most of the panel empty
    total = np.sum([panel.counts for panel in panels], axis=0)
    cumulative = np.cumsum(total.sum(axis=1) + total.sum(axis=0)) / (2 * total.sum())
    first = int(np.searchsorted(cumulative, 0.0005))
    last = min(int(np.searchsorted(cumulative, 0.9995)) + 1, edges.size - 1)
    for axis, panel in zip(axes, panels, strict=True):
        shown = np.ma.masked_less(panel.counts.T, 1)
        image = axis.pcolormesh(
            edges, edges, shown, cmap="viridis_r", norm=LogNorm(1, max(most, 2)), rasterized=True, zorder=2
        )
        axis.axline((edges[0], edges[0]), slope=1, color="black", linewidth=0.9, zorder=3)
        axis.set_xlim(edges[first], edges[last])
        axis.set_ylim(edges[first], edges[last])
        axis.set_title(f"{panel.label}\nr = {panel.correlation:.4f}", fontsize=TICK - 1, color=TEXT, pad=3)
        axis.tick_params(labelsize=TICK - 1)
        axis.locator_params(nbins=5)
    figure.supxlabel(f"truth, {quantity}", fontsize=LABEL, y=0.02)
    axes[0].set_ylabel("prediction")
    inset = axes[-1].inset_axes((0.56, 0.14, 0.38, 0.045))
    bar = figure.colorbar(image, cax=inset, orientation="horizontal")
    bar.ax.tick_params(labelsize=6, length=2, pad=1)
    bar.set_label("cells", fontsize=6.5, labelpad=0)
    told = ", ".join(f"{panel.label} {panel.correlation:.4f}" for panel in panels)
    return Drawing(
        figure,
        finding,
        f"{subject}. Density of cells, prediction over truth, {quantity}; darker is more. Most cells lie along the "
        f"diagonal. "
        f"Correlation: {told}.",
    )


def mean_scatter(subject: str, truth: Values, prediction: Strand, quantity: str) -> Drawing:
    """Domain means per frame with a straight fit, R² and the margins beside the axes.

    Args:
        subject: the variable.
        truth: (N,) domain means.
        prediction: (N,) of the model or its ensemble mean.
        quantity: name and units of both axes.
    """
    slope, offset, fit = straight_fit(truth, prediction.values)
    finding = f"Domain means: R² = {fit:.3f}, slope {number(slope)}"
    figure, (axis,) = chart(subject, finding, height=3.5, head=0.45)
    place = axis.get_position()
    axis.set_position((place.x0, place.y0, place.width - 0.13, place.height))
    above = figure.add_axes((place.x0, place.y1 + 0.012, place.width - 0.13, 0.11), sharex=axis)
    beside = figure.add_axes((place.x1 - 0.12, place.y0, 0.12, place.height), sharey=axis)
    axis.plot(truth, prediction.values, ".", color=prediction.ink.color, markersize=5, alpha=0.75, zorder=3)
    low = float(min(truth.min(), prediction.values.min()))
    high = float(max(truth.max(), prediction.values.max()))
    pad = 0.05 * (high - low or 1.0)
    ends = np.array([low - pad, high + pad])
    axis.plot(ends, ends, color="black", linewidth=0.9)
    axis.plot(ends, slope * ends + offset, color="#c2410c", linewidth=1.3, linestyle=(0, (4, 1.5)))
    axis.set_xlim(*ends)
    axis.set_ylim(*ends)
    bins = np.linspace(low - pad, high + pad, 21).tolist()
    above.hist(truth, bins=bins, color="#000000", alpha=0.55)
    beside.hist(prediction.values, bins=bins, color=prediction.ink.color, alpha=0.75, orientation="horizontal")
    for margin in (above, beside):
        margin.axis("off")
    axis.set_xlabel(f"truth, {quantity}")
    axis.set_ylabel(prediction.label)
    sign = MINUS if offset < 0 else "+"
    axis.text(
        0.04, 0.95, f"fit: {number(slope)} x {sign} {number(abs(offset))}\nblack: one to one", transform=axis.transAxes,
        va="top", fontsize=7, color=SOFT,
    )  # fmt: skip
    return Drawing(
        figure,
        finding,
        f"{subject}. Scatter of {truth.size} domain means, {prediction.label} over truth, {quantity}. {finding}.",
    )


def straight_fit(x: Values, y: Values) -> tuple[float, float, float]:
    """Slope, offset and R² of least squares; a constant x gives slope 0."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else 0.0
    offset = float(y.mean() - slope * x.mean())
    total = float(((y - y.mean()) ** 2).sum())
    residual = float(((y - slope * x - offset) ** 2).sum())
    return slope, offset, 1 - residual / total if total > 0 else float("nan")
