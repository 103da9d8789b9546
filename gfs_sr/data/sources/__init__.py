"""Readers: GRIB, NetCDF and Zarr files as one forecast."""

from gfs_sr.data.sources.archive import open_archive
from gfs_sr.data.sources.open import from_dataset, open_forecast
from gfs_sr.data.sources.statics import open_statics
from gfs_sr.data.sources.tensors import open_tensors

__all__ = ["from_dataset", "open_archive", "open_forecast", "open_statics", "open_tensors"]
