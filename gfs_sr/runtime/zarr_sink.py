"""Zarr v3 output: blosc-lz4 with bitshuffle, in chunks that end where blocks end."""

import warnings
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle
from zarr.errors import ZarrUserWarning

from gfs_sr.data.zarr_writes import settled
from gfs_sr.runtime.cf import FLAG_NAME, Attribute, Description, FileVariable, flag_variable
from gfs_sr.runtime.chunk_encoder import ChunkEncoder
from gfs_sr.runtime.file_writers import THREADS, WAITING
from gfs_sr.runtime.sink import FileSink, FlagField, FloatField, chunk_shape
from gfs_sr.runtime.zarr_chunks import ChunkedArray, ChunkWriters, default_writers

CHUNK_CELLS = 2 << 20  # 8 MB: some hundred chunks for each gigabyte, and several for each writer in a block
LEVEL = 5  # of blosc: the metadata say it, the writers do it


class ZarrSink(FileSink):
    """One Zarr v3 store in a folder."""

    _group: zarr.Group | None = None
    _writers: ChunkWriters | None = None

    def resident_bytes(self, cells: int) -> int:
        """Chunks that are put together, waited with and compressed, and what they are compressed into on its way."""
        chunks, contents = default_writers() + 2, default_writers() + THREADS + WAITING
        return 4 * CHUNK_CELLS * (chunks + contents + THREADS)

    @settled()
    def _create(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        dims = tuple(description.sizes)[:3]
        shape = description.shape
        chunks = chunk_shape(description, block_shape, CHUNK_CELLS)
        group = self._group = zarr.open_group(
            self.partial, mode="w", zarr_format=3, attributes=_plain(description.attrs)
        )
        arrays = {}
        for variable in description.coordinates:
            values = np.asarray(variable.values)
            stored = group.create_array(
                variable.name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=values.shape or "auto",
                dimension_names=variable.dims,
                attributes=_plain(variable.attrs),
            )
            stored[...] = values
        ahead = () if description.members is None else (1,)
        for variable, dtype, fill, own_shape, own_chunks in (
            *((variable, "f4", np.nan, description.data_shape, (*ahead, *chunks)) for variable in description.data),
            (flag_variable(dims), "u1", 0, shape, chunks),
        ):
            array = _add_array(group, variable, dtype, fill, own_shape, own_chunks)
            folder, key = self.partial / variable.name, array.metadata.encode_chunk_key
            arrays[variable.name] = ChunkedArray(folder, key, own_shape, own_chunks, dtype, fill)
        self._writers = ChunkWriters(arrays, ChunkEncoder(LEVEL))

    def _store(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None:
        assert self._writers is not None
        starts = (frames.start, rows.start, 0)
        for channel, variable in enumerate(self.description.data):
            part = values[:, channel]
            self._writers.put(variable.name, (*place, *starts), part[None] if place else part)
        if flags is not None:
            self._writers.put(FLAG_NAME, starts, flags)

    def _annotate(self, name: str, value: str) -> None:
        if self._group is not None:
            self._group.attrs[name] = value

    @settled()
    def _finish(self) -> None:
        """Wait for the writers, then gather the metadata in one file."""
        if self._writers is not None:
            self._writers.finish()
        with warnings.catch_warnings():
            # zarr warns that v3 has not standardized this yet; without it xarray warns at every open
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(str(self.partial))

    def _close(self) -> None:
        if self._writers is not None:
            self._writers.stop()
        self._group = self._writers = None


def _add_array(
    group: zarr.Group,
    variable: FileVariable,
    dtype: str,
    fill: float,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
) -> zarr.Array[Any]:
    return group.create_array(
        variable.name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        fill_value=fill,
        # files of one array side by side: a folder for each frame and row of chunks would be twice as many as files
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=variable.dims,
        compressors=BloscCodec(cname="lz4", clevel=LEVEL, shuffle=BloscShuffle.bitshuffle),
        attributes=_plain(variable.attrs),
    )


def _plain(attrs: dict[str, Attribute]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in attrs.items()}
