"""Batches on their way between processes."""

import numpy as np
import pytest
import torch

from gfs_sr.data.grid import Registration
from gfs_sr.training.datamodule import StepKeys, StepLoader, Steps
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.parcel import Parcel
from gfs_sr.training.samples import Sampler, StreamConfig
from tests.training.test_samples import task


def test_what_is_unpacked_is_what_was_packed():
    draw = torch.Generator().manual_seed(0)
    batch = {
        "large": {
            "coarse": torch.randn(3, 1, 1, 5, 7, generator=draw),
            "mask": torch.rand(3, 1, 1, 5, 7, generator=draw) > 0.5,
            "variable": torch.tensor([[1], [2], [3]]),
            "hours": torch.tensor(6.0),
            "none": torch.empty(0, 4),
        },
        "small": {"coarse": torch.randn(2, 3, generator=draw).double().T},
    }
    again = Parcel.of(batch).batch()
    assert list(again) == list(batch)
    for stream, tensors in batch.items():
        assert list(again[stream]) == list(tensors)
        for name, tensor in tensors.items():
            assert again[stream][name].dtype == tensor.dtype
            torch.testing.assert_close(again[stream][name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_batches_of_the_process_itself(workers):

    values = np.random.default_rng(0).standard_normal((2, 13, 41, 50)).astype(np.float32)
    times = np.datetime64("2024-01-01", "ns") + np.arange(13) * np.timedelta64(1, "h")
    fields = FieldSet("a", "a", ("t2m", "u10"), values, times, np.linspace(50, 40, 41), np.linspace(5, 17.25, 50))
    samplers = {"one": Sampler([fields], task(Registration.NODE), StreamConfig(patch=3, intervals=2, batch=2))}
    steps = Steps(samplers, seed=0, augment=True, epoch_steps=3)
    own, theirs = (list(StepLoader(steps, StepKeys(3), count)) for count in (0, workers))
    assert len(own) == len(theirs) == 3
    for one, other in zip(own, theirs, strict=True):
        for name, tensor in one["one"].items():
            assert torch.equal(other["one"][name], tensor)
