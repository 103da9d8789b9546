"""A global cycle from coarse fields in memory to a published Zarr: 721x1440 cells, five variables, 8 -> 48 frames, x6.

The whole is 36 GB of fp32. A band of GFS_SR_BENCH_ROWS rows is computed and written: 103 on a GPU, a seventh of the
globe; elsewhere 12 rows of 24 cells by the CPU, a check of this file. `cycle_s` is its time by its share of the cells:
give 721 for the whole. Wider bands spare halo, so a share errs to the slow side. Zarr goes below GFS_SR_BENCH_FOLDER,
where that is given. The network is untrained.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

torch = pytest.importorskip("torch", reason="needs torch, the extra `train`")

from gfs_sr.data.sources import from_dataset  # noqa: E402
from gfs_sr.data.variables import lookup  # noqa: E402
from gfs_sr.runtime.sink import open_sink  # noqa: E402
from gfs_sr.runtime.upscaler import Upscaler  # noqa: E402
from tests.weights import published_weights  # noqa: E402

CUDA = torch.cuda.is_available()
VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")
CONFIGS = {"fused": {"family": "fused", "variables": VARIABLES}, "factorized": {"family": "factorized"}}
FRAMES, GLOBAL_ROWS, GLOBAL_COLUMNS = 8, 721, 1440
ROWS = int(os.environ.get("GFS_SR_BENCH_ROWS", "103" if CUDA else "12"))
COLUMNS = GLOBAL_COLUMNS if CUDA else 24
BACKEND = "torch-cuda" if CUDA else "torch"


def coarse() -> xr.Dataset:
    """6-hourly, smooth, of each variable's typical mean and spread."""
    t, y, x = np.ogrid[:FRAMES, :ROWS, :COLUMNS]
    waves = np.sin(0.02 * x + 0.3 * t) * np.cos(0.05 * y)
    fields = {}
    for name in VARIABLES:
        row = lookup(name)
        values = np.clip(row.typical[0] + row.typical[1] * waves, *row.bounds).astype(np.float32)
        fields[name] = (("time", "lat", "lon"), values, {"units": row.units, "standard_name": row.standard_name})
    coordinates = {
        "time": np.datetime64("2026-01-01T00", "ns") + np.timedelta64(6, "h") * np.arange(FRAMES),
        "lat": ("lat", 90 - 0.25 * np.arange(ROWS), {"units": "degrees_north"}),
        "lon": ("lon", 0.25 * np.arange(COLUMNS), {"units": "degrees_east"}),
    }
    return xr.Dataset(fields, coordinates)


@pytest.mark.benchmark(group="cycle to zarr")
@pytest.mark.parametrize("family", CONFIGS if CUDA else ["fused"])
def bench_cycle(benchmark, family, tmp_path):
    folder = Path(os.environ.get("GFS_SR_BENCH_FOLDER", tmp_path)) / "gfs-sr-bench-cycle"
    folder.mkdir()
    artifact = published_weights(tmp_path / family, CONFIGS[family], 0.03)
    target, dataset = folder / "fine.zarr", coarse()
    cells: list[int] = []
    try:
        with Upscaler.open(artifact, backend=BACKEND, precision="bf16" if CUDA else None) as upscaler:

            def once():
                summary = upscaler.run(from_dataset(dataset, VARIABLES), open_sink(target))
                cells.append(summary.fine_cells)

            setup = {"setup": lambda: shutil.rmtree(target, ignore_errors=True)}
            benchmark.pedantic(once, rounds=2 if CUDA else 1, warmup_rounds=int(CUDA), **setup)
    finally:
        shutil.rmtree(folder)
    share = ROWS * COLUMNS / (GLOBAL_ROWS * GLOBAL_COLUMNS)
    benchmark.extra_info |= {
        "case": f"{family}, {FRAMES}x{len(VARIABLES)}x{ROWS}x{COLUMNS} to zarr",
        "implementation": BACKEND,
        "reference": BACKEND,
        "cells": cells[-1],
        "share": share,
        "cycle_s": benchmark.stats.stats.min / share,
    }
    if CUDA:
        benchmark.extra_info["device"] = torch.cuda.get_device_name()
