"""The axes of one variable of a dataset: which dimension is what, and the times of its frames."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from gfs_sr.data.sources.coordinates import Role, lead_times, levels_hpa, role_of
from gfs_sr.data.sources.orientation import Orientation
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.errors import AmbiguousField, UnsortedTimes, UnsupportedGrid

TIMELESS = np.datetime64(0, "ns")


@dataclass(frozen=True, eq=False)
class FieldAxes:
    """How a variable's dimensions are read."""

    lat_dim: str
    lon_dim: str
    lat_name: str
    lon_name: str
    orientation: Orientation
    time_dim: str | None
    valid_times: TimeArray  # (T,)
    reference_time: np.datetime64 | None
    is_lead: bool  # the time dimension counts from the start of a forecast
    level_dim: str | None
    levels: tuple[float, ...]  # hPa; one where the level is a single value
    height_m: float | None
    version_dim: str | None
    fixed: dict[str, int] = field(default_factory=dict)  # dimensions of length 1


def relevant(dataset: xr.Dataset, array: xr.DataArray) -> dict[str, tuple[Role, xr.Variable]]:
    """Variables of the dataset that describe an array's dimensions, or are single values, with their roles."""
    found = {}
    for name, variable in dataset.variables.items():
        if name != array.name and set(variable.dims) <= set(array.dims) and (variable.ndim == 0 or variable.dims):
            role = role_of(str(name), variable)
            # a data variable without dimensions of its own is a grid mapping, not a coordinate
            if role is not Role.OTHER or name in array.dims:
                found[str(name)] = (role, variable)
    return found


def is_field(dataset: xr.Dataset, array: xr.DataArray) -> bool:
    """True where a variable has two horizontal dimensions, of whatever kind of grid."""
    if array.dtype.kind not in "iuf" or array.ndim < 2:
        return False
    roles = relevant(dataset, array)
    if any(role in {Role.LAT, Role.LON, Role.PROJECTED} for role, variable in roles.values() if variable.ndim):
        return not str(array.name).endswith(("_bnds", "_bounds"))
    return False


def field_axes(dataset: xr.Dataset, array: xr.DataArray, where: str) -> FieldAxes:
    """The axes of a variable.

    Raises:
        UnsupportedGrid: latitude and longitude are no one-dimensional even axes.
        AmbiguousField: a dimension of several entries that is no time, level, latitude or longitude.
        UnsortedTimes: no time, or times that fall or repeat.
    """
    roles = relevant(dataset, array)
    lat_name, lat, lon_name, lon = _horizontal(array, roles, where)
    lat_dim, lon_dim = str(lat.dims[0]), str(lon.dims[0])
    by_dim = {
        str(dim): roles.get(str(dim), (Role.OTHER, None))[0] for dim in array.dims if dim not in {lat_dim, lon_dim}
    }
    for dim in by_dim:
        if by_dim[dim] is Role.OTHER:
            by_dim[dim] = _role_by_others(dim, roles)
    time_dim, lead_dim, reference_dim = (
        next((dim for dim, role in by_dim.items() if role is wanted and _kept(array, dim)), None)
        for wanted in (Role.TIME, Role.LEAD, Role.REFERENCE)
    )
    level_dim = next((dim for dim, role in by_dim.items() if role is Role.LEVEL), None)
    version_dim = next((dim for dim, role in by_dim.items() if role is Role.VERSION), None)
    for dim in by_dim:
        if (array.sizes[dim] > 1 and dim not in {time_dim, lead_dim, level_dim, version_dim}) or dim == reference_dim:
            raise _unknown(dim, int(array.sizes[dim]), by_dim[dim], where)
    if time_dim is not None and lead_dim is not None:
        raise _unknown(time_dim, int(array.sizes[time_dim]), Role.REFERENCE, where)
    frame_dim = lead_dim or time_dim
    valid, reference = _times(roles, frame_dim, is_lead=lead_dim is not None, where=where)
    fixed = {dim: 0 for dim in by_dim if array.sizes[dim] == 1 and dim not in {frame_dim, level_dim, version_dim}}
    return FieldAxes(
        lat_dim=lat_dim,
        lon_dim=lon_dim,
        lat_name=lat_name,
        lon_name=lon_name,
        orientation=Orientation.from_axes(lat.values, lon.values, where),
        time_dim=frame_dim,
        valid_times=valid,
        reference_time=reference,
        is_lead=lead_dim is not None,
        level_dim=level_dim,
        levels=_levels(roles),
        height_m=_height(roles),
        version_dim=version_dim,
        fixed=fixed,
    )


def _horizontal(
    array: xr.DataArray, roles: dict[str, tuple[Role, xr.Variable]], where: str
) -> tuple[str, xr.Variable, str, xr.Variable]:
    axes = []
    mend = "interpolate to a regular latitude-longitude grid first, for example with `cdo remapbil`"
    for role in (Role.LAT, Role.LON):
        found = [(name, variable) for name, (said, variable) in roles.items() if said is role and variable.ndim]
        line = [(name, variable) for name, variable in found if variable.ndim == 1]
        if not line:
            kind = "curvilinear: latitude and longitude have two dimensions" if found else "projected or rotated"
            raise UnsupportedGrid(f"the grid is {kind}", where, mend)
        # a coordinate of the dimension's own name before any other
        axes.append(min(line, key=lambda pair: pair[0] not in array.dims))
    (lat_name, lat), (lon_name, lon) = axes
    if lat.dims == lon.dims:
        raise UnsupportedGrid("the grid is a list of points", where, mend)
    return lat_name, lat, lon_name, lon


def _role_by_others(dim: str, roles: dict[str, tuple[Role, xr.Variable]]) -> Role:
    """The role of a dimension without a coordinate of its name, by another coordinate along it."""
    along = [role for role, variable in roles.values() if variable.dims == (dim,)]
    return next((role for role in (Role.LEAD, Role.TIME, Role.LEVEL, Role.MEMBER) if role in along), Role.OTHER)


def _kept(array: xr.DataArray, dim: str) -> bool:
    return int(array.sizes[dim]) > 1


def _unknown(dim: str, size: int, role: Role, where: str) -> AmbiguousField:
    what = {Role.MEMBER: "members of an ensemble", Role.REFERENCE: "forecasts", Role.HEIGHT: "heights"}.get(
        role, "entries"
    )
    return AmbiguousField(
        f"dimension {dim!r} holds {size} {what}, and no rule chooses one",
        where,
        f"select one first, for example `dataset.isel({dim}=0)` or `ncks -d {dim},0`",
    )


def _times(
    roles: dict[str, tuple[Role, xr.Variable]], dim: str | None, *, is_lead: bool, where: str
) -> tuple[TimeArray, np.datetime64 | None]:
    """(valid time of each frame, reference time or None)."""

    def values(role: Role, along: str | None) -> list[xr.Variable]:
        return [
            variable
            for _, (said, variable) in sorted(roles.items(), key=lambda item: item[0] != "valid_time")
            if said is role and (along in variable.dims if along else variable.size == 1)
        ]

    single = values(Role.TIME, None)
    stated = [_instants(variable, where)[0] for variable in values(Role.REFERENCE, None)]
    reference = stated[0] if stated else None
    if is_lead and dim is not None:
        leads = lead_times(values(Role.LEAD, dim)[0])
        along = [variable for variable in values(Role.TIME, dim) if variable.dims == (dim,)]
        if reference is None and along:
            valid = _instants(along[0], where)
            reference = valid[0] - leads[0]
        elif reference is None:
            named = [
                variable
                for name, (role, variable) in roles.items()
                if role is Role.TIME and variable.size == 1 and name != "valid_time"
            ]
            if not named:
                raise UnsortedTimes("lead times, but no time they count from", where, "add the reference time")
            reference = _instants(named[0], where)[0]
        return reference + leads, reference
    if dim is not None:
        along = [variable for variable in values(Role.TIME, dim) if variable.dims == (dim,)]
        if not along:
            raise UnsortedTimes(f"dimension {dim!r} has no times", where, "add a time coordinate")
        valid = _instants(along[0], where)
        return valid, reference if reference is not None else _common_reference(roles, dim, valid, where)
    leads_of_one = values(Role.LEAD, None)
    if not single and reference is None:
        return np.array([TIMELESS]), None
    valid_named = [variable for name, (role, variable) in roles.items() if name == "valid_time" and variable.size == 1]
    instant = _instants((valid_named or single)[0], where)[0] if single else reference
    if leads_of_one and reference is None and not valid_named and len(single) == 1:
        # cfgrib's way: time is the reference, step the lead time
        name = next(name for name, (_, variable) in roles.items() if variable is leads_of_one[0])
        if name == "step":
            return np.array([instant + lead_times(leads_of_one[0])[0]]), instant
    if reference is None and leads_of_one:
        reference = instant - lead_times(leads_of_one[0])[0]
    return np.array([instant], "datetime64[ns]"), reference


def _common_reference(
    roles: dict[str, tuple[Role, xr.Variable]], dim: str, valid: TimeArray, where: str
) -> np.datetime64 | None:
    """The reference time of frames that carry one each: equal ones, or none where each is an analysis."""
    for role, variable in roles.values():
        if role is Role.REFERENCE and variable.dims == (dim,):
            each = _instants(variable, where)
            if (each == each[0]).all():
                return np.datetime64(each[0])
            if not (each == valid).all():
                raise AmbiguousField("the frames come from several forecasts", where, "give the frames of one forecast")
    return None


def _instants(variable: xr.Variable, where: str) -> TimeArray:
    values = np.atleast_1d(variable.values)
    if values.dtype.kind != "M":
        raise UnsortedTimes(
            f"times of type {values.dtype} (calendar {variable.encoding.get('calendar', 'unknown')})",
            where,
            "give times of the standard calendar as CF writes them, `hours since 2000-01-01`",
        )
    return values.astype("datetime64[ns]")


def _levels(roles: dict[str, tuple[Role, xr.Variable]]) -> tuple[float, ...]:
    for name, (role, variable) in roles.items():
        if role is Role.LEVEL and variable.ndim <= 1:
            return tuple(float(level) for level in levels_hpa(name, variable))
    return ()


def _height(roles: dict[str, tuple[Role, xr.Variable]]) -> float | None:
    for role, variable in roles.values():
        if role is Role.HEIGHT and variable.size == 1:
            return float(np.asarray(variable.values, np.float64).reshape(-1)[0])
    return None
