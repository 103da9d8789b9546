"""Fields larger than memory: read in chunks as samples need them, a bounded number of bytes at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Scaling
from gfs_sr.data.chunk_cache import ChunkCache, Chunking, Ranges, read_window
from gfs_sr.data.coarsen import footprint
from gfs_sr.data.grid import Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.prepared import PreparedFile
from gfs_sr.data.sources.blocks import BlockFile
from gfs_sr.training.fields import Coordinates, Field, Fields, Index

How = tuple[Registration, int, float]
Read = Callable[[Sequence[int], Index, Index, Index], Field]


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
    blur: float = 0.0  # sigma in fine cells of a Gaussian over what is read
    _statics: dict[str, Field] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """The axes of the window."""
        self.variables = self.variables or self.file.variables
        frames, rows, columns = (slice(each.start, each.stop) for each in self.window)
        self.times: npt.NDArray[np.datetime64] = self.file.times[frames]
        self.lat: Coordinates | None = self.file.grid.lat[rows]
        self.lon: Coordinates | None = self.file.grid.lon[columns]
        self._chunking = Chunking.of(self.file.shape, self.file.chunks)
        self._units = {
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

    @property
    def units(self) -> Mapping[str, Scaling]:
        """Of a prepared file."""
        return self._units

    def read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        if not self.blur:
            return self._read(channels, frames, rows, columns)
        taken = self._weighted((Registration.NODE, 1, self.blur), self._read, channels, frames, rows, columns)
        taken[np.isnan(self._read(channels, frames, rows, columns))] = np.nan
        return taken

    def read_filled(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; filled from what was read alone."""
        places = [np.unique(each, return_inverse=True) for each in (rows, columns)]
        filled = _filled(self.read(channels, frames, places[0][0], places[1][0]))
        picked: Field = filled[:, :, places[0][1][:, None], places[1][1]]
        return picked

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; made of the cells around, or as the file was prepared."""
        is_whole = tuple(len(each) for each in self.window[1:]) == self.file.grid.shape
        # a part sees nothing beyond its ends, of which the prepared cells along them know
        if is_whole and not self.blur and isinstance(self.file, PreparedFile) and self.file.coarse_is(*how):
            return self._read(channels, frames, rows, columns, coarse=True)
        registration, s, sigma = how
        if registration is Registration.CELL:
            return self._weighted(how, self.read, channels, frames, rows, columns)
        # one Gaussian after another is a Gaussian
        wider = (registration, s, float(np.hypot(sigma, self.blur)))
        return self._weighted(wider, self._read, channels, frames, rows, columns)

    def smoothed(self, names: tuple[str, ...], sigma: float) -> "StoredSet":
        """See `Fields`."""
        return replace(self, variables=names, blur=float(np.hypot(self.blur, sigma)))

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

    def _weighted(
        self, how: How, read: Read, channels: Sequence[int], frames: Index, rows: Index, columns: Index
    ) -> Field:
        """Coarse cells made of what lies around them."""
        registration, s, sigma = how
        height, width = self.shape[1:]
        area = np.maximum(np.cos(np.deg2rad(self.file.grid.lat[self.window[1].start : self.window[1].stop])), 1e-6)
        south, by_row = footprint(registration, rows, s, height, sigma=sigma, area=area)
        east, by_column = footprint(registration, columns, s, width, sigma=sigma, periodic=self.is_periodic)
        whole = self._in_physical(read(channels, frames, south, east), channels)
        made = by_row @ _filled(whole).astype(np.float64) @ by_column.T
        coarse: Field = self._in_units(made, channels).astype(np.float32)
        return coarse

    def _in_physical(self, values: Field, channels: Sequence[int]) -> npt.NDArray[np.floating]:
        """What is averaged is physical: the mean of logarithms is another thing."""
        layers = [self.units.get(self.variables[channel]) for channel in channels]
        if all(each is None for each in layers):
            return values
        return np.stack([x if each is None else each.denormalize(x) for x, each in zip(values, layers, strict=True)])

    def _in_units(self, values: npt.NDArray[np.floating], channels: Sequence[int]) -> npt.NDArray[np.floating]:
        layers = [self.units.get(self.variables[channel]) for channel in channels]
        if all(each is None for each in layers):
            return values
        return np.stack([x if each is None else each.normalize(x) for x, each in zip(values, layers, strict=True)])


def _filled(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    if np.isfinite(values).all():
        return np.asarray(values, np.float32)
    filled: Field = np.nan_to_num(fill_nearest(values)[0]).astype(np.float32)
    return filled
