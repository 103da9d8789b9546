"""Long runs: biases of the mean and of the maximum of every period, cell by cell."""

import numpy as np

from gfs_sr.evaluation.plots.maps import Axis, Panel, Scale, sheet
from gfs_sr.evaluation.plots.palettes import ERROR_COLORS, error_limit, field_limits, palette
from gfs_sr.evaluation.plots.style import Drawing, Values
from gfs_sr.evaluation.plots.units import display, number, percent

LEAST_SHARE = 0.05  # of the largest mean: a relative bias of next to nothing says nothing


def mean_bias_maps(
    subject: str, variable: str, truth: Values, model: Values, label: str, lat: Axis, lon: Axis
) -> Drawing:
    """Mean over time of truth and model, their difference and, for quantities that begin at 0, its share.

    Args:
        subject: the variable.
        variable: of the table.
        truth: (H, W) mean over time, canonical units.
        model: (H, W) mean over time and members.
        label: of the model.
        lat: (H,).
        lon: (W,).
    """
    shown, colors = display(variable), palette(variable)
    values = Scale(shown.units, colors.name, *field_limits(shown.field(truth), colors.centered))
    bias = shown.error(model - truth)
    limit = error_limit([bias])
    shares = relative_bias(truth, model)
    share_limit = min(error_limit([shares]), 2.0)
    weights = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], bias.shape)
    valid = np.isfinite(bias)
    mean = float(np.average(bias[valid], weights=weights[valid]))
    largest = float(np.nanmax(np.abs(bias)))
    finding = (
        f"Mean bias of {label}: {number(mean, 2)} {shown.difference} over the domain, {number(largest, 2)} at most"
    )
    rows = [
        [
            Panel("truth", "mean over time", shown.field(truth), lat, lon, values),
            Panel(label, "mean over time", shown.field(model), lat, lon, values),
        ],
        [
            Panel("bias", f"{label} − truth", bias, lat, lon, Scale(shown.difference, ERROR_COLORS, -limit, limit)),
            Panel("relative bias", "share of the truth's mean", 100 * shares, lat, lon,
                  Scale("%", ERROR_COLORS, -100 * share_limit, 100 * share_limit)),
        ],
    ]  # fmt: skip
    return Drawing(
        sheet(subject, finding, rows, bar_each=True, panel_width=2.9),
        finding,
        f"{subject}. Four maps: mean of the truth, mean of {label}, their difference, and the same as a share of "
        f"the truth. {finding}.",
    )


def period_maximum_maps(
    subject: str,
    variable: str,
    truth: Values,
    members: Values,
    label: str,
    lat: Axis,
    lon: Axis,
    period: tuple[str, str] = ("year", "annual"),
) -> tuple[Drawing, Drawing]:
    """Bias of the maximum of a period: in units for the mean and the largest member, and in spreads of the periods.

    Of a single forecast there is one map in units.

    Args:
        subject: the variable.
        variable: of the table.
        truth: (P, H, W) maximum of every period, canonical units.
        members: (M, P, H, W).
        label: of the model.
        lat: (H,).
        lon: (W,).
        period: what it is, and what its maximum is called.
    """
    shown, (unit, word) = display(variable), period
    maximum, of_model = f"{word} maximum", f"{word.capitalize()} maximum of {label}"
    typical = truth.mean(axis=0)
    of_mean = shown.error(members.mean(axis=(0, 1)) - typical)
    of_largest = shown.error(members.mean(axis=1).max(axis=0) - typical)
    limit = error_limit([of_mean, of_largest])
    scale = Scale(shown.difference, ERROR_COLORS, -limit, limit)
    finding = f"{of_model}: bias {number(float(np.nanmean(of_mean)), 2)} {shown.difference} in the mean"
    note = f"{maximum} − truth"
    panels = [Panel(label, note, of_mean, lat, lon, scale)]
    if len(members) > 1:
        panels = [Panel("mean of the members", note, of_mean, lat, lon, scale),
                  Panel("largest member", note, of_largest, lat, lon, scale)]  # fmt: skip
    in_units = Drawing(
        sheet(subject, finding, [panels], panel_width=3.4 if len(panels) == 1 else 2.62),
        finding,
        f"{subject}. {'Two maps' if len(panels) > 1 else 'Map'} of the bias of the {maximum}. {finding}.",
    )
    spread = truth.std(axis=0, ddof=1)
    sigmas = np.divide(of_mean / shown.factor, spread, out=np.full(spread.shape, np.nan), where=spread > 0)
    beyond = float(np.nanmean(np.abs(sigmas) > 1))
    finding = f"{of_model}: more than one spread of the {unit}s off in {percent(beyond)} of cells"
    in_spreads = Drawing(
        sheet(subject, finding, [[Panel("bias in σ", f"σ: spread of the truth's {unit}s", sigmas, lat, lon,
                               Scale("σ", ERROR_COLORS, -3.0, 3.0))]], panel_width=3.4),
        finding,
        f"{subject}. Map of the bias of the {maximum} in standard deviations of the {unit}s. {finding}.",
    )  # fmt: skip
    return in_units, in_spreads


def relative_bias(truth: Values, model: Values) -> Values:
    """(model - truth) / truth; missing where the truth is next to nothing, which would make it large."""
    least = LEAST_SHARE * float(np.nanmax(np.abs(truth)))
    usable = np.abs(truth) > max(least, 0.0)
    shares: Values = np.divide(model - truth, truth, out=np.full(truth.shape, np.nan, np.float64), where=usable)
    return shares
