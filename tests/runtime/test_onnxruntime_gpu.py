"""ONNX Runtime's GPU providers, as far as a machine without a GPU can tell."""

import ctypes
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from gfs_sr.errors import BackendNotActive, BackendNotInstalled, ProviderMismatch, UsageError
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.onnxruntime_gpu import MOST_SHAPES
from gfs_sr.runtime.backends.registry import make_backend
from tests.artifacts import make_repeat_artifact, repeat_truth
from tests.runtime.test_drawing import drawn, europe, forecast_on, model

__all__ = ["model"]  # the fixture

PROVIDERS = {"onnxruntime-cuda": "CUDAExecutionProvider", "onnxruntime-tensorrt": "TensorrtExecutionProvider"}


class DeviceValue:
    """An OrtValue on a device: its own memory, which is only changed in place."""

    def __init__(self, array):
        self.array = array

    def update_inplace(self, array):
        assert array.shape == self.array.shape
        assert array.dtype == self.array.dtype
        assert array.flags.c_contiguous
        self.array[...] = array

    def numpy(self):
        return self.array.copy()

    @staticmethod
    def ortvalue_from_numpy(array, device, index):
        assert (device, index) == ("cuda", 0)
        return DeviceValue(array.copy())

    @staticmethod
    def ortvalue_from_shape_and_type(shape, dtype, device, index):
        assert (device, index) == ("cuda", 0)
        return DeviceValue(np.full(shape, np.nan, dtype))


class Session:
    """Runs the real graph on the CPU, but says that it is the provider it was asked for."""

    def __init__(self, graph, options, providers):
        (provider,) = providers
        self.name, self.settings = provider if isinstance(provider, tuple) else (provider, {})
        self.sizes = options.sizes
        self.real = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.runs = 0
        module.sessions.append(self)

    def get_providers(self):
        return [module.running or self.name, "CPUExecutionProvider"]

    def get_inputs(self):
        return self.real.get_inputs()

    def io_binding(self):
        return SimpleNamespace(
            inputs={},
            outputs={},
            bind_ortvalue_input=lambda name, value: self.bound["in"].__setitem__(name, value),
            bind_ortvalue_output=lambda name, value: self.bound["out"].__setitem__(name, value),
            bind_input=lambda *given: self.bind("in", *given),
            bind_output=lambda *given: self.bind("out", *given),
        )

    def bind(self, side, name, device, index, dtype, shape, address):
        assert (device, index, name in self.bound[side]) == ("cuda", 0, False)
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        memory = (ctypes.c_byte * size).from_address(address)
        self.bound[side][name] = DeviceValue(np.frombuffer(memory, kind).reshape(shape))

    @property
    def bound(self):
        return self.__dict__.setdefault("_bound", {"in": {}, "out": {}})

    def run_with_iobinding(self, binding):
        self.runs += 1
        names = list(self.bound["out"])
        made = self.real.run(names, {name: value.array for name, value in self.bound["in"].items()})
        for name, values in zip(names, made, strict=True):
            self.bound["out"][name].array[...] = values


class Options:
    def __init__(self):
        self.sizes = {}

    def add_free_dimension_override_by_name(self, axis, size):
        self.sizes[axis] = size


module = SimpleNamespace(
    SessionOptions=Options,
    InferenceSession=Session,
    OrtValue=DeviceValue,
    GraphOptimizationLevel=onnxruntime.GraphOptimizationLevel,
    get_available_providers=lambda: [*PROVIDERS.values(), "CPUExecutionProvider"],
    sessions=[],
    running=None,
)


@pytest.fixture
def artifact(tmp_path):
    return Artifact.open(make_repeat_artifact(tmp_path / "repeat"))


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setenv("GFS_SR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "sessions", [])
    monkeypatch.setattr(module, "running", None)
    return module


def coarse(rows=4):
    return np.random.default_rng(rows).normal(size=(1, 3, 2, rows + 3, 6)).astype(np.float32)


@pytest.mark.parametrize("name", PROVIDERS)
def test_tiles_go_through_device_memory_that_is_bound_once(artifact, scripted, name):
    with open_backend(name, artifact) as backend:
        for _ in range(3):
            tiles = coarse()
            np.testing.assert_array_equal(backend.infer({"coarse": tiles})["fine"], repeat_truth(tiles))
        assert backend.provider == PROVIDERS[name]
    session = scripted.sessions[-1]
    assert session.runs == 3
    assert len(scripted.sessions) == 3  # axis names, the provider check, the one shape
    assert session.sizes == {"B": 1, "T": 3, "H": 7, "W": 6}  # nothing is left that would compute shapes


@pytest.mark.parametrize("name", PROVIDERS)
def test_another_shape_gets_a_session_of_its_own_and_the_oldest_leaves(artifact, scripted, name):
    with open_backend(name, artifact) as backend:
        for rows in range(1, MOST_SHAPES + 3):
            tiles = coarse(rows)
            np.testing.assert_array_equal(backend.infer({"coarse": tiles})["fine"], repeat_truth(tiles))
        made = len(scripted.sessions)
        backend.infer({"coarse": coarse(MOST_SHAPES + 2)})
        assert len(scripted.sessions) == made
        backend.infer({"coarse": coarse(1)})
        assert len(scripted.sessions) == made + 1


def test_the_arena_is_bounded_and_shapes_are_captured(artifact, scripted):
    with make_backend("onnxruntime-cuda", artifact, memory_bytes=3 << 30) as backend:
        backend.infer({"coarse": coarse()})
    settings = scripted.sessions[-1].settings
    assert settings["gpu_mem_limit"] == str(3 << 30)
    assert settings["arena_extend_strategy"] == "kSameAsRequested"
    assert settings["enable_cuda_graph"] == "1"
    assert settings["use_tf32"] == "0"
    assert scripted.sessions[1].settings["enable_cuda_graph"] == "0"  # open shapes cannot be captured


def test_engines_of_tensorrt_are_kept_in_the_cache_by_artifact(artifact, scripted, tmp_path):
    with make_backend("onnxruntime-tensorrt", artifact, cuda_graph=False) as backend:
        backend.infer({"coarse": coarse()})
    settings = scripted.sessions[-1].settings
    assert settings["trt_engine_cache_path"] == str(tmp_path / "cache" / "tensorrt" / artifact.sha256[:32])
    assert settings["trt_fp16_enable"] == settings["trt_cuda_graph_enable"] == "0"


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_session_on_another_provider_is_refused(artifact, scripted, monkeypatch, name):
    monkeypatch.setattr(scripted, "running", "CPUExecutionProvider")
    with pytest.raises(ProviderMismatch, match=f"{PROVIDERS[name]} was asked for, but CPUExecutionProvider would run"):
        open_backend(name, artifact).activate()


@pytest.mark.parametrize("name", PROVIDERS)
def test_without_a_gpu_the_command_ends_in_exit_code_5(artifact, tmp_path, name):
    # nothing scripted: the real ONNX Runtime of this machine
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", "absent.nc", "-o", str(tmp_path / "fine.nc")]
    run = subprocess.run(
        [*command, "--model", str(artifact.path), "--backend", name, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 5
    error = json.loads(run.stdout)["error"]
    assert error["class"] == "ProviderMismatch"
    assert PROVIDERS[name] in error["what"]
    assert "gfs-sr[gpu]" in error["mend"]


def test_a_missing_package_says_what_to_install(artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendNotInstalled) as caught:
        open_backend("onnxruntime-cuda", artifact).activate()
    assert "gfs-sr[gpu]" in caught.value.mend


def test_a_gpu_that_cannot_be_is_refused(artifact):
    with pytest.raises(UsageError):
        make_backend("onnxruntime-cuda", artifact, device=-1)


def test_the_real_runtime_takes_these_names_and_folds_shapes_away(artifact):
    """The parts of the interface that exist without a GPU are used as they are."""
    options = onnxruntime.SessionOptions()
    for axis, size in {"B": 1, "T": 3, "H": 7, "W": 6}.items():
        options.add_free_dimension_override_by_name(axis, size)
    session = onnxruntime.InferenceSession(str(artifact.graph()), options, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 2, 7, 6]
    value = onnxruntime.OrtValue.ortvalue_from_numpy(coarse(), "cpu", 0)
    fine = onnxruntime.OrtValue.ortvalue_from_shape_and_type([1, 2, 2, 8, 10], np.float32, "cpu", 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input("coarse", value)
    binding.bind_ortvalue_output("fine", fine)
    value.update_inplace(coarse())
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(fine.numpy(), repeat_truth(coarse()))


@pytest.fixture
def tensors_there(monkeypatch):
    """PyTorch's tensors lie on the "GPU" of the scripted runtime."""
    monkeypatch.setattr("gfs_sr.runtime.backends.torch_bound.cuda_device", lambda _: torch.device("cpu"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_fields_that_stay_are_bound_once_by_their_address(artifact, scripted, tensors_there, name):
    with make_backend(name, artifact) as backend:
        fields = backend.fields()
        made = []
        for seed in (4, 4, 5):
            inputs = {"coarse": coarse(seed)}
            there = {each: fields.put(values) for each, values in inputs.items()}
            made.append((fields.fetch(fields.infer(there)), backend.infer(inputs)["fine"].copy()))
    for there, host in made:
        np.testing.assert_array_equal(there, host)
    # one session without shapes, and for either shape one of each way
    assert [session.runs for session in scripted.sessions[2:]] == [2, 2, 1, 1]


@pytest.fixture
def shared(model):
    """Its artifact: exported before the runtime is scripted."""
    return model("shared")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_sampler_s_fields_stay_where_the_session_computes(shared, scripted, tensors_there, monkeypatch, name):
    """Its members are those of the way through the host, and no evaluation copies anything."""
    forecast = forecast_on(europe(), frames=1)
    there = drawn(shared, forecast, backend=name, tile=5).members
    counted = []
    plain = DeviceValue.update_inplace
    monkeypatch.setattr(DeviceValue, "update_inplace", lambda value, array: counted.append(1) or plain(value, array))
    drawn(shared, forecast, backend=name, tile=5)
    of_the_mean = len(counted)
    drawn(shared, forecast, backend=name, tile=5, schedule={"n": 9}, members=4)
    assert len(counted) == 2 * of_the_mean  # of the graph `mean`, once a window
    monkeypatch.setattr("gfs_sr.runtime.backends.torch_bound.cuda_device", lambda _: None)
    host = drawn(shared, forecast, backend=name, tile=5).members
    assert len(counted) > 3 * of_the_mean
    np.testing.assert_array_equal(there, host)


def test_without_a_pytorch_that_sees_the_gpu_fields_come_from_the_host(artifact, scripted):
    with make_backend("onnxruntime-cuda", artifact) as backend:
        assert torch.cuda.is_available() or backend.fields() is None


def test_fields_of_an_engine_that_is_not_active_are_refused(artifact):
    with pytest.raises(BackendNotActive):
        make_backend("onnxruntime-cuda", artifact).fields()
