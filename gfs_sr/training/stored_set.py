"""Fields larger than memory: read in chunks as samples need them, a bounded number of bytes at a time."""

from collections.abc import Callable, Mapping, Sequence
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
    frames: range  # of the file's times: a split may leave some out
    series: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()  # all of the file's where empty
    blur: float = 0.0  # sigma in fine cells of a Gaussian over what is read
    _statics: dict[str, Field] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.variables = self.variables or self.file.variables
        self.times: npt.NDArray[np.datetime64] = self.file.times[self.frames.start : self.frames.stop]
        self.lat: Coordinates | None = self.file.grid.lat
        self.lon: Coordinates | None = self.file.grid.lon
        self._chunking = Chunking.of(self.file.shape, self.file.chunks)
        self._units = {
            name: Scaling(mean=float(each.mean), sd=float(each.sd), transform=each.transform)
            for name, each in self.file.units.items()
        }

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        return len(self.frames), *self.file.grid.shape

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
        return filled[:, :, places[0][1][:, None], places[1][1]]

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; made of the cells around, or as the file was prepared."""
        if not self.blur and isinstance(self.file, PreparedFile) and self.file.coarse_is(*how):
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

    def thinned(self, channel: int, most: int) -> Field:
        """See `Fields`; whole chunks are read, so few are."""
        chunks = [each for each in np.ndindex(*self._chunking.counts) if self._meets(each)]
        chosen = chunks[:: max(1, len(chunks) // 16)]
        parts = []
        for each in chosen:
            frames, rows, columns = self._chunking.ranges(each)
            kept = np.arange(max(frames.start, self.frames.start), min(frames.stop, self.frames.stop))
            block = self._read([channel], kept - self.frames.start, np.array(rows), np.array(columns)).ravel()
            parts.append(block[:: max(1, block.size * len(chosen) // most)])
        values = np.concatenate(parts)
        given = self.units.get(self.variables[channel])
        return values if given is None else given.denormalize(values).astype(np.float32)

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

    def _meets(self, chunk: tuple[int, ...]) -> bool:
        frames = self._chunking.ranges((chunk[0], chunk[1], chunk[2]))[0]
        return frames.start < self.frames.stop and frames.stop > self.frames.start

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

            indices = (frames + self.frames.start, rows, columns)
            layers.append(read_window(self._chunking, load, self.cache, (self.name, name, coarse), indices))
        return np.stack(layers)

    def _weighted(
        self, how: How, read: Read, channels: Sequence[int], frames: Index, rows: Index, columns: Index
    ) -> Field:
        """Coarse cells made of what lies around them."""
        registration, s, sigma = how
        height, width = self.shape[1:]
        area = np.maximum(np.cos(np.deg2rad(self.file.grid.lat)), 1e-6)
        south, by_row = footprint(registration, rows, s, height, sigma=sigma, area=area)
        east, by_column = footprint(registration, columns, s, width, sigma=sigma, periodic=self.is_periodic)
        whole = self._in_physical(read(channels, frames, south, east), channels)
        made = by_row @ _filled(whole).astype(np.float64) @ by_column.T
        return self._in_units(made, channels).astype(np.float32)

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
    filled, _ = fill_nearest(values)
    return np.nan_to_num(filled).astype(np.float32)
