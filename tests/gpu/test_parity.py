"""On a real GPU: every engine that computes there gives the field that PyTorch gives on the CPU.

Run by `benchmarks/gpu.sh`; elsewhere deselected, and skipped where it is selected all the same.
"""

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, the extra `train`")

from gfs_sr.runtime.backends.base import TOLERANCE_SD  # noqa: E402
from gfs_sr.runtime.backends.choice import smooth_inputs  # noqa: E402
from gfs_sr.runtime.backends.registry import make_backend  # noqa: E402
from tests.weights import published_weights  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run benchmarks/gpu.sh on one"),
]
MODELS = {
    "fused": {"family": "fused", "variables": ["t2m", "u10", "sp"]},
    "factorized": {"family": "factorized", "blocks": 4},
}
STD = 0.03  # of the weights: the residual is of the size of the field
GRAPHS = {"onnxruntime-cuda": "CUDAExecutionProvider", "onnxruntime-tensorrt": "TensorrtExecutionProvider"}


@pytest.fixture(scope="module", params=MODELS)
def artifact(request, tmp_path_factory):
    return published_weights(tmp_path_factory.mktemp("gpu") / request.param, MODELS[request.param], STD)


def truth_of(artifact, inputs):
    with make_backend("torch", artifact) as backend:
        return backend.infer(inputs)["fine"].copy()


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *(("torch-cuda", precision) for precision in ("fp32", "bf16", "fp16")),
        ("torch-compile", "fp32"),  # compiled in one precision each: every one takes half a minute
        ("aotinductor", "bf16"),
    ],
)
def test_torch_on_the_gpu_gives_the_network_s_field(artifact, name, precision):
    inputs = smooth_inputs(artifact.contract, (2, 2, len(artifact.contract.inputs), 9, 11))
    truth = truth_of(artifact, inputs)
    allowed = TOLERANCE_SD[precision] * max(1.0, float(np.abs(truth).max()))
    with make_backend(name, artifact, precision=precision) as backend:
        for _ in range(4):  # more often than there are slots: captured graphs are replayed
            strays = np.abs(backend.infer(inputs)["fine"] - truth).max()
            assert strays <= allowed


def test_batches_in_flight_do_not_mix(artifact):
    channels = len(artifact.contract.inputs)
    with make_backend("torch-cuda", artifact) as backend:
        shaped = smooth_inputs(artifact.contract, (1, 1, channels, 9, 11))
        batches = []
        for turn in range(9):
            inputs = {name: backend.empty(array.shape, array.dtype) for name, array in shaped.items()}
            for name, array in shaped.items():
                inputs[name][...] = array if array.dtype == np.int64 else (1 + turn) * array
            batches.append(inputs)
        alone = [backend.infer(inputs)["fine"].copy() for inputs in batches]
        fines = [backend.empty(alone[0].shape) for _ in batches]
        started = [backend.start(inputs, fine) for inputs, fine in zip(batches, fines, strict=True)]
        for each in started:
            each.taken()
            each.done()
        for fine, expected in zip(fines, alone, strict=True):
            np.testing.assert_array_equal(fine, expected)


@pytest.mark.parametrize("name", GRAPHS)
def test_onnx_runtime_on_the_gpu_gives_the_network_s_field(tmp_path, name):
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    import onnxruntime

    if GRAPHS[name] not in onnxruntime.get_available_providers():
        pytest.skip(f"this ONNX Runtime has no {GRAPHS[name]}")
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    artifact = publish(make_checkpoint(MODELS["fused"], spread=STD), tmp_path / "artifact").artifact
    inputs = smooth_inputs(artifact.contract, (1, 1, 3, 9, 11))
    with make_backend(name, artifact) as backend:
        assert backend.provider == GRAPHS[name]
        np.testing.assert_allclose(backend.infer(inputs)["fine"], truth_of(artifact, inputs), rtol=0, atol=1e-3)
