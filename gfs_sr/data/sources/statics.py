"""Static fields: orography, land-sea mask."""

from collections.abc import Sequence
from pathlib import Path

from gfs_sr.data.forecast import Field
from gfs_sr.data.grid import Grid
from gfs_sr.data.sources.open import open_forecast


def open_statics(path: Path | str, names: Sequence[str]) -> tuple[dict[str, Field], Grid]:
    """Static fields of a file by canonical name, (H, W) in canonical units, and the grid they lie on.

    Raises:
        MissingVariable: a name is not in the file.
        InputError: the file cannot be used.
    """
    forecast = open_forecast(path, names)
    return dict(zip(forecast.variables, forecast.frame(0), strict=True)), forecast.grid
