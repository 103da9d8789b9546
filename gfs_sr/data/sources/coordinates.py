"""What the coordinates of a dataset mean: latitude, longitude, time, lead time, level, height, member."""

from enum import StrEnum

import numpy as np
import xarray as xr

LAT_UNITS = {"degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"}
LON_UNITS = {"degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"}
LAT_NAMES = {"lat", "latitude", "xlat", "nav_lat"}
LON_NAMES = {"lon", "longitude", "xlong", "nav_lon", "long"}
LEAD_NAMES = {"step", "lead_time", "leadtime", "lead", "forecast_period", "prediction_timedelta", "forecast_hour"}
REFERENCE_NAMES = {"forecast_reference_time", "reftime", "reference_time", "init_time", "initial_time", "run"}
TIME_NAMES = {"time", "valid_time", "time_counter", "xtime"}
LEVEL_NAMES = {"isobaricinhpa", "isobaricinpa", "pressure_level", "plev", "level", "lev", "pressure", "isobaric"}
HEIGHT_NAMES = {"height", "heightaboveground", "height_above_ground", "height_2m", "height_10m"}
MEMBER_NAMES = {"number", "realization", "member", "ensemble", "ens"}
PRESSURE_HPA = {"hpa": 1.0, "millibars": 1.0, "millibar": 1.0, "mbar": 1.0, "mb": 1.0, "pa": 0.01}
LEAD_NS = {"hour": 3600 * 10**9, "h": 3600 * 10**9, "hr": 3600 * 10**9, "minute": 60 * 10**9, "min": 60 * 10**9,
           "second": 10**9, "s": 10**9, "day": 86400 * 10**9, "d": 86400 * 10**9}  # fmt: skip


class Role(StrEnum):
    """What a coordinate says."""

    LAT = "latitude"
    LON = "longitude"
    TIME = "time"
    LEAD = "lead time"
    REFERENCE = "reference time"
    LEVEL = "pressure level"
    HEIGHT = "height"
    MEMBER = "member"
    VERSION = "expver"  # ECMWF: final and preliminary analyses side by side
    PROJECTED = "projected axis"
    OTHER = "other"


def role_of(name: str, coordinate: xr.Variable) -> Role:
    """The role of a coordinate, by its standard name, type and units, then its name."""
    attrs = coordinate.attrs
    standard = str(attrs.get("standard_name", ""))
    units = str(attrs.get("units", "")).lower()
    lower = name.lower()
    kind = coordinate.dtype.kind
    role = Role.OTHER
    if standard in {"grid_latitude", "grid_longitude", "projection_x_coordinate", "projection_y_coordinate"}:
        role = Role.PROJECTED
    elif standard == "latitude" or units in LAT_UNITS or (lower in LAT_NAMES and units not in {"m", "km"}):
        role = Role.LAT
    elif standard == "longitude" or units in LON_UNITS or (lower in LON_NAMES and units not in {"m", "km"}):
        role = Role.LON
    elif "expver" in lower:
        role = Role.VERSION
    elif lower in MEMBER_NAMES or standard == "realization":
        role = Role.MEMBER
    elif standard == "forecast_reference_time" or (lower in REFERENCE_NAMES and kind in "MO"):
        role = Role.REFERENCE
    elif kind == "M" or standard == "time" or (kind == "O" and lower in TIME_NAMES):
        role = Role.TIME
    elif kind == "m" or standard == "forecast_period" or (lower in LEAD_NAMES and kind in "iuf"):
        role = Role.LEAD
    elif standard == "height" or lower in HEIGHT_NAMES:
        role = Role.HEIGHT
    elif standard == "air_pressure" or (lower in LEVEL_NAMES and (not units or units in PRESSURE_HPA)):
        role = Role.LEVEL
    return role


def levels_hpa(name: str, coordinate: xr.Variable) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Pressure of each level in hPa; a file that says no units means hPa, unless the name says Pa."""
    units = str(coordinate.attrs.get("units", "")).lower()
    default = 0.01 if name.lower() in {"plev", "isobaricinpa"} else 1.0
    factor = PRESSURE_HPA.get(units, default)
    return np.atleast_1d(np.asarray(coordinate.values, np.float64)) * factor


def lead_times(coordinate: xr.Variable) -> np.ndarray[tuple[int, ...], np.dtype[np.timedelta64]]:
    """Lead times in ns; numbers without units are hours."""
    values = np.atleast_1d(coordinate.values)
    if values.dtype.kind == "m":
        return values.astype("timedelta64[ns]")
    unit = str(coordinate.attrs.get("units", "hours")).lower().split(" ")[0]
    scale = LEAD_NS.get(unit.removesuffix("s") if len(unit) > 1 else unit, LEAD_NS["h"])
    return np.rint(values.astype(np.float64) * scale).astype("timedelta64[ns]")
