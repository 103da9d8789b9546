"""What every reader hands over: runs of fields of one variable, as one file offers them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gfs_sr.data.forecast import ReadBlock, ReadField, SourceLayout
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.errors import InputError

NO_BUCKET: np.timedelta64 = np.timedelta64(0, "ns")


@dataclass(frozen=True, eq=False)
class Series:
    """Fields of one variable from one file."""

    variable: str  # canonical name
    reference_time: np.datetime64 | None  # None where the file has valid times only
    valid_times: TimeArray  # (T,) rising
    grid: Grid
    read: ReadField
    where: str  # file, and the variable's name in it
    bucket: np.timedelta64 = NO_BUCKET  # accumulated or averaged: the interval that ends at each valid time
    read_block: ReadBlock | None = None  # where the format reads a part of a field for less than all of it
    chunks: tuple[int, int, int] | None = None  # (t, h, w) that the file stores together


@dataclass(frozen=True, eq=False)
class Source:
    """All that one file, or several of one format, offer."""

    name: str
    series: Sequence[Series]
    layout: SourceLayout
    registration: Registration | None = None
    unused: Sequence[str] = ()  # fields that are not in the table, as the file names them
    notes: Sequence[str] = ()
    refused: Mapping[str, InputError] = field(default_factory=dict)  # canonical name -> why it cannot be had


def describe(names: Sequence[str]) -> str:
    """A short name for several files: `a.nc`, or `a.nc, b.nc and 6 more`."""
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique[:2])
    return shown if len(unique) <= 2 else f"{shown} and {len(unique) - 2} more"
