"""NetCDF-4 output: zlib level 1 and shuffle, which every NetCDF library since 2008 reads."""

import netCDF4
import numpy as np

# xarray's own lock, so that a NetCDF file being read through it and one being written never meet in HDF5,
# which is not safe for threads
from xarray.backends.locks import HDF5_LOCK

from gfs_sr.atomic import OF_NETCDF
from gfs_sr.runtime.cf import FLAG_NAME, Description, FileVariable, flag_variable
from gfs_sr.runtime.sink import FileSink, FlagField, FloatField, chunk_shape

CHUNK_CELLS = 1 << 20  # 4 MB: few enough chunks to write fast, small enough to read one frame


class NetCDFSink(FileSink):
    """One NetCDF-4 file."""

    failures = OF_NETCDF
    _dataset: netCDF4.Dataset | None = None

    def _create(self, description: Description, block_shape: tuple[int, int, int]) -> None:
        dims = tuple(description.sizes)[:3]
        chunks = chunk_shape(description, block_shape, CHUNK_CELLS)
        with HDF5_LOCK:
            dataset = self._dataset = netCDF4.Dataset(self.partial, "w", format="NETCDF4")
            dataset.set_fill_off()  # every cell is written, so filling first would write all twice
            dataset.setncatts(description.attrs)
            for name, size in description.sizes.items():
                dataset.createDimension(name, size)
            for variable in description.coordinates:
                stored = dataset.createVariable(variable.name, np.asarray(variable.values).dtype, variable.dims)
                stored.setncatts(variable.attrs)
                stored[...] = np.asarray(variable.values)
            ahead = () if description.members is None else (1,)
            for variable in description.data:
                self._add_variable(variable, "f4", np.float32(np.nan), (*ahead, *chunks))
            self._add_variable(flag_variable(dims), "u1", None, chunks)

    def _add_variable(
        self, variable: FileVariable, dtype: str, fill_value: np.float32 | None, chunks: tuple[int, ...]
    ) -> None:
        assert self._dataset is not None
        stored = self._dataset.createVariable(
            variable.name,
            dtype,
            variable.dims,
            compression="zlib",
            complevel=1,
            shuffle=True,
            chunksizes=chunks,
            fill_value=False if fill_value is None else fill_value,
        )
        stored.setncatts(variable.attrs)
        # blocks are whole chunks: a cache would put their compression off to the close, where nothing overlaps it
        stored.set_var_chunk_cache(size=1, nelems=1, preemption=0.0)
        stored.set_auto_mask(False)
        stored.set_auto_scale(False)

    def _store(
        self, frames: slice, rows: slice, values: FloatField, flags: FlagField | None, place: tuple[int, ...]
    ) -> None:
        assert self._dataset is not None
        variables = self._dataset.variables
        for channel, variable in enumerate(self.description.data):
            with HDF5_LOCK:  # taken per variable, so that a reader waits for one variable at most
                variables[variable.name][(*place, frames, rows)] = values[:, channel]
        if flags is not None:
            with HDF5_LOCK:
                variables[FLAG_NAME][frames, rows] = flags

    def _annotate(self, name: str, value: str) -> None:
        assert self._dataset is not None
        with HDF5_LOCK:
            self._dataset.setncattr(name, value)

    def _finish(self) -> None:
        """Nothing waits: `_close` writes what HDF5 holds."""

    def _close(self) -> None:
        dataset, self._dataset = self._dataset, None  # closed once, also where that fails
        if dataset is not None:
            with HDF5_LOCK:
                dataset.close()
