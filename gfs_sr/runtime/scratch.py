"""A sink for what only waits to be read again: memory, or a temporary file where it is much."""

import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.runtime.cf import Description
from gfs_sr.runtime.sink import MemorySink

MEMORY_BYTES = 1 << 30  # a longer forecast waits on disk


class ScratchSink(MemorySink):
    """Keeps a long forecast in a temporary file, which is gone when nobody reads it any more."""

    def resident_bytes(self, cells: int) -> int:
        """As in memory, where it is short enough for it."""
        return 5 * cells if 4 * cells <= MEMORY_BYTES else 0

    def _open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        frames, rows, columns = description.shape
        members = () if description.members is None else (description.members,)
        self.values = scratch((*members, frames, len(description.data), rows, columns))
        self.flags = scratch((frames, rows, columns), np.uint8)


def scratch(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """An empty array, on disk where it would take more than `MEMORY_BYTES`."""
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= MEMORY_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the map keeps it open
        return np.memmap(file, dtype, "w+", shape=shape)
