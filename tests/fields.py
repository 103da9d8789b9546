"""Analytic fields with known answers."""

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis

FloatArray = npt.NDArray[np.float64]


def ramp(frames: int, height: int, width: int, per_frame: float = 0.5, per_cell: float = 1.0) -> FloatArray:
    """(T, H, W), linear in time and space: value = 280 + 0.5 n + i - 2 j/3 with frame n, row i, column j."""
    n, i, j = np.ogrid[:frames, :height, :width]
    values: FloatArray = 280.0 + per_frame * n + per_cell * (i - 2 * j / 3)
    return values


def waves(frames: int, height: int, width: int, seed: int = 0) -> FloatArray:
    """(T, H, W), smooth and without symmetry: a sum of plane waves that travel."""
    generator = np.random.Generator(np.random.PCG64(seed))
    n, i, j = np.ogrid[:frames, :height, :width]
    total = np.zeros((frames, height, width))
    for _ in range(6):
        ky, kx = generator.uniform(-0.25, 0.25, 2)
        total += generator.uniform(0.5, 2) * np.sin(ky * i + kx * j + 0.1 * n + generator.uniform(0, 6))
    return total


def grid(height: int, width: int, north: float = 50.0, west: float = 5.0, spacing: float = 0.25) -> Grid:
    """A regular grid that falls from `north` and rises from `west`."""
    return Grid(north - spacing * np.arange(height), west + spacing * np.arange(width))


def times(frames: int, hours: float = 1.0, start: str = "2021-03-01T00") -> TimeAxis:
    """Frames every `hours` from the reference time on."""
    first = np.datetime64(start, "ns")
    return TimeAxis(first, first + np.timedelta64(int(hours * 3600), "s") * np.arange(frames))


def forecast(values: FloatArray, variables: tuple[str, ...] = ("t2m",), spacing: float = 0.25) -> Forecast:
    """A forecast over (T, C, H, W), or (T, H, W) of one variable."""
    if values.ndim == 3:
        values = values[:, None]
    return Forecast.from_arrays(
        values, variables, grid(*values.shape[-2:], spacing=spacing), times(values.shape[0]), source="analytic.nc"
    )
