"""Which scales are there: spectra, and fractions skill scores by width of the neighborhood."""

from collections.abc import Sequence

import numpy as np

from gfs_sr.evaluation.gallery.cast import Cast, first, of
from gfs_sr.evaluation.gallery.section import Group, Section, Skipped
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots.fss import FssPanel, all_fss_figure, fss_figure
from gfs_sr.evaluation.plots.spectra import spectra_figure
from gfs_sr.evaluation.plots.style import MODELS, Strand
from gfs_sr.evaluation.plots.units import display, number
from gfs_sr.evaluation.records import Distribution, Fields
from gfs_sr.evaluation.result import Evaluation

KM_PER_DEGREE = 111.2
EVERYWHERE = 0.99  # share of cells
RARE = 0.01  # share of cells that needs a decimal
MOST_PANELS = 3  # thresholds side by side, the highest ones


def scales_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """Spectra, then fractions skill scores."""
    spectra = [made for cast in casts for made in _spectra(evaluation, cast)]
    groups, skipped = [], []
    if spectra:
        groups.append(Group("Power by wavelength", spectra))
    else:
        skipped.append(Skipped("radial spectra", "the fields are too small or have missing cells"))
    fractions = [made for cast in casts for made in _fss(evaluation, cast)]
    if fractions:
        groups.append(Group("Fractions skill score", fractions))
    else:
        skipped.append(
            Skipped(
                "fractions skill scores",
                "no event of the variable's thresholds occurs, or the domain is smaller than two cells",
            )
        )
    return Section(
        "scales",
        "Which scales are real",
        "A spectrum below the truth's is too smooth, one above it has noise. The fractions skill score asks whether an "
        "event is predicted within a neighborhood of the given width; 1 is perfect, and above the dotted line the "
        "forecast is useful at that width (Roberts and Lean 2008).",
        groups,
        skipped=skipped,
    )


def _spectra(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    fields = next(iter(first(cast, evaluation.fields)), None)
    made = []
    for found in of(cast, evaluation.spectra()):
        # power in squared units of what is shown
        scale = shown.factor**2
        power = {name: values * scale for name, values in found.power.items()}
        drawing = spectra_figure(
            cast.name,
            found.wavelength_km,
            Cast.truth(power["truth"]),
            cast.strands(power),
            shown.difference,
            _coarse_km(fields),
        )
        made.append(picture(f"spectra_{cast.variable}", drawing, "Mean over all frames."))
    return made


def _coarse_km(fields: Fields | None) -> float | None:
    if fields is None or fields.coarse_lat.size < 2:
        return None
    return float(abs(fields.coarse_lat[1] - fields.coarse_lat[0]) * KM_PER_DEGREE)


def _fss(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    found = next(iter(of(cast, evaluation.fractions())), None)
    if found is None:
        return []
    shown = display(cast.variable)
    defined = np.any([np.isfinite(scores).any(axis=0) for scores in found.fss.values()], axis=0)
    if not defined.any():
        return []
    scales_km = found.scales_cells[defined] * found.spacing_km
    distribution = next(iter(of(cast, evaluation.distributions())), None)
    panels = []
    for k, threshold in enumerate(found.thresholds.tolist()):
        event = f"{cast.variable} ≥ {number(shown.field(threshold))} {shown.units}"
        base_rate = None if distribution is None else share_above(distribution, threshold)
        if base_rate is not None:
            event += f" ({base_rate:.0%} of cells)" if base_rate >= RARE else f" ({base_rate:.1%} of cells)"
        strands = cast.strands({name: scores[k, defined] for name, scores in found.fss.items()})
        # an event that is everywhere, or nowhere, is no test
        tests = base_rate is None or EVERYWHERE > base_rate > 0
        if tests and strands and np.isfinite(strands[0].values).all():
            panels.append(FssPanel(event, strands, base_rate))
    if not panels:
        return []
    made = [
        picture(
            f"fss_{cast.variable}", fss_figure(cast.name, scales_km, panels[-MOST_PANELS:]), "All frames.",
            "wide" if len(panels) > 1 else "chart",
        )
    ]  # fmt: skip
    if len(panels) > 1:
        model = panels[0].strands[0].label
        strands = [
            Strand(
                panel.event.removeprefix(f"{cast.variable} ").partition(" (")[0],
                MODELS[k % len(MODELS)],
                panel.strands[0].values,
            )
            for k, panel in enumerate(panels)
        ]
        drawing = all_fss_figure(cast.name, scales_km, strands, model)
        made.append(picture(f"fss_all_{cast.variable}", drawing, "Every threshold at once."))
    return made


def share_above(distribution: Distribution, threshold: float) -> float:
    """Share of the truth's values at or above a threshold."""
    counts = distribution.counts["truth"]
    below = np.concatenate([[0.0], np.cumsum(counts)]) / max(float(counts.sum()), 1)
    return 1 - float(np.interp(threshold, distribution.edges, below))
