"""How every figure looks: inks, color maps, type, units. One place, so that pictures can be held side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from gfs_sr.data.variables import base_name, lookup

Values = npt.NDArray[Any]

MINUS = "\u2212"
TEXT, SOFT, RULE = "#1b1f24", "#57606a", "#d8dee4"  # of the page's style sheet too
DPI = 160  # more than a screen shows, so that type stays sharp on a fine one
WIDTH = 3.9  # inches of one chart: the width of a telephone, a third of a desk's
TITLE, LABEL, TICK, LEGEND = 9.5, 8.5, 8.0, 7.5  # points
ERROR_COLORS = "RdBu_r"  # diverging around 0; red and blue stay apart for every color vision
MISSING = "#d9d9d9"


@dataclass(frozen=True)
class Ink:
    """How one method is drawn: never by color alone."""

    color: str
    dash: Literal["-"] | tuple[int, tuple[float, ...]] = "-"
    width: float = 1.6
    marker: str = "o"


TRUTH = Ink("#000000", "-", 2.2, "s")
PLAIN = Ink("#7a7a7a", (0, (5.0, 1.6)), 1.6, "D")
SHARPENED = Ink("#d07c00", (0, (3.0, 1.2, 1.0, 1.2)), 1.6, "^")
# blue first, then colors after Okabe and Ito (2008), darkened to 3:1 on white; dashes and marks differ as well
MODELS = (
    Ink("#0b4f8a", "-", 2.0, "o"),
    Ink("#009e73", (0, (7.0, 1.5)), 1.8, "v"),
    Ink("#cc3399", (0, (2.0, 1.0)), 1.8, "P"),
    Ink("#1f83c4", (0, (6.0, 1.2, 1.0, 1.2, 1.0, 1.2)), 1.8, "X"),
    Ink("#7b3f00", (0, (1.0, 1.0)), 1.8, "*"),
)
BLUE, VERMILION = "#0b4f8a", "#c2410c"


def inks(models: Sequence[str], plain: str | None = None, sharpened: str | None = None) -> dict[str, Ink]:
    """Method -> ink: the same method looks the same in every figure."""
    chosen = {name: MODELS[index % len(MODELS)] for index, name in enumerate(models)}
    if plain is not None:
        chosen.setdefault(plain, PLAIN)
    if sharpened is not None:
        chosen.setdefault(sharpened, SHARPENED)
    return chosen


@dataclass(frozen=True)
class Display:
    """A variable as a forecaster reads it: shown = factor · canonical + offset."""

    units: str
    factor: float = 1.0
    offset: float = 0.0
    error_units: str = ""  # of differences, where they differ (°C and K)

    def field(self, values: Values | float) -> Any:
        """Canonical values, shown."""
        return values * self.factor + self.offset

    def error(self, values: Values | float) -> Any:
        """Canonical differences, shown."""
        return values * self.factor

    @property
    def difference(self) -> str:
        """Units of a difference."""
        return self.error_units or self.units


def display(variable: str) -> Display:
    """°C, hPa, g/kg and mm where the table has K, Pa, kg/kg and kg m-2."""
    units = lookup(variable).units
    known = {
        "K": Display("°C", 1.0, -273.15, "K"),
        "Pa": Display("hPa", 0.01),
        "kg kg-1": Display("g kg⁻¹", 1000.0),
        "kg m-2": Display("mm"),
    }
    return known.get(units, Display(superscript(units)))


def superscript(units: str) -> str:
    """`m s-1` -> `m s⁻¹`."""
    return units.replace("-1", "⁻¹").replace("-2", "⁻²")


@dataclass(frozen=True)
class Palette:
    """Colors of a field; `centered` puts the middle color on 0."""

    name: str
    centered: bool = False


_PALETTES: Mapping[str, Palette] = {
    "t2m": Palette("inferno"),
    "d2m": Palette("inferno"),
    "t": Palette("inferno"),
    "r2": Palette("YlGnBu"),
    "r": Palette("YlGnBu"),
    "q": Palette("YlGnBu"),
    "tp": Palette("YlGnBu"),
    "u10": Palette("PuOr_r", centered=True),
    "v10": Palette("PuOr_r", centered=True),
    "u": Palette("PuOr_r", centered=True),
    "v": Palette("PuOr_r", centered=True),
    "w": Palette("PuOr_r", centered=True),
    "sp": Palette("cividis"),
    "msl": Palette("cividis"),
}


def palette(variable: str) -> Palette:
    """Even steps of value are even steps of lightness, and no pair of colors needs full color vision."""
    return _PALETTES.get(base_name(variable), Palette("viridis"))


def field_limits(values: Values, centered: bool, tails: tuple[float, float] = (0.5, 99.5)) -> tuple[float, float]:
    """Ends of a color bar: percentiles, so that one cell does not bleach the map; symmetric where centered."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, tails))
    if centered:
        high = max(abs(low), abs(high))
        low = -high
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def error_limit(errors: Sequence[Values]) -> float:
    """Half width of the color bar of differences; 1 where there are none."""
    finite = np.concatenate([np.abs(error[np.isfinite(error)]).ravel() for error in errors]) if errors else np.zeros(0)
    return (float(np.percentile(finite, 99.5)) if finite.size else 0.0) or 1.0


@dataclass(frozen=True, eq=False)
class Strand:
    """One method in a chart: values along the chart's own abscissa, with an interval where one is known."""

    label: str
    ink: Ink
    values: Values
    low: Values | None = None
    high: Values | None = None


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure, what it shows in one sentence, and the same for those who cannot see it."""

    figure: Figure
    finding: str
    alt: str


def chart(
    subject: str,
    title: str,
    strands: Sequence[Strand] = (),
    *,
    columns: int = 1,
    height: float = 3.0,
    width: float = WIDTH,
    gap: float = 0.14,
    left: float = 0.62,
    bottom: float = 0.47,
    head: float = 0.0,
    markers: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Plots side by side at the standard size: subject and finding above, then one legend; the left one has the labels.

    Placed by inches (`head` is room for titles of the plots): constrained layout costs more than the drawing itself.
    """
    figure = Figure(figsize=(width, height), facecolor="white")
    lines = wrap(title, width)
    legend = _legend_rows([strand.label for strand in strands], width)
    below_title = height - 0.29 - 0.165 * len(lines)
    top = below_title - (0.17 * len(legend) + 0.08 if legend else 0.1) - head
    each = (width - left - 0.14 - gap * (columns - 1)) / columns
    axes = [
        figure.add_axes(((left + k * (each + gap)) / width, bottom / height, each / width, (top - bottom) / height))
        for k in range(columns)
    ]
    headline(figure, subject, lines)
    by_label = {strand.label: strand.ink for strand in strands}
    for row, labels in enumerate(legend):
        handles = [
            Line2D(
                [], [], color=by_label[label].color, linestyle=by_label[label].dash, linewidth=by_label[label].width,
                label=label, marker=by_label[label].marker if markers else "", markersize=4,
            )
            for label in labels
        ]  # fmt: skip
        figure.add_artist(
            Legend(
                figure,
                handles,
                labels,
                loc="upper left",
                bbox_to_anchor=(0.06 / width, (below_title - 0.02 - 0.17 * row) / height),
                ncols=len(handles),
                frameon=False,
                fontsize=LEGEND,
                handlelength=2.2,
                columnspacing=1.1,
                handletextpad=0.45,
                borderaxespad=0,
                borderpad=0,
            )
        )
    for axis in axes:
        dress(axis)
    for axis in axes[1:]:
        axis.tick_params(labelleft=False)
    return figure, axes


def headline(figure: Figure, subject: str, lines: Sequence[str]) -> None:
    """What is shown, small, and below it what was found: a picture that is copied alone still says both."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.08 / height, subject, fontsize=TICK, color=SOFT, va="top")
    figure.text(
        0.1 / width, 1 - 0.26 / height, "\n".join(lines), fontsize=TITLE, fontweight="bold", color=TEXT, va="top",
        linespacing=1.2,
    )  # fmt: skip


def _legend_rows(labels: Sequence[str], width: float) -> list[list[str]]:
    rows: list[list[str]] = []
    used = 0.0
    for label in labels:
        needed = 0.42 + 0.056 * len(label)  # inches: a handle, then letters of DejaVu Sans at LEGEND points
        if not rows or used + needed > width - 0.1:
            rows.append([])
            used = 0.0
        rows[-1].append(label)
        used += needed
    return rows


def wrap(text: str, width: float) -> list[str]:
    """Lines that fit `width` inches in the title's type."""
    most = int(width * 12.4)  # letters per inch of bold DejaVu Sans at TITLE points
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def dress(axis: Axes) -> None:
    """Quiet axes: no box, thin rules."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#8c959f")
    axis.tick_params(labelsize=TICK, color="#8c959f", labelcolor=TEXT, length=3)
    axis.grid(color=RULE, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.xaxis.label.set_fontsize(LABEL)
    axis.yaxis.label.set_fontsize(LABEL)


def trace(axis: Axes, at: Values, strands: Sequence[Strand], markers: bool = False) -> None:
    """Every strand over the abscissa, its interval as a band; the first one on top."""
    for order, strand in enumerate(strands):
        depth = 3 + (len(strands) - order) / 10
        ink = strand.ink
        if strand.low is not None and strand.high is not None:
            axis.fill_between(at, strand.low, strand.high, color=ink.color, alpha=0.15, linewidth=0, zorder=depth - 1)
        axis.plot(
            at, strand.values, color=ink.color, linestyle=ink.dash, linewidth=ink.width, zorder=depth,
            marker=ink.marker if markers else "", markersize=4,
        )  # fmt: skip


def percent(value: float, digits: int = 0) -> str:
    """A share as a reader writes it."""
    return f"{value:.{digits}%}".replace("-", MINUS)


def number(value: float, digits: int = 3) -> str:
    """Significant digits with a true minus; no exponent where the digits before the point are few enough to read."""
    readable = 10**digits <= abs(value) < 1e6
    return (f"{value:.0f}" if readable else f"{value:.{digits}g}").replace("-", MINUS)


def degrees(value: float, positive: str, negative: str) -> str:
    """`4.5°W`."""
    return f"{abs(round(value, 6)):g}°{positive if value > 1e-9 else negative if value < -1e-9 else ''}"
