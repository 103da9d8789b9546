"""Fields of a sampler that stay on a device: the host's member to the last bit, and nothing copied on the way."""

import numpy as np
import pytest
import torch

from gfs_sr.runtime.artifact import DENOISER
from gfs_sr.runtime.backends.torch_device import TorchCudaBackend, TorchDeviceBackend
from gfs_sr.runtime.backends.torch_fields import TorchFields
from gfs_sr.runtime.backends.torch_lanes import Lane, Lanes
from gfs_sr.runtime.field_denoiser import FieldDenoiser
from gfs_sr.runtime.noise import NoiseKey, fill_normals
from tests.runtime.test_drawing import drawn, europe, forecast_on, globe, model

__all__ = ["model"]  # the fixture

CHURNED = {"integrator": "heun", "s_churn": 3.0, "s_tmin": 0.0}
WAYS = {
    "plain": ("plain", europe(), {"tile": 11}),
    "tiles": ("plain", europe(), {"tile": 5}),
    "tiles around the globe": ("plain", globe(), {"tile": 5}),
    "noise at every step": ("plain", europe(), {"sampler": CHURNED}),
    "a solver that looks back": ("plain", europe(), {"sampler": {"integrator": "dpmpp_2m", "s_churn": 0.0}}),
    "each variable alone": ("shared", europe(), {}),
    "frames together": ("temporal", europe(), {"tile": 5}),
    "the whole field": ("global", europe(), {}),
    "blended tiles": ("global", globe(), {"tile": 6}),
}


@pytest.fixture
def on_the_cpu(monkeypatch):
    """`torch-cuda` where there is no GPU: the same code without streams and graphs."""
    monkeypatch.setattr(TorchCudaBackend, "on_any_device", True)


@pytest.mark.parametrize("way", WAYS)
def test_the_loop_on_the_device_draws_the_hosts_member(model, on_the_cpu, monkeypatch, way):
    name, grid, request = WAYS[way]
    forecast = forecast_on(grid)
    there = drawn(model(name), forecast, backend="torch-cuda", **request).members
    monkeypatch.setattr(TorchDeviceBackend, "_fields", lambda _: None)
    host = drawn(model(name), forecast, backend="torch-cuda", **request).members
    assert np.ptp(host, axis=0).mean() > 0.1  # members differ
    np.testing.assert_array_equal(there, host)  # on the CPU; a GPU rounds its own sums


def test_a_result_stays_for_a_solver_that_looks_back(model, monkeypatch):
    way = {"sampler": {"integrator": "dpmpp_2m", "s_churn": 0.0}}
    plain = drawn(model("plain"), forecast_on(europe()), **way).members
    monkeypatch.setattr(FieldDenoiser, "_next_result", lambda denoiser: np.empty_like(denoiser._results[0]))
    np.testing.assert_array_equal(plain, drawn(model("plain"), forecast_on(europe()), **way).members)


@pytest.fixture
def copies(monkeypatch):
    """How often anything went to the device, and came back."""
    counts = {"put": 0, "fetch": 0}
    for name in counts:
        plain = getattr(TorchFields, name)

        def counted(fields, values, name=name, plain=plain):
            counts[name] += 1
            return plain(fields, values)

        monkeypatch.setattr(TorchFields, name, counted)

    slot = TorchDeviceBackend._slot

    def by_the_host(engine, *given):
        assert engine.role != DENOISER  # the graph `mean` is asked once a window
        return slot(engine, *given)

    monkeypatch.setattr(TorchDeviceBackend, "_slot", by_the_host)
    return counts


@pytest.mark.parametrize("request_", [{"tile": 11}, {"tile": 5}, {"sampler": CHURNED}])
def test_what_is_copied_does_not_grow_with_the_steps(model, on_the_cpu, copies, request_):
    forecast = forecast_on(europe(), frames=1)
    found = []
    for levels in (2, 9):
        copies.update(put=0, fetch=0)
        drawn(model("plain"), forecast, backend="torch-cuda", members=3, schedule={"n": levels}, **request_)
        found.append(dict(copies))
    assert found[0] == found[1]
    assert found[0]["fetch"] == 3  # the members


@pytest.mark.parametrize("step", [0, 3, 4, 41])
def test_noise_on_the_device_is_the_cores_to_the_last_bit(step):
    key = NoiseKey(7, 3, "t2m", np.datetime64("2024-03-01T06"))
    lat, lon = np.array([89_999_999, 0, -1, -45_500_000], np.int32), np.array([0, 1, 359_999_999], np.int32)
    core = np.empty((4, 3), np.float32)
    fill_normals(core, key, lat, lon, step)
    fields = TorchFields(torch.device("cpu"), lambda _: None)
    made = fields.normals(key.word, fields.put(lat), fields.put(lon), step)
    np.testing.assert_array_equal(fields.fetch(made), core)


def test_all_of_the_noise_is_made_on_the_device():
    """A tensor of another device in between would be an error, as the values of `meta` are nowhere."""
    fields = TorchFields(torch.device("meta"), lambda _: None)
    lat, lon = (fields.put(np.arange(size, dtype=np.int32)) for size in (4, 3))
    assert fields.normals(2**63 + 5, lat, lon, 1).device.type == "meta"


class ScriptedStream:
    def __init__(self, name, said):
        self.name, self.said = name, said

    def wait_stream(self, other):
        self.said.append(f"{self.name} waits for {other.name}")


def test_a_batch_that_lies_there_waits_for_what_made_it_and_is_waited_for(monkeypatch):
    said = []
    lanes = Lanes(torch.device("cpu"))
    lanes._streams = {Lane.COMPUTE: ScriptedStream("compute", said)}
    outside = ScriptedStream("outside", said)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: outside)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: Entered(stream, said))
    with lanes.computing():
        said.append("a batch")
    assert said == [
        "compute waits for outside", "into compute", "a batch", "out of compute", "outside waits for compute"
    ]  # fmt: skip


class Entered:
    def __init__(self, stream, said):
        self.stream, self.said = stream, said

    def __enter__(self):
        self.said.append(f"into {self.stream.name}")

    def __exit__(self, *_):
        self.said.append(f"out of {self.stream.name}")
