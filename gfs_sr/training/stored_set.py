"""Fields larger than memory: read in chunks as samples need them, a bounded number of bytes at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Scaling
from gfs_sr.data.chunk_cache import ChunkCache, Chunking, Ranges, read_window
from gfs_sr.data.prepared import PreparedFile
from gfs_sr.data.sources.blocks import BlockFile
from gfs_sr.training.fields import Coordinates, Field, Fields, How, Index, without_gaps


@dataclass(eq=False)
class StoredSet(Fields):
    """Variables of a file on one grid at one run of times; windows of it are read where they are asked for."""

    in_memory: ClassVar[bool] = False
    name: str
    source: str
    file: BlockFile | PreparedFile
    cache: ChunkCache
    window: Ranges  # frames, rows and columns of the file: a split may leave some out
    series: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()  # all of the file's where empty
    _statics: dict[str, Field] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """The axes of the window."""
        self.variables = self.variables or self.file.variables
        frames, rows, columns = (slice(each.start, each.stop) for each in self.window)
        self.times: npt.NDArray[np.datetime64] = self.file.times[frames]
        self.lat: Coordinates | None = self.file.grid.lat[rows]
        self.lon: Coordinates | None = self.file.grid.lon[columns]
        self._chunking = Chunking.of(self.file.shape, self.file.chunks)
        self.units = {
            name: Scaling(mean=float(each.mean), sd=float(each.sd), transform=each.transform)
            for name, each in self.file.units.items()
        }

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        frames, rows, columns = self.window
        return len(frames), len(rows), len(columns)

    @classmethod
    def of(
        cls, name: str, source: str, file: BlockFile, cache: ChunkCache, *, series: bool = False,
        provenance: Mapping[str, str] | None = None,
    ) -> "StoredSet":  # fmt: skip
        """All of a file."""
        frames, rows, columns = (range(length) for length in file.shape)
        return cls(name, source, file, cache, (frames, rows, columns), series, provenance or {})

    def prepared(self, file: PreparedFile) -> "StoredSet":
        """The same, read from where it was prepared."""
        return replace(self, file=file)

    def read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        return self._read(channels, frames, rows, columns)

    def read_filled(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; filled from what was read alone."""
        places = [np.unique(each, return_inverse=True) for each in (rows, columns)]
        filled = without_gaps(self.read(channels, frames, places[0][0], places[1][0]))
        picked: Field = filled[:, :, places[0][1][:, None], places[1][1]]
        return picked

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; made of the cells around, or as the file was prepared."""
        is_whole = tuple(len(each) for each in self.window[1:]) == self.file.grid.shape
        # a part sees nothing beyond its ends, of which the prepared cells along them know
        if is_whole and isinstance(self.file, PreparedFile) and self.file.coarse_is(*how):
            return self._read(channels, frames, rows, columns, coarse=True)
        return self.weighted(how, self.read, channels, frames, rows, columns)

    def part(self, frames: range, rows: range | None = None, columns: range | None = None) -> "StoredSet":
        """See `Fields`."""
        rows, columns = rows or range(self.shape[1]), columns or range(self.shape[2])
        window = tuple(
            range(outer.start + inner.start, outer.start + inner.stop)
            for outer, inner in zip(self.window, (frames, rows, columns), strict=True)
        )
        statics = self._statics_of(rows, columns)
        return replace(self, window=(window[0], window[1], window[2]), _statics=statics)

    def slabs(self, channel: int) -> Iterator[Field]:
        """See `Fields`; chunk by chunk, past the cache."""
        name = self.variables[channel]
        given = self.units.get(name)
        for chunk in self._chunks():
            frames, rows, columns = self._inside(chunk)
            block = self.file.read(name, *(slice(each.start, each.stop) for each in (frames, rows, columns)))
            yield block if given is None else given.denormalize(block).astype(np.float32)

    def thinned(self, channel: int, most: int) -> Field:
        """See `Fields`; whole chunks are read, so few are."""
        name = self.variables[channel]
        given = self.units.get(name)
        chunks = self._chunks()
        chosen = chunks[:: max(1, len(chunks) // 16)]
        parts = []
        for each in chosen:
            block = self.file.read(name, *(slice(part.start, part.stop) for part in self._inside(each))).ravel()
            parts.append(block[:: max(1, block.size * len(chosen) // most)])
        values = np.concatenate(parts)
        return values if given is None else given.denormalize(values).astype(np.float32)

    def _chunks(self) -> list[tuple[int, int, int]]:
        """Of the file, those that hold a cell of the window."""
        counts = [
            range(part.start // size, (part.stop - 1) // size + 1)
            for part, size in zip(self.window, self._chunking.chunk, strict=True)
        ]
        return [(t, y, x) for t in counts[0] for y in counts[1] for x in counts[2]]

    def _inside(self, chunk: tuple[int, int, int]) -> Ranges:
        """Cells of a chunk that lie in the window, as the file counts them."""
        frames, rows, columns = (
            range(max(part.start, whole.start), min(part.stop, whole.stop))
            for part, whole in zip(self._chunking.ranges(chunk), self.window, strict=True)
        )
        return frames, rows, columns

    def blocks(self, least: tuple[int, int, int]) -> Sequence[Ranges]:
        """See `Fields`: whole chunks, as many as `least` needs."""
        sizes = [
            min(length, chunk * ceil(max(1, want) / chunk))
            for want, chunk, length in zip(least, self._chunking.chunk, self.shape, strict=True)
        ]
        cuts = [
            [range(first, min(first + size, length)) for first in range(0, length, size)]
            for size, length in zip(sizes, self.shape, strict=True)
        ]
        return [(frames, rows, columns) for frames in cuts[0] for rows in cuts[1] for columns in cuts[2]]

    def _read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index, coarse: bool = False) -> Field:
        layers = []
        for channel in channels:
            name = self.variables[channel]

            def load(ranges: Ranges, name: str = name) -> Field:
                parts = [slice(each.start, each.stop) for each in ranges]
                if coarse:
                    assert isinstance(self.file, PreparedFile)  # the caller asked it
                    return self.file.read_coarse(name, parts[0], parts[1], parts[2])
                return self.file.read(name, parts[0], parts[1], parts[2])

            indices = tuple(each + part.start for each, part in zip((frames, rows, columns), self.window, strict=True))
            layers.append(
                read_window(
                    self._chunking, load, self.cache, (self.file, name, coarse), (indices[0], indices[1], indices[2])
                )
            )
        return np.stack(layers)
