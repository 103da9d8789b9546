"""The one table of variables: names, units, time kind, bounds, vector partners."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from gfs_sr.errors import MissingVariable, WrongUnits


class TimeKind(StrEnum):
    """What one frame of a variable says about time."""

    INSTANT = "instant"
    ACCUMULATED = "accumulated"
    AVERAGED = "averaged"
    STATIC = "static"


@dataclass(frozen=True)
class GribKey:
    """How a variable is found in GRIB: ecCodes short name, level type and level."""

    short_name: str
    type_of_level: str | None = None
    level: int | None = None


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    `units` are the canonical ones every reader converts to; `accepts` maps other spellings and units to
    (factor, offset), canonical = factor · given + offset.
    """

    name: str
    long_name: str
    standard_name: str
    units: str
    time_kind: TimeKind
    bounds: tuple[float, float]
    typical: tuple[float, float]  # mean and standard deviation over the globe, the default normalization
    spread_floor: float  # smallest local spread worth scaling by, canonical units
    grib: tuple[GribKey, ...] = ()
    aliases: frozenset[str] = frozenset()  # NetCDF and Zarr names: ERA5, ECMWF, GFS, CF, the seed systems
    accepts: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    vector_partner: str | None = None  # its sign flips over a pole together with the partner's
    on_levels: bool = False  # a row for every pressure level, written name@hPa
    cell_height: str | None = None  # CF scalar coordinate: "2 m", "10 m"

    def to_canonical(self, units: str, where: str) -> tuple[float, float]:
        """(factor, offset) that turn values in `units` into canonical ones.

        Raises:
            WrongUnits: `units` cannot be converted.
        """
        spelled = " ".join(units.split())
        if spelled == self.units:
            return 1.0, 0.0
        if spelled in self.accepts:
            return self.accepts[spelled]
        known = ", ".join([self.units, *self.accepts])
        raise WrongUnits(
            f"units {units!r} cannot be converted to {self.units!r}", where, f"give {self.name} in one of: {known}"
        )

    def from_canonical(self, units: str, where: str) -> tuple[float, float]:
        """(factor, offset) that turn canonical values into `units`.

        Raises:
            WrongUnits: `units` cannot be converted.
        """
        factor, offset = self.to_canonical(units, where)
        return 1 / factor, -offset / factor


STANDARD_GRAVITY = 9.80665  # m s-2, 3rd CGPM 1901: geopotential over it is geopotential height

_KELVIN = {
    "kelvin": (1.0, 0.0),
    "degK": (1.0, 0.0),
    "degC": (1.0, 273.15),
    "Celsius": (1.0, 273.15),
    "celsius": (1.0, 273.15),
    "deg_C": (1.0, 273.15),
    "degree_Celsius": (1.0, 273.15),
    "°C": (1.0, 273.15),
    "C": (1.0, 273.15),
}
_PASCAL = {
    "hPa": (100.0, 0.0),
    "mbar": (100.0, 0.0),
    "mb": (100.0, 0.0),
    "millibars": (100.0, 0.0),
    "kPa": (1000.0, 0.0),
}
_SPEED = {
    "m/s": (1.0, 0.0),
    "m s**-1": (1.0, 0.0),
    "m.s-1": (1.0, 0.0),
    "m s^-1": (1.0, 0.0),
    "meter/second": (1.0, 0.0),
    "km/h": (1 / 3.6, 0.0),
    "knots": (0.514444, 0.0),  # 1852 m per hour
    "kt": (0.514444, 0.0),
}
_PERCENT = {"percent": (1.0, 0.0), "1": (100.0, 0.0), "(0 - 1)": (100.0, 0.0)}
_WATER = {
    "kg m**-2": (1.0, 0.0),
    "kg/m^2": (1.0, 0.0),
    "kg m^-2": (1.0, 0.0),
    "mm": (1.0, 0.0),
    "m": (1000.0, 0.0),  # a meter of liquid water is 1000 kg m-2
    "m of water equivalent": (1000.0, 0.0),
}
_MASS_RATIO = {
    "kg kg**-1": (1.0, 0.0),
    "kg/kg": (1.0, 0.0),
    "1": (1.0, 0.0),
    "g kg-1": (1e-3, 0.0),
    "g/kg": (1e-3, 0.0),
}
_METER = {
    "gpm": (1.0, 0.0),
    "km": (1000.0, 0.0),
    "meters": (1.0, 0.0),
    "m**2 s**-2": (1 / STANDARD_GRAVITY, 0.0),
    "m2 s-2": (1 / STANDARD_GRAVITY, 0.0),
}
_FRACTION = {"(0 - 1)": (1.0, 0.0), "Proportion": (1.0, 0.0), "0 - 1": (1.0, 0.0), "%": (0.01, 0.0), "": (1.0, 0.0)}


def _at(short_names: str, type_of_level: str, *levels: int) -> tuple[GribKey, ...]:
    return tuple(GribKey(name, type_of_level, level) for name in short_names.split() for level in levels)


_I = TimeKind.INSTANT

_ROWS = (
    Variable(
        "t2m", "2 metre temperature", "air_temperature", "K", _I, (150.0, 350.0), (281.0, 17.0), 0.1,
        (GribKey("2t"), *_at("t", "heightAboveGround", 2)),
        frozenset({"2t", "T2", "tas", "air_temperature_2m", "2m_temperature", "temperature_2m", "air_temperature_at_2m",
                   "TMP_2maboveground", "t2", "Tair", "air_temperature__at_2m"}),
        _KELVIN, cell_height="2 m",
    ),
    Variable(
        "d2m", "2 metre dewpoint temperature", "dew_point_temperature", "K", _I, (150.0, 350.0), (275.0, 16.0), 0.1,
        (GribKey("2d"), *_at("dpt", "heightAboveGround", 2)),
        frozenset({"2d", "tdps", "2m_dewpoint_temperature", "dewpoint_2m", "DPT_2maboveground"}),
        _KELVIN, cell_height="2 m",
    ),
    Variable(
        "r2", "2 metre relative humidity", "relative_humidity", "%", _I, (0.0, 100.0), (76.0, 19.0), 1.0,
        (GribKey("2r"), *_at("r", "heightAboveGround", 2)),
        frozenset({"2r", "hurs", "rh2", "rh2m", "r2m", "relative_humidity_2m", "2m_relative_humidity",
                   "RH_2maboveground"}),
        _PERCENT, cell_height="2 m",
    ),
    Variable(
        "u10", "10 metre eastward wind", "eastward_wind", "m s-1", _I, (-150.0, 150.0), (0.0, 5.5), 0.2,
        (GribKey("10u"), *_at("u", "heightAboveGround", 10)),
        frozenset({"10u", "U10", "uas", "10m_u_component_of_wind", "UGRD_10maboveground", "u_wind_10m"}),
        _SPEED, vector_partner="v10", cell_height="10 m",
    ),
    Variable(
        "v10", "10 metre northward wind", "northward_wind", "m s-1", _I, (-150.0, 150.0), (0.0, 5.0), 0.2,
        (GribKey("10v"), *_at("v", "heightAboveGround", 10)),
        frozenset({"10v", "V10", "vas", "10m_v_component_of_wind", "VGRD_10maboveground", "v_wind_10m"}),
        _SPEED, vector_partner="u10", cell_height="10 m",
    ),
    Variable(
        "wspd", "10 metre wind speed", "wind_speed", "m s-1", _I, (0.0, 150.0), (6.0, 3.5), 0.2,
        (GribKey("10si"), GribKey("10ws"), *_at("ws", "heightAboveGround", 10)),
        frozenset({"10si", "si10", "ws10", "sfcWind", "wind_speed_10m", "10m_wind_speed", "Wind"}),
        _SPEED, cell_height="10 m",
    ),
    Variable(
        "sp", "Surface pressure", "surface_air_pressure", "Pa", _I, (30000.0, 115000.0), (97000.0, 9500.0), 10.0,
        (*_at("sp pres", "surface", 0),),
        frozenset({"ps", "PSFC", "surface_pressure", "PRES_surface"}),
        _PASCAL,
    ),
    Variable(
        "msl", "Mean sea level pressure", "air_pressure_at_mean_sea_level", "Pa", _I, (85000.0, 110000.0),
        (101200.0, 1300.0), 10.0,
        (GribKey("msl"), *_at("prmsl mslet msl", "meanSea", 0)),
        frozenset({"prmsl", "psl", "mslp", "mean_sea_level_pressure", "PRMSL_meansealevel",
                   "air_pressure_at_sea_level"}),
        _PASCAL,
    ),
    Variable(
        "tp", "Total precipitation", "precipitation_amount", "kg m-2", TimeKind.ACCUMULATED, (0.0, 3000.0), (0.5, 2.0),
        0.05, (GribKey("tp"),),
        frozenset({"pr", "precip", "total_precipitation", "precipitation", "apcp", "APCP_surface"}),
        _WATER,
    ),
    Variable(
        "orog", "Orography", "surface_altitude", "m", TimeKind.STATIC, (-500.0, 9000.0), (380.0, 850.0), 10.0,
        (*_at("orog h z", "surface", 0),),
        frozenset({"orography", "elevation", "HGT_surface", "HSURF", "topo", "surface_altitude"}),
        _METER,
    ),
    Variable(
        "lsm", "Land-sea mask", "land_binary_mask", "1", TimeKind.STATIC, (0.0, 1.0), (0.3, 0.45), 0.05,
        (*_at("lsm", "surface", 0),),
        frozenset({"landseamask", "land_sea_mask", "LAND_surface", "LANDMASK", "FR_LAND"}),
        _FRACTION,
    ),
    Variable(
        "t", "Temperature", "air_temperature", "K", _I, (150.0, 350.0), (260.0, 20.0), 0.1,
        (GribKey("t", "isobaricInhPa"),), frozenset({"temperature", "air"}), _KELVIN, on_levels=True,
    ),
    Variable(
        "u", "Eastward wind", "eastward_wind", "m s-1", _I, (-200.0, 200.0), (3.0, 10.0), 0.2,
        (GribKey("u", "isobaricInhPa"),), frozenset({"u_component_of_wind"}), _SPEED, vector_partner="v",
        on_levels=True,
    ),
    Variable(
        "v", "Northward wind", "northward_wind", "m s-1", _I, (-200.0, 200.0), (0.0, 8.0), 0.2,
        (GribKey("v", "isobaricInhPa"),), frozenset({"v_component_of_wind"}), _SPEED, vector_partner="u",
        on_levels=True,
    ),
    Variable(
        "w", "Vertical velocity", "lagrangian_tendency_of_air_pressure", "Pa s-1", _I, (-100.0, 100.0), (0.0, 0.2),
        0.01, (GribKey("w", "isobaricInhPa"),), frozenset({"omega", "vertical_velocity"}),
        {"Pa s**-1": (1.0, 0.0), "Pa/s": (1.0, 0.0)},
        on_levels=True,
    ),
    Variable(
        "q", "Specific humidity", "specific_humidity", "kg kg-1", _I, (0.0, 0.05), (4e-3, 4e-3), 2e-5,
        (GribKey("q", "isobaricInhPa"),), frozenset({"specific_humidity"}), _MASS_RATIO, on_levels=True,
    ),
    Variable(
        "r", "Relative humidity", "relative_humidity", "%", _I, (0.0, 170.0), (55.0, 30.0), 1.0,
        (GribKey("r", "isobaricInhPa"),), frozenset({"relative_humidity", "rh"}), _PERCENT, on_levels=True,
    ),
    Variable(
        "z", "Geopotential height", "geopotential_height", "m", _I, (-1000.0, 60000.0), (5000.0, 1000.0), 2.0,
        (GribKey("gh", "isobaricInhPa"), GribKey("z", "isobaricInhPa")),
        frozenset({"gh", "geopotential", "geopotential_height"}), _METER, on_levels=True,
    ),
    Variable(
        "vo", "Relative vorticity", "atmosphere_relative_vorticity", "s-1", _I, (-1e-2, 1e-2), (0.0, 4e-5), 1e-6,
        (GribKey("vo", "isobaricInhPa"),), frozenset({"vorticity", "relative_vorticity"}),
        {"s**-1": (1.0, 0.0), "1/s": (1.0, 0.0)}, on_levels=True,
    ),
)  # fmt: skip

VARIABLES: dict[str, Variable] = {row.name: row for row in _ROWS}
"""Rows by canonical name. The position in the table is the variable's id in models that embed it."""

OROGRAPHY, LAND_SEA_MASK = "orog", "lsm"


def base_name(name: str) -> str:
    """`t@850` -> `t`."""
    return name.partition("@")[0]


def lookup(name: str) -> Variable:
    """The row of a canonical name, with or without level.

    Raises:
        MissingVariable: no such row.
    """
    row = VARIABLES.get(base_name(name))
    if row is None or ("@" in name and not row.on_levels):
        raise MissingVariable(
            f"unknown variable {name!r}", "variable table", f"use one of: {', '.join(VARIABLES)} (levels as t@850)"
        )
    return row


def variable_ids(names: Iterable[str]) -> list[int]:
    """Positions in the table, one per name: what models embed."""
    order = {name: index for index, name in enumerate(VARIABLES)}
    return [order[lookup(name).name] for name in names]


@cache
def canonical_names() -> dict[str, str]:
    """Every NetCDF and Zarr name of the table -> canonical name."""
    return {alias: row.name for row in _ROWS for alias in (row.name, *row.aliases)}
