"""Which day trains, which validates, which tests."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np

from gfs_sr.errors import InputError, UsageError

_DATE = re.compile(r"(\d{4})[-_]?(\d{2})[-_]?(\d{2})")


@dataclass(frozen=True)
class Split:
    """Indices into the list that was split; no index occurs twice."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True)
class DateSplit:
    """By day; days outside all three periods are left out. The defaults are the seed system's."""

    train: Period = Period(date(2021, 3, 1), date(2024, 8, 26))
    validation: Period = Period(date(2024, 8, 27), date(2025, 2, 1))
    test: Period = Period(date(2025, 2, 2), date(2025, 7, 23))

    def __post_init__(self) -> None:
        """Refuse periods that share a day.

        Raises:
            UsageError: two periods overlap, or one ends before it begins.
        """
        periods = sorted((self.train, self.validation, self.test), key=lambda period: period.first)
        for period in periods:
            if period.last < period.first:
                raise UsageError(f"{period.last} is before {period.first}", "date split", "exchange the two")
        for earlier, later in pairwise(periods):
            if later.first <= earlier.last:
                raise UsageError(
                    f"{later.first} to {earlier.last} lies in two periods",
                    "date split",
                    "let the periods follow each other",
                )

    def __call__(self, days: Sequence[date]) -> Split:
        """Split the days by the three periods."""
        train, validation, test = (
            tuple(index for index, day in enumerate(days) if day in period)
            for period in (self.train, self.validation, self.test)
        )
        return Split(train, validation, test)


@dataclass(frozen=True)
class RatioSplit:
    """By chance: the same for the same number of items and the same seed."""

    train: float = 0.8
    validation: float = 0.1
    seed: int = 42

    def __call__(self, items: Sequence[object]) -> Split:
        """Shuffle, then cut; the test part is the rest."""
        order = [int(index) for index in np.random.Generator(np.random.PCG64(self.seed)).permutation(len(items))]
        first = int(self.train * len(items))
        second = first + int(self.validation * len(items))
        return Split(tuple(order[:first]), tuple(order[first:second]), tuple(order[second:]))


def dated_files(folder: Path, extension: str = ".nc") -> list[tuple[date, Path]]:
    """Every file below `folder` with the date in its name, sorted by date.

    Raises:
        InputError: a name without a date such as 20210301, 2021-03-01 or 2021_03_01.
    """
    return sorted((date_in_name(path), path) for path in folder.rglob(f"*{extension}"))


def date_in_name(path: Path) -> date:
    """The first date in a file's name.

    Raises:
        InputError: there is none.
    """
    for match in _DATE.finditer(path.name):
        year, month, day = (int(part) for part in match.groups())
        try:
            return date(year, month, day)
        except ValueError:
            continue
    raise InputError(
        f"no date in the name {path.name}", str(path.parent), "name files like 20210301.nc or 2021-03-01.nc"
    )
