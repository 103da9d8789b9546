"""Arrays that are read chunk by chunk and kept while there is room: windows anywhere, memory bounded."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

Block = npt.NDArray[np.float32]
Index = npt.NDArray[np.integer]
Ranges = tuple[range, range, range]  # frames, rows, columns

SMALL_BYTES = 2**18  # chunks below it are read together
LARGE_BYTES = 2**23  # and above it in parts


class ChunkCache:
    """Blocks by key, the least recently used dropped first when `limit_bytes` are full.

    A block larger than the limit is given and not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = self.loads = 0
        self._blocks: OrderedDict[Hashable, Block] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], Block]) -> Block:
        """The block of a key, loaded where it is not held."""
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        self._make_room(0)
        block = load()
        self.loads += 1
        if block.nbytes <= self.limit_bytes:
            self._make_room(block.nbytes)
            self._blocks[key] = block
            self.held_bytes += block.nbytes
        return block

    def _make_room(self, needed: int) -> None:
        while self._blocks and self.held_bytes + needed > self.limit_bytes:
            _, dropped = self._blocks.popitem(last=False)
            self.held_bytes -= dropped.nbytes


@dataclass(frozen=True)
class Chunking:
    """How an array (T, H, W) is cut for reading."""

    shape: tuple[int, int, int]
    chunk: tuple[int, int, int]

    @classmethod
    def of(cls, shape: tuple[int, int, int], stored: tuple[int, int, int] | None) -> "Chunking":
        """By what the file stores together: small chunks joined along time, large ones cut, whole fields where None."""
        chunk = list(stored or (1, *shape[1:]))
        chunk = [min(size, length) for size, length in zip(chunk, shape, strict=True)]
        while _bytes(chunk) > LARGE_BYTES:
            axis = max(range(3), key=lambda axis: (axis == 0 and chunk[0] > 1, chunk[axis]))
            chunk[axis] = ceil(chunk[axis] / 2)
        while _bytes(chunk) < SMALL_BYTES and chunk[0] < shape[0]:
            chunk[0] = min(2 * chunk[0], shape[0])
        return cls(shape, (chunk[0], chunk[1], chunk[2]))

    def ranges(self, index: tuple[int, int, int]) -> Ranges:
        """Frames, rows and columns of one chunk."""
        frames, rows, columns = (
            range(at * size, min((at + 1) * size, length))
            for at, size, length in zip(index, self.chunk, self.shape, strict=True)
        )
        return frames, rows, columns

    @property
    def counts(self) -> tuple[int, int, int]:
        """Chunks along each axis."""
        frames, rows, columns = (ceil(length / size) for length, size in zip(self.shape, self.chunk, strict=True))
        return frames, rows, columns


def read_window(
    chunking: Chunking,
    load: Callable[[Ranges], Block],
    cache: ChunkCache,
    key: Hashable,
    indices: tuple[Index, Index, Index],
) -> Block:
    """The cells at frames (t,), rows (h,) and columns (w,) in any order, repeated or not -> (t, h, w).

    Only the chunks that hold them are loaded; `key` tells this array from others in the cache.
    """
    window = np.empty(tuple(each.size for each in indices), np.float32)
    owners = [each // size for each, size in zip(indices, chunking.chunk, strict=True)]
    for t in np.unique(owners[0]):
        for y in np.unique(owners[1]):
            for x in np.unique(owners[2]):
                at = (int(t), int(y), int(x))
                ranges = chunking.ranges(at)
                chunk = cache.get((key, at), lambda ranges=ranges: load(ranges))  # type: ignore[misc]
                inside = [np.flatnonzero(owner == place) for owner, place in zip(owners, at, strict=True)]
                picked = [each[cells] - part.start for each, cells, part in zip(indices, inside, ranges, strict=True)]
                window[_cells(inside)] = chunk[_cells(picked)]
    return window


def _cells(indices: Sequence[Index]) -> tuple[slice, ...] | tuple[npt.NDArray[np.intp], ...]:
    """Slices where every index is a run, which is most often so and several times faster."""
    if all(each[-1] - each[0] + 1 == each.size and (np.diff(each) == 1).all() for each in indices):
        return tuple(slice(int(each[0]), int(each[-1]) + 1) for each in indices)
    return np.ix_(*indices)


def _bytes(chunk: list[int]) -> int:
    return 4 * chunk[0] * chunk[1] * chunk[2]
