"""Accumulations as buckets: what fell between one frame and the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gfs_sr.data.forecast import Field
from gfs_sr.errors import AmbiguousField

HOUR = np.timedelta64(3600 * 10**9, "ns")
ZERO = np.timedelta64(0, "ns")
Span = tuple[np.timedelta64, np.timedelta64]  # start and end of an accumulation, since the reference time

# A decrease that packing explains, kg m-2: fields since the start grow, and with them the step of packed integers.
PACKING_STEP = 0.05


@dataclass(frozen=True)
class Bucket:
    """One field as it is, or the difference of two."""

    end: np.timedelta64
    length: np.timedelta64
    later: int  # index of a field
    earlier: int | None  # None where `later` covers the bucket by itself


def plan_buckets(fields: Mapping[Span, int], where: str) -> tuple[list[Bucket], list[str]]:
    """Buckets of one length out of accumulations since the start of the run, since a reset, or per step.

    Args:
        fields: index of a field by what it covers; all of one variable and one reference time.
        where: for messages.

    Returns:
        (buckets in the order of time, notes).

    Raises:
        AmbiguousField: no differences turn the fields into buckets of one length.
    """
    spans = {span: index for span, index in fields.items() if span[1] > span[0]}
    ends = sorted({end for _, end in spans})
    if len(ends) < 2:
        if len(spans) != 1:
            raise _ambiguous(list(spans) or list(fields), where)
        (start, end), index = next(iter(spans.items()))
        return [Bucket(end, end - start, index, None)], []
    step = np.diff(np.array(ends, "timedelta64[ns]")).min()
    buckets, notes = [], []
    for end in ends:
        bucket = _bucket(spans, end - step, end)
        if bucket is not None:
            buckets.append(bucket)
        elif end == ends[0]:
            notes.append(
                f"the first frame, {end / HOUR:g} h, is left out: it covers more than one step of {step / HOUR:g} h"
            )
        else:
            raise _ambiguous(list(spans), where)
    if any(bucket.earlier is not None for bucket in buckets):
        notes.append("accumulations since the start of the run are turned into buckets of one step")
    return buckets, notes


def read_bucket(bucket: Bucket, read: Callable[[int], Field], name: str, findings: list[str]) -> Field:
    """The bucket's amount; where an accumulation falls, which it must not, that is reported and left as it is."""
    later = read(bucket.later)
    if bucket.earlier is None:
        return later
    amount = np.subtract(later, read(bucket.earlier), dtype=np.float32)
    fallen = amount < -PACKING_STEP
    if fallen.any():
        message = (
            f"{name} falls by up to {-float(np.nanmin(amount)):g} in {int(fallen.sum())} cells towards "
            f"{bucket.end / HOUR:g} h, though accumulated since the start"
        )
        if message not in findings:
            findings.append(message)
    return amount


def _bucket(spans: Mapping[Span, int], start: np.timedelta64, end: np.timedelta64) -> Bucket | None:
    direct = spans.get((start, end))
    if direct is not None:
        return Bucket(end, end - start, direct, None)
    for (since, until), later in spans.items():
        earlier = spans.get((since, start))
        if until == end and earlier is not None:
            return Bucket(end, end - start, later, earlier)
    return None


def _ambiguous(spans: Sequence[Span], where: str) -> AmbiguousField:
    listed = ", ".join(f"{start / HOUR:g}-{end / HOUR:g}" for start, end in sorted(spans)[:8])
    return AmbiguousField(
        f"accumulations over {listed} h do not make buckets of one length",
        where,
        "give accumulations that end at evenly spaced lead times, of one kind",
    )
