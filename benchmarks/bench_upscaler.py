"""`Upscaler` end to end, file to file: against the bare backend on the same batches, and plain ONNX Runtime.

The first ratio is what reading, gathering, scattering and writing cost on top of inference. `factorized` has its full
trunk of 20 blocks (2,863,050 parameters) on a domain small enough for minutes; the halo of 43 cells is most of its
work. `unfolded in ONNX Runtime` is the network exported layer by layer, run with the engine's own defaults on the same
batches, whatever engine the case names. `of_peak` counts the folded operations of the domain without any halo, and
`of_bandwidth` its coarse and fine fields, each once. Not timed: opening the artifact, and filling the batches of the
bare backend. GFS_SR_BENCH_BACKENDS names the engines, comma-separated (default onnxruntime).
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import xarray as xr

from benchmarks.operations import folded_operations
from benchmarks.peaks import shares
from gfs_sr import models
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.variables import lookup
from gfs_sr.runtime.planner import choose_layout
from gfs_sr.runtime.request import Request, prepare
from gfs_sr.runtime.sink import open_sink
from gfs_sr.runtime.stages import Stages
from gfs_sr.runtime.statics import open_job_statics
from gfs_sr.runtime.upscaler import Upscaler

MODELS = {  # configuration, (frames, rows, columns), rounds
    "fused": ({"family": "fused"}, (13, 48, 48), 5),
    "factorized": ({"family": "factorized"}, (4, 128, 128), 2),
}
BACKENDS = os.environ.get("GFS_SR_BENCH_BACKENDS", "onnxruntime").split(",")
VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")
UNFOLDED = "unfolded in ONNX Runtime"


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """(name, artifact folder, unfolded graph) of an untrained network: the weights do not change the speed."""
    from export.graph import write_graph
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    folder = tmp_path_factory.mktemp("models")
    checkpoint = make_checkpoint(MODELS[request.param][0], spread=0.01)
    publish(checkpoint, folder / "artifact")
    write_graph(checkpoint.model(), checkpoint.contract, folder / "unfolded.onnx")
    return request.param, folder / "artifact", folder / "unfolded.onnx"


@pytest.fixture(scope="module")
def source(model, tmp_path_factory) -> Path:
    """Five variables, 6-hourly."""
    frames, rows, columns = MODELS[model[0]][1]
    random = np.random.default_rng(1)
    dims = ("time", "lat", "lon")
    fields = {}
    for name in VARIABLES:
        row = lookup(name)
        values = np.clip(row.typical[0] + row.typical[1] * random.normal(0, 0.3, (frames, rows, columns)), *row.bounds)
        fields[name] = (dims, values.astype(np.float32), {"units": row.units, "standard_name": row.standard_name})
    coordinates = {
        "time": np.datetime64("2026-01-01T00", "ns") + np.timedelta64(6, "h") * np.arange(frames),
        "lat": ("lat", 60 - 0.5 * np.arange(rows), {"units": "degrees_north"}),
        "lon": ("lon", 0.5 * np.arange(columns), {"units": "degrees_east"}),
    }
    path = tmp_path_factory.mktemp("source") / "coarse.nc"
    xr.Dataset(fields, coordinates).to_netcdf(path)
    return path


def batches(upscaler: Upscaler, source: Path):
    """Every call of the engine on the way of the job, its inputs gathered, and the values that come out of all."""
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
                gathered += [layout.inputs(buffers, len(tiles), group) for group in range(len(layout.groups))]
    return gathered, job.output_cells


@pytest.mark.benchmark(group="upscaler")
@pytest.mark.parametrize("implementation", ["bare backend", "netcdf to zarr", "netcdf to netcdf", UNFOLDED])
@pytest.mark.parametrize("backend", BACKENDS)
def bench_upscaler(benchmark, model, source, tmp_path, backend, implementation):
    name, folder, unfolded = model
    with Upscaler.open(folder, backend=backend) as upscaler:
        gathered, cells = batches(upscaler, source)
        if implementation == "bare backend":

            def once():
                for inputs in gathered:
                    upscaler.backend.infer(inputs)

        elif implementation == UNFOLDED:
            session = onnxruntime.InferenceSession(unfolded, providers=["CPUExecutionProvider"])

            def once():
                for inputs in gathered:
                    session.run(["fine"], inputs)
        else:
            target = tmp_path / f"fine{'.zarr' if implementation.endswith('zarr') else '.nc'}"

            def once():
                upscaler.run(open_forecast(source), open_sink(target))

        benchmark.pedantic(once, rounds=MODELS[name][2], warmup_rounds=1)
    frames, rows, columns = MODELS[name][1]
    benchmark.extra_info |= {
        "case": f"{name}, {frames}x{len(VARIABLES)}x{rows}x{columns} to x6/x6, {backend}",
        "implementation": implementation,
        "reference": "bare backend",
        "cells": cells,
        **shares(
            benchmark.stats.stats.min,
            operations=folded_operations(models.build(MODELS[name][0]), (1, frames, len(VARIABLES), rows, columns)),
            moved=4 * (frames * len(VARIABLES) * rows * columns + cells),
        ),
    }
