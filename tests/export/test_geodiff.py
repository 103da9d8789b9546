"""Columns as artifacts: every graph is the network's, and the runtime refines and draws with them."""

import numpy as np
import pytest
import torch
import xarray as xr

from export.publication import publish
from export.sample import sample_batches
from gfs_sr.data.sources import from_dataset
from gfs_sr.errors import MissingVariable
from gfs_sr.models.edm import DenoiserGraph, MeanGraph
from gfs_sr.runtime.artifact import DENOISER, MEAN, MODEL
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint

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


def forecast(levels=(1000, 850, 700)):
    """Two frames of made-up columns on a regular grid."""
    rng = np.random.default_rng(0)
    coords = {"time": np.datetime64("2021-02-15T00", "ns") + np.arange(2) * np.timedelta64(6, "h"),
              "level": ("level", list(levels), {"units": "hPa"}), "lat": 50 - 0.5 * np.arange(6),
              "lon": 4 + 0.5 * np.arange(7)}  # fmt: skip
    fields = {}
    for letter, mean, units in (("t", 270.0, "K"), ("u", 0.0, "m s-1"), ("v", 0.0, "m s-1")):
        values = (mean + rng.standard_normal((2, len(levels), 6, 7))).astype(np.float32)
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


def test_s002_11_and_18_the_column_alone_is_one_pass_and_a_missing_temperature_is_an_error(tmp_path):
    path = publish(make_checkpoint(COLUMN), tmp_path / "column").artifact.path
    with Upscaler.open(path, backend="onnxruntime") as upscaler:
        fine = upscaler.upscale_forecast(forecast())
        assert fine.members.shape == (1, 2, 3, 12, 14)
        with pytest.raises(MissingVariable, match="t@700"):
            upscaler.upscale_forecast(forecast((1000, 850)))
