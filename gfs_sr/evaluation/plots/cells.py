"""Scores over time at every cell: RMSE, normalized RMSE and bias, correlation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gfs_sr.evaluation.plots.maps import Axis, Panel, Scale, sheet
from gfs_sr.evaluation.plots.style import ERROR_COLORS, Drawing, Values, display, error_limit, number


@dataclass(frozen=True, eq=False)
class CellScores:
    """Scores of one method over time, (H, W) each; NaN where undefined."""

    rmse: Values  # canonical units
    nrmse: Values  # share of the truth's mean
    bias: Values  # normalized mean bias, share of the truth's mean
    correlation: Values


def cell_maps(variable: str, methods: Mapping[str, CellScores], lat: Axis, lon: Axis) -> Drawing:
    """A row of four maps per method, the same scale down each column.

    Args:
        variable: of the table.
        methods: label -> scores, the model first.
        lat: (H,).
        lon: (W,).
    """
    shown = display(variable)
    every = list(methods.values())
    most = max(float(np.nanpercentile(shown.error(one.rmse), 99.5)) for one in every)
    share = max(float(np.nanpercentile(one.nrmse, 99.5)) for one in every)
    bias = error_limit([100 * one.bias for one in every])
    least = min(float(np.nanpercentile(one.correlation, 0.5)) for one in every)
    scales = (
        Scale(shown.difference, "magma_r", 0.0, most or 1.0),
        Scale("% of the truth's mean", "magma_r", 0.0, 100 * share or 1.0),
        Scale("% of the truth's mean", ERROR_COLORS, -bias, bias),
        Scale("correlation", "viridis", min(least, 0.99), 1.0),
    )
    rows = [
        [
            Panel("RMSE over time", label, shown.error(one.rmse), lat, lon, scales[0]),
            Panel("normalized RMSE", label, 100 * one.nrmse, lat, lon, scales[1]),
            Panel("normalized mean bias", label, 100 * one.bias, lat, lon, scales[2]),
            Panel("correlation", label, one.correlation, lat, lon, scales[3]),
        ]
        for label, one in methods.items()
    ]
    first, *others = every
    finding = f"{next(iter(methods))}: {number(float(np.nanmedian(shown.error(first.rmse))))} {shown.difference} "
    finding += "at the median cell"
    if others:
        better = float(np.nanmean(first.rmse < others[0].rmse))
        finding += f", better than {list(methods)[1]} in {better:.0%} of cells"
    return Drawing(
        sheet(finding, rows, bar_each=True),
        finding,
        f"Maps of {variable}, a row per method ({', '.join(methods)}): RMSE, normalized RMSE, normalized mean bias and "
        f"correlation over time at every cell. {finding}.",
    )
