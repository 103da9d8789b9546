"""Coarse forecasts as CF files that say their registration."""

from pathlib import Path

import numpy as np
import xarray as xr

from gfs_sr.atomic import OF_NETCDF, on_disk, whole
from gfs_sr.data.coarsen import Coarsening, SpaceReduction, TimeReduction
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.data.zarr_writes import settled

REGISTRATION_ATTRIBUTE = "gfs_sr_registration"
_UTC = {"units_metadata": "leap_seconds: none"}


def to_dataset(coarse: Forecast, how: Coarsening) -> xr.Dataset:
    """The coarse fields under the names of their source, with CF-1.11 metadata."""
    layout, grid, times = coarse.layout, coarse.grid, coarse.times
    dims = ("time", layout.lat_name, layout.lon_name)
    values = coarse.load()
    dataset = xr.Dataset(
        {
            layout.variable_names.get(name, name): (dims, values[:, channel], _attributes(name, how, dims))
            for channel, name in enumerate(coarse.variables)
        },
        coords={
            "time": (
                "time",
                times.valid_times,
                {"standard_name": "time", "long_name": "valid time", "axis": "T"} | _UTC,
            ),
            "forecast_reference_time": (
                (),
                times.reference_time,
                {"standard_name": "forecast_reference_time", "long_name": "start of the forecast"} | _UTC,
            ),
            "forecast_period": (
                "time",
                times.lead_hours,
                {"standard_name": "forecast_period", "long_name": "lead time", "units": "hours"},
            ),
            layout.lat_name: (layout.lat_name, grid.lat, _axis_attributes("latitude", "degrees_north", "Y")),
            layout.lon_name: (layout.lon_name, _longitudes(grid, layout.longitudes_from), _axis_attributes(
                "longitude", "degrees_east", "X")),
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": "Coarsened forecast fields",
            "source": coarse.source,
            "history": f"coarsened by gfs-sr: {_describe(how)}",
            REGISTRATION_ATTRIBUTE: str(how.registration),
        },
    )  # fmt: skip
    if how.registration is Registration.CELL:
        dataset = _with_cell_bounds(dataset, grid, layout.lat_name, layout.lon_name)
    return dataset.isel({layout.lat_name: slice(None, None, -1)}) if layout.lat_ascending else dataset


def write(coarse: Forecast, how: Coarsening, path: Path) -> None:
    """Write NetCDF-4, or Zarr where the name ends in .zarr; the path appears only when the file is whole.

    Raises:
        DiskFailed: the disk is full or broken.
    """
    dataset = to_dataset(coarse, how)
    epoch = np.datetime_as_string(coarse.times.reference_time, "s").replace("T", " ")
    when: dict[str, object] = {"units": f"seconds since {epoch}", "calendar": "standard", "dtype": "int64"}
    encoding: dict[str, dict[str, object]] = {"time": dict(when), "forecast_reference_time": dict(when)}
    for name in (*dataset.coords, *dataset.data_vars):
        if dataset[name].dtype.kind == "f":
            encoding[str(name)] = {"_FillValue": np.float32(np.nan) if name in dataset.data_vars else None}
    if path.suffix != ".zarr":
        for name in dataset.data_vars:
            encoding[str(name)] |= {"zlib": True, "complevel": 1, "shuffle": True}
    with whole(path) as partial, on_disk(path, OF_NETCDF):
        if path.suffix == ".zarr":
            with settled():
                dataset.to_zarr(partial, mode="w", encoding=encoding, consolidated=False)
        else:
            dataset.to_netcdf(partial, engine="netcdf4", encoding=encoding)


def _attributes(name: str, how: Coarsening, dims: tuple[str, ...]) -> dict[str, str]:
    row = lookup(name)
    attributes = {"standard_name": row.standard_name, "long_name": row.long_name, "units": row.units}
    if row.units == "K":
        attributes["units_metadata"] = "temperature: on_scale"
    methods = []
    if row.time_kind is TimeKind.ACCUMULATED:
        methods.append("time: sum")
    elif row.time_kind is TimeKind.AVERAGED or how.time is not TimeReduction.EVERY:
        methods.append("time: mean")
    else:
        methods.append("time: point")
    if how.space is SpaceReduction.BLOCK_MEAN:
        methods.append("area: mean")
    return attributes | {"cell_methods": " ".join(methods)}


def _axis_attributes(name: str, units: str, axis: str) -> dict[str, str]:
    return {"standard_name": name, "long_name": name, "units": units, "axis": axis}


def _longitudes(grid: Grid, west_end: float) -> FloatArray:
    shift = 360.0 * float(np.floor((grid.lon[0] - west_end) / 360.0))
    return grid.lon - shift


def _with_cell_bounds(dataset: xr.Dataset, grid: Grid, lat_name: str, lon_name: str) -> xr.Dataset:
    dlat, dlon = grid.spacing_deg
    for name, half in ((lat_name, -dlat / 2), (lon_name, dlon / 2)):
        centers = dataset[name].to_numpy()
        edges = np.stack([centers - half, centers + half], axis=1)
        if name == lat_name:
            edges = np.clip(edges, -90.0, 90.0)
        dataset[f"{name}_bnds"] = ((name, "nv"), edges)
        dataset[name].attrs["bounds"] = f"{name}_bnds"
    return dataset.set_coords([f"{lat_name}_bnds", f"{lon_name}_bnds"])


def _describe(how: Coarsening) -> str:
    space = {
        SpaceReduction.GAUSS_DECIMATE: f"Gaussian sigma {how.sigma:g}",
        SpaceReduction.BLOCK_MEAN: "cos(latitude) block means",
    }.get(how.space, f"{how.space} at the middle of each cell")
    return (
        f"registration {how.registration}, {space}, scale factor {how.scale_factor}, time factor {how.time_factor}, "
        f"time {how.time}"
    )
