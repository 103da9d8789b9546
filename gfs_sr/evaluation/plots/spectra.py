"""Power by wavelength, and how much of the truth's power is there."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter

from gfs_sr.evaluation.plots.style import Drawing, Strand, Values, chart, opponent, trace
from gfs_sr.evaluation.plots.units import percent


def spectra_figure(
    subject: str, wavelength_km: Values, truth: Strand, strands: Sequence[Strand], units: str, coarse_km: float | None
) -> Drawing:
    """Radial power spectra, long waves left.

    Args:
        subject: the variable.
        wavelength_km: (K,) falling or rising.
        truth: (K,) power, units squared.
        strands: (K,) each; the first is the model under test.
        units: of the field.
        coarse_km: spacing of the coarse grid; waves shorter than two of them are the model's own.
    """
    model, other = strands[0], opponent(strands)
    own = wavelength_km < 2 * coarse_km if coarse_km is not None else wavelength_km <= np.median(wavelength_km)
    if not own.any():
        own = wavelength_km <= np.median(wavelength_km)
    edge = float(wavelength_km[own].max())
    total = float(np.nansum(truth.values[own]))
    shares = {strand.label: float(np.nansum(strand.values[own])) / total if total > 0 else np.nan for strand in strands}
    best = f", {other.label} {percent(shares[other.label])}" if other is not None else ""
    finding = f"Below {edge:.0f} km {model.label} has {percent(shares[model.label])} of the truth's power{best}"
    every = [truth, *strands]
    figure, (axis,) = chart(subject, finding, every)
    trace(axis, wavelength_km, every)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(float(wavelength_km.max()), float(wavelength_km.min()))
    if coarse_km is not None:
        axis.axvline(2 * coarse_km, color="#57606a", linewidth=0.9, linestyle=":")
        axis.annotate(
            "coarse grid's shortest wave", (2 * coarse_km, 0.02), xycoords=("data", "axes fraction"), rotation=90,
            fontsize=6.5, color="#57606a", ha="right", va="bottom", xytext=(-1, 0), textcoords="offset points",
        )  # fmt: skip
    ticks = [t for t in _round_lengths() if wavelength_km.min() <= t <= wavelength_km.max()]
    axis.set_xticks(ticks[:: max(1, -(-len(ticks) // 7))])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    axis.set_xlabel("wavelength (km)")
    axis.set_ylabel(f"power ({_squared(units)})")
    told = ", ".join(f"{label} {percent(share)}" for label, share in shares.items())
    return Drawing(
        figure,
        finding,
        f"{subject}. Log-log chart of power over wavelength from {wavelength_km.max():.0f} to "
        f"{wavelength_km.min():.0f} km. Share "
        f"of the truth's power in waves shorter than {edge:.0f} km: {told}.",
    )


def _round_lengths() -> list[float]:
    return [digit * 10.0**power for power in range(5) for digit in (1, 2, 5)]


def _squared(units: str) -> str:
    return f"{units}²" if " " not in units and "⁻" not in units else f"({units})²"
