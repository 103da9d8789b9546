"""Built data sets as files: fine fields on (lat, lon), coarse ones on (lat_2, lon_2) under the prefix `coarse_`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr

from gfs_sr.atomic import OF_NETCDF, on_disk, whole
from gfs_sr.data.forecast import Forecast, ReadField
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.sources.netcdf import open_netcdf
from gfs_sr.data.sources.open import canonical, open_forecast
from gfs_sr.data.sources.zarr import open_zarr
from gfs_sr.data.time_axis import TimeArray, TimeAxis
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.data.zarr_writes import settled
from gfs_sr.errors import MissingVariable, OutputExists, UsageError

Field = npt.NDArray[np.float32]
PREFIX: Final = "coarse_"
NAME: Final = "gfs_sr_variable"  # attribute: the name in the table, levels as t@850
CHANNEL: Final = "gfs_sr_channel"  # attribute: its place among the fine or coarse fields, which a store may not keep
CHUNK: Final = 128  # cells of a side
FRAMES: Final = 8  # of a chunk in Zarr; NetCDF appends frame by frame
FORMATS: Final = (".nc", ".zarr")
EPOCH: Final = "seconds since 1970-01-01 00:00:00"


@dataclass(frozen=True, eq=False)
class BuiltGrids:
    """The two grids of a data set."""

    fine: Grid
    coarse: Grid


@dataclass(frozen=True, eq=False)
class Slab:
    """Some frames of all variables; coarse ones carry the prefix."""

    times: TimeArray
    fields: Mapping[str, Field]  # (t, h, w)


@dataclass(frozen=True, eq=False)
class BuiltSet:
    """A data set that was built, opened; fields are read when they are asked for."""

    fine: Forecast
    coarse: Forecast
    statics: Mapping[str, Field]  # (H, W) on the fine grid; those with the prefix on the coarse one


def write_built(
    target: Path, grids: BuiltGrids, statics: Mapping[str, Field], slabs: Iterable[Slab], sources: Sequence[str]
) -> None:
    """Write NetCDF-4 or Zarr, some frames at a time; `target` appears when it is whole.

    Raises:
        UsageError: a name that says neither format.
        OutputExists: `target` is there.
        DiskFailed: the disk is full or broken.
    """
    if target.suffix not in FORMATS:
        raise UsageError(f"{target.name} says no format", "output", "end the name in .nc or .zarr")
    if target.exists():
        raise OutputExists(f"{target} exists", "output", "remove it, or choose another name")
    write = _write_zarr if target.suffix == ".zarr" else _write_netcdf
    with whole(target) as partial:
        for number, slab in enumerate(slabs):
            dataset = _dataset(grids, statics if number == 0 else {}, slab, sources)
            with on_disk(target, OF_NETCDF):
                write(dataset, partial, is_first=number == 0)


def open_built(path: Path) -> BuiltSet:
    """What `write_built` wrote.

    Raises:
        UnreadableFile: a damaged file.
        MissingVariable: it has no fine or no coarse fields.
    """
    dataset = open_zarr(path) if path.suffix == ".zarr" else open_netcdf(path)
    statics = {
        str(name): np.asarray(dataset[name].values, np.float32)
        for name in dataset.data_vars
        if "time" not in dataset[name].dims and NAME in dataset[name].attrs
    }
    parts = [_forecast(dataset, prefix, path) for prefix in ("", PREFIX)]
    return BuiltSet(parts[0], parts[1], statics)


def open_coarse(paths: Sequence[Path], variables: Sequence[str] | None = None) -> Forecast:
    """What a model is to refine: the coarse fields of a data set that was built, else the forecast of the files.

    Raises:
        InputError: with the class that says why the files cannot be used.
    """
    if len(paths) == 1 and paths[0].suffix in FORMATS and _is_built(paths[0]):
        coarse = open_built(paths[0]).coarse
        return coarse if variables is None else coarse.select(canonical(variables))
    return open_forecast(paths, variables)


def _is_built(path: Path) -> bool:
    if not path.exists():
        return False
    dataset = open_zarr(path) if path.suffix == ".zarr" else open_netcdf(path)
    return any(str(name).startswith(PREFIX) and NAME in each.attrs for name, each in dataset.data_vars.items())


def _forecast(dataset: xr.Dataset, prefix: str, path: Path) -> Forecast:
    dims = ("lat_2", "lon_2") if prefix else ("lat", "lon")
    arrays = [
        dataset[name]
        for name in dataset.data_vars
        if NAME in dataset[name].attrs and dataset[name].dims == ("time", *dims)
    ]
    arrays.sort(key=lambda array: int(array.attrs[CHANNEL]))
    if not arrays:
        raise MissingVariable(
            f"no {'coarse' if prefix else 'fine'} field", str(path), "build it with gfs-sr build-dataset"
        )
    grid = Grid.from_axes(dataset[dims[0]].to_numpy(), dataset[dims[1]].to_numpy(), str(path))
    times = dataset["time"].to_numpy().astype("datetime64[ns]")
    names = tuple(str(array.attrs[NAME]) for array in arrays)
    step = times[1] - times[0] if times.size > 1 else np.timedelta64(0, "ns")
    kinds = {name: lookup(name).time_kind for name in names}
    return Forecast(
        variables=names,
        grid=grid,
        times=TimeAxis(times[0], times),  # a season without 29 February is no even axis
        readers=tuple(_reader(array) for array in arrays),
        source=path.name,
        registration=Registration.CELL if prefix else None,  # coarse fields are area means
        buckets={name: step for name, kind in kinds.items() if kind is TimeKind.ACCUMULATED},
    )


def _reader(array: xr.DataArray) -> ReadField:
    return lambda index: np.asarray(array[index].values, np.float32)


def _dataset(grids: BuiltGrids, statics: Mapping[str, Field], slab: Slab, sources: Sequence[str]) -> xr.Dataset:
    variables: dict[str, Any] = {}
    for name, field in statics.items():
        variables[name] = (_dims(name), field, _attributes(name))
    for channel, (name, field) in enumerate(slab.fields.items()):
        # an @ is no letter of a CF name
        attributes = _attributes(name) | {CHANNEL: channel}
        variables[name.replace("@", "_")] = (("time", *_dims(name)), field, attributes)
    about_time = {"standard_name": "time", "axis": "T", "units_metadata": "leap_seconds: none"}
    axes: dict[str, Any] = {"time": ("time", slab.times, about_time)}
    for suffix, grid in (("", grids.fine), ("_2", grids.coarse)):
        axes[f"lat{suffix}"] = (f"lat{suffix}", grid.lat, _axis("latitude", "degrees_north"))
        axes[f"lon{suffix}"] = (f"lon{suffix}", grid.lon, _axis("longitude", "degrees_east"))
    named = ", ".join(dict.fromkeys(sources))
    about = {
        "Conventions": "CF-1.11", "title": "Fine and coarse fields for downscaling", "source": named[:2000],
        "history": "built by gfs-sr build-dataset: coarse fields by first-order conservative remapping",
    }  # fmt: skip
    return xr.Dataset(variables, axes, about)


def _dims(name: str) -> tuple[str, str]:
    return ("lat_2", "lon_2") if name.startswith(PREFIX) else ("lat", "lon")


def _axis(name: str, units: str) -> dict[str, str]:
    return {"standard_name": name, "long_name": name, "units": units}


def _attributes(name: str) -> dict[str, Any]:
    plain = name.removeprefix(PREFIX)
    row = lookup(plain)
    method = {TimeKind.ACCUMULATED: "time: sum", TimeKind.AVERAGED: "time: mean", TimeKind.STATIC: ""}.get(
        row.time_kind, "time: point"
    )
    method = f"{method} area: mean".strip() if plain != name else method
    on_scale = {"units_metadata": "temperature: on_scale"} if row.units == "K" else {}
    level = {"level_hPa": float(plain.partition("@")[2])} if "@" in plain else {}
    return {
        "standard_name": row.standard_name, "long_name": row.long_name, "units": row.units, NAME: plain,
        **level, **on_scale, **({"cell_methods": method} if method else {}),
    }  # fmt: skip


def _encoding(dataset: xr.Dataset, compression: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {"time": {"units": EPOCH, "calendar": "standard", "dtype": "int64"}}
    for name in dataset.data_vars:
        encoding[str(name)] = {"_FillValue": np.float32(np.nan), "dtype": "float32", **compression}
    for name in ("lat", "lon", "lat_2", "lon_2"):
        encoding[name] = {"_FillValue": None}
    return encoding


def _chunks(dataset: xr.Dataset, name: str, frames: int) -> tuple[int, ...]:
    return tuple(frames if dim == "time" else min(CHUNK, size) for dim, size in dataset[name].sizes.items())


def _write_netcdf(dataset: xr.Dataset, path: Path, *, is_first: bool) -> None:
    if is_first:
        encoding = _encoding(dataset, {"zlib": True, "complevel": 1, "shuffle": True})
        for name in dataset.data_vars:
            encoding[str(name)]["chunksizes"] = _chunks(dataset, str(name), 1)
        dataset.to_netcdf(path, engine="netcdf4", encoding=encoding, unlimited_dims=["time"])
        return
    with netCDF4.Dataset(path, "a") as file:
        first = file["time"].size
        seconds = (dataset["time"].to_numpy() - np.datetime64(0, "ns")) // np.timedelta64(10**9, "ns")
        file["time"][first:] = seconds
        for name in dataset.data_vars:
            file[str(name)][first : first + seconds.size] = dataset[name].to_numpy()


@settled()
def _write_zarr(dataset: xr.Dataset, path: Path, *, is_first: bool) -> None:
    if is_first:
        encoding = _encoding(dataset, {})
        for name in dataset.data_vars:
            encoding[str(name)]["chunks"] = _chunks(dataset, str(name), FRAMES)
        dataset.to_zarr(path, mode="w", encoding=encoding, consolidated=False)
        return
    moving = dataset.drop_vars([name for name in dataset.variables if "time" not in dataset[name].dims])
    moving.to_zarr(path, mode="a", append_dim="time", consolidated=False)
