"""`python -m crossvalidation.restoration`: how much of what linear interpolation in time loses do others restore?"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from crossvalidation.between import INTERPOLATIONS, Method, coarse_frames, interpolation, network
from crossvalidation.command import tabled, write_csv
from gfs_sr.data.transitions import composite_index, threshold
from gfs_sr.errors import UsageError
from gfs_sr.metrics import registry
from gfs_sr.metrics.scene import Scene
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.fused_variables import CLASSES, class_of
from gfs_sr.training.field_set import FieldSet, read_packed

ALL, TRANSITIONS = "all", "transitions"  # which times; at the second most happens
METRICS: Final = ("RMSE", "MAE", "PSNR", "restoration rate")
WINDOW: Final = 11  # cells of an SSIM
GROUPS: Final = {
    "temperature": ("temperature",),
    "wind": ("wind", "speed"),
    "pressure": ("pressure",),
    "humidity": ("moisture", "humidity"),
    "other": ("radiation", "other"),
}
"""Classes of variables that are averaged together."""
LEAST_ERROR: Final = 1e-6  # of a variable's spread: what linear interpolation loses when nothing happens


@dataclass(frozen=True)
class Restoration:
    """One method on one variable of one source, against the frames that lie between those it was given."""

    source: str
    variable: str
    time_factor: int
    hours: float  # between the frames given
    fraction: float  # of the interval; 0 is all of them together
    times: str  # all, or transitions
    method: str
    frames: int
    rmse: float  # canonical units
    mae: float
    psnr: float  # dB; the range is that of the truth
    ssim: float  # NaN of fields smaller than its window
    vector_error: float  # mean length of the error of (u, v), in the lines of u; else NaN
    restoration: float  # 1 - squared error / that of linear interpolation


def restorations(
    source: FieldSet, r: int, methods: Mapping[str, Method], variables: Sequence[str] | None = None
) -> Iterator[Restoration]:
    """Every method on every variable: all fractions together and each, at all times and where most happens.

    Most happens at the intervals whose composite index is above the 70th percentile of the source's own.

    Args:
        source: fields at all times; every r-th is given to the methods.
        r: how many times as many frames there are.
        methods: by name.
        variables: that are scored; None is all.
    """
    frames = coarse_frames(source, r)
    if frames.size < 2:
        return
    names = [name for name in source.variables if variables is None or name in variables]
    channels = [source.variables.index(name) for name in names]
    truth = source.values[channels, : frames[-1] + 1].astype(np.float64)
    line = interpolation("linear")(source, r)[channels]
    area = _area(source)
    index = busiest(source, r)
    busy = index > threshold([index])
    step = np.arange(truth.shape[1]) % r
    interval = np.minimum(np.arange(truth.shape[1]) // r, busy.size - 1)
    chosen = {ALL: np.ones(busy.size, bool), TRANSITIONS: busy}
    for method, make in methods.items():
        made = make(source, r)[channels]
        scenes = _scenes(names, made, truth, line, area)
        for name, scene in scenes.items():
            asked = [*METRICS, *(("SSIM",) if min(scene.shape[1:]) >= WINDOW else ())]
            asked += ["vector error"] if scene.partner is not None else []
            sums = registry.tally(asked, scene)
            for times, which in chosen.items():
                for m in range(r):
                    rows = which[interval] & (step == m if m else step > 0)
                    found = registry.values(asked, {key: each[rows].sum(axis=0) for key, each in sums.items()}, name)
                    yield Restoration(
                        source=source.source, variable=name, time_factor=r, hours=r * source.interval_hours,
                        fraction=round(m / r, 4), times=times, method=method, frames=int(rows.sum()),
                        rmse=_rounded(found["RMSE"]), mae=_rounded(found["MAE"]), psnr=_rounded(found["PSNR"]),
                        ssim=_rounded(found.get("SSIM", np.nan)),
                        vector_error=_rounded(found.get("vector error", np.nan)),
                        restoration=round(found["restoration rate"], 4),
                    )  # fmt: skip


def busiest(source: FieldSet, r: int) -> npt.NDArray[np.float64]:
    """How much happens in each interval between every r-th frame: the composite index."""
    return composite_index(source.values[:, coarse_frames(source, r)], 1, _area(source))


def _area(source: FieldSet) -> npt.NDArray[np.float64] | None:
    return None if source.lat is None or source.lat.ndim > 1 else np.cos(np.deg2rad(source.lat))


def _scenes(
    names: Sequence[str],
    made: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
    line: npt.NDArray[np.float64],
    area: npt.NDArray[np.float64] | None,
) -> dict[str, Scene]:
    """Of the variables that the method knows and that change at all."""
    weights = None if area is None else area[:, None]

    def scene(k: int, partner: Scene | None = None) -> Scene:
        span = float(np.nanmax(truth[k]) - np.nanmin(truth[k]))
        return Scene(
            made[k], truth[k], weights, span or 1.0, variable=names[k], reference=line[k], partner=partner
        )  # fmt: skip

    found = {}
    for k, name in enumerate(names):
        lost = float(np.sqrt(np.nanmean((line[k] - truth[k]) ** 2)))
        if np.isnan(made[k]).all() or not lost > LEAST_ERROR * float(np.nanstd(truth[k])):
            continue
        other = name.replace("u", "v", 1) if name.startswith("u") else ""
        found[name] = scene(k, scene(names.index(other)) if other in names else None)
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def summary(lines: Sequence[Restoration]) -> str:
    """Markdown: the restoration rate of every method by interval and times, by groups of variables, and by each."""
    whole = [line for line in lines if not line.fraction]
    methods = [name for name in dict.fromkeys(line.method for line in whole) if name != "linear"]
    means: list[str] = []
    by_group: list[str] = []
    for hours, times in sorted({(line.hours, line.times) for line in whole}):  # all before transitions
        part = [line for line in whole if (line.hours, line.times) == (hours, times)]
        first = [f"{hours:g}", times]
        means.append(_mean_row(first, part, methods))
        for group in GROUPS:
            own = [line for line in part if group_of(line.variable) == group]
            by_group += [_mean_row([group, *first], own, methods)] if own else []
    rows = [_head(["hours", "times", "lines"], methods), *means]
    rows += ["", _head(["group", "hours", "times", "lines"], methods), *by_group]
    rows += ["", _head(["source", "variable", "hours", "times"], methods)]
    for key in dict.fromkeys((line.source, line.variable, line.hours, line.times) for line in whole):
        rates = {
            line.method: line.restoration
            for line in whole
            if (line.source, line.variable, line.hours, line.times) == key
        }
        source, variable, hours, times = key
        rows.append(_row([source, variable, f"{hours:g}", times], [rates.get(name, np.nan) for name in methods]))
    return "\n".join(rows) + "\n"


def group_of(variable: str) -> str:
    """Of `GROUPS`."""
    kind = CLASSES[class_of(variable)]
    return next(name for name, kinds in GROUPS.items() if kind in kinds)


def _mean_row(first: Sequence[str], lines: Sequence[Restoration], methods: Sequence[str]) -> str:
    """Means over sources and variables, each counted once, however large its fields."""
    count = len({(line.source, line.variable) for line in lines})
    rates = {name: [line.restoration for line in lines if line.method == name] for name in methods}
    # a network need not know any variable of a group
    return _row([*first, str(count)], [statistics.mean(known) if known else np.nan for known in rates.values()])


def _head(first: Sequence[str], methods: Sequence[str]) -> str:
    names = [*first, *methods]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _row(first: Sequence[str], rates: Sequence[float]) -> str:
    best = np.nanmax(rates)
    shown = [f"**{100 * rate:.1f} %**" if rate == best else f"{100 * rate:.1f} %" for rate in rates]
    return f"| {' | '.join([*first, *shown])} |"


def score_packed(
    packed: Path, sources: Sequence[str], time_factors: Sequence[int], methods: Mapping[str, Method],
    variables: Sequence[str] | None,
) -> list[Restoration]:  # fmt: skip
    """All methods on some sources of a packed set; raises as `chosen`."""
    return [
        line
        for each in chosen(packed, sources)
        for r in time_factors
        for line in restorations(each, r, methods, variables)
    ]


def chosen(packed: Path, sources: Sequence[str]) -> list[FieldSet]:
    """The series of some sources of a packed set.

    Raises:
        UsageError: a source that is not there.
    """
    sets, _ = read_packed(packed)
    known = {each.source for each in sets}
    for name in sources:
        if name not in known:
            raise UsageError(f"no source {name!r}", "--sources", f"use: {', '.join(sorted(known))}")
    return [each for each in sets if each.source in sources and each.interval_hours > 0]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.restoration", description=__doc__)
    parser.add_argument("--ckpt", type=Path, action="append", required=True, help="of a network of time; by its name")
    parser.add_argument("--packed", type=Path, required=True, help="as gfs_sr.training.pack wrote it")
    parser.add_argument("--sources", nargs="+", required=True, help="that the networks never saw")
    parser.add_argument("--variables", nargs="+", default=None, help="default: all")
    parser.add_argument("--time-factors", type=int, nargs="+", default=[3, 6])
    parser.add_argument("--figures", type=Path, default=None, help="folder of pictures; default: none are drawn")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV; its summary is written beside it, .md")
    asked = parser.parse_args(argv)

    def score() -> str:
        methods = {name: interpolation(name) for name in INTERPOLATIONS}
        networks = {path.stem: load_checkpoint(path) for path in asked.ckpt}
        trained = {name: network(checkpoint) for name, checkpoint in networks.items()}
        methods |= trained
        lines = score_packed(asked.packed, asked.sources, asked.time_factors, methods, asked.variables)
        write_csv(Restoration, lines, asked.output)
        if asked.figures is not None:
            from crossvalidation.pictures import draw  # matplotlib takes long to import

            draw(lines, chosen(asked.packed, asked.sources), trained, networks, max(asked.time_factors), asked.figures)
        return summary(lines)

    return tabled(score, asked.output)


if __name__ == "__main__":
    sys.exit(main())
