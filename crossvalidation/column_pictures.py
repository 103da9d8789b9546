"""What the errors of columns look like: by level, the columns that overturn, and what methods and seeds differ by."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.ticker import FuncFormatter

from crossvalidation.columns import ALL, BASELINE, INTERPOLATIONS, ColumnLine
from crossvalidation.pictures import save
from gfs_sr.evaluation.plots.style import TICK, Drawing, Ink, Strand, Values, chart, inks
from gfs_sr.evaluation.plots.units import measured, number, percent

TRUTH: Final = "truth"


def by_level(lines: Sequence[ColumnLine], source: str) -> Drawing:
    """RMSE of every method over pressure, highest at the bottom, as the air has it; means over seeds."""
    here = [line for line in lines if line.source == source and line.variable != ALL]
    levels = sorted({line.variable for line in here}, key=_pressure)
    strands = [
        Strand(name, ink, np.array([_mean(here, "rmse", method=name, variable=level) for level in levels]))
        for name, ink in _inks(here).items()
    ]
    total = {name: _mean(lines, "rmse", source=source, method=name, variable=ALL) for name in _inks(here)}
    best = min(total, key=lambda name: total[name])
    finding = f"{best} errs least: {measured(total[best])} K over all levels, {BASELINE} {measured(total[BASELINE])} K"
    figure, (axis,) = chart(source, finding, strands, markers=True)
    at = np.array([_pressure(level) for level in levels])
    for strand in strands:
        axis.plot(
            strand.values, at, color=strand.ink.color, linestyle=strand.ink.dash, linewidth=strand.ink.width,
            marker=strand.ink.marker, markersize=4,
        )  # fmt: skip
    axis.invert_yaxis()
    axis.set_yticks(at, [f"{each:g}" for each in at])
    axis.set_xlim(0, None)
    axis.set_xlabel("RMSE of temperature (K)")
    axis.set_ylabel("pressure (hPa)")
    told = "; ".join(f"{one.label} " + ", ".join(measured(float(value)) for value in one.values) for one in strands)
    return Drawing(figure, finding, f"{source}. RMSE in K at {', '.join(levels)}: {told}. {finding}.")


def overturning(lines: Sequence[ColumnLine]) -> Drawing:
    """Share of the cells in which a column overturns, of every method and of the truth, by source."""
    here = [line for line in lines if line.variable == ALL]
    values = {TRUTH: "unstable_truth"} | dict.fromkeys(_inks(here), "unstable")
    sources = list(dict.fromkeys(line.source for line in here))
    shares = {
        name: np.array([
            _mean(here, value, source=source, method=BASELINE if name == TRUTH else name) for source in sources
        ])
        for name, value in values.items()
    }  # fmt: skip
    off = {name: float(np.abs(found - shares[TRUTH]).max()) for name, found in shares.items() if name != TRUTH}
    nearest = min(off, key=lambda name: off[name])
    finding = f"{nearest} overturns most as the truth does: {percent(off[nearest], 1)} of the cells apart at most"
    return _points("Columns that overturn", finding, shares, sources, "share of the cells")


def ablation(lines: Sequence[ColumnLine]) -> Drawing:
    """RMSE to that of bicubic interpolation by method and source; whiskers are a deviation over seeds."""
    here = [line for line in lines if line.variable == ALL and line.method != BASELINE]
    sources = list(dict.fromkeys(line.source for line in here))
    ratios = {
        name: np.array([_mean(here, "ratio", source=source, method=name) for source in sources])
        for name in _inks(here)
    }  # fmt: skip
    spread = {
        name: np.array([
            statistics.stdev(found) if len(found) > 1 else 0.0
            for found in ([line.ratio for line in here if (line.source, line.method) == (source, name)]
                          for source in sources)
        ])
        for name in ratios
    }  # fmt: skip
    networks = [name for name in ratios if name not in INTERPOLATIONS]
    apart = float(np.ptp([ratios[name] for name in networks], axis=0).max())
    by_seed = max(float(spread[name].max()) for name in networks)
    finding = f"Networks differ by {percent(apart, 1)} of the error of {BASELINE} at most"
    if by_seed:
        finding += f"; seeds of one have a deviation of up to {percent(by_seed, 1)}"
    return _points("Error by method", finding, ratios, sources, f"RMSE / that of {BASELINE}", spread)


def draw(lines: Sequence[ColumnLine], folder: Path) -> list[Path]:
    """All of them as PNG files."""
    sources = dict.fromkeys(line.source for line in lines)
    drawn = [save(f"levels-{source}", by_level(lines, source), folder) for source in sources]
    return [*drawn, save("overturning", overturning(lines), folder), save("ablation", ablation(lines), folder)]


def _points(
    subject: str,
    finding: str,
    values: dict[str, Values],
    groups: Sequence[str],
    quantity: str,
    spread: dict[str, Values] | None = None,
) -> Drawing:
    ink = inks(list(values))
    strands = [Strand(name, ink[name], found) for name, found in values.items()]
    figure, (axis,) = chart(subject, finding, strands, height=3.9, markers=True)
    width = 0.8 / len(strands)
    for index, strand in enumerate(strands):
        at = np.arange(len(groups)) + (index - (len(strands) - 1) / 2) * width
        error = None if spread is None else spread[strand.label]
        axis.errorbar(
            at, strand.values, error, fmt=strand.ink.marker, color=strand.ink.color, markersize=5, elinewidth=0.8,
        )  # fmt: skip
    axis.set_xlim(-0.6, len(groups) - 0.4)
    axis.set_xticks(np.arange(len(groups)), groups, fontsize=TICK)
    axis.set_ylabel(quantity)
    if max(float(found.max()) for found in values.values()) < 1 / 2:
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, 1)))
    told = "; ".join(f"{name} " + ", ".join(number(float(value)) for value in found) for name, found in values.items())
    return Drawing(figure, finding, f"{subject}. {quantity} for {', '.join(groups)}: {told}. {finding}.")


def _inks(lines: Sequence[ColumnLine]) -> dict[str, Ink]:
    return dict(inks(list(dict.fromkeys(line.method for line in lines))))


def _mean(lines: Sequence[ColumnLine], value: str, **wanted: str) -> float:
    found = [getattr(line, value) for line in lines if all(getattr(line, key) == each for key, each in wanted.items())]
    return float(statistics.mean(found))


def _pressure(variable: str) -> float:
    return float(variable.partition("@")[2])
