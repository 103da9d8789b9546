"""Whole files to disk by threads that do nothing else: whoever waits for a disk needs no processor.

A forecast is written once and not read again here, so its files go past the page cache where the file system lets
them: copying into it costs as much of the processor as a third of the compression, and it drives out what others read.
"""

import errno
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

THREADS: Final = 3  # keep a disk busy: one copies while others wait
WAITING: Final = 2  # files that wait for a thread
ALIGNMENT: Final = 4096  # of memory, place and length, as any disk takes them past the page cache
DIRECT: Final = getattr(os, "O_DIRECT", 0)  # not on macOS

Bytes = npt.NDArray[np.uint8]


class FileWriters:
    """Takes files whole; each is on disk when its future is done."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="gfs-sr-file")
        self._slots = threading.Semaphore(THREADS + WAITING)
        self._free: deque[Bytes] = deque()  # memory of as many files, used again and again

    def submit(self, path: Path, *parts: bytes | memoryview) -> Future[None]:
        """Hand over a new file of a folder that exists: its parts, one after the other, which are copied.

        Waits while as many as are allowed are on their way.
        """
        self._slots.acquire()
        size = sum(map(len, parts))
        room = self._room(size)
        place = 0
        for part in parts:
            room[place : place + len(part)] = np.frombuffer(part, np.uint8)
            place += len(part)
        return self._pool.submit(self._write, path, room, size)

    def close(self) -> None:
        """Wait for all of them. Allowed at any time, also twice."""
        self._pool.shutdown(wait=True)

    def _write(self, path: Path, room: Bytes, size: int) -> None:
        try:
            write_file(path, room, size)
        finally:
            self._free.append(room)
            self._slots.release()

    def _room(self, size: int) -> Bytes:
        try:
            room = self._free.pop()
        except IndexError:
            return aligned(size)
        return room if room.size >= size else aligned(size)


def aligned(size: int) -> Bytes:
    """Memory for at least `size` bytes, begin and end as a disk takes them."""
    size = max(ALIGNMENT, size + -size % ALIGNMENT)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size]


def write_file(path: Path, room: Bytes, size: int) -> None:
    """Write a file and flush it to disk.

    Args:
        path: of a file that does not exist, in a folder that does.
        room: from `aligned`: the file, and memory up to the next multiple of `ALIGNMENT`.
        size: bytes of the file.

    Raises:
        OSError: it could not be written whole.
    """
    handle, is_direct = _open(path)
    try:
        if is_direct:
            _write_all(handle, room[: size + -size % ALIGNMENT].data)
            os.ftruncate(handle, size)
        else:
            _write_all(handle, room[:size].data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(path: Path) -> tuple[int, bool]:
    """A handle, and whether it goes past the page cache: a file system in memory, for one, does not let it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    if DIRECT:
        try:
            return os.open(path, flags | DIRECT, 0o666), True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return os.open(path, flags, 0o666), False


def _write_all(handle: int, content: memoryview) -> None:
    while content:
        content = content[os.write(handle, content) :]
