"""Maps: panels on shared color bars, with coastlines."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gfs_sr.evaluation.plots.coast import box, coastlines
from gfs_sr.evaluation.plots.palettes import ERROR_COLORS, MISSING, error_limit, field_limits, palette
from gfs_sr.evaluation.plots.style import LABEL, SOFT, TEXT, TICK, Drawing, Values, headline, wrap
from gfs_sr.evaluation.plots.units import degrees, display, measured, number

Axis = npt.NDArray[np.float64]

WIDE = 1.8  # degrees of longitude per degree of latitude
WIDE_PANEL = 5.6  # inches
MOST_ISOLINES = 10
ISOLINE_STEPS = (1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 20.0)
FAR_DEG = 60.0  # a map this tall is drawn with finer lines


@dataclass(frozen=True)
class Scale:
    """A color bar."""

    label: str
    colors: str
    low: float
    high: float
    isolines: bool = False  # thin lines of equal value
    levels: int | None = None  # colors; None is as many as there are


@dataclass(frozen=True, eq=False)
class Panel:
    """One map."""

    title: str
    note: str  # below the title, lighter
    field: Values  # (H, W), in the units of its scale
    lat: Axis  # (H,) falling
    lon: Axis  # (W,) rising
    scale: Scale


@dataclass(frozen=True, eq=False)
class Estimate:
    """What one method made of the frame."""

    label: str  # its part: the model, best interpolation, …
    name: str
    field: Values  # (H, W), canonical units


def comparison(
    variable: str,
    subject: str,
    truth: Values,
    lat: Axis,
    lon: Axis,
    coarse: Values,
    coarse_lat: Axis,
    coarse_lon: Axis,
    when: str,
    coarse_when: str,
    estimates: Sequence[Estimate],
) -> Drawing:
    """Truth and every estimate above, the coarse input and every error below.

    Args:
        variable: of the table.
        subject: variable and lead time.
        truth: (H, W), canonical units.
        lat: (H,).
        lon: (W,).
        coarse: (H_c, W_c).
        coarse_lat: (H_c,).
        coarse_lon: (W_c,).
        when: lead time of truth and estimates.
        coarse_when: lead time of the coarse frame.
        estimates: the model under test first.
    """
    shown = display(variable)
    colors = palette(variable)
    low, high = field_limits(shown.field(truth), colors.centered)
    values = Scale(f"{variable} ({shown.units})", colors.name, low, high, isolines=shown.units == "hPa")
    errors = [shown.error(estimate.field - truth) for estimate in estimates]
    limit = error_limit(errors)
    differences = Scale(shown.difference, ERROR_COLORS, -limit, limit)
    weights = np.cos(np.deg2rad(lat))[:, None]
    sizes = [_root_mean_square(error, weights) for error in errors]
    top = [Panel("truth", when, shown.field(truth), lat, lon, values)]
    top += [Panel(e.label, e.name, shown.field(e.field), lat, lon, values) for e in estimates]
    below = [Panel("coarse input", coarse_when, shown.field(coarse), coarse_lat, coarse_lon, values)]
    below += [
        Panel(f"{e.label} − truth", f"RMSE {measured(size)} {shown.difference}", error, lat, lon, differences)
        for e, error, size in zip(estimates, errors, sizes, strict=True)
    ]
    finding = f"{estimates[0].label} is off by {measured(sizes[0])} {shown.difference} RMS"
    if len(sizes) > 1:
        best = int(np.argmin(sizes[1:])) + 1
        finding += f", {estimates[best].label} by {measured(sizes[best])}"
    told = "; ".join(f"{e.label} ({e.name}) {measured(size)}" for e, size in zip(estimates, sizes, strict=True))
    alt = (
        f"{subject}. Maps with coastlines. Above: truth and {len(estimates)} estimates, {number(low)} to "
        f"{number(high)} {shown.units}. Below: the coarse input, and the estimates' differences from the truth, "
        f"{number(-limit)} to {number(limit)} {shown.difference}. RMSE: {told}."
    )
    north, south, west, east = box(lat, lon)
    if (east - west) > WIDE * (north - south):
        # side by side the panels would be slits: a row per method instead, values left, differences right
        pairs = list(zip(top, below, strict=True))
        figure = sheet(subject, finding, pairs, extent=(lat, lon), bar_each=True, panel_width=WIDE_PANEL)
    else:
        figure = sheet(subject, finding, [top, below], extent=(lat, lon))
    return Drawing(figure, finding, alt)


def sheet(
    subject: str,
    finding: str,
    rows: Sequence[Sequence[Panel]],
    *,
    extent: tuple[Axis, Axis] | None = None,
    bar_each: bool = False,
    panel_width: float = 2.62,
) -> Figure:
    """Rows of maps. A row has one color bar, that of its last panel; with `bar_each` every panel has its own below.

    Args:
        subject: the variable.
        finding: the title.
        rows: of panels.
        extent: (lat, lon) axes all maps are cut to; None is each panel's own.
        bar_each: a bar per panel.
        panel_width: inches.
    """
    columns = max(len(row) for row in rows)
    lat, lon = extent if extent is not None else (rows[0][0].lat, rows[0][0].lon)
    north, south, west, east = box(lat, lon)
    aspect = 1 / np.cos(np.deg2rad(np.clip((north + south) / 2, -75, 75)))
    panel_height = float(np.clip(panel_width * (north - south) * aspect / (east - west), 0.9, 1.35 * panel_width))
    left, right, gap = 0.56, 0.15 if bar_each else 0.98, 0.12
    over, under, bar_room = 0.42, 0.34, 0.42 if bar_each else 0.0
    width = left + columns * panel_width + (columns - 1) * gap + right
    lines = wrap(finding, width)
    head = 0.37 + 0.17 * len(lines)
    row_height = over + panel_height + bar_room
    height = head + len(rows) * row_height + under
    figure = Figure(figsize=(width, height), facecolor="white")
    headline(figure, subject, lines)
    for down, row in enumerate(rows):
        bottom = height - head - down * row_height - over - panel_height
        for across, panel in enumerate(row):
            x = left + across * (panel_width + gap)
            axis = figure.add_axes((x / width, bottom / height, panel_width / width, panel_height / height))
            image = draw_map(axis, panel, extent)
            axis.tick_params(left=across == 0, labelleft=across == 0)
            is_last = down == len(rows) - 1 and not bar_each
            axis.tick_params(bottom=is_last, labelbottom=is_last)
            figure.text(x / width, (bottom + panel_height + 0.19) / height, panel.title, fontsize=LABEL,
                        fontweight="bold", color=TEXT, va="bottom")  # fmt: skip
            figure.text(x / width, (bottom + panel_height + 0.05) / height, panel.note, fontsize=TICK - 0.5,
                        color=SOFT, va="bottom")  # fmt: skip
            if bar_each:
                place = (x / width, (bottom - 0.16) / height, panel_width / width, 0.08 / height)
                _bar(figure, image, panel.scale, place, horizontal=True)
        if not bar_each:
            x = left + columns * panel_width + (columns - 1) * gap + 0.1
            tall = min(panel_height, 2.4)
            place = (x / width, (bottom + (panel_height - tall) / 2) / height, 0.11 / width, tall / height)
            _bar(figure, image, row[-1].scale, place, horizontal=False)
    return figure


def draw_map(axis: Axes, panel: Panel, extent: tuple[Axis, Axis] | None = None) -> AxesImage:
    """One map into given axes: cells as they are, coastlines, degrees."""
    north, south, west, east = box(panel.lat, panel.lon)
    image = axis.imshow(
        np.ma.masked_invalid(panel.field), extent=(west, east, south, north), origin="upper", aspect="auto",
        cmap=matplotlib.colormaps[panel.scale.colors].resampled(panel.scale.levels or 256),
        norm=Normalize(panel.scale.low, panel.scale.high), interpolation="nearest",
    )  # fmt: skip
    axis.set_facecolor(MISSING)
    if panel.scale.isolines and min(panel.field.shape) > 1:
        axis.contour(
            panel.lon, panel.lat, np.ma.masked_invalid(panel.field), isolines(panel.scale.low, panel.scale.high),
            colors="white", linewidths=0.5, alpha=0.8,
        )  # fmt: skip
    north, south, west, east = box(*extent) if extent is not None else (north, south, west, east)
    fine = 0.5 if north - south > FAR_DEG else 1.0
    # dark lines on a pale rim stand out from dark and pale colors alike
    lines = list(coastlines(north, south, west, east))
    for color, width, alpha in (("white", 1.7, 0.65), ("#1b1b1b", 0.8, 1.0)):
        coast = LineCollection(lines, colors=color, linewidths=width * fine, alpha=alpha)
        axis.add_collection(coast, autolim=False)
    axis.set_xlim(west, east)
    axis.set_ylim(south, north)
    axis.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axis.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: degrees((value + 180) % 360 - 180, "E", "W")))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: degrees(value, "N", "S")))
    axis.tick_params(labelsize=TICK - 1, length=2.5, color="#8c959f", labelcolor=SOFT)
    for spine in axis.spines.values():
        spine.set_color("#8c959f")
        spine.set_linewidth(0.6)
    return image


def isolines(low: float, high: float) -> Values:
    """At most ten round values between the ends."""
    step = next((step for step in ISOLINE_STEPS if (high - low) / step <= MOST_ISOLINES), ISOLINE_STEPS[-1])
    return np.arange(np.ceil(low / step) * step, high + 1e-9, step)


def _bar(
    figure: Figure, image: AxesImage, scale: Scale, place: tuple[float, float, float, float], *, horizontal: bool
) -> None:
    bar = figure.colorbar(
        image, cax=figure.add_axes(place), orientation="horizontal" if horizontal else "vertical", extend="both"
    )
    if horizontal:
        bar.set_label(scale.label, fontsize=TICK - 0.5, labelpad=1)
    else:
        bar.ax.set_title(scale.label, fontsize=TICK, loc="left", pad=12)
    bar.ax.tick_params(labelsize=TICK - 0.5, length=2.5)
    bar.outline.set_linewidth(0.5)


def _root_mean_square(error: Values, weights: Values) -> float:
    valid = np.isfinite(error)
    if not valid.any():
        return float("nan")
    spread = np.broadcast_to(weights, error.shape)[valid]
    return float(np.sqrt(np.average(error[valid].astype(np.float64) ** 2, weights=spread)))
