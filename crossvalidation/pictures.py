"""What fields between frames look like: rates by fraction, strips, errors, where things go, and bars of an ablation."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.ticker import FuncFormatter

from crossvalidation.between import Method, coarse_frames, interpolation, seen_flows
from crossvalidation.restoration import ALL, TRANSITIONS, Restoration, busiest
from gfs_sr.atomic import write_bytes
from gfs_sr.evaluation.picture import picture
from gfs_sr.evaluation.plots.maps import Panel, Scale, sheet
from gfs_sr.evaluation.plots.palettes import ERROR_COLORS, error_limit, field_limits, palette
from gfs_sr.evaluation.plots.style import TICK, Drawing, Strand, Values, chart, inks, trace
from gfs_sr.evaluation.plots.units import display, number, percent
from gfs_sr.models.checkpoint import Checkpoint
from gfs_sr.training.field_set import FieldSet

LINEAR: Final = "linear"
PANEL: Final = 1.75  # inches
ARROWS: Final = 16  # along the longer side


@dataclass(frozen=True, eq=False)
class Interval:
    """One interval of one source, as every method fills it."""

    fields: FieldSet
    variable: str
    r: int
    index: int
    made: Mapping[str, Values]  # (r + 1, H, W) each, from frame to frame; the truth is no method

    @property
    def truth(self) -> Values:
        """(r + 1, H, W)."""
        found: Values = self.fields.values[self.fields.variables.index(self.variable), self._rows]
        return found

    @property
    def place(self) -> tuple[Values, Values]:
        """Latitudes and longitudes of the rows and columns."""
        lat, lon = self.fields.lat, self.fields.lon
        assert lat is not None  # maps are drawn of sources on axes alone
        assert lon is not None
        return np.asarray(lat, np.float64), np.asarray(lon, np.float64)

    @property
    def subject(self) -> str:
        """Source, variable, and when."""
        ends = self._rows.start, self._rows.stop - 1
        begin, end = (np.datetime_as_string(self.fields.times[row], "h") for row in ends)
        return f"{self.fields.source}, {self.variable}, {begin} to {end} UTC"

    @property
    def _rows(self) -> slice:
        return slice(self.index * self.r, (self.index + 1) * self.r + 1)

    def when(self, step: int) -> str:
        """Time since the frame before."""
        return f"+{step * self.fields.interval_hours:g} h"


def rates(lines: Sequence[Restoration], hours: float) -> Drawing:
    """Restoration rate over the fraction of the interval: means over sources and variables, a strand each method."""
    here = [line for line in lines if line.hours == hours and line.times == ALL and line.fraction]
    fractions = sorted({line.fraction for line in here})
    methods = [name for name in dict.fromkeys(line.method for line in here) if name != LINEAR]
    ink = inks(methods)
    strands = [
        Strand(name, ink[name], np.array([
            100 * statistics.mean(line.restoration for line in here if (line.method, line.fraction) == (name, at))
            for at in fractions
        ]))
        for name in methods
    ]  # fmt: skip
    best = max(strands, key=lambda strand: float(strand.values.mean()))
    finding = f"{best.label} restores {best.values.mean():.1f} % of what the line between the frames loses"
    subject = f"Frames {hours:g} h apart, {len({(line.source, line.variable) for line in here})} lines"
    figure, (axis,) = chart(subject, finding, strands, markers=True)
    trace(axis, np.array(fractions), strands, markers=True)
    axis.axhline(0, color="black", linewidth=1.0, zorder=2)
    axis.set_xlim(0, 1)
    axis.set_xlabel("fraction of the interval")
    axis.set_ylabel("restoration rate (%)")
    told = "; ".join(f"{one.label} " + ", ".join(f"{value:.1f}" for value in one.values) for one in strands)
    return Drawing(figure, finding, f"{subject}. Line chart of restoration rates in percent by fraction. {told}.")


def strip(interval: Interval) -> Drawing:
    """The truth and every method from frame to frame, a row each."""
    shown, colors = display(interval.variable), palette(interval.variable)
    truth = shown.field(interval.truth)
    scale = Scale(f"{shown.units}", colors.name, *field_limits(truth, colors.centered))
    named = {"truth": interval.truth} | dict(interval.made)
    rows = [
        [
            Panel(name, interval.when(step), shown.field(field[step]), *interval.place, scale)
            for step in range(interval.r + 1)
        ]
        for name, field in named.items()
    ]  # fmt: skip
    finding = f"From frame to frame: {', '.join(named)}"
    figure = sheet(interval.subject, finding, rows, panel_width=PANEL)
    alt = f"{interval.subject}. Rows of maps, one for each of {', '.join(named)}, from one frame to the next."
    return Drawing(figure, finding, alt)


def errors(interval: Interval) -> Drawing:
    """Every method minus the truth at the times between."""
    shown = display(interval.variable)
    found = {name: shown.error(field - interval.truth)[1:-1] for name, field in interval.made.items()}
    sizes = {name: float(np.sqrt(np.nanmean(error.astype(np.float64) ** 2))) for name, error in found.items()}
    limit = error_limit(list(found.values()))
    scale = Scale(shown.difference, ERROR_COLORS, -limit, limit)
    rows = [
        [
            Panel(name, interval.when(step + 1), field, *interval.place, scale)
            for step, field in enumerate(error)
        ]
        for name, error in found.items()
    ]  # fmt: skip
    told = ", ".join(f"{name} {number(size)} {shown.difference}" for name, size in sizes.items())
    finding = f"RMSE between the frames: {told}"
    figure = sheet(interval.subject, finding, rows, panel_width=PANEL)
    return Drawing(figure, finding, f"{interval.subject}. Maps of differences from the truth. {finding}.")


def arrows(interval: Interval, flow: Values) -> Drawing:
    """Where a network sees things go: from the frame before, as long as they go in the interval.

    Args:
        interval: where.
        flow: (2, H, W) cells southward and eastward.
    """
    shown, colors = display(interval.variable), palette(interval.variable)
    before = shown.field(interval.truth[0])
    scale = Scale(shown.units, colors.name, *field_limits(before, colors.centered))
    lat, lon = interval.place
    every = max(1, max(flow.shape[1:]) // ARROWS)
    longest = float(np.sqrt((flow**2).sum(axis=0)).max())
    stretch = max(1, round(every / longest)) if longest else 1  # so that small ones are seen
    finding = f"It sees things go {number(longest, 2)} cells at most"
    panel = Panel(
        "frame before", f"arrows to {interval.when(interval.r)}, {stretch} times as long", before, lat, lon, scale
    )
    figure = sheet(interval.subject, finding, [[panel]], panel_width=4.2)
    rows, columns = slice(every // 2, None, every), slice(every // 2, None, every)
    down, right = (np.gradient(axis) if axis.size > 1 else np.ones(1) for axis in (lat, lon))  # degrees per cell
    east, north = stretch * flow[1] * right, stretch * flow[0] * down[:, None]
    figure.axes[0].quiver(
        lon[columns], lat[rows], east[rows, columns], north[rows, columns], angles="xy", scale_units="xy", scale=1,
        width=0.004, color="black", edgecolor="white", linewidth=0.6,
    )  # fmt: skip
    return Drawing(figure, finding, f"{interval.subject}. Arrows over a map of the frame before. {finding}.")


def bars(lines: Sequence[Restoration]) -> Drawing:
    """Mean restoration rates of an ablation's variants, a group for each interval and choice of times."""
    whole = [line for line in lines if not line.fraction]
    variants = [*dict.fromkeys(line.method for line in whole)]
    groups = [(hours, times) for hours in sorted({line.hours for line in whole}) for times in (ALL, TRANSITIONS)]
    means = {
        name: np.array([
            100 * statistics.mean(
                line.restoration for line in whole if (line.hours, line.times, line.method) == (*group, name)
            )
            for group in groups
        ])
        for name in variants
    }  # fmt: skip
    ink = inks(variants)
    strands = [Strand(name, ink[name], means[name]) for name in variants]
    spread = max(np.ptp([strand.values for strand in strands], axis=0))
    finding = f"The variants differ by {spread:.1f} points at most"
    figure, (axis,) = chart("Restoration rate by variant", finding, strands)
    width = 0.8 / len(variants)
    for index, strand in enumerate(strands):
        at = np.arange(len(groups)) + (index - (len(variants) - 1) / 2) * width
        axis.bar(at, strand.values, width, color=strand.ink.color)
    axis.set_xticks(np.arange(len(groups)), [f"{hours:g} h,\n{times}" for hours, times in groups], fontsize=TICK)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value / 100)))
    told = "; ".join(f"{name} " + ", ".join(f"{value:.1f}" for value in means[name]) for name in variants)
    return Drawing(figure, finding, f"Bars of restoration rates in percent. {told}.")


def draw(
    lines: Sequence[Restoration],
    sources: Sequence[FieldSet],
    methods: Mapping[str, Method],
    networks: Mapping[str, Checkpoint],
    r: int,
    folder: Path,
) -> list[Path]:
    """Everything but the bars as PNG files: rates, and of the interval in which most happens every variable.

    Args:
        lines: that were scored.
        sources: maps are drawn of those on latitudes and longitudes.
        methods: of the networks, by name.
        networks: the same.
        r: of the interval that is drawn.
        folder: that they go to.
    """
    drawn = [save(f"rates-{hours:g}h", rates(lines, hours), folder) for hours in sorted({line.hours for line in lines})]
    shown = {LINEAR: interpolation(LINEAR), **methods}
    for source in sources:
        if source.lat is None or source.lon is None or source.lat.ndim > 1 or coarse_frames(source, r).size < 2:
            continue
        index = int(np.argmax(busiest(source, r)))
        made = {name: method(source, r) for name, method in shown.items()}
        for variable in dict.fromkeys(line.variable for line in lines if line.source == source.source):
            for name, drawing in _of_variable(source, variable, r, index, made, networks):
                drawn.append(save(f"{source.name}-{variable}-{name}", drawing, folder))
    return drawn


def _of_variable(
    source: FieldSet, variable: str, r: int, index: int, made: Mapping[str, Values], networks: Mapping[str, Checkpoint]
) -> Iterator[tuple[str, Drawing]]:
    channel = source.variables.index(variable)
    rows = slice(index * r, (index + 1) * r + 1)
    known = {name: each[channel, rows] for name, each in made.items() if np.isfinite(each[channel]).any()}
    interval = Interval(source, variable, r, index, known)
    yield "strip", strip(interval)
    yield "errors", errors(interval)
    for name, checkpoint in networks.items():
        flow = seen_flows(checkpoint, source, r, variable) if name in known else None
        if flow is not None:
            yield f"flow-{name}", arrows(interval, flow[index])


def save(name: str, drawing: Drawing, folder: Path) -> Path:
    """Write one; the path."""
    path = folder / f"{name}.png"
    write_bytes(path, picture(name, drawing, "").data)
    return path
