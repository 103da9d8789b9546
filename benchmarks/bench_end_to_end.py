"""One command from NetCDF to NetCDF, cold: `gfs-sr upscale` against sup3r 0.2.7 on its own ×3/×4 case.

48 x 48 x 16 hourly frames of five variables become 144 x 144 x 64. Everything counts, from starting the interpreter to
the published file. The peer runs its own configuration (`gen_3x_4x_2f`, eight chunks of 24 x 24 x 8, padded by 4 cells
and 2 frames) in an environment of its own: give its interpreter in GFS_SR_PEERS_PYTHON (`benchmarks/peers/setup.sh`).
Ours is `fused` of the default size for the same factors, untrained as the peer's network is, extent `full`.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks.operations import folded_operations
from benchmarks.peaks import shares
from gfs_sr import models

FRAMES, CELLS, S, R = 16, 48, 3, 4
VARIABLES = {  # ours -> (the peer's name, units, mean, standard deviation)
    "t2m": ("temperature_2m", "K", 280.0, 8.0),
    "u10": ("u_10m", "m s-1", 0.0, 4.0),
    "r2": ("relativehumidity_2m", "%", 60.0, 10.0),
    "v10": ("v_10m", "m s-1", 0.0, 4.0),
    "sp": ("pressure_0m", "Pa", 97000.0, 1500.0),
}
CONFIG = {"family": "fused", "scale_factor": S, "time_factor": R, "interval_hours": 1.0}
PEER = "sup3r 0.2.7"
ROUNDS = 3


def write_source(path: Path, names: dict[str, str]) -> Path:
    """Smooth waves, under the names given."""
    t, y, x = np.ogrid[:FRAMES, :CELLS, :CELLS]
    fields = {}
    for turn, (ours, name) in enumerate(names.items()):
        _, units, mean, sd = VARIABLES[ours]
        values = mean + sd * np.sin(0.3 * x + 0.2 * t + turn) * np.cos(0.25 * y)
        fields[name] = (("time", "lat", "lon"), values.astype(np.float32), {"units": units})
    coordinates = {
        "time": np.datetime64("2026-01-01T00", "ns") + np.timedelta64(1, "h") * np.arange(FRAMES),
        "lat": ("lat", 50 - 0.3 * np.arange(CELLS), {"units": "degrees_north"}),
        "lon": ("lon", 5 + 0.3 * np.arange(CELLS), {"units": "degrees_east"}),
    }
    xr.Dataset(fields, coordinates).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    folder = tmp_path_factory.mktemp("model") / "artifact"
    publish(make_checkpoint(CONFIG), folder)
    return folder


def facts(implementation: str) -> dict[str, object]:
    return {
        "case": f"{FRAMES}x{len(VARIABLES)}x{CELLS}x{CELLS} to x{S} in space, x{R} in time, NetCDF to NetCDF, cold",
        "implementation": implementation,
        "reference": PEER if os.environ.get("GFS_SR_PEERS_PYTHON") else "gfs-sr upscale, onnxruntime",
        "cells": FRAMES * R * len(VARIABLES) * (S * CELLS) ** 2,
    }


@pytest.mark.benchmark(group="end to end")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def bench_gfs_sr(benchmark, artifact, tmp_path, backend):
    if find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    source = write_source(tmp_path / "coarse.nc", {name: name for name in VARIABLES})
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", str(source), "-o", str(tmp_path / "fine.nc")]
    command += ["--model", str(artifact), "--backend", backend, "--extent", "full"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=ROUNDS, warmup_rounds=1)
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        assert fine["t2m"].shape == (R * FRAMES, S * CELLS, S * CELLS)
    operations = folded_operations(models.build(CONFIG), (1, FRAMES, len(VARIABLES), CELLS, CELLS))
    benchmark.extra_info |= facts(f"gfs-sr upscale, {backend}") | shares(
        benchmark.stats.stats.min, operations=operations
    )


@pytest.mark.benchmark(group="end to end")
def bench_sup3r(benchmark, tmp_path):
    python = os.environ.get("GFS_SR_PEERS_PYTHON")
    if python is None:
        pytest.skip("set GFS_SR_PEERS_PYTHON to the interpreter of the peer's environment")
    source = write_source(tmp_path / "coarse.nc", {ours: peer for ours, (peer, *_) in VARIABLES.items()})
    script = Path(__file__).parent / "peers" / "sup3r_end_to_end.py"
    work = tmp_path / "work"
    work.mkdir()
    command = [python, str(script), "--work", str(work)]
    subprocess.run([*command, "--prepare"], check=True, capture_output=True)

    def clean() -> None:
        for path in work.glob("*.nc"):
            path.unlink()

    benchmark.pedantic(
        lambda: subprocess.run([*command, str(source)], check=True, capture_output=True),
        setup=clean, rounds=ROUNDS, warmup_rounds=1,
    )  # fmt: skip
    with xr.open_dataset(work / "fine.nc") as fine:
        assert fine["temperature_2m"].size == R * FRAMES * (S * CELLS) ** 2
    benchmark.extra_info |= facts(PEER)
