"""Fields of a dataset on any grid as tensors."""

from collections.abc import Collection, Iterator
from itertools import product

import numpy as np
import xarray as xr

from gfs_sr.data.sources.coordinates import TIME_NAMES, Role, lead_times, levels_hpa
from gfs_sr.data.sources.field_axes import relevant
from gfs_sr.data.sources.names import match_variable
from gfs_sr.data.sources.tensor_record import Coordinates, TensorRecord, turn
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import WrongUnits

WRF_TIMES = "Times"  # WRF spells its valid times as 2005-08-28_12:00:00

Roles = dict[str, tuple[Role, xr.Variable]]


def dataset_tensors(dataset: xr.Dataset, name: str, variables: Collection[str] | None) -> list[TensorRecord]:
    """Every run of fields of a dataset, split by variable, level, member, version and forecast."""
    records = []
    for key in dataset.data_vars:
        array = dataset[key]
        roles = relevant(dataset, array)
        if array.dtype.kind not in "iuf" or array.ndim < 2 or str(key).endswith(("_bnds", "_bounds")):
            continue
        moving = {str(dim): _role(str(dim), roles) for dim in array.dims}
        horizontal = [dim for dim, role in moving.items() if role in {Role.LAT, Role.LON, Role.PROJECTED, Role.OTHER}]
        if len(horizontal) < 2:
            continue
        for part, label in _parts(array, moving, horizontal[-2:], roles):
            record = _record(dataset, part, label, roles, moving, horizontal[-2:], name, variables)
            if record is not None:
                records.append(record)
    return records


def _role(dim: str, roles: Roles) -> Role:
    if dim in roles and roles[dim][0] is not Role.OTHER:
        return roles[dim][0]
    along = [role for role, variable in roles.values() if variable.dims == (dim,) and role is not Role.OTHER]
    if along:
        return along[0]
    return Role.TIME if dim.lower() in TIME_NAMES else Role.OTHER


def _parts(
    array: xr.DataArray, moving: dict[str, Role], horizontal: list[str], roles: Roles
) -> Iterator[tuple[xr.DataArray, str]]:
    """The array cut along every dimension but time (or lead time) and the horizontal ones, with a name for each."""
    lead = [dim for dim, role in moving.items() if role is Role.LEAD]
    time = [dim for dim, role in moving.items() if role is Role.TIME]
    kept = [*horizontal, *(lead or time)]
    cut = [dim for dim in moving if dim not in kept]
    for indices in product(*(range(array.sizes[dim]) for dim in cut)):
        part = array.isel(dict(zip(cut, indices, strict=True)))
        name = str(array.name)
        for dim in cut:
            # a dimension of strings names the variables that share one array
            if dim in part.coords and part.coords[dim].dtype.kind in "UO" and moving[dim] is Role.OTHER:
                name = str(part.coords[dim].values)
        yield part, name


def _record(
    dataset: xr.Dataset,
    part: xr.DataArray,
    label: str,
    roles: Roles,
    moving: dict[str, Role],
    horizontal: list[str],
    source: str,
    variables: Collection[str] | None,
) -> TensorRecord | None:
    levels = [
        levels_hpa(name, part.coords[name].variable)
        for name, (role, _) in roles.items()
        if role is Role.LEVEL and name in part.coords and part.coords[name].size == 1
    ]
    heights = [
        float(variable.values) for role, variable in roles.values() if role is Role.HEIGHT and variable.ndim == 0
    ]
    named = part.rename(label)
    match = match_variable(named, has_level=bool(levels), height_m=heights[0] if heights else None)
    name = label if match is None else match[0].name
    if levels:
        name = f"{name}@{levels[0][0]:g}"
    if variables is not None and name not in variables:
        return None
    times = _times(dataset, part, roles, moving)
    frame_dims = [str(dim) for dim in part.dims if dim not in horizontal]
    values = np.asarray(part.transpose(*frame_dims, *horizontal).values, np.float64)
    values = values.reshape(-1, *values.shape[-2:])
    where = f"{source}, variable {part.name!r}"
    if match is not None:
        try:
            factor, offset = lookup(name).to_canonical(str(part.attrs.get("units", "")), where)
        except WrongUnits:
            if variables is not None and lookup(name).time_kind is TimeKind.INSTANT:
                raise
            return None
        values = values * factor + offset
    lat, lon = (_coordinate(part, roles, role, horizontal) for role in (Role.LAT, Role.LON))
    regular = lat is not None and lon is not None and lat.ndim == lon.ndim == 1
    grids = np.broadcast_arrays(lat[:, None], lon[None, :]) if regular and lat is not None and lon is not None else None
    turned, lat_north, lon_west = turn(values, *(grids or (lat, lon)))
    if regular and lat_north is not None and lon_west is not None:
        lat_north, lon_west = lat_north[:, 0].copy(), lon_west[0].copy()
    order = np.argsort(times, kind="stable")
    return TensorRecord(name, turned[order], times[order], lat_north, lon_west, where, is_regular=regular)


def _coordinate(part: xr.DataArray, roles: Roles, wanted: Role, horizontal: list[str]) -> Coordinates | None:
    for name, (role, variable) in roles.items():
        if role is not wanted or not variable.ndim:
            continue
        here = part.coords.get(name, variable)
        dims = [dim for dim in here.dims if dim in horizontal]
        # a moving nest would have a grid per frame: the first stands for all
        still = here.isel({dim: 0 for dim in here.dims if dim not in dims})
        if len(dims) == 2:
            return np.asarray(still.transpose(*horizontal).values, np.float64)
        if len(dims) == 1:
            return np.asarray(still.values, np.float64)
    return None


def _times(dataset: xr.Dataset, part: xr.DataArray, roles: Roles, moving: dict[str, Role]) -> TimeArray:
    lead = [dim for dim in part.dims if moving.get(str(dim)) is Role.LEAD]
    starts = [
        part.coords[name].values
        for role in (Role.REFERENCE, Role.TIME)
        for name, (said, _) in roles.items()
        if said is role and name in part.coords and part.coords[name].size == 1
    ]
    if lead:
        start = np.datetime64(starts[0].reshape(-1)[0], "ns") if starts else np.datetime64(0, "ns")
        return start + lead_times(part.coords[lead[0]].variable)
    frames = [dim for dim in part.dims if moving.get(str(dim)) is Role.TIME]
    if frames:
        along = [variable for role, variable in roles.values() if role is Role.TIME and variable.dims == (frames[0],)]
        if along:
            return np.asarray(along[0].values, "datetime64[ns]")
        if WRF_TIMES in dataset.variables:
            spelled = (bytes(text).decode().replace("_", "T") for text in dataset[WRF_TIMES].values)
            return np.array([np.datetime64(text, "ns") for text in spelled])
        return np.full(part.sizes[frames[0]], np.datetime64("NaT", "ns"))
    stated = [values for values in starts if values.dtype.kind == "M"]
    return np.array([stated[-1].reshape(-1)[0] if stated else np.datetime64("NaT")], "datetime64[ns]")
