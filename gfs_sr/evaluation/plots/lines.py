"""Figures along one axis: error by lead time, series at a point, spread and error of an ensemble."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from gfs_sr.evaluation.plots.style import Drawing, Strand, Values, chart, trace
from gfs_sr.evaluation.plots.units import number

LONG_RUN_HOURS = 120  # beyond which an axis of lead time counts days
MOST_RULES = 9


def error_by_lead(
    subject: str, lead_hours: Values, strands: Sequence[Strand], units: str, coarse_hours: Values
) -> Drawing:
    """RMSE over lead time; the first strand is the model under test, rules stand on the coarse frames.

    Args:
        subject: the variable.
        lead_hours: (T,).
        strands: (T,) each, units of a difference.
        units: of the errors.
        coarse_hours: lead times of the coarse frames, where only space is interpolated.
    """
    first, *others = strands
    finding = f"{first.label}: RMSE by lead time"
    if others:
        best = np.min([strand.values for strand in others], axis=0)
        wins = int(np.sum(first.values < best))
        finding = f"{first.label} has the least error at {wins} of {best.size} lead times"
    figure, (axis,) = chart(subject, finding, strands)
    shown_hours, shown = by_interval(lead_hours, strands, coarse_hours)
    trace(axis, shown_hours, shown)
    axis.set_ylabel(f"RMSE ({units})")
    axis.set_ylim(0, None)
    hours(axis, lead_hours, coarse_hours)
    if len(shown_hours) < len(lead_hours):
        axis.set_xlabel("lead time (h); one point per coarse interval")
    told = "; ".join(
        f"{strand.label} from {number(float(np.nanmin(strand.values)))} to {number(float(np.nanmax(strand.values)))}"
        for strand in strands
    )
    return Drawing(
        figure, finding, f"{subject}. Line chart of RMSE in {units} over {_span(lead_hours)}: {told}. {finding}."
    )


def point_series(
    subject: str,
    lead_hours: Values,
    strands: Sequence[Strand],
    quantity: str,
    difference: str,
    coarse_hours: Values,
    coarse_values: Values | None,
    place: str,
) -> Drawing:
    """Values at one point through the forecast: the truth first, then the model, then whatever else.

    Args:
        subject: the variable.
        lead_hours: (T,).
        strands: (T,) each.
        quantity: name and units of the ordinate.
        difference: units of a difference.
        coarse_hours: (T_c,).
        coarse_values: (T_c,) what the coarse frames say there; None where the point lies between coarse ones.
        place: for the title.
    """
    truth, model = strands[0], strands[1]
    worst = int(np.nanargmax(np.abs(model.values - truth.values)))
    off = float(model.values[worst] - truth.values[worst])
    finding = f"{place}: {model.label} off by at most {number(abs(off), 2)} {difference}, at {lead_hours[worst]:g} h"
    figure, (axis,) = chart(subject, finding, strands)
    trace(axis, lead_hours, strands)
    if coarse_values is not None:
        axis.plot(coarse_hours, coarse_values, "o", color="white", markeredgecolor="black", markersize=5, zorder=5)
    axis.set_ylabel(quantity)
    hours(axis, lead_hours, coarse_hours)
    extent = f"{number(float(np.nanmin(truth.values)), 4)} to {number(float(np.nanmax(truth.values)), 4)}"
    dots = " Open circles mark what the coarse frames say there." if coarse_values is not None else ""
    return Drawing(
        figure,
        finding,
        f"{subject}. Line chart of {quantity} at {place} over {_span(lead_hours)}. The truth runs over {extent}. "
        f"{finding}.{dots}",
    )


def spread_and_error(
    subject: str, lead_hours: Values, error: Strand, spread: Strand, units: str, coarse_hours: Values
) -> Drawing:
    """Spread of the members beside the RMSE of their mean: equal in an ensemble one can trust."""
    ratio = float(np.sqrt(np.mean(spread.values**2) / np.mean(error.values**2)))
    word = "too small" if ratio < 0.9 else "too large" if ratio > 1.1 else "about right"
    finding = f"The spread is {word}: {number(ratio, 2)} of the error of the mean"
    figure, (axis,) = chart(subject, finding, [error, spread])
    trace(axis, lead_hours, [error, spread])
    axis.set_ylabel(units)
    axis.set_ylim(0, None)
    hours(axis, lead_hours, coarse_hours)
    return Drawing(
        figure,
        finding,
        f"{subject}. Line chart of ensemble spread and RMSE of the mean over {_span(lead_hours)}. {finding}.",
    )


def by_interval(lead_hours: Values, strands: Sequence[Strand], coarse_hours: Values) -> tuple[Values, Sequence[Strand]]:
    """Errors of a long run as one point per coarse interval, its RMSE: drawn frame by frame they would be a blot.

    Such points have no interval of their own. Shorter runs are left as they are.
    """
    if np.ptp(lead_hours) <= LONG_RUN_HOURS or coarse_hours.size < 2:
        return lead_hours, strands
    number_of = np.searchsorted(coarse_hours, lead_hours, side="right")
    _, group, count = np.unique(number_of, return_inverse=True, return_counts=True)
    middles = np.bincount(group, lead_hours) / count
    return middles, [
        replace(strand, values=np.sqrt(np.bincount(group, strand.values**2) / count), low=None, high=None)
        for strand in strands
    ]


def hours(axis: Axes, lead_hours: Values, coarse_hours: Values) -> None:
    """An axis of lead time whose rules stand on coarse frames, a few of them labeled; in a long run, on days."""
    span = float(np.ptp(lead_hours))
    axis.set_xlabel(
        "lead time (h); rules: coarse frames" if coarse_hours.size > 1 and span <= LONG_RUN_HOURS else "lead time (h)"
    )
    if span > LONG_RUN_HOURS:
        axis.xaxis.set_major_locator(MultipleLocator(24 * np.ceil(span / (24 * MOST_RULES))))
    elif coarse_hours.size > 1:
        every = float(coarse_hours[1] - coarse_hours[0]) * max(1, -(-coarse_hours.size // MOST_RULES))
        axis.xaxis.set_major_locator(MultipleLocator(every))
    axis.set_xlim(float(lead_hours[0]), max(float(lead_hours[-1]), float(lead_hours[0]) + 1e-6))


def _span(lead_hours: Values) -> str:
    return f"lead times {lead_hours[0]:g} to {lead_hours[-1]:g} h"
