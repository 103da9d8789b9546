"""Which row of the table a dataset's variable is."""

import xarray as xr

from gfs_sr.data.variables import VARIABLES, Variable, canonical_names

# Screen level is 1.25 to 2 m by service; 10 m is 10 m.
HEIGHT_TOLERANCE = {"2 m": (1.0, 2.5), "10 m": (9.5, 10.5)}

BY_NAME, BY_ALIAS, BY_STANDARD_NAME = range(3)


def match_variable(array: xr.DataArray, *, has_level: bool, height_m: float | None) -> tuple[Variable, int] | None:
    """(row, rank of the match, 0 the best) or None: exact name, then alias, then standard name with height.

    Args:
        array: the variable.
        has_level: it has a pressure level, as a dimension or one value.
        height_m: its height above ground, where the file says so.
    """
    name = str(array.name)
    row = VARIABLES.get(canonical_names().get(name, ""))
    if row is not None:
        rank = BY_NAME if name == row.name else BY_ALIAS
        if row.on_levels == has_level:
            return row, rank
        if row.on_levels:
            if row.name == "z":
                return VARIABLES["orog"], rank  # ERA5 calls the geopotential of the surface z
            at_height = _by_standard_name(row.standard_name, has_level=False, height_m=height_m)
            return None if at_height is None else (at_height, rank)
        return None
    standard = str(array.attrs.get("standard_name", ""))
    row = _by_standard_name(standard, has_level=has_level, height_m=height_m)
    return None if row is None else (row, BY_STANDARD_NAME)


def _by_standard_name(standard: str, *, has_level: bool, height_m: float | None) -> Variable | None:
    for row in VARIABLES.values():
        if row.standard_name != standard or row.on_levels != has_level:
            continue
        if row.on_levels or row.cell_height is None:
            return row
        low, high = HEIGHT_TOLERANCE[row.cell_height]
        if height_m is not None and low <= height_m <= high:
            return row
    return None
