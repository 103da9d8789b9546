"""How every figure looks: inks, type, places. One file, so that pictures can be held side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

Values = npt.NDArray[Any]

TEXT, SOFT, RULE = "#1b1f24", "#57606a", "#d8dee4"  # of the page's style sheet too
MARGIN = 0.1  # inches beside a headline
DPI = 160  # more than a screen shows, so that type stays sharp on a fine one
WIDTH = 3.9  # inches of one chart: the width of a telephone, a third of a desk's
TITLE, LABEL, TICK, LEGEND = 9.5, 8.5, 8.0, 7.5  # points


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
    chosen = {name: _of_model(index) for index, name in enumerate(models)}
    if plain is not None:
        chosen.setdefault(plain, PLAIN)
    if sharpened is not None:
        chosen.setdefault(sharpened, SHARPENED)
    return chosen


def _of_model(index: int) -> Ink:
    """The sixth model has the first one's color with the second one's dash, and so on: all differ."""
    count, turn = len(MODELS), index // len(MODELS)
    dash, marker = MODELS[(index + turn) % count].dash, MODELS[(index + 2 * turn) % count].marker
    return replace(MODELS[index % count], dash=dash, marker=marker)


@dataclass(frozen=True, eq=False)
class Strand:
    """One method in a chart: values along the chart's own abscissa, with an interval where one is known."""

    label: str
    ink: Ink
    values: Values
    low: Values | None = None
    high: Values | None = None


def opponent(strands: Sequence[Strand]) -> Strand | None:
    """The best plain interpolation among them, which findings name beside the model."""
    return next((strand for strand in strands if strand.ink is PLAIN), None)


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
    figure.text(MARGIN / width, 1 - 0.08 / height, subject, fontsize=TICK, color=SOFT, va="top")
    figure.text(
        MARGIN / width, 1 - 0.26 / height, "\n".join(lines), fontsize=TITLE, fontweight="bold", color=TEXT, va="top",
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
    """Lines that fit `width` inches in the title's type, the headline's margins left out."""
    lines: list[str] = []
    for word in text.split():
        if lines and title_inches(f"{lines[-1]} {word}") <= width - 2 * MARGIN:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def title_inches(text: str) -> float:
    """How long a line of a title is."""
    return sum(map(_advance, text)) / 72


@cache
def _advance(letter: str) -> float:
    """Points from one letter of a title to the next."""
    font = get_font(findfont(FontProperties(weight="bold")))
    font.set_size(TITLE, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 2**16


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
