"""Running engines of TensorRT, as far as a machine without it can tell: what is asked of it, and what is made of it."""

import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="device memory of engines is PyTorch's: the extra `train`")

from export.engine import write_engine  # noqa: E402
from gfs_sr.errors import BackendFailed, EngineMismatch, UsageError  # noqa: E402
from gfs_sr.runtime.artifact import Artifact  # noqa: E402
from gfs_sr.runtime.backends import tensorrt as subject  # noqa: E402
from gfs_sr.runtime.backends.registry import make_backend  # noqa: E402
from gfs_sr.runtime.engines import Device  # noqa: E402
from tests.artifacts import make_repeat_artifact, repeat_truth  # noqa: E402

DEVICE = Device(gpu="NVIDIA H100", compute_capability="9.0", driver="580.1", tensorrt="11.4.0")
STREAM = 7


class Context:
    """Reads and writes at the addresses it was given, as an engine of the repeating model would."""

    def __init__(self):
        self.shapes, self.addresses = {}, {}

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        return module.takes_shapes

    def get_tensor_shape(self, name):
        assert name == "fine"
        return repeat_truth(np.zeros(self.shapes["coarse"], np.float32)).shape

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == STREAM
        self.array("fine", self.get_tensor_shape("fine"))[...] = repeat_truth(
            self.array("coarse", self.shapes["coarse"])
        )
        return module.enqueues

    def array(self, name, shape):
        pointer = ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, shape=shape)


def runtime(logger):
    def deserialize(plan):
        return SimpleNamespace(create_execution_context=Context) if plan == b"plan" else None

    return SimpleNamespace(deserialize_cuda_engine=deserialize)


class Logger:
    WARNING = 2

    def __init__(self, level):
        assert level == self.WARNING


module = SimpleNamespace(__version__="11.4.0", Logger=Logger, Runtime=runtime, takes_shapes=True, enqueues=True)


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(subject, "this_device", lambda version: DEVICE)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=STREAM))
    monkeypatch.setattr(module, "takes_shapes", True)
    monkeypatch.setattr(module, "enqueues", True)


@pytest.fixture
def artifact(tmp_path):
    return Artifact.open(make_repeat_artifact(tmp_path / "repeat"))


def coarse(rows=4):
    return np.random.default_rng(rows).normal(size=(1, 3, 2, rows + 3, 6)).astype(np.float32)


def opened(artifact, **options):
    return make_backend("tensorrt", artifact, device="cpu", **options)


def test_an_engine_reads_and_writes_tensors_at_their_addresses(artifact):
    write_engine(artifact, b"plan", DEVICE)
    with opened(artifact) as backend:
        for rows in (4, 2, 4):
            tiles = coarse(rows)
            np.testing.assert_array_equal(backend.infer({"coarse": tiles})["fine"], repeat_truth(tiles))


def test_an_artifact_without_an_engine_for_this_gpu_says_how_to_build_one(artifact):
    write_engine(artifact, b"plan", DEVICE.model_copy(update={"compute_capability": "8.0"}))
    with pytest.raises(EngineMismatch, match="no engine for NVIDIA H100") as caught:
        opened(artifact).activate()
    assert "export.trt" in caught.value.mend


@pytest.mark.parametrize("field", ["driver", "tensorrt", "gpu"])
def test_an_engine_of_another_machine_is_not_loaded(artifact, field):
    write_engine(artifact, b"plan", DEVICE.model_copy(update={field: "another"}))
    with pytest.raises(EngineMismatch, match=field):
        opened(artifact).activate()


def test_an_engine_that_tensorrt_cannot_read_is_refused(artifact):
    write_engine(artifact, b"of another version", DEVICE)
    with pytest.raises(EngineMismatch, match="cannot read"):
        opened(artifact).activate()


@pytest.mark.parametrize(("switch", "says"), [("takes_shapes", "does not take coarse"), ("enqueues", "enqueue")])
def test_what_tensorrt_refuses_is_an_error(artifact, monkeypatch, switch, says):
    write_engine(artifact, b"plan", DEVICE)
    monkeypatch.setattr(module, switch, False)
    with opened(artifact) as backend, pytest.raises(BackendFailed, match=says):
        backend.infer({"coarse": coarse()})


def test_another_precision_than_the_engine_s_is_refused(artifact):
    with pytest.raises(UsageError, match=r"export\.trt --precision bf16"):
        opened(artifact, precision="bf16")
