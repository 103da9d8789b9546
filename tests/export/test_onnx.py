"""`python -m export.onnx`: the whole way from a checkpoint to an artifact that was compared with its network."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn
from typer.testing import CliRunner

from export import publication
from export.onnx import app
from export.publication import default_target, publish
from export.sample import sample_batches
from gfs_sr.contract import Skill
from gfs_sr.errors import CheckpointInvalid, NegativeSkillWarning, OutputExists, ParityFailed, UsageError
from gfs_sr.models.checkpoint import Checkpoint
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from tests.export.checkpoints import make_checkpoint, make_sample, write_checkpoint

INTERPOLATION = {"family": "interpolation", "variables": ["t2m", "sp"], "scale_factor": 3, "time_factor": 2}


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint(INTERPOLATION)


@pytest.fixture(scope="module")
def artifact(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return publish(checkpoint, tmp_path_factory.mktemp("published") / "small").artifact


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_artifact_holds_manifest_weights_and_graph(artifact: Artifact) -> None:
    names = ["MODEL_CARD.md", "graphs/frame.onnx", "graphs/model.onnx", "manifest.json", "weights.safetensors"]
    assert names_in(artifact.path) == names
    for role in ("model", "frame"):
        onnx.checker.check_model(onnx.load(artifact.graph(role)), full_check=True)


def test_the_manifest_says_what_was_measured(artifact: Artifact, checkpoint: Checkpoint) -> None:
    manifest = artifact.manifest
    assert [(line.variable, line.units) for line in manifest.parity] == [("t2m", "K"), ("sp", "Pa")]
    assert all(0 <= line.rmse <= line.max_abs <= line.tolerance for line in manifest.parity)
    assert manifest.config == checkpoint.config
    assert manifest.contract == checkpoint.contract
    assert manifest.provenance["data"] == "waves"
    assert manifest.provenance["torch"] == torch.__version__


def test_the_torch_backend_rebuilds_the_same_model(artifact: Artifact) -> None:
    halo = artifact.contract.halo
    shape = (2, 2 + halo.before + halo.after, 1, 5 + halo.north + halo.south, 4 + halo.west + halo.east)
    inputs = {
        "coarse": np.random.default_rng(1).normal(size=shape).astype(np.float32),
        "variable": np.array([6], np.int64),
    }
    with open_backend("torch", artifact) as network, open_backend("onnxruntime", artifact) as graph:
        np.testing.assert_allclose(
            graph.infer(inputs)["fine"], network.infer(inputs)["fine"], rtol=0, atol=1e-5
        )  # sd; sums in another order


@pytest.mark.parametrize("registration", ["node", "cell"])
def test_a_ramp_in_space_and_time_is_exact_through_the_exported_graph(registration: str, tmp_path: Path) -> None:
    s, r = 6, 6
    small = make_checkpoint(
        {"family": "interpolation", "variables": ["t2m"], "scale_factor": s, "time_factor": r,
         "registration": registration, "time": "catmull_rom", "sharpening": 0.125}
    )  # fmt: skip
    opened = publish(small, tmp_path / "ramp").artifact
    halo = opened.contract.halo
    frames, rows, columns = 3, 4, 5
    t = np.arange(-halo.before, frames + halo.after)[:, None, None]
    y = np.arange(-halo.north, rows + halo.south)[:, None]
    x = np.arange(-halo.west, columns + halo.east)
    coarse = (0.3 * x - 0.2 * y + 0.5 * t + 1).astype(np.float32)[None, :, None]
    offset = 0 if registration == "node" else (s - 1) / 2
    fine_t = (np.arange(r * frames) / r)[:, None, None]
    fine_y = ((np.arange(s * rows) - offset) / s)[:, None]
    fine_x = (np.arange(s * columns) - offset) / s
    truth = 0.3 * fine_x - 0.2 * fine_y + 0.5 * fine_t + 1
    for backend in ("onnxruntime", "torch"):
        with open_backend(backend, opened) as engine:
            fine = engine.infer({"coarse": coarse, "variable": np.array([0], np.int64)})["fine"]
        np.testing.assert_allclose(fine[0, :, 0], truth, rtol=0, atol=5e-6)  # fp32 holds 24 bits of values up to 8


class Distorted(nn.Module):
    """A network whose export went wrong."""

    def __init__(self, model: nn.Module, by: float) -> None:
        super().__init__()
        self.model, self.by = model, by

    def forward(self, coarse: torch.Tensor, variable: torch.Tensor) -> torch.Tensor:
        fine = self.model(coarse, variable)
        return fine + self.by * torch.ones_like(fine)


def test_a_graph_that_strays_from_its_network_is_not_published(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "fold", lambda model: Distorted(model, 3e-4))
    with pytest.raises(ParityFailed, match=r"t2m by 0\.0051 K \(allowed 0\.0017\)"):
        publish(checkpoint, tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_a_usable_sample_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid, match="no sp"):
        publish(replace(checkpoint, sample=make_sample(("t2m",))), tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []


def test_the_sample_is_compared_at_three_shapes_with_real_values(checkpoint: Checkpoint) -> None:
    batches = sample_batches(checkpoint.sample, checkpoint.contract)
    assert len({batch.inputs["coarse"].shape for batch in batches}) == 3
    assert {batch.inputs["coarse"].shape[0] for batch in batches} == {1, 2, 3}
    halo = checkpoint.contract.halo
    whole = batches[0].inputs["coarse"]
    inner = whole[0, halo.before : -halo.after, :, halo.north : -halo.south, halo.west : -halo.east]
    scaling = checkpoint.contract.normalization
    for channel, name in enumerate(("t2m", "sp")):
        expected = (checkpoint.sample.values[:, channel].astype(np.float64) - scaling[name].mean) / scaling[name].sd
        np.testing.assert_allclose(inner[:, channel], expected, rtol=0, atol=1e-6)
        assert inner[:, channel].std() > 0.1
    assert not np.array_equal(batches[1].inputs["coarse"][0], batches[1].inputs["coarse"][1])


def test_lower_precision_where_there_is_nothing_to_lower_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no residual branch"):
        publish(checkpoint, tmp_path / "a", precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_x_5_a_negative_skill_is_published_in_silence_and_told_on_open(checkpoint: Checkpoint, tmp_path: Path) -> None:
    line = Skill(data="era5", variable="sp", skill=-0.1, skill_sharpened=-0.2, best_baseline="bicubic/linear")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = publish(replace(checkpoint, skill=(line,)), tmp_path / "worse").artifact.path
    with pytest.warns(NegativeSkillWarning, match="sp on era5"):
        assert Artifact.open(path).manifest.skill == (line,)


def test_weights_are_what_the_checkpoint_holds(checkpoint: Checkpoint, artifact: Artifact) -> None:
    stored = load_file(artifact.weights)
    assert stored.keys() == checkpoint.state_dict.keys()
    for name, tensor in checkpoint.state_dict.items():
        np.testing.assert_array_equal(stored[name], tensor.numpy())


def test_the_default_place_is_the_checkpoint_s_without_its_suffix() -> None:
    assert default_target(Path("runs/a/factorized.ckpt")) == Path("runs/a/factorized")
    assert default_target(Path("runs/a/last")) == Path("runs/a/last.d")


def test_the_command_publishes_and_prints_one_object(tmp_path: Path) -> None:
    ckpt = write_checkpoint(tmp_path / "small.ckpt", INTERPOLATION)
    run = subprocess.run(
        [sys.executable, "-m", "export.onnx", "--ckpt", str(ckpt), "--json"], capture_output=True, text=True, check=True
    )
    facts = json.loads(run.stdout)
    assert run.stderr == ""
    assert facts["output"] == str(tmp_path / "small")
    assert facts["model_sha256"] == Artifact.open(tmp_path / "small").sha256
    assert [line["variable"] for line in facts["parity"]] == ["t2m", "sp"]


def test_the_command_ends_in_the_error_s_exit_code(tmp_path: Path) -> None:
    (tmp_path / "broken.ckpt").write_bytes(b"no checkpoint")
    result = CliRunner().invoke(app, ["--ckpt", str(tmp_path / "broken.ckpt"), "--json"])
    assert result.exit_code == CheckpointInvalid.exit_code
    assert json.loads(result.stdout)["error"]["class"] == "CheckpointInvalid"
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("chapter 1")
    ckpt = write_checkpoint(tmp_path / "small.ckpt", INTERPOLATION)
    result = CliRunner().invoke(app, ["--ckpt", str(ckpt), "-o", str(tmp_path / "taken")])
    assert result.exit_code == OutputExists.exit_code
    assert CliRunner().invoke(app, ["--ckpt", str(ckpt), "--precision", "fp8"]).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.ckpt", "small.ckpt", "taken"]
