"""Chunks compressed as Blosc's lz4 with bitshuffle, which sorts values by bit; for float32 we sort the bits ourselves.

What comes out is Blosc's own format, and every reader of it finds the values. Its Python wheels sort with the vectors
that every processor has, which takes longer than lz4 does, and want a chunk side by side; our kernel takes a third of
that time and fetches the chunk out of a larger field meanwhile.

Source: README_CHUNK_FORMAT of c-blosc 1.21; Masui et al. 2015 (Astronomy and Computing 12) for the order of bits.
"""

import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numcodecs import Blosc, blosc

from gfs_sr._core import bit_planes, bit_planes_bytes

HEADER: Final = 16  # bytes of every chunk of Blosc's
FLAGS, BLOCK_SIZE = 2, slice(8, 12)  # in the header
AS_IT_IS, BITS_SORTED = 0x2, 0x4  # flags
EIGHT: Final = 8  # values that share a byte of a plane
FEWEST_BYTES: Final = 32  # of a vector: with shorter ones our kernel is no faster than Blosc's

Values = npt.NDArray[Any]
Parts = tuple[bytes | memoryview, ...]
"""What follows each other in a file."""


class ChunkEncoder:
    """Compresses chunks, each thread with memory of its own."""

    def __init__(self, level: int, *, sorts_bits: bool | None = None) -> None:
        """Of Blosc's `level`; `sorts_bits` None is where our kernel is the faster one."""
        self._level = level
        self._sorts_bits = bit_planes_bytes() >= FEWEST_BYTES if sorts_bits is None else sorts_bits
        self._library = Blosc(cname="lz4", clevel=level, shuffle=Blosc.BITSHUFFLE)
        self._blocks: dict[int, int] = {}  # by the values of a chunk
        self._own = threading.local()

    def take(self, chunk: Values) -> Callable[[], Parts]:
        """Read a chunk, whatever its strides; it belongs to the caller again on return.

        Returns:
            What compresses it, to be called once, in the same thread, before the next chunk is taken there.
        """
        if not self._sorts_bits or chunk.dtype != np.float32 or chunk.size % EIGHT or not chunk.size:
            return partial(self._compressed, np.array(chunk, order="C"))
        block = self._block(chunk.size)
        room = self._room(chunk.size)
        fields = chunk.reshape(-1, *chunk.shape[-2:]) if chunk.ndim > 1 else chunk[None, None]
        if fields.strides[-1] != fields.itemsize:
            fields = np.ascontiguousarray(fields)
        bit_planes(fields, room.view(np.uint8), block)
        return partial(self._packed, room, block)

    def _compressed(self, values: Values) -> Parts:
        return (self._library.encode(values),)

    def _packed(self, planes: npt.NDArray[np.float32], block: int) -> Parts:
        """Compress sorted bits, and say in the header that they are."""
        content = self._lz4(planes)
        header = bytearray(content[:HEADER])
        if header[FLAGS] & AS_IT_IS:  # no shorter: the format stores the values then, not their bits
            return self._compressed(values_of(planes.view(np.uint8), block))
        if struct.unpack("<I", header[BLOCK_SIZE])[0] != block * planes.itemsize:
            raise RuntimeError(f"Blosc cut a chunk of {planes.size} values into other blocks than {block}")
        header[FLAGS] |= BITS_SORTED
        return bytes(header), memoryview(content)[HEADER:]

    def _lz4(self, values: npt.NDArray[np.float32]) -> bytes:
        packed: bytes = blosc.compress(values, b"lz4", self._level, blosc.NOSHUFFLE, blosc.AUTOBLOCKS)
        return packed

    def _block(self, values: int) -> int:
        """How many values Blosc puts into a block of a chunk of so many: it follows from that number alone."""
        block = self._blocks.get(values)
        if block is None:
            header = self._lz4(np.zeros(values, np.float32))
            block = self._blocks[values] = struct.unpack("<I", header[BLOCK_SIZE])[0] // 4
        return block

    def _room(self, values: int) -> npt.NDArray[np.float32]:
        room: npt.NDArray[np.float32] | None = getattr(self._own, "room", None)
        if room is None or room.size < values:
            room = self._own.room = np.empty(values, np.float32)
        return room[:values]


def values_of(planes: npt.NDArray[np.uint8], block: int) -> npt.NDArray[np.float32]:
    """The values of sorted bits: what `bit_planes` did, undone in plain NumPy.

    Args:
        planes: (4 times the values,) in blocks of `block` values, the last one of the rest.
        block: a multiple of 8.
    """
    values = []
    for first in range(0, planes.size, 4 * block):
        bits = np.unpackbits(planes[first : first + 4 * block].reshape(32, -1), axis=1, bitorder="little")
        values.append(np.ascontiguousarray(np.packbits(bits, axis=0, bitorder="little").T).view(np.float32).ravel())
    return np.concatenate(values)
