"""What an output file says about itself: CF-1.11 dimensions, coordinates, variables and attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import SourceLayout
from gfs_sr.data.grid import EARTH_RADIUS_M, Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import TimeKind, lookup

Attribute = str | int | float | npt.NDArray[np.uint8]

FLAG_NAME = "quality_flag"
REALIZATION = "realization"


class Quality(IntFlag):
    """Bits of the quality flag; 0 is a value nothing is said against."""

    EXTRAPOLATED_IN_SPACE = 1
    EXTRAPOLATED_IN_TIME = 2
    OUTSIDE_TRAINING_ENVELOPE = 4
    UNTRAINED_COARSE_INTERVAL = 8


@dataclass(frozen=True, eq=False)
class FileVariable:
    """One variable of the file; `values` is None where the sink is still to be given them."""

    name: str
    dims: tuple[str, ...]
    attrs: dict[str, Attribute] = field(default_factory=dict)
    values: npt.NDArray[np.generic] | None = None


@dataclass(frozen=True, eq=False)
class Description:
    """All of a file but its values."""

    sizes: dict[str, int]  # dimension -> length, in file order
    coordinates: tuple[FileVariable, ...]
    data: tuple[FileVariable, ...]  # one per channel, in channel order
    attrs: dict[str, Attribute]
    lat_ascending: bool  # rows are stored south to north
    members: int | None = None  # of an ensemble; None: there is no axis for them

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns)."""
        frames, rows, columns = list(self.sizes.values())[:3]
        return frames, rows, columns

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Of a data variable: the same, after the members where there are any."""
        return self.shape if self.members is None else (self.members, *self.shape)

    def place(self, member: int) -> tuple[int, ...]:
        """Index of a member in a data variable; nothing where there is no axis for it."""
        return () if self.members is None else (member,)


def describe(
    variables: Sequence[str],
    layout: SourceLayout,
    grid: Grid,
    times: TimeAxis,
    *,
    registration: Registration,
    bucket_step: np.timedelta64 | None,
    provenance: Mapping[str, str],
    members: int | None = None,
) -> Description:
    """The description of a fine forecast.

    Args:
        variables: canonical names in channel order.
        layout: how the user's file names and orders things.
        grid: the fine grid, north to south.
        times: the fine valid times.
        registration: CELL gives latitude and longitude bounds.
        bucket_step: length of one fine bucket where the variables are accumulated or averaged; gives time bounds.
        provenance: global attributes that say how the file was made.
        members: of a stochastic model; gives the axis `realization`.
    """
    dims = ("time", layout.lat_name, layout.lon_name)
    sizes = {dims[0]: len(times), dims[1]: grid.lat.size, dims[2]: grid.lon.size}
    coordinates = [
        *_time_coordinates(times, bucket_step),
        *_horizontal_coordinates(layout, grid, registration),
        FileVariable(
            "crs", (), {"grid_mapping_name": "latitude_longitude", "earth_radius": EARTH_RADIUS_M}, _scalar(0)
        ),
    ]
    if registration is Registration.CELL or bucket_step is not None:
        sizes["bnds"] = 2
    heights = sorted({row.cell_height for row in map(lookup, variables) if row.cell_height is not None})
    for height in heights:
        attrs: dict[str, Attribute] = {"standard_name": "height", "long_name": f"height above ground, {height}"}
        attrs |= {"units": "m", "positive": "up"}
        coordinates.append(FileVariable(_height_name(height), (), attrs, np.asarray(float(height.split()[0]))))
    data = tuple(_data_variable(name, layout, dims) for name in variables)
    attributes: dict[str, Attribute] = {"Conventions": "CF-1.11", **provenance}
    described = Description(sizes, tuple(coordinates), data, attributes, layout.lat_ascending)
    return described if members is None else with_members(described, members)


def with_members(single: Description, members: int) -> Description:
    """The description of an ensemble, of which every member is as `single` says."""
    return replace(
        single,
        sizes={**single.sizes, REALIZATION: members},
        coordinates=(*single.coordinates, _realization(members)),
        data=tuple(replace(each, dims=(REALIZATION, *each.dims)) for each in single.data),
        members=members,
    )


def _realization(members: int) -> FileVariable:
    attrs: dict[str, Attribute] = {"standard_name": "realization", "long_name": "member of the ensemble", "units": "1"}
    return FileVariable(REALIZATION, (REALIZATION,), attrs, np.arange(members, dtype=np.int32))


def flag_variable(dims: tuple[str, ...]) -> FileVariable:
    """The quality flag that every data variable names as its ancillary variable."""
    attrs: dict[str, Attribute] = {
        "standard_name": "quality_flag",
        "long_name": "why a value deserves less trust",
        "flag_masks": np.array([bit.value for bit in Quality], np.uint8),
        "flag_meanings": " ".join(str(bit.name).lower() for bit in Quality),
    }
    return FileVariable(FLAG_NAME, dims, attrs)


def _data_variable(name: str, layout: SourceLayout, dims: tuple[str, ...]) -> FileVariable:
    row = lookup(name)
    extra = [] if row.cell_height is None else [_height_name(row.cell_height)]
    level = name.partition("@")[2]
    methods = {TimeKind.ACCUMULATED: "time: sum", TimeKind.AVERAGED: "time: mean"}.get(row.time_kind, "time: point")
    attrs: dict[str, Attribute] = {
        "standard_name": row.standard_name,
        "long_name": f"{row.long_name} at {level} hPa" if level else row.long_name,
        "units": row.units,
        "cell_methods": methods,
        "coordinates": " ".join(["forecast_reference_time", "forecast_period", *extra]),
        "grid_mapping": "crs",
        "ancillary_variables": FLAG_NAME,
    }
    if row.units == "K":
        attrs["units_metadata"] = "temperature: on_scale"
    return FileVariable(layout.variable_names.get(name, name.replace("@", "_")), dims, attrs)


def _time_coordinates(times: TimeAxis, bucket_step: np.timedelta64 | None) -> list[FileVariable]:
    reference = np.datetime_as_string(times.reference_time, "s").replace("T", " ")
    units: dict[str, Attribute] = {"units": f"seconds since {reference}", "calendar": "standard"}
    units["units_metadata"] = "leap_seconds: none"  # the clock of NumPy, pandas and every forecast file
    second = np.timedelta64(1, "s")
    seconds = _whole_if_exact(times.lead_times / second)
    bounds: dict[str, Attribute] = {} if bucket_step is None else {"bounds": "time_bnds"}
    coordinates = [
        FileVariable(
            "time",
            ("time",),
            {"standard_name": "time", "long_name": "valid time", "axis": "T", **units, **bounds},
            seconds,
        ),
        FileVariable(
            "forecast_reference_time",
            (),
            {"standard_name": "forecast_reference_time", "long_name": "start of the forecast", **units},
            _scalar(0),
        ),
        FileVariable(
            "forecast_period",
            ("time",),
            {"standard_name": "forecast_period", "long_name": "time since the start of the forecast", "units": "hours"},
            times.lead_hours,
        ),
    ]
    if bucket_step is not None:
        edges = _whole_if_exact(np.stack([times.lead_times - bucket_step, times.lead_times], axis=1) / second)
        coordinates.append(FileVariable("time_bnds", ("time", "bnds"), {}, edges))
    return coordinates


def _horizontal_coordinates(layout: SourceLayout, grid: Grid, registration: Registration) -> list[FileVariable]:
    # whole turns only: the axis stays monotonic, and its west end lies in the file's own range
    turns = np.floor((grid.lon[0] - layout.longitudes_from + 1e-9) / 360.0)
    lon = grid.lon - 360.0 * turns
    lat = grid.lat[::-1] if layout.lat_ascending else grid.lat
    coordinates = []
    for name, values, spacing, standard, axis, units in (
        (layout.lat_name, lat, grid.spacing_deg[0], "latitude", "Y", "degrees_north"),
        (layout.lon_name, lon, grid.spacing_deg[1], "longitude", "X", "degrees_east"),
    ):
        attrs: dict[str, Attribute] = {"standard_name": standard, "long_name": standard, "units": units, "axis": axis}
        if registration is Registration.CELL:
            attrs["bounds"] = f"{name}_bnds"
            half = spacing / 2 * (-1.0 if values.size > 1 and values[1] < values[0] else 1.0)
            edges = np.stack([values - half, values + half], axis=1)
            if axis == "Y":
                edges = np.clip(edges, -90.0, 90.0)
            coordinates.append(FileVariable(f"{name}_bnds", (name, "bnds"), {}, edges))
        coordinates.append(FileVariable(name, (name,), attrs, np.ascontiguousarray(values)))
    return coordinates


def _height_name(height: str) -> str:
    return f"height_{height.replace(' ', '')}"


def _scalar(value: int) -> npt.NDArray[np.int32]:
    return np.asarray(value, np.int32)


def _whole_if_exact(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.generic]:
    # a factor such as 7 leaves no whole seconds, and a long climate run overflows int32
    exact = np.array_equal(seconds, np.rint(seconds)) and np.abs(seconds).max(initial=0) < np.iinfo(np.int32).max
    return seconds.astype(np.int32) if exact else seconds
