"""The way of a chain's second model into the sink of the whole: member by member, told as the work of both models."""

import math
from collections.abc import Sequence
from dataclasses import replace

from gfs_sr.runtime.cf import Attribute, Description, with_members
from gfs_sr.runtime.sink import FlagField, FloatField, Sink

FACTORS = ("gfs_sr_scale_factor", "gfs_sr_time_factor")
WARNINGS = "gfs_sr_warnings"


class ChainSink(Sink):
    """Takes what the second model makes of one member of the first; the first one opens `whole`, the last commits it.

    Args:
        whole: where the forecast goes.
        first: what the first model said of its own output.
        title: of the whole.
        warnings: of the first model.
        member: which one.
        members: of the first model; None where it draws none.
    """

    def __init__(
        self,
        whole: Sink,
        first: Description,
        title: str,
        warnings: Sequence[str],
        member: int = 0,
        members: int | None = None,
    ) -> None:
        super().__init__()
        self._kept_bits = whole._kept_bits
        self._whole, self._first, self._title, self._warnings = whole, first, title, list(warnings)
        self._member, self._members = member, members

    def open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        """Make ready, once for all members."""
        told = described_by_both(self._first, description, self._title)
        super().open(told if self._members is None else with_members(told, self._members), block_shape)

    def _open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        if self._member == 0:
            self._whole.open(description, block_shape)

    def _write(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None:
        if self._members is not None:
            place, flags = (self._member,), flags if self._member == 0 else None
        self._whole._write(frames, rows, values, flags, place)

    def resident_bytes(self, cells: int) -> int:
        """Of all members."""
        return self._whole.resident_bytes(cells * (self._members or 1))

    def set_attribute(self, name: str, value: str) -> None:
        """Warnings are those of both; all else is told already."""
        if name == WARNINGS:
            self._warnings.extend(value.split("\n"))

    def commit(self) -> None:
        """Publish, when every member is there."""
        if self._member == (self._members or 1) - 1:
            if self._warnings:
                self._whole.set_attribute(WARNINGS, "\n".join(dict.fromkeys(self._warnings)))
            self._whole.commit()

    def abort(self) -> None:
        """Leave nothing behind of any member."""
        self._whole.abort()


def described_by_both(first: Description, second: Description, title: str) -> Description:
    """What the second model gives, with the provenance of both: factors multiplied, the rest one after the other."""
    attrs: dict[str, Attribute] = {}
    for name in dict.fromkeys((*first.attrs, *second.attrs)):
        told = list(dict.fromkeys(str(each.attrs[name]) for each in (first, second) if name in each.attrs))
        if name in FACTORS:
            attrs[name] = str(math.prod(int(str(each.attrs[name])) for each in (first, second)))
        elif name == "gfs_sr_exact":
            attrs[name] = min(told)  # false, if either is
        else:
            attrs[name] = ("\n" if name == "history" else ", then ").join(told)
    return replace(second, attrs=attrs | {"title": title})
