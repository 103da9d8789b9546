"""Forecasts for models of fixed fine cells: brought to these, whatever the coarse spacing is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.regrid import Method, regrid

SAME_PLACE = 1e-3  # of a cell


def on_target_grid(forecast: Forecast, contract: Contract) -> Forecast:
    """The forecast on the model's own cells, interpolated as the model was trained; itself where there are none.

    Raises:
        ShapeMismatch: it does not cover them.
    """
    own = contract.target_grid
    if own is None:
        return forecast
    return on_grid(forecast, Grid(np.array(own.lat), np.array(own.lon)), method_of(contract))


def on_grid(forecast: Forecast, target: Grid, method: Method) -> Forecast:
    """The forecast interpolated to other cells, frame by frame as they are read; itself where it lies there.

    Raises:
        ShapeMismatch: it does not cover them.
    """
    if _is_same(forecast.grid, target):
        return forecast
    regrid(np.zeros(forecast.grid.shape), forecast.grid, target, method, forecast.source)  # refused before work starts

    def there(read: Callable[[int], npt.NDArray[Any]], kind: Any) -> Callable[[int], npt.NDArray[Any]]:
        return lambda frame: regrid(read(frame), forecast.grid, target, method, forecast.source).astype(kind)

    flags = forecast.quality
    return replace(
        forecast,
        grid=target,
        readers=tuple(there(read, np.float32) for read in forecast.readers),
        # of what is interpolated from flagged values, flags cannot be interpolated: the nearest cell's
        quality=None if flags is None else lambda frame: regrid(
            flags(frame), forecast.grid, target, "nearest", forecast.source
        ).astype(np.uint8),
    )  # fmt: skip


def method_of(contract: Contract) -> Method:
    """How coarse fields are brought to the model's own cells."""
    space = contract.base.split("/")[0]
    method: Method = next(each for each in get_args(Method) if each == space)
    return method


def _is_same(grid: Grid, target: Grid) -> bool:
    if grid.shape != target.shape:
        return False
    return all(
        np.abs(have - want).max() <= SAME_PLACE * spacing
        for have, want, spacing in zip((grid.lat, grid.lon), (target.lat, target.lon), target.spacing_deg, strict=True)
    )
