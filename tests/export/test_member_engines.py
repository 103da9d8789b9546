"""`python -m export.trt` of models that draw members: a profile and an engine of each of both graphs."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from export import engine_parity, trt
from export.engine import write_engine
from export.members import ROLES
from export.operators import Objection
from export.profiles import Profile
from gfs_sr.errors import BackendFailed, EngineMismatch, ParityFailed
from gfs_sr.runtime.artifact import DENOISER, MEAN, Artifact
from gfs_sr.runtime.backends import tensorrt
from gfs_sr.runtime.backends.choice import smooth_inputs
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.backends.registry import make_backend
from gfs_sr.runtime.backends.torch import TorchBackend
from gfs_sr.runtime.engines import Device, Sidecar
from tests.export.checkpoints import write_checkpoint
from tests.export.test_members import MODELS

DEVICE = Device(gpu="NVIDIA H100", compute_capability="9.0", driver="580.1", tensorrt="11.4.0")
SIZES = ["--tile", "1,5,6", "--batch", "1,1,2"]
FAMILIES = ("shared", "vp", "global")


class Engine(TorchBackend):
    """Stands in for TensorRT: the network of its role, whose denoiser strays by what the test says."""

    error = 0.0

    def __init__(self, artifact, *, role, engine):
        assert engine.read_bytes() == role.encode()
        super().__init__(artifact, role=role)

    def _infer(self, inputs):
        return {name: each + self.error * (self.role == DENOISER) for name, each in super()._infer(inputs).items()}


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(trt, "build_engine", lambda graph, profile, cache: (graph.stem.encode(), DEVICE))
    monkeypatch.setattr(engine_parity, "TensorRtBackend", Engine)
    monkeypatch.setattr(Engine, "error", 0.0)


def export(tmp_path, family="shared"):
    ckpt = write_checkpoint(tmp_path / "small.ckpt", MODELS[family], spread=0.1)
    return CliRunner().invoke(trt.app, ["--ckpt", str(ckpt), *SIZES, "--json"])


@pytest.mark.parametrize("family", FAMILIES)
def test_without_tensorrt_both_graphs_are_published_with_a_profile_each(tmp_path, monkeypatch, family):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told = export(tmp_path, family)
    assert told.exit_code == 5
    assert "pip install tensorrt" in json.loads(told.stdout)["error"]["mend"]
    artifact = Artifact.open(tmp_path / "small")
    assert artifact.engines() == ()
    assert json.loads((artifact.path / "operators.json").read_text())["operators"]
    for role in ROLES:
        profile = Profile.model_validate_json((artifact.path / f"{role}-profile.json").read_bytes())
        assert (profile.tile, profile.batch) == ((1, 5, 6), (1, 1, 2))
        given = smooth_inputs(artifact.contract, (1, 1, len(artifact.contract.inputs), 5, 6), role)
        assert {name: shapes.opt for name, shapes in profile.inputs.items()} == {n: a.shape for n, a in given.items()}
        with OnnxRuntimeBackend(artifact, role=role) as backend:  # the graph takes what its profile says
            assert backend.infer(given)["fine"].shape[3:] == (10, 12)


def test_a_denoiser_tensorrt_would_refuse_is_not_published(tmp_path, monkeypatch):
    def objections(graph, plugins):
        is_denoiser = any(each.name == "noisy" for each in graph.graph.input)
        return (Objection("node_3", "Det", "unknown"),) if is_denoiser else ()

    monkeypatch.setattr(trt, "tensorrt_objections", objections)
    told = export(tmp_path)
    assert isinstance(told.exception, SystemExit)
    assert json.loads(told.stdout)["error"]["class"] == BackendFailed.__name__
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_engines_of_both_graphs_are_offered_when_the_drawn_field_agrees(tmp_path, scripted, family):
    told = export(tmp_path, family)
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    names = ["denoiser-fp32-sm90.engine", "mean-fp32-sm90.engine"]
    assert sorted(Path(each).name for each in facts["engines"]) == names
    assert [line["variable"] for line in facts["engine_parity"]] == ["t2m", "msl"]
    artifact = Artifact.open(tmp_path / "small")
    assert sorted(each.name for each in artifact.engines()) == names
    for path in artifact.engines():
        sidecar = Sidecar.model_validate_json(Sidecar.path_of(path).read_bytes())
        assert sidecar.graph_file == f"graphs/{sidecar.role}.onnx"
        assert path.read_bytes() == sidecar.role.encode()


def test_engines_whose_drawn_field_strays_are_refused(tmp_path, scripted, monkeypatch):
    monkeypatch.setattr(Engine, "error", 0.1)
    told = export(tmp_path)
    assert json.loads(told.stdout)["error"]["class"] == ParityFailed.__name__
    assert Artifact.open(tmp_path / "small").engines() == ()


def test_a_role_runs_its_own_engine_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    export(tmp_path)
    artifact = Artifact.open(tmp_path / "small")
    read = []
    bindings = SimpleNamespace(__version__="11.4.0")
    monkeypatch.setitem(sys.modules, "tensorrt", bindings)
    monkeypatch.setattr(tensorrt, "this_device", lambda version: DEVICE)
    monkeypatch.setattr(tensorrt, "_deserialized", lambda trt, plan: read.append(plan))
    mean = write_engine(artifact, b"mean", DEVICE, role=MEAN)
    with pytest.raises(EngineMismatch, match="no engine"):
        make_backend("tensorrt", artifact, role=DENOISER, device="cpu").activate()
    write_engine(artifact, b"denoiser", DEVICE, role=DENOISER)
    artifact = Artifact.open(artifact.path)
    for role in ROLES:
        with make_backend("tensorrt", artifact, role=role, device="cpu"):
            assert read.pop() == role.encode()
    with pytest.raises(EngineMismatch, match="of the graph mean, not denoiser"):
        make_backend("tensorrt", artifact, role=DENOISER, device="cpu", engine=mean).activate()
    assert np.size(read) == 0
