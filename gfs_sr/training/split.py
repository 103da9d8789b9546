"""Which fields train, which validate, which test: by source, date, chance or region; no cell of a frame is in two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations
from typing import Final, Literal

import numpy as np

from gfs_sr.data.splits import DateSplit, Period, RatioSplit
from gfs_sr.errors import NothingToUpscale, UsageError
from gfs_sr.training.fields import Fields

PARTS: Final = ("train", "validation", "test")
RUN_HOURS: Final = 72.0  # fields of at most this span are one run of a model, and are not cut
_DAY: Final = np.timedelta64(1, "D")

Parts = dict[str, list[Fields]]


@dataclass(frozen=True)
class SplitConfig:
    """How the sources' fields are divided."""

    kind: Literal["source", "date", "ratio", "region"] = "source"  # source: data.validation and data.leave_out say
    # part -> [first day, last day], both included; a run belongs to its first day, a longer series is cut at midnight
    dates: dict[str, list[str]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=lambda: {"train": 0.8, "validation": 0.1})  # of days; test: rest
    seed: int = 42  # of the ratios
    regions: dict[str, list[float]] = field(default_factory=dict)  # part -> [north, west, south, east], degrees


def split_fields(sets: Sequence[Fields], config: SplitConfig) -> Parts:
    """The parts `train`, `validation` and `test`; what belongs to none is left out.

    Raises:
        UsageError: unknown parts, periods or regions that overlap, shares beyond 1.
        NothingToUpscale: nothing is left to train on.
    """
    _check_parts(config)
    found = _by_region(sets, config.regions) if config.kind == "region" else _by_day(sets, config)
    if not found["train"]:
        raise NothingToUpscale("no field is left to train on", f"data.split, by {config.kind}", "widen the part train")
    return found


def check_split(config: SplitConfig, validation: Sequence[str]) -> None:
    """Refuse what would be given without effect.

    Raises:
        UsageError: dates or regions of another kind of split, or sources to validate on beside a split.
    """
    for kind, given in (("date", config.dates), ("region", config.regions)):
        if given and config.kind != kind:
            raise UsageError(
                f"data.split is by {config.kind}, and {kind}s are given",
                "data.split",
                f"write kind: {kind}, or drop them",
            )
    if config.kind != "source" and validation:
        raise UsageError(
            f"data.split is by {config.kind}, and sources to validate on are given", "data.validation",
            "leave out one of the two",
        )  # fmt: skip


def _check_parts(config: SplitConfig) -> None:
    choices: dict[str, Mapping[str, object]] = {
        "date": config.dates, "ratio": config.ratios, "region": config.regions
    }  # fmt: skip
    given = choices[config.kind]
    unknown = set(given) - set(PARTS)
    if unknown or "train" not in given:
        raise UsageError(
            f"parts {', '.join(given) or 'none'}", f"data.split, by {config.kind}",
            f"give the part train and any of {', '.join(PARTS[1:])}",
        )  # fmt: skip
    shares = [config.ratios.get(part, 0.0) for part in PARTS]
    if config.kind == "ratio" and (min(shares) < 0 or sum(shares) > 1 + 1e-9):
        raise UsageError(f"shares {shares}", "data.split.ratios", "let them add up to 1 at most")


@dataclass(frozen=True)
class _Item:
    """Frames of one set that stay together."""

    set_index: int
    frames: range
    day: date


def _by_day(sets: Sequence[Fields], config: SplitConfig) -> Parts:
    items = [item for index, each in enumerate(sets) for item in _items(index, each)]
    if config.kind == "date":
        chosen = _date_split(config.dates)([item.day for item in items])
    else:
        # variables of one day may lie in several sets: a day is drawn once for all of them
        days = sorted({item.day for item in items})
        ratio = RatioSplit(config.ratios["train"], config.ratios.get("validation", 0.0), config.seed)(days)
        place = {days[index]: part for part, indices in zip(PARTS, (ratio.train, ratio.validation, ratio.test),
                                                            strict=True) for index in indices}  # fmt: skip
        return _joined(sets, {part: [item for item in items if place[item.day] == part] for part in PARTS})
    indices = dict(zip(PARTS, (chosen.train, chosen.validation, chosen.test), strict=True))
    return _joined(sets, {part: [items[index] for index in found] for part, found in indices.items()})


def _items(index: int, fields: Fields) -> list[_Item]:
    times = fields.times.astype("datetime64[ns]")
    if times[-1] - times[0] <= np.timedelta64(int(RUN_HOURS * 3600), "s"):
        return [_Item(index, range(times.size), times[0].astype("datetime64[D]").item())]
    days = times.astype("datetime64[D]")
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - _DAY))
    stops = np.append(starts[1:], times.size)
    return [_Item(index, range(int(a), int(b)), days[a].item()) for a, b in zip(starts, stops, strict=True)]


def _joined(sets: Sequence[Fields], items: Mapping[str, Sequence[_Item]]) -> Parts:
    """Frames that follow one another make one set again."""
    parts: Parts = {}
    for part, found in items.items():
        parts[part] = []
        runs: list[tuple[int, range]] = []
        for item in sorted(found, key=lambda item: (item.set_index, item.frames.start)):
            if runs and runs[-1][0] == item.set_index and runs[-1][1].stop == item.frames.start:
                runs[-1] = (item.set_index, range(runs[-1][1].start, item.frames.stop))
            else:
                runs.append((item.set_index, item.frames))
        for index, frames in runs:
            whole = sets[index]
            parts[part].append(whole if len(frames) == whole.shape[0] else whole.part(frames))
    return parts


def _date_split(dates: Mapping[str, Sequence[str]]) -> DateSplit:
    periods = {}
    for part, ends in dates.items():
        try:
            first, last = (date.fromisoformat(str(end)) for end in ends)
        except ValueError as error:
            raise UsageError(
                f"{part}: {list(ends)} is no pair of days", "data.split.dates", "write [2021-03-01, 2024-08-26]"
            ) from error
        periods[part] = Period(first, last)
    # a part that is not given has a day of its own that no field has
    never = [Period(date(year, 1, 1), date(year, 1, 1)) for year in (1, 2)]
    return DateSplit(periods["train"], periods.get("validation", never[0]), periods.get("test", never[1]))


def _by_region(sets: Sequence[Fields], regions: Mapping[str, Sequence[float]]) -> Parts:
    for part, box in regions.items():
        if len(box) != 4 or box[0] <= box[2] or box[1] >= box[3]:
            raise UsageError(f"{part}: {list(box)} is no box", "data.split.regions", "write [north, west, south, east]")
    for one, other in combinations(regions, 2):
        if _overlap(regions[one], regions[other]):
            raise UsageError(f"the regions {one} and {other} overlap", "data.split.regions", "let them lie apart")
    parts: Parts = {part: [] for part in PARTS}
    for each in sets:
        for part, box in regions.items():
            window = _window(each, box)
            if window is not None:
                parts[part].append(each.part(range(each.shape[0]), *window))
    return parts


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    in_lat = min(one[0], other[0]) > max(one[2], other[2])
    turns = [360.0 * k for k in (-1, 0, 1)]
    return in_lat and any(min(one[3], other[3] + turn) > max(one[1], other[1] + turn) for turn in turns)


def _window(fields: Fields, box: Sequence[float]) -> tuple[range, range] | None:
    """Rows and columns whose centers lie in the box; of a grid that is not regular, all or nothing.

    A center on an edge belongs to the box south or east of that edge: boxes that touch share no cell.
    """
    if fields.lat is None or fields.lon is None:
        return None
    north, west, south, east = box
    lat, turned = fields.lat, west + np.mod(fields.lon - west, 360.0)
    in_lat, in_lon = (lat <= north) & (lat > south), turned < east
    if fields.lat.ndim == 2:
        return (range(fields.shape[1]), range(fields.shape[2])) if (in_lat & in_lon).all() else None
    rows, columns = np.flatnonzero(in_lat), np.flatnonzero(in_lon)
    if not rows.size or not columns.size:
        return None
    if columns[-1] - columns[0] + 1 != columns.size:
        # a global grid that the box crosses at its seam: the longer run of columns stands for the box
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
        columns = max(runs, key=len)
    return range(int(rows[0]), int(rows[-1]) + 1), range(int(columns[0]), int(columns[-1]) + 1)
