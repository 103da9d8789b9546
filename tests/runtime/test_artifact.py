"""Artifacts: opened by folder or name, published whole or not at all."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from gfs_sr.contract import Parity, Skill
from gfs_sr.errors import ArtifactFileMissing, ManifestMissing, NegativeSkillWarning, OutputExists
from gfs_sr.runtime import artifact as subject
from gfs_sr.runtime.artifact import Artifact, bundled_aliases, list_bundled, publish_artifact, write_manifest
from tests.artifacts import make_repeat_artifact, repeat_contract


def skill(value: float, variable: str = "t2m") -> Skill:
    return Skill(data="era5", variable=variable, skill=value, skill_sharpened=value, best_baseline="bicubic/linear")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_that_was_written_is_read_back(tmp_path: Path) -> None:
    parity = Parity(variable="t2m", units="K", max_abs=1e-5, rmse=1e-6, tolerance=1.7e-3)
    with publish_artifact(tmp_path / "a") as draft:
        (draft / "weights.safetensors").write_bytes(b"12345")
        written = write_manifest(
            draft, contract=repeat_contract(), config={"family": "x", "blocks": 3}, parameters=12,
            flops_per_fine_cell=3.5, parity=[parity], skill=[skill(0.25)], provenance={"seed": "42"},
        )  # fmt: skip
    opened = Artifact.open(tmp_path / "a")
    assert opened.manifest == written
    assert opened.contract == repeat_contract()
    assert (opened.manifest.parity, opened.manifest.skill) == ((parity,), (skill(0.25),))
    assert list(opened.manifest.files) == ["weights.safetensors"]
    assert opened.warnings == ()


def test_the_name_of_a_model_is_the_digest_of_its_manifest(tmp_path: Path) -> None:
    first, second = (Artifact.open(make_repeat_artifact(tmp_path / name)) for name in "ab")
    other = Artifact.open(make_repeat_artifact(tmp_path / "c", name="other"))
    assert first.sha256 == second.sha256 != other.sha256


def test_engines_may_come_and_go(tmp_path: Path) -> None:
    path = make_repeat_artifact(tmp_path / "a")
    (path / "engines").mkdir()
    (path / "engines" / "fp32.engine").write_bytes(b"")
    assert [engine.name for engine in Artifact.open(path).engines()] == ["fp32.engine"]


def test_a_role_without_a_graph_is_named(tmp_path: Path) -> None:
    artifact = Artifact.open(make_repeat_artifact(tmp_path / "a"))
    assert artifact.graph().is_file()
    with pytest.raises(ArtifactFileMissing, match=r"graphs/denoiser\.onnx"):
        artifact.graph("denoiser")


def test_bundled_artifacts_are_found_by_name_and_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repeat_artifact(tmp_path / "small")
    make_repeat_artifact(tmp_path / "large", name="large")
    (tmp_path / "aliases.json").write_text(json.dumps({"default": "large"}))
    monkeypatch.setattr(subject, "BUNDLED", tmp_path)
    assert list_bundled() == ("large", "small")
    assert bundled_aliases() == {"default": "large"}
    assert Artifact.open("small").contract.name == "repeat"
    assert Artifact.open("default").contract.name == "large"
    with pytest.raises(ManifestMissing, match="default, large, small"):
        Artifact.open("medium")


def test_every_bundled_artifact_opens() -> None:
    for name in [*list_bundled(), *bundled_aliases()]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegativeSkillWarning)
            Artifact.open(name)


def test_x_5_a_skill_below_zero_is_a_loud_warning_on_open(tmp_path: Path) -> None:
    lines = (skill(0.2), skill(-0.054, "sp"))
    path = make_repeat_artifact(tmp_path / "worse", skill=lines)
    with pytest.warns(NegativeSkillWarning, match=r"WORSE than bicubic/linear interpolation for sp .* -5\.4 %") as seen:
        opened = Artifact.open(path)
    assert len(seen) == len(opened.warnings) == 1
    assert opened.manifest.skill == lines
    make_repeat_artifact(tmp_path / "better", skill=(skill(0.2), skill(0.0, "sp")))
    assert Artifact.open(tmp_path / "better").warnings == ()  # and, warnings being errors here, none was given


def test_a_failed_publication_leaves_nothing(tmp_path: Path) -> None:
    def publish_half() -> None:
        with publish_artifact(tmp_path / "a") as draft:
            (draft / "weights.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_half()
    assert names_in(tmp_path) == []


def test_a_draft_without_manifest_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ManifestMissing), publish_artifact(tmp_path / "a") as draft:
        (draft / "weights.safetensors").write_bytes(b"half")
    assert names_in(tmp_path) == []


def test_a_failed_replacement_leaves_the_old_artifact(tmp_path: Path) -> None:
    path = make_repeat_artifact(tmp_path / "a")
    before = Artifact.open(path)
    with pytest.raises(OSError, match="disk full"), publish_artifact(path):
        raise OSError("disk full")
    assert Artifact.open(path) == before
    assert names_in(tmp_path) == ["a"]


def test_an_artifact_is_replaced_engines_and_all(tmp_path: Path) -> None:
    path = make_repeat_artifact(tmp_path / "a")
    (path / "engines").mkdir()
    (path / "engines" / "fp32.engine").write_bytes(b"of the old graph")
    make_repeat_artifact(path, name="new")
    assert Artifact.open(path).contract.name == "new"
    assert Artifact.open(path).engines() == ()
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_artifact_is_not_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "thesis"
    if kind == "file":
        target.write_text("chapter 1")
    else:
        target.mkdir()
        (target / "chapter1.tex").write_text("chapter 1")
    with pytest.raises(OutputExists), publish_artifact(target):
        pytest.fail("the body ran")
    assert target.read_text() == "chapter 1" if kind == "file" else names_in(target) == ["chapter1.tex"]
    assert names_in(tmp_path) == ["thesis"]


def test_a_kill_while_publishing_leaves_no_half_artifact(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from gfs_sr.runtime.artifact import publish_artifact
with publish_artifact(Path({str(tmp_path / "a")!r})) as draft:
    (draft / "weights.safetensors").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    assert not (tmp_path / "a").exists()
    make_repeat_artifact(tmp_path / "a")  # and what the killed one left is in nobody's way
    assert Artifact.open(tmp_path / "a")


def test_an_artifact_is_as_readable_as_any_new_folder(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    path = make_repeat_artifact(tmp_path / "a")
    assert os.stat(path).st_mode == os.stat(tmp_path / "plain").st_mode  # noqa: PTH116
