"""Members of a generator: written by the common path, the same however they are tiled, and in every engine."""

import json

import numpy as np
import onnx
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from export.onnx import app as onnx_app
from export.operators import tensorrt_objections
from export.publication import publish
from export.sample import sample_batches
from gfs_sr.cli.app import app
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint, write_checkpoint
from tests.runtime.test_drawing import SD, drawn, europe, forecast_on, globe, write_coarse

CELLS = {
    "family": "gan", "latent": "cells", "variables": ["t2m"], "registration": "cell", "width": 8, "multipliers": [1],
    "blocks": 1, "dropout": 0.0, "normalization": "cell", "attention": "none", "scale_factor": 2, "time_factor": 1,
    "factors": [],
}  # fmt: skip
MODELS = {
    "cells": CELLS,
    "in time": {**CELLS, "time_factor": 2, "temporal": True},
    "vector": {**CELLS, "latent": "vector", "normalization": "group", "attention": "global", "attention_heads": 2,
               "multipliers": [1, 2], "factors": [2]},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Name -> folder of a small artifact, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("gan")

    def made(name):
        target = folder / name.replace(" ", "-")
        if not target.is_dir():
            publish(make_checkpoint(MODELS[name], spread=0.1), target)
        return target

    return made


@pytest.mark.parametrize("name", MODELS)
def test_s004_15_members_through_the_upscaler_come_again_by_seed_alone(model, name):
    forecast = forecast_on(europe())
    three = drawn(model(name), forecast, members=3).members
    assert three.shape[0] == 3
    assert three.std(axis=0).mean() > 0.01 * SD
    np.testing.assert_array_equal(drawn(model(name), forecast, threads=2, members=2).members, three[:2])
    assert np.abs(drawn(model(name), forecast, seed=2, members=3).members - three).mean() > 0.01 * SD


@pytest.mark.parametrize("name", MODELS)
def test_s004_15_a_member_in_pytorch_is_the_one_in_onnx_runtime(model, name):
    forecast = forecast_on(europe())
    engine, network = (drawn(model(name), forecast, backend=backend).members for backend in ("onnxruntime", "torch"))
    np.testing.assert_allclose(engine, network, rtol=0, atol=1e-4 * SD)


@pytest.mark.parametrize("name", MODELS)
def test_s004_15_the_graph_is_the_network_for_given_numbers(model, name):
    checkpoint = make_checkpoint(MODELS[name], spread=0.1)
    network, artifact = checkpoint.model().eval(), Artifact.open(model(name))
    for batch in sample_batches(checkpoint.sample, artifact.contract):
        with torch.no_grad():
            expected = network(**{key: torch.from_numpy(each) for key, each in batch.inputs.items()}).numpy()
        with OnnxRuntimeBackend(artifact) as engine:
            found = engine.infer(batch.inputs)["fine"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", MODELS)
def test_s004_15_tensorrt_objects_to_nothing(model, name):
    assert not tensorrt_objections(onnx.load(model(name) / "graphs" / "model.onnx"))


@pytest.mark.parametrize("grid", [europe(), globe()], ids=["europe", "globe"])
@pytest.mark.parametrize("name", ["cells", "in time"])
def test_s004_15_a_member_does_not_depend_on_tiles_or_streams(model, name, grid):
    forecast = forecast_on(grid)
    whole = drawn(model(name), forecast, tile=max(grid.shape)).members
    for tile in (3, 5):
        tiled = drawn(model(name), forecast, tile=tile).members
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * SD)
    frames = ((time, forecast.frame(index)) for index, time in enumerate(forecast.times.valid_times))
    with Upscaler.open(model(name)) as upscaler:
        streamed = list(upscaler.stream(frames, ("t2m",), grid, Request(members=2, seed=1, extent="full")))
    stacked = np.stack([np.stack([each.values for each in streamed if each.member == member]) for member in range(2)])
    shared = stacked.shape[1]  # a stream ends with the last coarse frame
    assert shared >= 3
    np.testing.assert_allclose(stacked, whole[:, :shared], rtol=0, atol=1e-5 * SD)


def test_s004_15_a_part_of_the_world_draws_the_worlds_member(model):
    """Away from the part's rim, where the halo stands for other cells."""
    grid = globe(24, 36)
    forecast = forecast_on(grid, frames=1)
    cut = Forecast.from_arrays(
        forecast.load()[:, :, 1:-1, 3:33], ("t2m",), Grid(grid.lat[1:-1], grid.lon[3:33]), forecast.times,
        registration=Registration.CELL,
    )  # fmt: skip
    whole, inner = (drawn(model("cells"), each).members for each in (forecast, cut))
    with Upscaler.open(model("cells")) as upscaler:
        margin = 2 * upscaler.contract.halo.north
    there = whole[..., 2:-2, 6:66]
    kept = np.s_[..., margin:-margin, margin:-margin]
    assert there[kept].size > 0
    np.testing.assert_allclose(inner[kept], there[kept], rtol=0, atol=1e-5 * SD)


def test_s004_15_a_map_of_the_whole_field_is_run_whole(model):
    result = drawn(model("vector"), forecast_on(europe()))
    assert result.summary.halo == "global"
    with pytest.raises(UsageError, match="sees the whole field"):
        drawn(model("vector"), forecast_on(europe()), tile=4)


def test_s004_15_a_generator_takes_no_settings_of_a_sampler(model):
    with pytest.raises(UsageError, match="draws nothing by a sampler"):
        drawn(model("cells"), forecast_on(europe()), sampler={"integrator": "heun"})


def test_nothing_is_kept_of_a_model_that_draws_in_one_run(model):
    with pytest.raises(UsageError, match="nothing to keep"):
        drawn(model("cells"), forecast_on(europe()), resume=True)


@pytest.mark.parametrize("name", ["cells", "vector"])
def test_s004_15_a_checkpoint_becomes_members_along_realization_by_command(tmp_path, name):
    checkpoint = write_checkpoint(tmp_path / "gan.ckpt", MODELS[name], spread=0.1)
    made = CliRunner().invoke(onnx_app, ["--ckpt", str(checkpoint), "-o", str(tmp_path / "gan")])
    assert made.exit_code == 0, made.output
    coarse, target = write_coarse(tmp_path / "coarse.nc", forecast_on(europe())), tmp_path / "fine.nc"
    given = ["upscale", str(coarse), "-o", str(target), "--model", str(tmp_path / "gan"), "--members", "3", "--seed=5",
             "--backend=onnxruntime", "--json"]  # fmt: skip
    told = CliRunner().invoke(app, given)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["frames"] == 3
    with xr.open_dataset(target) as file:
        assert file["t2m"].dims == ("realization", "time", "lat", "lon")
        assert file.attrs["gfs_sr_seed"] == "5"
        members = file["t2m"].values
    assert np.isfinite(members).all()
    assert members.std(axis=0).mean() > 0.01 * SD
