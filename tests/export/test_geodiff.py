"""Columns as artifacts: every graph is the network's, and the runtime refines and draws with them."""

import numpy as np
import pytest
import torch
import xarray as xr

from export.publication import publish
from export.sample import sample_batches
from gfs_sr import models
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.sources import from_dataset
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import MemoryBudgetTooSmall, MissingVariable, UsageError
from gfs_sr.models.edm import DenoiserGraph, MeanGraph
from gfs_sr.runtime.artifact import DENOISER, MEAN, MODEL
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.planner import choose_layout, resident_now_bytes
from gfs_sr.runtime.request import Request, prepare
from gfs_sr.runtime.sink import open_sink
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint

TIME = np.datetime64("2021-02-15T00", "ns")
SIZE = {"variables": ["t@1000", "t@850", "t@700"], "scale_factor": 2, "registration": "cell", "width": 4,
        "multipliers": [1, 2], "head_width": 4, "stem": 3}  # fmt: skip
COLUMN = {"family": "geodiff", **SIZE, "heads": 2}
MEMBERS = {"family": "geodiff_members", **SIZE, "attention_heads": 2,
           "schedule": {"n": 3, "sigma_min": 0.05, "sigma_max": 10.0}}  # fmt: skip


@pytest.mark.parametrize("depth", ["level", "time"])
def test_s002_19_the_exported_column_and_its_prior_are_the_networks(tmp_path, depth):
    checkpoint = make_checkpoint({**COLUMN, "depth": depth}, spread=0.05)
    artifact = publish(checkpoint, tmp_path / "column").artifact
    model = checkpoint.model().eval()
    with OnnxRuntimeBackend(artifact, role=MODEL) as engine:
        for batch in sample_batches(checkpoint.sample, artifact.contract):
            with torch.no_grad():
                expected = model(**{name: torch.from_numpy(each) for name, each in batch.inputs.items()})
            np.testing.assert_allclose(engine.infer(batch.inputs)["fine"], expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("depth", ["level", "time"])
def test_s002_20_members_of_either_depth_are_exported_and_one_step_is_the_networks(tmp_path, depth):
    checkpoint = make_checkpoint({**MEMBERS, "mean": {**COLUMN, "depth": depth}}, spread=0.05)
    artifact = publish(checkpoint, tmp_path / "members").artifact
    model = checkpoint.model().eval()
    batch = sample_batches(checkpoint.sample, artifact.contract)[0]
    with OnnxRuntimeBackend(artifact, role=MEAN) as mean, OnnxRuntimeBackend(artifact, role=DENOISER) as denoiser:
        made = {name: each.copy() for name, each in mean.infer(batch.inputs).items()}
        with torch.no_grad():
            expected = MeanGraph(model)(**{name: torch.from_numpy(each) for name, each in batch.inputs.items()})
        for name, tensor in zip(("fine", "unit", "condition"), expected, strict=True):
            np.testing.assert_allclose(made[name], tensor.numpy(), rtol=0, atol=1e-4)
        noisy = np.random.default_rng(3).standard_normal(made["fine"].shape).astype(np.float32)
        sigma = np.full(noisy.shape[0], 0.7, np.float32)
        step = denoiser.infer({"noisy": noisy, "condition": made["condition"], "sigma": sigma})["fine"]
        given = (torch.from_numpy(each) for each in (noisy, made["condition"], sigma))
        with torch.no_grad():
            np.testing.assert_allclose(step, DenoiserGraph(model)(*given).numpy(), rtol=0, atol=1e-4)


def forecast(levels=(1000, 850, 700), frames=2):
    """Frames of made-up columns on a regular grid."""
    rng = np.random.default_rng(0)
    coords = {"time": np.datetime64("2021-02-15T00", "ns") + np.arange(frames) * np.timedelta64(6, "h"),
              "level": ("level", list(levels), {"units": "hPa"}), "lat": 50 - 0.5 * np.arange(6),
              "lon": 4 + 0.5 * np.arange(7)}  # fmt: skip
    fields = {}
    for letter, mean, units in (("t", 270.0, "K"), ("u", 0.0, "m s-1"), ("v", 0.0, "m s-1")):
        values = (mean + rng.standard_normal((frames, len(levels), 6, 7))).astype(np.float32)
        fields[letter] = (("time", "level", "lat", "lon"), values, {"units": units})
    return from_dataset(xr.Dataset(fields, coords), None)


def test_s002_11_members_differ_and_return_with_their_seed(tmp_path):
    path = publish(make_checkpoint(MEMBERS, spread=0.05), tmp_path / "members").artifact.path
    with Upscaler.open(path, backend="onnxruntime") as upscaler:
        first, again, other = (
            upscaler.upscale_forecast(forecast(), Request(members=2, seed=seed)).members for seed in (1, 1, 2)
        )
    assert first.shape == (2, 2, 3, 12, 14)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.std(axis=0).max() > 0


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """Members whose denoiser also knows what to expect without its conditions."""
    checkpoint = make_checkpoint({**MEMBERS, "drop_conditions": 0.1}, spread=0.05)
    return publish(checkpoint, tmp_path_factory.mktemp("guided") / "members").artifact.path


def test_s002_11_members_have_an_axis_in_the_file_and_the_mean_has_none_and_no_noise(guided, tmp_path):
    with Upscaler.open(guided, backend="onnxruntime") as upscaler:
        upscaler.run(forecast(), open_sink(tmp_path / "members.nc"), Request(members=3))
        drawn = upscaler.upscale_forecast(forecast(), Request(members=3)).members
    with Upscaler.open(guided, backend="onnxruntime") as upscaler:
        upscaler.run(forecast(), open_sink(tmp_path / "mean.nc"), Request(mean=True, seed=7))
        mean = upscaler.upscale_forecast(forecast(), Request(mean=True)).values
        assert not upscaler._denoiser.is_active  # nobody asked it
    with xr.open_dataset(tmp_path / "members.nc") as members, xr.open_dataset(tmp_path / "mean.nc") as alone:
        assert members["t_850"].sizes["realization"] == 3
        assert members["realization"].attrs["standard_name"] == "realization"
        assert members.attrs["gfs_sr_seed"] == "0"
        assert "realization" not in alone.dims
        assert "gfs_sr_seed" not in alone.attrs
        np.testing.assert_array_equal(alone["t_850"].values, mean[:, 1])
    assert (drawn != mean).any(axis=(1, 2, 3, 4)).all()


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"mean": True, "members": 2}, MEMBERS),
        ({"mean": True, "sampler": {"eta": 1.0}}, MEMBERS),
        ({"mean": True}, COLUMN),
    ],
    ids=["members", "sampler", "a column alone"],
)
def test_a_mean_that_nothing_lies_around_or_is_drawn_for_is_refused(options, config):
    contract = models.build(config).make_contract(name="x")
    with pytest.raises(UsageError, match="mean"):
        prepare(contract, forecast(), Request(**options))


def test_s002_14_guidance_of_a_run_is_plain_at_1_null_at_0_and_linear_of_one_step(guided):
    """With one noise level a member is the denoiser's answer itself, so that the formula shows in the member."""
    found = {}
    with Upscaler.open(guided, backend="onnxruntime") as upscaler:
        for scale in (None, 0.0, 1.0, 2.5):
            sampler = {} if scale is None else {"guidance": scale}
            found[scale] = upscaler.upscale_forecast(forecast(), Request(sampler=sampler, schedule={"n": 1})).values
    np.testing.assert_array_equal(found[1.0], found[None])
    assert np.abs(found[1.0] - found[0.0]).max() > 1e-3
    # fields near 270 K in fp32
    np.testing.assert_allclose(found[2.5] - found[0.0], 2.5 * (found[1.0] - found[0.0]), rtol=0, atol=5e-4)


def test_guidance_of_a_denoiser_that_always_had_its_conditions_is_refused():
    contract = models.build(MEMBERS).make_contract(name="x")
    with pytest.raises(UsageError, match="without its conditions"):
        prepare(contract, forecast(), Request(sampler={"guidance": 2.0}))


def test_s002_19_the_loop_of_the_sampler_gives_the_same_members_on_either_backend(guided):
    drawn = []
    for backend in ("onnxruntime", "torch"):
        with Upscaler.open(guided, backend=backend) as upscaler:
            drawn.append(upscaler.upscale_forecast(forecast(), Request(members=2, sampler={"guidance": 1.5})).members)
    np.testing.assert_allclose(*drawn, rtol=0, atol=2e-3)  # K, after three steps of guided fp32


@pytest.mark.parametrize(
    ("depth", "config"), [("level", COLUMN), ("time", {**COLUMN, "focus": 1.0})], ids=["level", "focus"]
)
def test_frames_that_do_not_see_each_other_are_planned_within_the_memory_that_is_promised(depth, config):
    """Twelve frames of 100 by 150 cells: together they take more than the gibibyte that is free."""
    contract = models.build({**config, "depth": depth}).make_contract(name="x")
    assert contract.frames_apart
    allowed = resident_now_bytes() + (5 << 28)
    values = np.zeros((12, len(contract.inputs), 100, 150), np.float32)
    times = TimeAxis.from_times(TIME, TIME + np.arange(12) * np.timedelta64(6, "h"), "x")
    many = Forecast.from_arrays(values, contract.inputs, Grid(60 - 0.1 * np.arange(100), 0.1 * np.arange(150)), times)
    plan = choose_layout(prepare(contract, many, Request()), Request(), allowed).plan
    assert plan.time.core < 12
    assert plan.spatial_tiles == 1
    together = contract.model_copy(update={"frames_apart": False})
    with pytest.raises(MemoryBudgetTooSmall):
        choose_layout(prepare(together, many, Request()), Request(), allowed)


def test_frames_one_by_one_are_the_frames_together(tmp_path):
    path = publish(make_checkpoint(COLUMN, spread=0.05), tmp_path / "column").artifact.path
    with Upscaler.open(path, backend="onnxruntime") as upscaler:
        whole = upscaler.upscale_forecast(forecast(frames=3)).values
        for frame in range(3):
            one = upscaler.upscale_forecast(forecast(frames=3).isel_time(slice(frame, frame + 1))).values
            np.testing.assert_allclose(one[0], whole[frame], rtol=0, atol=1e-4)


def test_s002_11_and_18_the_column_alone_is_one_pass_and_a_missing_temperature_is_an_error(tmp_path):
    path = publish(make_checkpoint(COLUMN), tmp_path / "column").artifact.path
    with Upscaler.open(path, backend="onnxruntime") as upscaler:
        fine = upscaler.upscale_forecast(forecast())
        assert fine.members.shape == (1, 2, 3, 12, 14)
        with pytest.raises(MissingVariable, match="t@700"):
            upscaler.upscale_forecast(forecast((1000, 850)))
