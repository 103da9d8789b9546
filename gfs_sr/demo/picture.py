"""comparison.png: truth, coarse input, model, best interpolation, and both errors, side by side."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import Grid

Field = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Comparison:
    """One row of maps."""

    title: str
    units: str
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

    titles = ["coarse input", "model", "best interpolation", "truth", "model − truth", "interpolation − truth"]
    figure = Figure(figsize=(17, 0.9 + 2.75 * len(rows)), layout="constrained")
    figure.suptitle(heading, fontsize=13)
    axes = figure.subplots(len(rows), 6, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        low, high = np.nanpercentile(row.truth, [1, 99])
        errors = [row.model - row.truth, row.baseline - row.truth]
        limit = float(np.nanpercentile(np.abs(np.stack(errors)), 99)) or 1.0
        fields = [row.coarse, row.model, row.baseline, row.truth, *errors]
        for index, (axis, field) in enumerate(zip(line, fields, strict=True)):
            grid = row.coarse_grid if index == 0 else row.grid
            is_error = index > 3
            image = axis.pcolormesh(
                grid.lon,
                grid.lat,
                field,
                shading="nearest",
                cmap="RdBu_r" if is_error else "viridis",
                vmin=-limit if is_error else low,
                vmax=limit if is_error else high,
                rasterized=True,
            )
            axis.set_aspect(1 / np.cos(np.deg2rad(row.grid.lat.mean())))
            axis.set_xlim(row.grid.lon[0], row.grid.lon[-1])
            axis.set_ylim(row.grid.lat[-1], row.grid.lat[0])
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
            if is_error:
                axis.set_xlabel(f"RMSE {np.sqrt(np.nanmean(field**2)):.3g} {row.units}", fontsize=9)
            if index == 3:
                figure.colorbar(image, ax=line[:4], location="right", shrink=0.9, pad=0.01, label=row.units)
            if index == 5:
                figure.colorbar(image, ax=line[4:], location="right", shrink=0.9, pad=0.01, label=row.units)
    figure.savefig(path, dpi=110)
