"""Chunks of Zarr arrays, put together from regions in any order and written by a pool of threads, each by one."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gfs_sr.runtime.chunk_encoder import ChunkEncoder, Parts
from gfs_sr.runtime.file_writers import FileWriters

MOST_WRITERS: Final = 8  # more are not busy: compression runs at about 1 GB/s on each

Block = npt.NDArray[Any]
Key = Callable[[tuple[int, ...]], str]


@dataclass(frozen=True, eq=False)
class ChunkedArray:
    """One array of a store: where its chunks go, and what they look like."""

    folder: Path
    key: Key  # chunk index -> path below the folder
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: npt.DTypeLike
    fill: float  # NaN, or what no cell has: a chunk of it alone is left out


@dataclass(eq=False)
class _Chunk:
    buffer: Block
    missing: int  # cells within the array that no region has given yet


class ChunkWriters:
    """Takes regions, gives each complete chunk to a writer; waits while all writers are busy.

    A chunk is handed over once, so no two threads ever touch one file. Where a region holds all of it, the writer
    takes it from there. Regions need not be
    aligned to chunks: what several regions share waits in memory for the rest of it.
    """

    def __init__(self, arrays: dict[str, ChunkedArray], encoder: ChunkEncoder, writers: int | None = None) -> None:
        """`writers` threads; None is one per processor, up to `MOST_WRITERS`."""
        count = writers or default_writers()
        self._arrays = arrays
        self._encoder = encoder
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="gfs-sr-zarr")
        self._slots = threading.Semaphore(count + 1)  # chunks with the writers: one waits while all others are written
        self._files = FileWriters()
        self._running: deque[Future[None]] = deque()  # of both
        self._open: dict[tuple[str, tuple[int, ...]], _Chunk] = {}
        self._free: dict[tuple[tuple[int, ...], str], deque[Block]] = {}

    def put(self, name: str, starts: Sequence[int], values: Block) -> None:
        """Take the region of array `name` that begins at `starts`; `values` belong to the caller again on return.

        Raises:
            OSError: a chunk handed over before could not be written.
        """
        array = self._arrays[name]
        fetched = threading.Semaphore(0)
        awaited = 0
        for index, target, source in _overlaps(array, starts, values.shape):
            region, cells = values[source], _valid_cells(array, index)
            if region.size == cells:
                self._submit(self._fetch_and_write, array, index, target, region, fetched)
                awaited += 1
                continue
            chunk = self._open.get((name, index))
            if chunk is None:
                chunk = self._open[name, index] = _Chunk(self._buffer(array), cells)
                chunk.buffer.fill(array.fill)  # where no region comes
            chunk.buffer[target] = region
            chunk.missing -= region.size
            if chunk.missing == 0:
                del self._open[name, index]
                self._submit(self._write, array, index, chunk.buffer)
        for _ in range(awaited):
            fetched.acquire()

    def finish(self) -> None:
        """Write what is left, and wait for it; a chunk that was only given in part keeps its fill value elsewhere.

        Raises:
            OSError: a chunk could not be written.
        """
        for (name, index), chunk in self._open.items():
            self._submit(self._write, self._arrays[name], index, chunk.buffer)
        self._open.clear()
        self._pool.shutdown(wait=True)
        self._files.close()
        while self._running:
            self._running.popleft().result()

    def stop(self) -> None:
        """Drop what waits, and end the threads. Allowed at any time, also twice."""
        self._open.clear()
        self._pool.shutdown(wait=True)  # what runs still fetches: whoever waits for that must not wait for ever
        self._files.close()

    def _submit(self, job: Callable[..., None], *arguments: Any) -> None:
        self._slots.acquire()
        while self._running and self._running[0].done():
            self._running.popleft().result()  # an error of a writer surfaces here
        self._running.append(self._pool.submit(self._release_after, job, *arguments))

    def _release_after(self, job: Callable[..., None], *arguments: Any) -> None:
        try:
            job(*arguments)
        finally:
            self._slots.release()

    def _fetch_and_write(
        self,
        array: ChunkedArray,
        index: tuple[int, ...],
        target: tuple[slice, ...],
        region: Block,
        fetched: threading.Semaphore,
    ) -> None:
        try:
            is_whole = region.shape == array.chunks
            chunk = region if is_whole else self._overhanging(array, target, region)
            pack = None if _is_fill(chunk, array.fill) else self._encoder.take(chunk)
            if not is_whole:
                self._free[_kind(array)].append(chunk)
        finally:
            fetched.release()
        if pack is not None:
            self._hand_on(array, index, pack())

    def _overhanging(self, array: ChunkedArray, target: tuple[slice, ...], region: Block) -> Block:
        """A chunk that ends beyond the array."""
        buffer = self._buffer(array)
        buffer.fill(array.fill)
        buffer[target] = region
        return buffer

    def _write(self, array: ChunkedArray, index: tuple[int, ...], buffer: Block) -> None:
        try:
            pack = None if _is_fill(buffer, array.fill) else self._encoder.take(buffer)
        finally:
            self._free[_kind(array)].append(buffer)
        if pack is not None:
            self._hand_on(array, index, pack())

    def _hand_on(self, array: ChunkedArray, index: tuple[int, ...], content: Parts) -> None:
        self._running.append(self._files.submit(array.folder / array.key(index), *content))

    def _buffer(self, array: ChunkedArray) -> Block:
        """Memory for one chunk, of those that came back if there is one."""
        try:
            return self._free.setdefault(_kind(array), deque()).pop()  # writers ask too: look and take in one step
        except IndexError:
            return np.empty(array.chunks, array.dtype)


def default_writers() -> int:
    """Threads that write where nothing is said."""
    return min(os.cpu_count() or 1, MOST_WRITERS)


def _kind(array: ChunkedArray) -> tuple[tuple[int, ...], str]:
    return array.chunks, np.dtype(array.dtype).str


def _overlaps(
    array: ChunkedArray, starts: Sequence[int], shape: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """(chunk index, its cells, the region's cells) of every chunk that a region touches."""
    axes = []
    for start, size, chunk in zip(starts, shape, array.chunks, strict=True):
        parts = []
        for index in range(start // chunk, -(-(start + size) // chunk)):
            first, stop = max(start, index * chunk), min(start + size, (index + 1) * chunk)
            inside = slice(first - index * chunk, stop - index * chunk)
            parts.append((index, inside, slice(first - start, stop - start)))
        axes.append(parts)
    for combination in product(*axes):
        yield (
            tuple(part[0] for part in combination),
            tuple(part[1] for part in combination),
            tuple(part[2] for part in combination),
        )


def _valid_cells(array: ChunkedArray, index: tuple[int, ...]) -> int:
    """Cells of a chunk that lie within the array: the last ones overhang it."""
    cells = 1
    for size, chunk, part in zip(array.shape, array.chunks, index, strict=True):
        cells *= min(chunk, size - part * chunk)
    return cells


def _is_fill(buffer: Block, fill: float) -> bool:
    if np.isnan(fill):
        return bool(np.isnan(buffer.flat[0])) and bool(np.isnan(buffer).all())
    return buffer.flat[0] == fill and not (buffer != fill).any()
