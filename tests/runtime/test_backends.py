"""The engines, by one suite; and how they are opened."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import save_file

from gfs_sr.errors import BackendFailed, BackendNotInstalled, ProviderMismatch, ShapeMismatch, UsageError
from gfs_sr.runtime.artifact import Artifact, publish_artifact, write_manifest
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.choice import smooth_inputs
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.backends.shapes import check_inputs
from tests.artifacts import make_repeat_artifact, repeat_contract
from tests.runtime.backend_suite import BackendSuite, GraphSuite


class TestOnnxRuntime(GraphSuite):
    name = "onnxruntime"
    provider = "CPUExecutionProvider"


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs openvino: pip install 'gfs-sr[openvino]'"
)
class TestOpenVino(GraphSuite):
    name = "openvino"
    provider = "CPU"


class TestTorch(BackendSuite):
    """On a network that torch itself builds: nearest cell, held in time, so that NumPy's repeat is the truth."""

    name = "torch"
    provider = "cpu"
    config: ClassVar = {
        "family": "interpolation", "variables": ["t2m", "sp"], "scale_factor": 3, "time_factor": 2,
        "registration": "cell", "space": "nearest", "time": "hold",
    }  # fmt: skip

    @pytest.fixture
    def artifact(self, tmp_path: Path) -> Artifact:
        models = pytest.importorskip("gfs_sr.models", reason="needs torch, the extra `train`")
        model = models.build(self.config)
        with publish_artifact(tmp_path / "nearest") as draft:
            save_file({}, draft / "weights.safetensors")
            write_manifest(
                draft, contract=model.make_contract(name="nearest"), config=model.config,
                parameters=0, flops_per_fine_cell=0.0,
            )  # fmt: skip
        return Artifact.open(tmp_path / "nearest")

    def inputs(self, coarse: np.ndarray) -> dict[str, np.ndarray]:
        return {"coarse": coarse, "variable": np.array([0, 6], np.int64)}

    def truth(self, coarse: np.ndarray) -> np.ndarray:
        return coarse.repeat(2, axis=1).repeat(3, axis=3).repeat(3, axis=4)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact.open(make_repeat_artifact(tmp_path / "repeat"))


def test_a_provider_that_would_not_run_is_refused(artifact: Artifact) -> None:
    # ONNX Runtime itself makes such a session on the CPU
    backend = OnnxRuntimeBackend(artifact, provider="CUDAExecutionProvider")
    with pytest.raises(ProviderMismatch, match="CUDAExecutionProvider was asked for, but CPUExecutionProvider"):
        backend.activate()
    assert not backend.is_active


def test_auto_says_which_backend_it_took(artifact: Artifact) -> None:
    backend = open_backend("auto", artifact)
    assert backend.name == "onnxruntime"
    assert "GFS_SR_MEASURE is off" in backend.chosen or "only engine" in backend.chosen
    assert open_backend("torch", artifact).chosen == "asked for"


def test_an_unknown_backend_is_refused_with_the_known_ones(artifact: Artifact) -> None:
    with pytest.raises(
        UsageError, match=r"auto, torch, torch-cuda, .*onnxruntime, .*openvino, openvino-winograd, tensorrt"
    ):
        open_backend("caffe", artifact)


@pytest.mark.parametrize(
    ("name", "package"),
    [("onnxruntime", "onnxruntime"), ("torch", "torch"), ("openvino", "openvino"), ("tensorrt", "tensorrt")],
)
def test_a_missing_engine_says_what_to_install(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    backend = open_backend(name, artifact)
    with pytest.raises(BackendNotInstalled) as caught:
        backend.activate()
    assert package in caught.value.mend or "gfs-sr[" in caught.value.mend
    assert caught.value.exit_code == 5


def test_a_graph_that_is_no_graph_fails_as_one_error(artifact: Artifact) -> None:
    artifact.graph().write_bytes(b"not onnx")  # after the digests were checked: what a failing disk may do
    with pytest.raises(BackendFailed, match="cannot load the model"):
        open_backend("onnxruntime", artifact).activate()


def test_every_graph_input_has_a_promised_shape() -> None:
    contract = repeat_contract(
        any_subset=True,
        time_factor=3,
        statics_coarse=("orog",),
        statics_fine=("orog", "lsm"),
        predictors=(
            {"name": "cos_solar_zenith", "grid": "coarse"},
            {"name": "cos_solar_zenith", "grid": "coarse_fine_time"},
            {"name": "cos_solar_zenith", "grid": "fine"},
            {"name": "latitude", "grid": "fine"},
        ),
    )
    shapes = {  # core (2, 4, 1, 5, 6), halo before 1, north 1, south 2, east 1
        "coarse": (2, 5, 1, 8, 7),
        "variable": (1,),
        "predictor_coarse": (2, 5, 1, 8, 7),
        "predictor_coarse_fine_time": (2, 12, 1, 8, 7),
        "predictor_fine": (2, 12, 2, 10, 12),
        "static_coarse": (2, 1, 1, 8, 7),
        "static_fine": (2, 1, 8, 8, 7),  # two statics on 2 by 2 fine cells each
    }
    inputs = {name: np.zeros(shape, np.int64 if name == "variable" else np.float32) for name, shape in shapes.items()}
    assert check_inputs(contract, inputs) == (2, 12, 1, 10, 12)
    for name, array in inputs.items():
        if name != "coarse":
            with pytest.raises(ShapeMismatch, match=f"input {name} "):
                check_inputs(contract, inputs | {name: np.concatenate([array, array])})


def test_the_run_side_imports_no_torch(artifact: Artifact) -> None:
    code = f"""
import sys
import numpy as np
from gfs_sr.runtime.artifact import Artifact, publish_artifact, write_manifest
from gfs_sr.runtime.backends import open_backend
with open_backend("onnxruntime", Artifact.open({str(artifact.path)!r})) as backend:
    backend.infer({{"coarse": np.zeros((1, 2, 2, 5, 3), np.float32)}})
print(sorted({{"torch", "lightning", "onnx", "xarray"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.filterwarnings("ignore::gfs_sr.errors.NegativeSkillWarning")
@pytest.mark.parametrize("role", ["model", "frame"])
def test_openvino_gives_the_default_model_s_field_at_every_shape(role: str) -> None:
    # with the shapes left open OpenVINO 2026.4 was wrong by tens of standard deviations
    pytest.importorskip("openvino")
    artifact = Artifact.open("fused-node")
    with (
        open_backend("openvino", artifact, role=role, threads=1) as openvino,
        open_backend("onnxruntime", artifact, role=role, threads=1) as onnxruntime,
    ):
        for core in ((1, 1, 1, 6, 8), (2, 2, 3, 5, 4), (1, 1, 1, 6, 8)):
            inputs = smooth_inputs(openvino.contract, core)
            truth = onnxruntime.infer(inputs)["fine"]
            np.testing.assert_allclose(openvino.infer(inputs)["fine"], truth, rtol=0, atol=1e-4)
