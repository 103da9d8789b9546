"""The seed system's figures under protocol A: five panels of one frame on shared limits."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from gfs_sr.evaluation.plots.palettes import MISSING, palette
from gfs_sr.evaluation.plots.style import SOFT, TICK, TITLE, Values
from gfs_sr.evaluation.plots.units import display

PANELS = ("HR", "Model", "Bicubic", "TempInterp", "ST-Combined")  # the first is the target
LIMITS = (2, 98)  # percentiles of the target


def seed_name(date: str, variable: str, hour: int, scale: Literal["std", "destd"]) -> str:
    """`20210301_t2m_h06_destd.png`."""
    return f"{date}_{variable}_h{hour:02d}_{scale}.png"


def seed_figure(
    fields: Mapping[str, Values], variable: str, date: str, hour: int, scale: Literal["std", "destd"]
) -> Figure:
    """Target, model and the three baselines of protocol A, limits p2 to p98 of the target.

    Args:
        fields: the names of `PANELS` -> (H, W); canonical units, or standard deviations where `scale` is std.
        variable: of the table.
        date: of the day, YYYYMMDD.
        hour: lead time.
        scale: of the values.
    """
    shown = display(variable)
    units = shown.units if scale == "destd" else "σ"
    values = {name: shown.field(fields[name]) if scale == "destd" else fields[name] for name in PANELS}
    truth = values[PANELS[0]]
    low, high = (float(limit) for limit in np.nanpercentile(truth, LIMITS))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    tall = float(np.clip(truth.shape[0] / truth.shape[1], 0.4, 1.6))
    figure = Figure(figsize=(14.2, 1.25 + 2.6 * tall), facecolor="white", layout="constrained")
    figure.suptitle(f"{variable}, {date}, {hour:02d} h ({units})", fontsize=TITLE + 1, fontweight="bold")
    axes = figure.subplots(1, len(PANELS))
    for axis, name in zip(axes, PANELS, strict=True):
        image = axis.imshow(values[name], cmap=palette(variable).name, vmin=low, vmax=high, interpolation="nearest")
        axis.set_facecolor(MISSING)
        axis.set_title(name, fontsize=TITLE)
        axis.set_xticks([])
        axis.set_yticks([])
        if name != PANELS[0]:
            error = float(np.sqrt(np.nanmean((values[name] - truth) ** 2)))
            axis.set_xlabel(f"RMSE {error:.3g} {shown.difference if scale == 'destd' else 'σ'}", fontsize=TICK,
                            color=SOFT)  # fmt: skip
    figure.colorbar(image, ax=axes, shrink=0.85, pad=0.01, extend="both").set_label(units)
    return figure
