"""comparison.png: truth, coarse input, model, best interpolation, and both errors, side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.atomic import whole
from gfs_sr.data.grid import Grid

Field = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Comparison:
    """One row of maps."""

    title: str
    variable: str
    grid: Grid
    coarse_grid: Grid
    coarse: Field
    coarse_label: str
    truth: Field
    model: Field
    model_label: str
    baseline: Field
    baseline_label: str


def draw(rows: list[Comparison], path: Path, heading: str) -> None:
    """Draw the rows on shared color bars: one for the values, one for the errors."""
    # imported here: matplotlib takes longer to import than the demo's inference
    from matplotlib.figure import Figure

    from gfs_sr.evaluation.plots.maps import Panel, Scale, draw_map
    from gfs_sr.evaluation.plots.palettes import ERROR_COLORS, error_limit, field_limits, palette
    from gfs_sr.evaluation.plots.units import display, number

    titles = ["coarse input", "model", "best interpolation", "truth", "model − truth", "interpolation − truth"]
    figure = Figure(figsize=(17, 0.9 + 2.75 * len(rows)), layout="constrained")
    figure.suptitle(heading, fontsize=13)
    axes = figure.subplots(len(rows), 6, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        shown, colors = display(row.variable), palette(row.variable)
        errors = [shown.error(row.model - row.truth), shown.error(row.baseline - row.truth)]
        limit = error_limit(errors)
        values = Scale(shown.units, colors.name, *field_limits(shown.field(row.truth), colors.centered))
        differences = Scale(shown.difference, ERROR_COLORS, -limit, limit)
        fields = [*(shown.field(field) for field in (row.coarse, row.model, row.baseline, row.truth)), *errors]
        extent = row.grid.lat, row.grid.lon
        for index, (axis, field) in enumerate(zip(line, fields, strict=True)):
            grid = row.coarse_grid if index == 0 else row.grid
            scale = differences if index > 3 else values
            image = draw_map(axis, Panel(titles[index], "", field, grid.lat, grid.lon, scale), extent)
            axis.set_aspect(1 / np.cos(np.deg2rad(row.grid.lat.mean())))
            axis.set_xticks([])
            axis.set_yticks([])
            if axis in axes[0]:
                axis.set_title(titles[index], fontsize=11)
            if index == 0:
                axis.set_ylabel(row.title, fontsize=11)
                axis.set_xlabel(row.coarse_label, fontsize=9)
            if index == 1:
                axis.set_xlabel(row.model_label, fontsize=9)
            if index == 2:
                axis.set_xlabel(row.baseline_label, fontsize=9)
            if index > 3:
                size = number(float(np.sqrt(np.nanmean(field**2))))
                axis.set_xlabel(f"RMSE {size} {scale.label}", fontsize=9)
            if index in (3, 5):
                panels = line[:4] if index == 3 else line[4:]
                figure.colorbar(
                    image, ax=panels, location="right", shrink=0.9, pad=0.01, extend="both", label=scale.label
                )
    with whole(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
