"""Zarr v3 output: blosc-lz4 with bitshuffle, a multiple of the time factor's frames in each chunk."""

import warnings
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle
from zarr.errors import ZarrUserWarning

from gfs_sr.runtime.cf import FLAG_NAME, Attribute, Description, FileVariable, flag_variable
from gfs_sr.runtime.sink import FileSink, FlagField, FloatField, chunk_shape

CHUNK_CELLS = 4 << 20  # 16 MB: each chunk costs about 1 ms whatever its size


class ZarrSink(FileSink):
    """One Zarr v3 store in a folder."""

    _group: zarr.Group | None = None
    _arrays: dict[str, zarr.Array[Any]]

    def _open(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        dims = tuple(description.sizes)[:3]
        shape = description.shape
        chunks = chunk_shape(description, block_shape, CHUNK_CELLS)
        group = self._group = zarr.open_group(
            self.partial, mode="w", zarr_format=3, attributes=_plain(description.attrs)
        )
        self._arrays = {}
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
        for variable, dtype, fill in (
            *((variable, "f4", np.nan) for variable in description.data),
            (flag_variable(dims), "u1", 0),
        ):
            self._arrays[variable.name] = _create(group, variable, dtype, fill, shape, chunks)

    def _write(self, frames: slice, rows: slice, values: FloatField, flags: FlagField) -> None:
        for channel, variable in enumerate(self.description.data):
            self._arrays[variable.name][frames, rows] = values[:, channel]
        self._arrays[FLAG_NAME][frames, rows] = flags

    def set_attribute(self, name: str, value: str) -> None:
        """Add a global attribute."""
        if self._group is not None:
            self._group.attrs[name] = value

    def commit(self) -> None:
        """Gather the metadata in one file, then publish."""
        with warnings.catch_warnings():
            # zarr warns that v3 has not standardized this yet; without it xarray warns at every open
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(str(self.partial))
        super().commit()

    def _close(self) -> None:
        self._group = None
        self._arrays = {}


def _create(
    group: zarr.Group,
    variable: FileVariable,
    dtype: str,
    fill: float,
    shape: tuple[int, int, int],
    chunks: tuple[int, int, int],
) -> zarr.Array[Any]:
    return group.create_array(
        variable.name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        fill_value=fill,
        dimension_names=variable.dims,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.bitshuffle),
        attributes=_plain(variable.attrs),
    )


def _plain(attrs: dict[str, Attribute]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in attrs.items()}
