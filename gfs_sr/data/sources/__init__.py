"""Readers: GRIB, NetCDF and Zarr files as one forecast."""

from gfs_sr.data.sources.open import from_dataset, open_forecast

__all__ = ["from_dataset", "open_forecast"]
