"""`python -m export.trt` where there is no TensorRT: everything but the engine."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from export import trt
from export.operators import Objection
from export.profiles import Profile
from export.trt import app
from gfs_sr.errors import BackendFailed, BackendNotInstalled
from gfs_sr.models.checkpoint import save_checkpoint
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from tests.export.checkpoints import make_checkpoint, write_checkpoint

INTERPOLATION = {"family": "interpolation", "variables": ["t2m", "sp"], "scale_factor": 2, "time_factor": 2}


@pytest.fixture(autouse=True)
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)


def test_without_tensorrt_the_artifact_is_whole_and_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    ckpt = write_checkpoint(tmp_path / "small.ckpt", INTERPOLATION)
    result = CliRunner().invoke(app, ["--ckpt", str(ckpt), "--tile", "2,16,24", "--batch", "1,2,4", "--json"])
    assert result.exit_code == 5
    error = json.loads(result.stdout)["error"]
    assert error["class"] == "BackendNotInstalled"
    assert "pip install tensorrt" in error["mend"]
    artifact = Artifact.open(tmp_path / "small")
    assert set(artifact.manifest.files) >= {
        "MODEL_CARD.md", "graphs/model.onnx", "operators.json", "profile.json", "weights.safetensors"
    }  # fmt: skip
    assert artifact.engines() == ()
    profile = Profile.model_validate_json((artifact.path / "profile.json").read_bytes())
    assert (profile.tile, profile.batch) == ((2, 16, 24), (1, 2, 4))
    halo = artifact.contract.halo
    with open_backend("onnxruntime", artifact) as backend:
        inputs = {"coarse": np.zeros(profile.inputs["coarse"].opt, np.float32), "variable": np.array([0, 6], np.int64)}
        assert inputs["coarse"].shape[3] == 16 + halo.north + halo.south
        assert backend.infer(inputs)["fine"].shape == (2, 4, 2, 32, 48)


def test_a_graph_tensorrt_would_refuse_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(make_checkpoint(INTERPOLATION), tmp_path / "small.ckpt")
    monkeypatch.setattr(trt, "tensorrt_objections", lambda graph, plugins: (Objection("node_7", "Det", "unknown"),))
    with pytest.raises(BackendFailed, match=r"Det \(node_7\): unknown"):
        trt.export_engine(tmp_path / "small.ckpt", tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["small.ckpt"]


def test_options_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    for options in (["--tile", "0"], ["--batch", "4,2,1"], ["--batch", "x"]):
        result = CliRunner().invoke(app, ["--ckpt", str(tmp_path / "absent.ckpt"), *options])
        assert result.exit_code == 2, options


def test_tensorrt_is_not_here() -> None:
    with pytest.raises(BackendNotInstalled):
        trt.build_engine(Path("graphs/model.onnx"), Profile(tile=(1, 1, 1), batch=(1, 1, 1), inputs={}), None)
