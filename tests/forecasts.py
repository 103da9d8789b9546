"""Small forecasts in memory."""

import numpy as np

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import lookup


def make_forecast(frames=3, variables=("t2m",), grid=None, interval_hours=6, **options) -> Forecast:
    """Smooth random fields with the table's typical mean and spread."""
    grid = grid or Grid(50 - 1.0 * np.arange(9), 5 + 1.0 * np.arange(11))
    random = np.random.default_rng(7)
    values = np.empty((frames, len(variables), *grid.shape), np.float32)
    for channel, name in enumerate(variables):
        mean, sd = lookup(name).typical
        noise = random.normal(0, 0.5, (frames, *grid.shape))
        low, high = lookup(name).bounds
        values[:, channel] = np.clip(mean + sd * noise, low, high)
    step = np.timedelta64(interval_hours, "h")
    times = TimeAxis.from_times(None, np.datetime64("2026-03-01T00") + step * np.arange(frames), "test")
    return Forecast.from_arrays(values, variables, grid, times, **options)


def globe(step=5.0):
    """A global grid with rows on both poles."""
    return Grid(90 - step * np.arange(int(180 / step) + 1), step * np.arange(int(360 / step)))
