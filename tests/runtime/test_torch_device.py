"""PyTorch on a device, as far as a machine without a GPU can tell."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, the extra `train`")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from gfs_sr import models  # noqa: E402
from gfs_sr.errors import BackendFailed, BackendNotInstalled, UsageError  # noqa: E402
from gfs_sr.models.folding import fold  # noqa: E402
from gfs_sr.models.on_kernels import on_kernels  # noqa: E402
from gfs_sr.runtime.backends import open_backend  # noqa: E402
from gfs_sr.runtime.backends.choice import smooth_inputs  # noqa: E402
from gfs_sr.runtime.backends.registry import make_backend  # noqa: E402
from gfs_sr.runtime.backends.torch_device import MOST_SHAPES, TorchCudaBackend  # noqa: E402
from gfs_sr.runtime.backends.torch_lanes import Flight, Lanes, Program, Slot, host  # noqa: E402
from tests.runtime.test_backends import TestTorch as OnTorch  # noqa: E402
from tests.weights import published_weights  # noqa: E402

DEVICE_BACKENDS = ("torch-cuda", "torch-compile", "aotinductor")
SMALL = {
    "fused": {"family": "fused", "variables": ["t2m", "u10", "sp"], "width": 16, "blocks": 1, "scale_factor": 3,
              "time_factor": 2},
    "factorized": {"family": "factorized", "variables": ["t2m", "u10"], "width": 16, "blocks": 1, "scale_factor": 3,
                   "time_factor": 2},
}  # fmt: skip


@pytest.fixture(scope="module", params=SMALL)
def artifact(request, tmp_path_factory):
    return published_weights(tmp_path_factory.mktemp("device") / request.param, SMALL[request.param])


class TestTorchCudaOnTheCpu(OnTorch):
    """The class itself on the CPU: the same slots and lanes, without streams and graphs."""

    name = "torch-cuda"
    provider = "cpu"

    def opened(self, artifact, **options):
        return make_backend(self.name, artifact, device="cpu", **options)

    def test_another_precision_than_the_graph_s_is_refused(self, artifact):
        # the weights are fp32: any precision can be computed, where there is a branch to compute in it
        with pytest.raises(UsageError, match="no residual branch"):
            self.opened(artifact, precision="bf16").activate()
        with pytest.raises(UsageError, match="has no int8"):
            self.opened(artifact, precision="int8")


def both(artifact, inputs, **options):
    with open_backend("torch", artifact) as plain, make_backend("torch-cuda", artifact, device="cpu", **options) as own:
        return plain.infer(inputs)["fine"].copy(), own.infer(inputs)["fine"].copy()


def test_it_gives_the_network_s_field(artifact):
    inputs = smooth_inputs(artifact.contract, (2, 2, len(artifact.contract.inputs), 4, 5))
    truth, given = both(artifact, inputs)
    np.testing.assert_allclose(given, truth, rtol=0, atol=5e-5)


def test_bf16_rounds_the_residual_and_nothing_else(artifact):
    inputs = smooth_inputs(artifact.contract, (1, 1, len(artifact.contract.inputs), 4, 5))
    truth, given = both(artifact, inputs, precision="bf16")
    strays = np.abs(given - truth).max()
    assert 1e-5 < strays < 6e-2 * np.abs(truth).max()


def test_frames_on_their_own_have_their_network_too(tmp_path):
    artifact = published_weights(tmp_path / "fused", SMALL["fused"])
    with (
        make_backend("torch", artifact, role="frame") as plain,
        make_backend("torch-cuda", artifact, role="frame", device="cpu") as own,
    ):
        inputs = smooth_inputs(own.contract, (1, 1, 2, 4, 5))
        np.testing.assert_allclose(own.infer(inputs)["fine"], plain.infer(inputs)["fine"], rtol=0, atol=5e-5)


def test_a_batch_is_put_where_it_was_asked_for_whatever_its_strides(artifact):
    inputs = smooth_inputs(artifact.contract, (1, 1, len(artifact.contract.inputs), 4, 5))
    with make_backend("torch-cuda", artifact, device="cpu") as backend:
        fine = backend.infer(inputs)["fine"].copy()
        straight = backend.empty(fine.shape)
        bent = np.zeros((*fine.shape[:2], 2 * fine.shape[2], *fine.shape[3:]), np.float32)[:, :, ::2]
        started = [backend.start(inputs, straight), backend.start(inputs, bent)]
        for each in started:
            each.taken()
            each.done()
            each.done()
    np.testing.assert_array_equal(straight, fine)
    np.testing.assert_array_equal(bent, fine)


def test_slots_are_kept_for_a_few_shapes(artifact):
    channels = len(artifact.contract.inputs)
    with make_backend("torch-cuda", artifact, device="cpu") as backend:
        for rows in range(1, MOST_SHAPES + 3):
            backend.infer(smooth_inputs(artifact.contract, (1, 1, channels, rows, 2)))
        assert len(backend._slots) == MOST_SHAPES


@pytest.mark.parametrize("name", DEVICE_BACKENDS)
def test_without_cuda_it_is_refused_by_name(artifact, name):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    backend = make_backend(name, artifact, device="cuda")
    with pytest.raises(BackendNotInstalled, match="sees no CUDA device") as caught:
        backend.activate()
    assert caught.value.exit_code == 5
    assert "CUDA build of PyTorch" in caught.value.mend


def test_without_cuda_the_command_ends_in_exit_code_5(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    artifact = published_weights(tmp_path / "small", SMALL["factorized"])
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", "absent.nc", "-o", str(tmp_path / "fine.nc")]
    run = subprocess.run(
        [*command, "--model", str(artifact.path), "--backend", "torch-cuda", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 5
    assert json.loads(run.stdout)["error"]["class"] == "BackendNotInstalled"


def test_a_missing_package_says_what_to_install(artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendNotInstalled) as caught:
        make_backend("torch-cuda", artifact, device="cpu").activate()
    assert "gfs-sr[train]" in caught.value.mend


class Event:
    """An event that a test lets happen."""

    def __init__(self):
        self.happened = threading.Event()
        self.error = None

    def synchronize(self):
        self.happened.wait(5)
        if self.error is not None:
            raise self.error


class ScriptedLanes(Lanes):
    """Records who waits for whom; what is enqueued is done at once."""

    def __init__(self):
        super().__init__(torch.device("cpu"))
        self.log = []

    def after(self, lane, event):
        if event is not None:
            self.log.append((lane.name, "waits for", event.name))

    def mark(self, lane):
        event = Event()
        event.name = f"{lane.name} {sum(each == ('mark', lane.name) for each in self.log)}"
        event.happened.set()
        self.log.append(("mark", lane.name))
        return event


def test_a_slot_s_lanes_wait_for_each_other_and_for_nothing_else():
    lanes = ScriptedLanes()
    program = Program(lambda x: 2 * x, lanes, captured=True)
    slot = Slot(program, lanes, {"x": ((3,), torch.float32)}, {"fine": (3,)})
    fine = np.zeros(3, np.float32)
    for turn in range(2):
        slot.start({"x": torch.full((3,), float(turn))}, fine, lambda failing, step: step()).done()
        np.testing.assert_array_equal(fine, 2 * turn)
    assert [each for each in lanes.log if each[0] != "mark"] == [
        ("COMPUTE", "waits for", "IN 0"),
        ("OUT", "waits for", "COMPUTE 0"),
        ("IN", "waits for", "COMPUTE 0"),  # the inputs of the batch before were read
        ("COMPUTE", "waits for", "IN 1"),
        ("COMPUTE", "waits for", "OUT 0"),  # its results were copied out
        ("OUT", "waits for", "COMPUTE 1"),
    ]


@pytest.fixture
def scripted_graphs(monkeypatch):
    """CUDA graphs that compute the captured calls again, into the very results of the capture."""
    made = []

    class Graph:
        def __init__(self):
            made.append(self)

        def replay(self):
            for kept, fresh in zip(self.results(), self.forward(), strict=True):
                kept.copy_(fresh)

    @contextmanager
    def capture(graph, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        yield
        # what a capture gives was not computed
        for result in graph.results():
            result.fill_(torch.nan)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(synchronize=lambda: None))
    return made


def test_slots_share_one_graph_and_keep_their_own_results(scripted_graphs, monkeypatch):
    calls = []

    def run(x):
        calls.append(x)
        return 2 * x

    lanes = Lanes(torch.device("cpu"))
    program = Program(run, lanes, captured=True)
    program.is_captured = True  # as on a GPU
    init = torch.cuda.CUDAGraph.__init__

    def bound(graph):
        init(graph)
        graph.results = lambda: program._results
        graph.forward = lambda: program._forward(program._inputs)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "__init__", bound)
    slots = [Slot(program, lanes, {"x": ((3,), torch.float32)}, {"fine": (3,)}) for _ in range(2)]
    for turn in range(4):
        slots[turn % 2].start({"x": torch.full((3,), float(turn))}, None, lambda failing, step: step()).done()
    assert len(scripted_graphs) == 1
    assert len({each.data_ptr() for each in calls}) == 1  # a graph knows addresses
    np.testing.assert_array_equal(slots[0].landing["fine"], 4)
    np.testing.assert_array_equal(slots[1].landing["fine"], 6)
    np.testing.assert_array_equal(slots[0]._results[0], 4)  # not overwritten on the device by the batch after


def test_what_fails_on_the_device_is_raised_by_whoever_waits(artifact):
    event = Event()
    event.error = RuntimeError("CUDA error: an illegal memory access was encountered")
    event.happened.set()
    backend = make_backend("torch-cuda", artifact, device="cpu")
    flight = Flight(None, event, None, backend._guarded)
    flight.taken()
    with pytest.raises(BackendFailed, match="illegal memory access"):
        flight.done()


def test_host_memory_is_pinned_only_for_a_gpu():
    assert not host((2, 3), torch.device("cpu")).is_pinned()
    assert TorchCudaBackend.cuda_graph


class OneDevice(TorchDispatchMode):
    """Refuses what a GPU would, and what a captured graph cannot hold: copies from the host, questions for a value."""

    QUESTIONS = ("aten._local_scalar_dense", "aten.nonzero", "aten.item", "aten.equal", "aten.is_nonzero")

    def __torch_dispatch__(self, operator, types, arguments=(), named=None):
        result = operator(*arguments, **(named or {}))
        name = str(operator)
        assert not name.startswith(self.QUESTIONS), name
        given = [*arguments, *(named or {}).values(), result]
        given += [each for group in given if isinstance(group, (list, tuple)) for each in group]
        devices = {each.device.type for each in given if isinstance(each, torch.Tensor) and each.dim()}
        assert len(devices) < 2, f"{name} is asked for tensors on {devices}"
        return result


@pytest.mark.parametrize("kind", ["folded", "on kernels"])
@pytest.mark.parametrize("registration", ["node", "cell"])
@pytest.mark.parametrize("family", SMALL)
def test_all_that_a_network_computes_stays_on_its_device(family, registration, kind):
    """The meta device, whose tensors hold no data, stands for the GPU."""
    model = models.build(SMALL[family] | {"registration": registration})
    network = fold(model) if kind == "folded" else on_kernels(model, torch.bfloat16)
    contract = model.make_contract(name="small")
    inputs = smooth_inputs(contract, (1, 2, len(contract.inputs), 4, 5))
    given = {name: torch.from_numpy(array).to("meta") for name, array in inputs.items()}
    network = network.to("meta")
    with torch.no_grad(), OneDevice():
        fine = network(**given)
    assert fine.device.type == "meta"
    assert fine.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["torch-compile", "aotinductor"])
def test_compiled_it_is_the_same_function(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GFS_SR_CACHE", str(tmp_path / "cache"))
    artifact = published_weights(tmp_path / "factorized", SMALL["factorized"])
    inputs = smooth_inputs(artifact.contract, (1, 1, 2, 4, 5))
    with open_backend("torch", artifact) as plain, make_backend(name, artifact, device="cpu") as compiled:
        truth = plain.infer(inputs)["fine"]
        np.testing.assert_allclose(compiled.infer(inputs)["fine"], truth, rtol=0, atol=5e-5)
        assert compiled.provider == "cpu"
    packages = list((tmp_path / "cache").rglob("*.pt2"))
    assert len(packages) == (1 if name == "aotinductor" else 0)
    if packages:
        made = packages[0].stat().st_mtime_ns
        with make_backend(name, artifact, device="cpu") as again:
            np.testing.assert_allclose(again.infer(inputs)["fine"], truth, rtol=0, atol=5e-5)
        assert packages[0].stat().st_mtime_ns == made
