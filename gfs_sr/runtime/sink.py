"""Where fine forecasts go: memory, NetCDF or Zarr; a file appears only when it is complete."""

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from gfs_sr.atomic import Kinds, on_disk, partial_of, publish, remove
from gfs_sr.errors import DiskFailed, OutputExists, UsageError
from gfs_sr.runtime.cf import Description

FloatField = npt.NDArray[np.float32]
FlagField = npt.NDArray[np.uint8]

MOST_COLUMNS = 4096  # of a chunk, and more than half of it where a field is wider: parts of rows are fetched slowly


class Sink(ABC):
    """Takes a forecast region by region: `open`, `write` …, then `commit` or `abort`.

    Regions are given north to south; the sink turns them round where the description says so. Each fine cell is
    written once. The buffers belong to the caller again when `write` returns, and may have been changed by rounding.
    """

    def __init__(self, digits: int | None = None) -> None:
        self._kept_bits = None if digits is None else bits_for_digits(digits)
        self._description: Description | None = None

    @property
    def description(self) -> Description:
        """What was opened."""
        if self._description is None:
            raise RuntimeError("the sink is not open")
        return self._description

    def open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        """Make ready for regions of about (frames, rows, columns) `block_shape`."""
        self._description = description
        self._open(description, block_shape)

    def write(self, first_frame: int, first_row: int, values: FloatField, flags: FlagField, member: int = 0) -> None:
        """Store `values` (T, C, h, W) and `flags` (T, h, W) whose first frame and northernmost row are given.

        The flags are the same for every member of an ensemble: the first one's are stored.
        """
        description = self.description
        frames = slice(first_frame, first_frame + values.shape[0])
        rows = slice(first_row, first_row + values.shape[2])
        if self._kept_bits is not None:
            round_bits(values, self._kept_bits)
        if description.lat_ascending:
            height = description.shape[1]
            rows = slice(height - rows.stop, height - rows.start)
            values, flags = values[:, :, ::-1], flags[:, ::-1]
        self._write(frames, rows, values, flags if member == 0 else None, self.description.place(member))

    @abstractmethod
    def _open(self, description: Description, block_shape: tuple[int, int, int]) -> None: ...

    @abstractmethod
    def _write(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None: ...

    def resident_bytes(self, cells: int) -> int:
        """Bytes this sink keeps in memory for an output of `cells` values; a file keeps none."""
        return 0

    def set_attribute(self, name: str, value: str) -> None:  # noqa: B027 - a sink without a file has nothing to add to
        """Add a global attribute that is known only at the end, before `commit`."""

    @abstractmethod
    def commit(self) -> None:
        """Publish: from here on the output is there, whole."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind. Allowed at any time, also twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()


class MemorySink(Sink):
    """Keeps the forecast as arrays."""

    values: FloatField  # ([M,] T, C, H, W) in the file's row order
    flags: FlagField  # (T, H, W)

    def resident_bytes(self, cells: int) -> int:
        """All of it: float32 values, and flags of at most a byte each."""
        return 5 * cells

    def _open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        frames, rows, columns = description.shape
        members = () if description.members is None else (description.members,)
        self.values = np.empty((*members, frames, len(description.data), rows, columns), np.float32)
        self.flags = np.empty((frames, rows, columns), np.uint8)

    def _write(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None:
        own = self.values[place[0]] if place else self.values
        own[frames, :, rows] = values
        if flags is not None:
            self.flags[frames, rows] = flags

    def commit(self) -> None:
        """Nothing to publish."""

    def abort(self) -> None:
        """Nothing to remove."""


class FileSink(Sink):
    """A sink with a path: work goes to `OUT.partial` beside the target and is renamed when complete.

    Whatever the disk refuses on the way ends in `DiskFailed`.
    """

    failures: ClassVar[Kinds] = (OSError,)
    """What the library of the format raises where a disk fails."""

    def __init__(self, path: Path, digits: int | None = None) -> None:
        super().__init__(digits)
        self.path = path
        self.partial = partial_of(path)
        check_target(path)

    def set_attribute(self, name: str, value: str) -> None:
        """Add a global attribute."""
        with self._on_disk():
            self._annotate(name, value)

    def commit(self) -> None:
        """Close, flush to disk, take the target's place; an older output is replaced in that one step."""
        with self._on_disk():
            self._finish()
            self._close()
            publish(self.partial, self.path)

    def abort(self) -> None:
        """Remove `OUT.partial`."""
        try:
            with suppress(*self.failures):  # of a file that goes: whoever aborts knows why
                self._close()
        finally:
            remove(self.partial)

    def _open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        with self._on_disk():
            remove(self.partial)  # what a killed run left there
            self._create(description, block_shape)

    def _write(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None:
        with self._on_disk():
            self._store(frames, rows, values, flags, place)

    def _on_disk(self) -> AbstractContextManager[None]:
        return on_disk(self.path, self.failures)

    @abstractmethod
    def _create(self, description: Description, block_shape: tuple[int, int, int]) -> None: ...

    @abstractmethod
    def _store(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None: ...

    @abstractmethod
    def _annotate(self, name: str, value: str) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Write what waits."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the files, whatever waits. Allowed at any time, also twice."""


def check_target(path: Path) -> None:
    """Refuse an output path before any work.

    Raises:
        UsageError: its folder is absent, or its name ends neither in .nc nor in .zarr, or a folder is in the way.
        DiskFailed: its folder may not be written to.
    """
    if path.suffix not in {".nc", ".nc4", ".zarr"}:
        raise UsageError(
            f"output {path.name!r} ends neither in .nc nor in .zarr", f"output {path}", "name it OUT.nc or OUT.zarr"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"no folder {path.absolute().parent}", f"output {path}", "make the folder first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise DiskFailed(
            f"no writing to {path.absolute().parent}", f"output {path}", "allow writing there, or write elsewhere"
        )
    if path.is_dir() and path.suffix != ".zarr":
        raise OutputExists(f"{path} is a folder", f"output {path}", "choose another name")
    if path.is_dir() and any(path.iterdir()) and not (path / "zarr.json").exists() and not (path / ".zgroup").exists():
        raise OutputExists(f"{path} is a folder that holds no Zarr store", f"output {path}", "choose another name")


def open_sink(path: Path, digits: int | None = None) -> FileSink:
    """The sink for a path, by its suffix.

    Raises:
        UsageError: no sink for the suffix.
    """
    # imported here: a run that writes Zarr needs no HDF5, and the other way round
    check_target(path)
    if path.suffix == ".zarr":
        from gfs_sr.runtime.zarr_sink import ZarrSink

        return ZarrSink(path, digits)
    from gfs_sr.runtime.netcdf_sink import NetCDFSink

    return NetCDFSink(path, digits)


def chunk_shape(description: Description, block_shape: tuple[int, int, int], budget_cells: int) -> tuple[int, int, int]:
    """Chunks that end where blocks end, so that no chunk is written twice, of at most about `budget_cells` cells.

    Args:
        description: for the sizes of the dimensions.
        block_shape: (frames, rows, columns) of one region; frames is a multiple of the time factor.
        budget_cells: cells of one chunk.
    """
    frames, rows, columns = description.shape
    columns = _equal_part(columns, MOST_COLUMNS)
    rows = _part(block_shape[1], rows, budget_cells // columns)
    return _part(block_shape[0], frames, budget_cells // (columns * rows)), rows, columns


def _part(block: int, size: int, limit: int) -> int:
    """The longest chunk within the limit, a whole number of which make a block, or all, where that is one block."""
    limit = max(1, limit)
    if block >= size:
        return _equal_part(size, limit)
    return next(part for part in range(min(block, limit), 0, -1) if block % part == 0)


def _equal_part(size: int, limit: int) -> int:
    """Of equal parts within the limit: the last one hardly ends beyond the field, which would be compressed too."""
    return -(-size // -(-size // limit))


def bits_for_digits(digits: int) -> int:
    """Bits of the significand that keep `digits` significant decimal digits.

    Raises:
        UsageError: more digits than float32 holds, or none.
    """
    if not 1 <= digits <= 7:
        raise UsageError(f"{digits} significant digits", "--digits", "give 1 to 7: float32 holds no more")
    # half a unit of the last kept bit must not exceed half of 10^(1-digits) relative to the leading digit's value
    return min(23, int(np.ceil(digits * np.log2(10.0))))


def round_bits(values: FloatField, kept_bits: int) -> None:
    """Round `values` in place to `kept_bits` bits of significand, half to even; NaN stays NaN.

    Source: BitRound, Klöwer et al. 2021 (Nature Computational Science 1, 713).
    """
    drop = 23 - kept_bits
    if drop <= 0:
        return
    bits = values.view(np.uint32)
    nan = np.isnan(values)
    half = np.uint32((1 << (drop - 1)) - 1)
    bits += ((bits >> np.uint32(drop)) & np.uint32(1)) + half
    bits &= np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF)
    values[nan] = np.nan
