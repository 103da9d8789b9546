"""Scores over time at every cell: RMSE, bias, correlation, and both as shares of the mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.plots.maps import Axis, Panel, Scale, sheet
from gfs_sr.evaluation.plots.palettes import ERROR_COLORS, error_limit
from gfs_sr.evaluation.plots.style import Drawing, Values
from gfs_sr.evaluation.plots.units import display, measured


@dataclass(frozen=True, eq=False)
class CellScores:
    """Scores of one method over time, (H, W) each; NaN where undefined."""

    rmse: Values  # canonical units
    bias: Values  # canonical units
    correlation: Values
    nrmse: Values  # % of the truth's mean
    normalized_bias: Values  # % of the truth's mean


def cell_maps(subject: str, variable: str, methods: Mapping[str, CellScores], lat: Axis, lon: Axis) -> Drawing:
    """A row of maps per method, the same scale down each column.

    Shares of the mean are only drawn of quantities that begin at 0: of a temperature in kelvin or a signed wind they
    say nothing.

    Args:
        subject: the variable.
        variable: of the table.
        methods: label -> scores, the model first.
        lat: (H,).
        lon: (W,).
    """
    shown = display(variable)
    every = list(methods.values())
    most = max(_high(shown.error(one.rmse)) for one in every)
    bias = error_limit([shown.error(one.bias) for one in every])
    least = min(float(np.nanpercentile(one.correlation, 0.5)) for one in every)
    columns: list[tuple[str, Scale, Callable[[CellScores], Values]]] = [
        ("RMSE over time", Scale(shown.difference, "magma_r", 0.0, most), lambda one: shown.error(one.rmse)),
        ("mean bias", Scale(shown.difference, ERROR_COLORS, -bias, bias), lambda one: shown.error(one.bias)),
        ("correlation", Scale("correlation", "viridis", min(least, 0.99), 1.0), lambda one: one.correlation),
    ]
    if lookup(variable).bounds[0] == 0:
        share = max(_high(one.nrmse) for one in every)
        part = error_limit([one.normalized_bias for one in every])
        columns += [
            ("normalized RMSE", Scale("% of the truth's mean", "magma_r", 0.0, share), lambda one: one.nrmse),
            ("normalized mean bias", Scale("% of the truth's mean", ERROR_COLORS, -part, part),
             lambda one: one.normalized_bias),
        ]  # fmt: skip
    rows = [
        [Panel(title, label, field(one), lat, lon, scale) for title, scale, field in columns]
        for label, one in methods.items()
    ]
    first, *others = every
    finding = (
        f"{next(iter(methods))}: RMSE {measured(float(np.nanmedian(shown.error(first.rmse))))} {shown.difference} "
    )
    finding += "at the median cell"
    if others:
        better = float(np.nanmean(first.rmse < others[0].rmse))
        finding += f", less than the {list(methods)[1]}'s in {better:.0%} of cells"
    names = ", ".join(title for title, _, _ in columns)
    return Drawing(
        sheet(subject, finding, rows, bar_each=True, panel_width=2.62 if len(columns) < 5 else 2.2),
        finding,
        f"{subject}. Maps of scores over time at every cell, a row per method ({', '.join(methods)}): {names}. "
        f"{finding}.",
    )


def _high(values: Values) -> float:
    return float(np.nanpercentile(values, 99.5)) or 1.0
