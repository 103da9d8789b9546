"""The registry as tables for readers: what each score is called, says and is measured in."""

import re
from collections.abc import Iterable
from math import inf

from gfs_sr.data.variables import VARIABLES
from gfs_sr.metrics.metric import Metric
from gfs_sr.metrics.ranges import RANGES
from gfs_sr.metrics.registry import metrics_of

_NUMBER = re.compile(r"\d+")
_BETTER = {
    "lower": "lower",
    "higher": "higher",
    "zero": "near 0",
    "one": "near 1",
    "neither": "–",
}


def metric_table() -> str:
    """Every score of every variable in Markdown; `t` stands for a threshold, `n` for a number of cells."""
    lines = ["| group | score | units | better | what it says |", "|---|---|---|---|---|"]
    rows: dict[str, str] = {}
    for variable in (None, *RANGES):
        for metric in metrics_of(variable).values():
            name = _pattern(metric)
            units = metric.units.replace("{u}", "units")
            line = (metric.group, f"`{name}`", units, _BETTER[metric.better], _words(metric))
            rows.setdefault(name, f"| {' | '.join(line)} |")
    return "\n".join([*lines, *rows.values()])


def ranges_table() -> str:
    """Thresholds, ranges and bins of every variable in Markdown."""
    lines = ["| variable | units | events at or above | ranges | histogram |", "|---|---|---|---|---|"]
    for name, row in RANGES.items():
        bins = f"{row.bins[0]:g} … {row.bins[1]:g}{', logarithmic' if row.log_bins else ''}"
        ends = [*(low for low, _ in row.ranges), row.ranges[-1][1]]
        lines.append(f"| `{name}` | {VARIABLES[name].units} | {_listed(row.thresholds)} | {_listed(ends)} | {bins} |")
    return "\n".join(lines)


def _pattern(metric: Metric) -> str:
    if not metric.title:
        return metric.name
    event = " >= t" if metric.threshold is not None else ""
    if not metric.scale:
        return f"{metric.title}{event}"
    if " to " in metric.scale:
        return f"{metric.title} low to high"
    return f"{metric.title}{event} @ {_NUMBER.sub('n', metric.scale)}"


def _words(metric: Metric) -> str:
    size = _NUMBER.search(metric.scale) if "@" in metric.name else None
    return re.sub(rf"\b{size.group()} (?=cells|by)", "n ", metric.explanation) if size else metric.explanation


def _listed(values: Iterable[float]) -> str:
    return ", ".join("∞" if value == inf else "−∞" if value == -inf else f"{value:g}" for value in values)
