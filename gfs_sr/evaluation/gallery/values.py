"""Which values occur: joint densities, distributions, and how scores spread over frames."""

from collections.abc import Sequence

import numpy as np

from gfs_sr.data.variables import base_name
from gfs_sr.evaluation.gallery.cast import Cast, of
from gfs_sr.evaluation.gallery.section import Group, Section, Skipped
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots import scatter
from gfs_sr.evaluation.plots.distributions import cumulative_figure, density_figure, means_figure
from gfs_sr.evaluation.plots.units import display
from gfs_sr.evaluation.plots.violins import ViolinPanel, violins_figure
from gfs_sr.evaluation.records import Density
from gfs_sr.evaluation.result import Evaluation

LEAST_MEANS = 5  # domain means that make a distribution


def values_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """Cell by cell, then as distributions."""
    made = {
        "Prediction against truth": [p for cast in casts for p in _densities(evaluation, cast)],
        "Distribution of all values": [p for cast in casts for p in _distributions(evaluation, cast)],
        "Distribution of domain means": [p for cast in casts for p in _mean_distributions(evaluation, cast)],
    }
    skipped = [Skipped(title.lower(), "too few values") for title, pictures in made.items() if not pictures]
    return Section(
        "values",
        "Which values occur",
        "On the diagonal the prediction is right; a cloud flatter than it misses the extremes. The distributions say "
        "whether the right values occur at all, wherever they occur.",
        [Group(title, pictures) for title, pictures in made.items() if pictures],
        skipped=skipped,
    )


def spread_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """Scores frame by frame, as violins."""
    pictures = [made for cast in casts for made in _violins(evaluation, cast)]
    return Section(
        "frames",
        "How even the quality is",
        "Every frame is scored by itself; the wider the violin, the more frames score so. Circle: median, cross: mean, "
        "bar: the middle half.",
        [Group("", pictures)] if pictures else [],
        skipped=[] if pictures else [Skipped("violins of scores over frames", "the data have one frame")],
        folded=True,
    )


def _densities(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    found = {density.method: density for density in of(cast, evaluation.densities())}
    panels = [
        scatter.Density(part.label, found[part.method].counts, _correlation(found[part.method]))
        for part in (cast.models[0], cast.best)
        if part.method in found
    ]
    if not panels:
        return []
    edges = shown.field(found[cast.models[0].method].edges)
    drawing = scatter.density_scatter(cast.name, edges, panels, f"{cast.variable} ({shown.units})")
    return [picture(f"density_{cast.variable}", drawing, "All cells and frames.")]


def _correlation(density: Density) -> float:
    """Pearson's, of binned values."""
    counts, at = density.counts, (density.edges[1:] + density.edges[:-1]) / 2
    total = counts.sum()
    if total == 0:
        return float("nan")
    x, y = (counts.sum(axis=1) @ at) / total, (counts.sum(axis=0) @ at) / total
    covariance = ((at - x)[:, None] * (at - y) * counts).sum()
    spread = np.sqrt((((at - x) ** 2) @ counts.sum(axis=1)) * (((at - y) ** 2) @ counts.sum(axis=0)))
    return float(covariance / spread) if spread > 0 else float("nan")


def _distributions(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    made = []
    for found in of(cast, evaluation.distributions()):
        edges, quantity = shown.field(found.edges), f"{cast.variable} ({shown.units})"
        truth, strands = Cast.truth(found.counts["truth"]), cast.strands(found.counts)
        caption = "All cells and frames."
        if found.log:
            dry = truth.values[0] / max(float(truth.values.sum()), 1)
            caption += f" {dry:.0%} of the truth's cells lie below {edges[1]:g} {shown.units}."
        made += [
            picture(
                f"distribution_{cast.variable}",
                density_figure(cast.name, edges, truth, strands, quantity, found.log),
                caption,
            ),
            picture(
                f"ecdf_{cast.variable}",
                cumulative_figure(cast.name, edges, truth, strands, quantity, found.log),
                caption,
            ),
        ]
    return made


def _mean_distributions(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    made = []
    for found in of(cast, evaluation.domain_means()):
        if found.truth.size < LEAST_MEANS or np.ptp(found.truth) == 0:
            continue
        log = base_name(cast.variable) == "tp" and bool((found.truth > 0).all())
        drawing = means_figure(
            cast.name,
            Cast.truth(shown.field(found.truth)),
            cast.strands(found.methods, shown.field),
            f"domain mean of {cast.variable} ({shown.units})",
            log,
        )
        made.append(picture(f"means_{cast.variable}", drawing, f"{found.truth.size} frames, smoothed."))
    return made


def _violins(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    panels = []
    for found in of(cast, evaluation.frame_scores()):
        in_units = found.metric in ("RMSE", "MAE")
        convert = shown.error if in_units else lambda values: values
        scores = {part.label: convert(found.values[part.method]) for part in cast.parts if part.method in found.values}
        if min(values.size for values in scores.values()) > 1:
            units = shown.difference if in_units else "dB" if found.metric == "PSNR" else ""
            panels.append(ViolinPanel(found.metric, units, "lower" if in_units else "higher", scores))
    if not panels:
        return []
    drawing = violins_figure(cast.name, panels, {part.label: part.ink for part in cast.parts})
    return [picture(f"violins_{cast.variable}", drawing, "All frames.", "wide")]
