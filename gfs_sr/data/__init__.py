"""Fields and where they come from; NumPy and xarray only."""
