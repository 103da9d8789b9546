"""A fine forecast in memory as an xarray dataset."""

import xarray as xr

from gfs_sr.runtime.cf import flag_variable
from gfs_sr.runtime.sink import MemorySink


def to_dataset(sink: MemorySink) -> xr.Dataset:
    """What a file of the same forecast would give when opened with xarray."""
    description = sink.description
    dims = tuple(description.sizes)[:3]
    variables = {
        variable.name: xr.Variable(variable.dims, variable.values, dict(variable.attrs))
        for variable in description.coordinates
    }
    for channel, variable in enumerate(description.data):
        variables[variable.name] = xr.Variable(variable.dims, sink.values[..., channel, :, :], dict(variable.attrs))
    flag = flag_variable(dims)
    variables[flag.name] = xr.Variable(dims, sink.flags, dict(flag.attrs))
    return xr.decode_cf(xr.Dataset(variables, attrs=dict(description.attrs)), decode_coords="all")
