"""The memory budget is a promise."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from export.publication import publish
from gfs_sr.models import SMALL
from tests.export.checkpoints import make_checkpoint
from tests.runtime.test_cli import make_long


@pytest.mark.parametrize("budget_mib", [450, 800])
def test_a_run_stays_within_its_budget(node_artifact, tmp_path, budget_mib):
    source = tmp_path / "long.nc"
    make_long(source, frames=60)
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", source, "-o", tmp_path / "fine.zarr", "--json"]
    options = ["--model", node_artifact, "--threads", "1", "--memory", f"{budget_mib}MiB"]
    done = subprocess.run([*map(str, [*command, *options])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["peak_rss_bytes"] <= budget_mib * 2**20


def test_the_peak_does_not_depend_on_the_number_of_lead_times(node_artifact, tmp_path):
    peaks = []
    for frames in (160, 640):  # both more than one block holds
        source = tmp_path / f"{frames}.nc"
        make_long(source, frames=frames)
        command = [sys.executable, "-m", "gfs_sr.cli", "upscale", source, "-o", tmp_path / "fine.zarr", "--json"]
        options = ["--model", node_artifact, "--threads", "1", "--memory", "400MiB"]
        done = subprocess.run([*map(str, [*command, *options])], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        peaks.append(json.loads(done.stdout)["peak_rss_bytes"])
    # four times the frames; allocators and thread stacks vary by some MiB
    np.testing.assert_allclose(peaks[1], peaks[0], rtol=0.1)


@pytest.mark.parametrize("frames", [1, 12])
def test_the_default_model_stays_within_its_budget_statics_included(tmp_path, frames):
    source = tmp_path / "coarse.nc"
    make_long(source, frames=frames)
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", source, "-o", tmp_path / "fine.zarr", "--json"]
    options = ["--model", "fused-node", "--threads", "1", "--memory", "450MiB"]
    done = subprocess.run([*map(str, [*command, *options])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["peak_rss_bytes"] <= 450 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("family", ["unet", "gan", "edm"])
def test_a_unet_of_any_family_stays_within_its_budget(tmp_path, family):
    own = {"gan": {"latent": "cells"}, "edm": {"schedule": {"n": 1}}}.get(family, {})
    config = {"family": family, "variables": ["t2m"], "scale_factor": 6, "time_factor": 1, **SMALL, **own}
    publish(make_checkpoint(config, spread=0.05), tmp_path / "model")
    lat, lon = 60 - 0.25 * np.arange(120), 0.25 * np.arange(160)
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), np.full((1, 120, 160), 280, np.float32), {"units": "K"})},
        coords={
            "time": [np.datetime64("2024-03-01", "ns")],
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    ).to_netcdf(tmp_path / "coarse.nc")
    coarse, fine = tmp_path / "coarse.nc", tmp_path / "fine.nc"
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", coarse, "-o", fine, "--json"]
    options = ["--model", tmp_path / "model", "--threads", "1", "--memory", "500MiB", "--backend", "onnxruntime"]
    done = subprocess.run([*map(str, [*command, *options])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["tile"]["lat"] < 120 or told["tile"]["lon"] < 160  # else nothing was to be kept
    assert told["peak_rss_bytes"] <= 500 * 2**20
