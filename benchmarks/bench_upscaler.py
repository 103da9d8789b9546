"""`Upscaler` end to end, file to file, against the bare backend on the same tile batches.

The ratio is what reading, gathering, scattering and writing cost on top of inference. `factorized` has 2 residual
blocks here instead of 20: the full trunk takes minutes a round on two cores, and hides the rest even better.
Not timed: opening the artifact, and filling the tile batches of the bare backend.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.sources import open_forecast
from gfs_sr.data.variables import lookup
from gfs_sr.runtime.planner import choose_layout
from gfs_sr.runtime.request import Request, prepare
from gfs_sr.runtime.sink import open_sink
from gfs_sr.runtime.stages import Stages
from gfs_sr.runtime.statics import open_job_statics
from gfs_sr.runtime.upscaler import Upscaler

MODELS = {
    "fused": {"family": "fused"},
    "factorized, 2 blocks": {"family": "factorized", "blocks": 2},
}
FRAMES, ROWS, COLUMNS = 13, 48, 48
VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """(name, artifact folder) of an untrained network: the weights do not change the speed."""
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    folder = tmp_path_factory.mktemp("models") / "artifact"
    publish(make_checkpoint(MODELS[request.param], spread=0.01), folder)
    return request.param, folder


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Three days of five variables, 6-hourly."""
    random = np.random.default_rng(1)
    dims = ("time", "lat", "lon")
    fields = {}
    for name in VARIABLES:
        row = lookup(name)
        values = np.clip(row.typical[0] + row.typical[1] * random.normal(0, 0.3, (FRAMES, ROWS, COLUMNS)), *row.bounds)
        fields[name] = (dims, values.astype(np.float32), {"units": row.units, "standard_name": row.standard_name})
    coordinates = {
        "time": np.datetime64("2026-01-01T00", "ns") + np.timedelta64(6, "h") * np.arange(FRAMES),
        "lat": ("lat", 60 - 0.5 * np.arange(ROWS), {"units": "degrees_north"}),
        "lon": ("lon", 0.5 * np.arange(COLUMNS), {"units": "degrees_east"}),
    }
    path = tmp_path_factory.mktemp("source") / "coarse.nc"
    xr.Dataset(fields, coordinates).to_netcdf(path)
    return path


def batches(upscaler: Upscaler, source: Path):
    """Every tile batch of the job, gathered: what the backend is given on the way."""
    forecast = open_forecast(source)
    job = prepare(upscaler.contract, forecast, Request())
    layout = choose_layout(job, Request(), None)
    stages = Stages(layout, open_job_statics(layout, None))
    gathered = []
    for window in stages.windows():
        fields = stages.fields(window)
        for band in layout.bands:
            for tiles in layout.batches(band):
                buffers = layout.empty_inputs()
                stages.gather(window, fields, tiles, buffers)
                gathered.append(layout.inputs(buffers, len(tiles)))
    return gathered, job.output_cells


@pytest.mark.benchmark(group="upscaler")
@pytest.mark.parametrize("implementation", ["bare backend", "netcdf to zarr", "netcdf to netcdf"])
def bench_upscaler(benchmark, model, source, tmp_path, implementation):
    name, folder = model
    with Upscaler.open(folder) as upscaler:
        gathered, cells = batches(upscaler, source)
        if implementation == "bare backend":

            def once():
                for inputs in gathered:
                    upscaler.backend.infer(inputs)
        else:
            target = tmp_path / f"fine{'.zarr' if implementation.endswith('zarr') else '.nc'}"

            def once():
                upscaler.run(open_forecast(source), open_sink(target))

        benchmark.pedantic(once, rounds=5, warmup_rounds=1)
    benchmark.extra_info |= {
        "case": f"{name}, {FRAMES}x{len(VARIABLES)}x{ROWS}x{COLUMNS} to x6/x6",
        "implementation": implementation,
        "reference": "bare backend",
        "cells": cells,
    }
