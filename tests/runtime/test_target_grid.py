"""Models of fixed fine cells: any coarse grid that covers them, factors that are no whole numbers."""

import numpy as np
import pytest
from scipy.interpolate import NearestNDInterpolator

from export.publication import publish
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import ShapeMismatch
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.target_grid import on_target_grid
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint

# the seed's task, smaller: 1.25 by 0.942408 degrees to a tenth of a degree
TARGET = (40.05, -110.25, 0.1, 31, 42)
COARSE = Grid(43.5 - 0.942408 * np.arange(8), -113.0 + 1.25 * np.arange(7))
UNET = {
    "family": "unet", "variables": ["tp"], "predictor_variables": ["t@850", "sp"], "own_coarse": False,
    "baseline_residual": False, "scale_factor": 1, "time_factor": 1, "registration": "cell", "space": "nearest",
    "target_grid": list(TARGET), "width": 4, "multipliers": [1, 2], "blocks": 1, "dropout": 0.0, "attention_heads": 2,
}  # fmt: skip


def forecast_on(grid=COARSE, frames=2):
    start = np.datetime64("2024-03-01T00", "ns")
    times = TimeAxis(start, start + np.timedelta64(24, "h").astype("timedelta64[ns]") * np.arange(frames))
    rng = np.random.default_rng(3)
    values = rng.standard_normal((frames, 2, *grid.shape)) * [[[[8.0]], [[900.0]]]] + [[[[280.0]], [[85000.0]]]]
    return Forecast.from_arrays(values, ("t@850", "sp"), grid, times, registration=Registration.CELL)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small artifact."""
    return publish(make_checkpoint(UNET, spread=0.1), tmp_path_factory.mktemp("fixed") / "unet").artifact.path


def test_the_fine_forecast_lies_on_the_models_own_cells(model):
    with Upscaler.open(model, backend="onnxruntime", threads=1) as upscaler:
        fine = upscaler.upscale_forecast(forecast_on(), Request(extent="full"))
        again = upscaler.upscale_forecast(
            on_target_grid(forecast_on(), upscaler.contract), Request(extent="full")
        )  # fmt: skip
    north, west, spacing, rows, columns = TARGET
    np.testing.assert_allclose(fine.grid.lat, north - spacing * np.arange(rows), atol=1e-9)
    np.testing.assert_allclose(fine.grid.lon, west + spacing * np.arange(columns), atol=1e-9)
    assert fine.variables == ("tp",)
    assert np.isfinite(fine.members).all()
    np.testing.assert_array_equal(again.members, fine.members)  # what lies there already stays as it is


def test_each_cell_takes_the_nearest_coarse_value(model):
    forecast = forecast_on()
    with Upscaler.open(model) as upscaler:
        there = on_target_grid(forecast, upscaler.contract)
    points = np.stack(np.meshgrid(COARSE.lat / 0.942408, COARSE.lon / 1.25, indexing="ij"), axis=-1).reshape(-1, 2)
    cells = np.stack(np.meshgrid(there.grid.lat / 0.942408, there.grid.lon / 1.25, indexing="ij"), axis=-1)
    for frame in range(2):
        expected = [NearestNDInterpolator(points, field.ravel())(cells) for field in forecast.frame(frame)]
        np.testing.assert_array_equal(there.frame(frame), np.stack(expected).astype(np.float32))


def test_nothing_is_read_before_it_is_asked_for(model, monkeypatch):
    forecast, read = forecast_on(), []
    watched = Forecast(
        forecast.variables, forecast.grid, forecast.times,
        tuple(lambda frame, each=each: (read.append(frame), each(frame))[1] for each in forecast.readers),
        registration=Registration.CELL,
    )  # fmt: skip
    with Upscaler.open(model) as upscaler:
        there = on_target_grid(watched, upscaler.contract)
    assert read == []
    there.frame(1)
    assert read == [1, 1]


def test_a_forecast_that_does_not_cover_the_cells_is_refused(model):
    with Upscaler.open(model) as upscaler, pytest.raises(ShapeMismatch, match="do not cover"):
        upscaler.upscale_forecast(forecast_on(Grid(COARSE.lat[:3], COARSE.lon)))
