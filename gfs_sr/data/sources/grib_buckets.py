"""Accumulated GRIB fields as buckets: what fell between one frame and the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gfs_sr.data.forecast import Field
from gfs_sr.data.sources.grib_field import GribField
from gfs_sr.errors import AmbiguousField

HOUR = np.timedelta64(3600 * 10**9, "ns")
ZERO = np.timedelta64(0, "ns")

# A decrease that packing explains: fields since the start grow, and with them the step of the packed integers.
PACKING_KG_M2 = 0.05


@dataclass(frozen=True)
class Bucket:
    """The difference of two accumulations, or one field as it is."""

    end: np.timedelta64
    length: np.timedelta64
    later: GribField
    earlier: GribField | None  # None where `later` already covers the bucket


def plan_buckets(fields: Sequence[GribField], where: str) -> tuple[list[Bucket], list[str]]:
    """Buckets of one length out of accumulations since the start of the run, since a reset, or per step.

    Args:
        fields: of one variable and one reference time, each interval once.
        where: for messages.

    Returns:
        (buckets in the order of time, notes).

    Raises:
        AmbiguousField: intervals that no differences turn into buckets of one length.
    """
    by_interval = {(field.start, field.end): field for field in fields if field.end > field.start}
    ends = sorted({end for _, end in by_interval})
    if len(ends) < 2:
        if len(by_interval) != 1:
            raise _ambiguous(list(by_interval), where)
        field = next(iter(by_interval.values()))
        return [Bucket(field.end, field.end - field.start, field, None)], []
    step = min(np.diff(np.array(ends)))
    buckets, notes = [], []
    for end in ends:
        bucket = _bucket(by_interval, end - step, end)
        if bucket is not None:
            buckets.append(bucket)
        elif end == ends[0]:
            notes.append(
                f"the first frame, {end / HOUR:g} h, is left out: its accumulation covers more than one step of "
                f"{step / HOUR:g} h"
            )
        else:
            raise _ambiguous(list(by_interval), where)
    if any(bucket.earlier is not None for bucket in buckets):
        notes.append("accumulations since the start of the run were turned into buckets of one step")
    return buckets, notes


def subtract(
    bucket: Bucket, read: Callable[[GribField], Field], name: str, findings: list[str]
) -> Field:
    """The bucket's amount; a decrease of what must not fall is reported, never hidden."""
    later = read(bucket.later)
    if bucket.earlier is None:
        return later
    amount = np.subtract(later, read(bucket.earlier), dtype=np.float32)
    fallen = amount < -PACKING_KG_M2
    if fallen.any():
        message = (
            f"{name} falls by up to {-float(np.nanmin(amount)):g} in {int(fallen.sum())} cells towards "
            f"{bucket.end / HOUR:g} h, though accumulated since the start"
        )
        if message not in findings:
            findings.append(message)
    return amount


def _bucket(
    fields: Mapping[tuple[np.timedelta64, np.timedelta64], GribField], start: np.timedelta64, end: np.timedelta64
) -> Bucket | None:
    direct = fields.get((start, end))
    if direct is not None:
        return Bucket(end, end - start, direct, None)
    for (since, until), later in fields.items():
        earlier = fields.get((since, start))
        if until == end and earlier is not None:
            return Bucket(end, end - start, later, earlier)
    return None


def _ambiguous(intervals: Sequence[tuple[np.timedelta64, np.timedelta64]], where: str) -> AmbiguousField:
    listed = ", ".join(f"{start / HOUR:g}-{end / HOUR:g}" for start, end in sorted(intervals)[:8])
    return AmbiguousField(
        f"accumulations over {listed} h do not make buckets of one length",
        where,
        "give accumulations that end at evenly spaced lead times, of one kind",
    )
