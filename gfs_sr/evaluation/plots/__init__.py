"""The report's figures: maps on shared color bars, skill bars, curves over lead time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.result import Line, percent
from gfs_sr.evaluation.scoring import Curve, Maps

Values = npt.NDArray[Any]

FIELD_COLORS = "viridis"  # perceptually uniform, readable without color vision
ERROR_COLORS = "RdBu_r"  # diverging around 0
MODEL_INK, PLAIN_INK, SHARP_INK = "#0b3c5d", "#8c8c8c", "#d98e04"
MINUS = "\u2212"


def maps_figure(maps: Maps, model: str, plain: str, sharpened: str) -> Figure:
    """Coarse input, truth, model and the two best interpolations above; their errors below."""
    units = lookup(maps.variable).units.replace("-1", "⁻¹")
    shown = [("model", model), ("best interpolation", plain), ("best sharpened interpolation", sharpened)]
    low, high = np.nanpercentile(maps.truth, (0.5, 99.5))
    errors = {name: maps.methods[name] - maps.truth for _, name in shown}
    limit = float(np.nanpercentile(np.abs(np.stack(list(errors.values()))), 99.5)) or 1.0
    aspect = 1 / np.cos(np.deg2rad(np.clip(maps.lat.mean(), -80, 80)))
    tall = np.ptp(maps.lat) * aspect / max(np.ptp(maps.lon), 1e-9)
    panel = 3.1
    height = float(np.clip(panel * tall, 1.6, 4.5))
    figure = Figure(figsize=(5 * panel + 0.9, 2 * height + 1.9), layout="constrained")
    axes = figure.subplots(2, 5, sharex=True, sharey=True)
    top = [
        (f"coarse input, {maps.coarse_lead_hours:g} h", maps.coarse, maps.coarse_lat, maps.coarse_lon),
        (f"truth, {maps.lead_hours:g} h", maps.truth, maps.lat, maps.lon),
        *((label, maps.methods[name], maps.lat, maps.lon) for label, name in shown),
    ]
    for axis, (title, field, lat, lon) in zip(axes[0], top, strict=True):
        image = _map(axis, lat, lon, field, FIELD_COLORS, low, high, aspect)
        axis.set_title(title, fontsize=11)
    figure.colorbar(image, ax=axes[0], extend="both", pad=0.01, aspect=18).set_label(f"{maps.variable} ({units})")
    if maps.coarse_after is not None and maps.interval_hours is not None:
        _map(axes[1, 0], maps.coarse_lat, maps.coarse_lon, maps.coarse_after, FIELD_COLORS, low, high, aspect)
        axes[1, 0].set_title(f"coarse input, {maps.coarse_lead_hours + maps.interval_hours:g} h", fontsize=11)
    else:
        axes[1, 0].set_axis_off()
    axes[1, 1].set_axis_off()
    _legend(axes[1, 1], maps, shown)
    for axis, (label, name) in zip(axes[1, 2:], shown, strict=True):
        error = _map(axis, maps.lat, maps.lon, errors[name], ERROR_COLORS, -limit, limit, aspect)
        size = float(np.sqrt(np.nanmean(errors[name] ** 2)))
        short = label.removeprefix("best ").replace(" interpolation", "")
        axis.set_title(f"{short} {MINUS} truth, RMSE {size:.3g} {units}", fontsize=10)
    figure.colorbar(error, ax=axes[1], extend="both", pad=0.01, aspect=18).set_label(f"difference ({units})")
    for axis in (*axes[0], axes[1, 0], *axes[1, 2:]):
        axis.set_xlim(min(maps.lon[0], maps.lon[-1]), max(maps.lon[0], maps.lon[-1]))
        axis.set_ylim(maps.lat.min(), maps.lat.max())
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.yaxis.set_major_locator(MaxNLocator(4))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _degrees(((value + 180) % 360) - 180, "E", "W")))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _degrees(value, "N", "S")))
        axis.tick_params(labelsize=8)
    axes[0, 1].tick_params(labelbottom=True)
    if maps.coarse_after is None:
        axes[0, 0].tick_params(labelbottom=True)
    return figure


def _legend(axis: Axes, maps: Maps, shown: Sequence[tuple[str, str]]) -> None:
    row = lookup(maps.variable)
    lines = [row.long_name, "", *(f"{label}:\n  {name.removeprefix('sharpened ')}" for label, name in shown)]
    axis.text(0, 1, "\n".join(lines), va="top", fontsize=9.5, transform=axis.transAxes, linespacing=1.4)


def _map(
    axis: Axes, lat: Values, lon: Values, field: Values, colors: str, low: float, high: float, aspect: float
) -> Any:
    image = axis.pcolormesh(lon, lat, field, shading="nearest", cmap=colors, vmin=low, vmax=high, rasterized=True)
    axis.set_facecolor("#dddddd")  # missing cells
    axis.set_aspect(aspect)
    return image


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g}°{positive if value > 0 else negative if value < 0 else ''}"


def skill_figure(lines: Sequence[Line], title: str) -> Figure:
    """Two bars per variable: skill against the best plain and the best sharpened interpolation."""
    figure = Figure(figsize=(7.2, 0.9 + 0.52 * len(lines)), layout="constrained")
    axis = figure.subplots()
    at = np.arange(len(lines))
    for offset, ink, label, values in (
        (-0.19, PLAIN_INK, "against the best plain interpolation", [line.skill_plain for line in lines]),
        (0.19, SHARP_INK, "against the best sharpened one", [line.skill_sharpened for line in lines]),
    ):
        bars = axis.barh(at + offset, values, height=0.36, color=ink, label=label)
        axis.bar_label(bars, [percent(value) for value in values], padding=3, fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(at, [line.variable for line in lines])
    axis.invert_yaxis()
    axis.margins(x=0.16)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%".replace("-", MINUS)))
    axis.set_xlabel("skill: 1 − RMSE / RMSE of the interpolation")
    axis.set_title(title, fontsize=11, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def curves_figure(curves: Sequence[Curve], lines: Sequence[Line], model: str, interval_hours: float) -> Figure:
    """RMSE by lead time, a panel per variable; grid lines stand on the coarse frames."""
    columns = min(3, len(lines))
    rows = -(-len(lines) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.7 * rows + 0.5), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())
    by_key = {(curve.variable, curve.method): curve for curve in curves}
    for axis, line in zip(axes, lines, strict=False):
        for name, ink, label, width in (
            (line.best_plain, PLAIN_INK, "best interpolation", 1.6),
            (line.best_sharpened, SHARP_INK, "best sharpened interpolation", 1.6),
            (model, MODEL_INK, "model", 2.0),
        ):
            curve = by_key[line.variable, name]
            axis.plot(curve.lead_hours, curve.rmse, color=ink, label=label, linewidth=width)
        axis.set_title(line.variable, fontsize=10, loc="left")
        axis.set_ylabel(f"RMSE ({line.units.replace('-1', '⁻¹')})", fontsize=9)
        axis.set_xlabel("lead time (h)", fontsize=9)
        first, last = curve.lead_hours[0], curve.lead_hours[-1]
        axis.set_xticks(_ticks(first, last, interval_hours))
        axis.set_ylim(bottom=0)
        axis.grid(axis="x", color="#dddddd", linewidth=0.8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(lines) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _ticks(first: float, last: float, interval: float) -> npt.NDArray[np.float64]:
    every = interval * max(1, round((last - first) / interval / 8))
    ticks: npt.NDArray[np.float64] = np.arange(first, last + 1e-6, every)
    return ticks
