"""Every way to spoil an artifact ends in its own error, before anything is run."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gfs_sr.errors import (
    ArtifactError,
    ArtifactFileMissing,
    CheckpointInvalid,
    DigestMismatch,
    EngineMismatch,
    FormatTooNew,
    ManifestInvalid,
    ManifestMissing,
    ParityFailed,
)
from gfs_sr.runtime.artifact import MAX_MANIFEST_BYTES, Artifact
from tests.artifacts import make_repeat_artifact

Spoil = Callable[[Path], object]


def flip_byte(name: str, at: int) -> Spoil:
    def spoil(artifact: Path) -> None:
        data = bytearray((artifact / name).read_bytes())
        data[at] ^= 0xFF
        (artifact / name).write_bytes(data)

    return spoil


def cut(name: str, keep: int) -> Spoil:
    return lambda artifact: os.truncate(artifact / name, keep)


def append(name: str, tail: bytes) -> Spoil:
    return lambda artifact: (artifact / name).write_bytes((artifact / name).read_bytes() + tail)


def remove(name: str) -> Spoil:
    return lambda artifact: (artifact / name).unlink()


def write(name: str, data: bytes) -> Spoil:
    return lambda artifact: (artifact / name).write_bytes(data)


def edit(change: Callable[[dict], object]) -> Spoil:
    def spoil(artifact: Path) -> None:
        path = artifact / "manifest.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def list_as(name: str) -> Spoil:
    """The manifest lists the weights under `name`; where that leads out of the folder, the file is really there."""

    def spoil(artifact: Path) -> None:
        if name.startswith("../"):
            (artifact / name).write_bytes((artifact / "weights.safetensors").read_bytes())
        edit(lambda document: document["files"].update({name: document["files"]["weights.safetensors"]}))(artifact)

    return spoil


def link_weights(artifact: Path) -> None:
    weights = artifact / "weights.safetensors"
    weights.rename(artifact.parent / "elsewhere")
    weights.symlink_to(artifact.parent / "elsewhere")


def link_folder(artifact: Path) -> None:
    (artifact / "graphs").rename(artifact.parent / "elsewhere")
    (artifact / "graphs").symlink_to(artifact.parent / "elsewhere", target_is_directory=True)


FAULTS: dict[str, tuple[Spoil, type[ArtifactError]]] = {  # what is done to a good artifact -> the error that must come
    "flipped weight byte": (flip_byte("weights.safetensors", at=-1), DigestMismatch),
    "flipped graph byte": (flip_byte("graphs/model.onnx", at=40), DigestMismatch),
    "truncated weights": (cut("weights.safetensors", 7), DigestMismatch),
    "emptied graph": (cut("graphs/model.onnx", 0), DigestMismatch),
    "longer weights": (append("weights.safetensors", b"\0"), DigestMismatch),
    "digest of another file": (
        edit(lambda document: document["files"]["graphs/model.onnx"].update(sha256="0" * 64)), DigestMismatch
    ),
    "weights missing": (remove("weights.safetensors"), ArtifactFileMissing),
    "graph missing": (remove("graphs/model.onnx"), ArtifactFileMissing),
    "manifest missing": (remove("manifest.json"), ManifestMissing),
    "manifest a folder": (
        lambda artifact: [remove("manifest.json")(artifact), (artifact / "manifest.json").mkdir()], ManifestMissing
    ),
    "manifest of tomorrow": (edit(lambda document: document.update(format=99)), FormatTooNew),
    "manifest of tomorrow with unknown fields": (
        edit(lambda document: document.update(format=2, quantum=True, contract=None)), FormatTooNew
    ),
    "manifest of no format": (edit(lambda document: document.pop("format")), ManifestInvalid),
    "format a word": (edit(lambda document: document.update(format="one")), ManifestInvalid),
    "format zero": (edit(lambda document: document.update(format=0)), ManifestInvalid),
    "truncated manifest": (cut("manifest.json", 200), ManifestInvalid),
    "empty manifest": (cut("manifest.json", 0), ManifestInvalid),
    "manifest a list": (write("manifest.json", b"[]"), ManifestInvalid),
    "manifest not text": (write("manifest.json", b"\xff\xfe\x00"), ManifestInvalid),
    "manifest too deep": (write("manifest.json", b"[" * 100_000), ManifestInvalid),
    "manifest too large": (lambda artifact: os.truncate(artifact / "manifest.json", MAX_MANIFEST_BYTES + 1),
                           ManifestInvalid),
    "unknown field": (edit(lambda document: document.update(extra=1)), ManifestInvalid),
    "unknown variable": (edit(lambda document: document["contract"].update(inputs=["phlogiston"])), ManifestInvalid),
    "negative halo": (edit(lambda document: document["contract"]["halo"].update(north=-1)), ManifestInvalid),
    "factor zero": (edit(lambda document: document["contract"].update(scale_factor=0)), ManifestInvalid),
    "sd of nan": (
        edit(lambda document: document["contract"]["normalization"]["t2m"].update(sd=float("nan"))), ManifestInvalid
    ),
    "extra file": (write("notes.txt", b"mine"), ManifestInvalid),
    "extra file beside the graph": (write("graphs/model.onnx.data", b"weights"), ManifestInvalid),
    "path escape": (list_as("../weights.safetensors"), ManifestInvalid),
    "path escape inside": (list_as("graphs/../../weights.safetensors"), ManifestInvalid),
    "absolute path": (list_as("/etc/hostname"), ManifestInvalid),
    "path of another system": (list_as("..\\weights.safetensors"), ManifestInvalid),
    "drive letter": (list_as("C:weights.safetensors"), ManifestInvalid),
    "empty path": (list_as(""), ManifestInvalid),
    "path spelled twice": (list_as("graphs//model.onnx"), ManifestInvalid),
    "manifest that lists itself": (list_as("manifest.json"), ManifestInvalid),
    "engine under digest": (list_as("engines/fp32.engine"), ManifestInvalid),
    "weights a link": (link_weights, ManifestInvalid),
    "graphs a link": (link_folder, ManifestInvalid),
}  # fmt: skip


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return make_repeat_artifact(tmp_path / "folder" / "artifact")


def test_the_unspoilt_artifact_opens(artifact: Path) -> None:
    assert Artifact.open(artifact).path == artifact


@pytest.mark.parametrize(("spoil", "error"), FAULTS.values(), ids=FAULTS)
def test_spoilt_artifact_is_refused(artifact: Path, spoil: Spoil, error: type[ArtifactError]) -> None:
    spoil(artifact)
    with pytest.raises(error) as caught:
        Artifact.open(artifact)
    assert type(caught.value) is error
    assert caught.value.exit_code == 4
    assert str(artifact) in caught.value.where
    assert caught.value.mend


ELSEWHERE: dict[type[ArtifactError], str] = {  # not of an artifact's folder: the test that provokes it
    CheckpointInvalid: "tests/export/test_onnx.py::test_the_command_ends_in_the_error_s_exit_code",
    ParityFailed: "tests/export/test_onnx.py::test_a_graph_that_strays_from_its_network_is_not_published",
    EngineMismatch: "tests/export/test_engine.py::test_a_spoilt_engine_is_refused",
}


def test_every_artifact_error_has_a_fault() -> None:
    assert {error for _, error in FAULTS.values()} | set(ELSEWHERE) == set(ArtifactError.__subclasses__())
    root = Path(__file__).parents[2]
    for error, place in ELSEWHERE.items():
        file, _, name = place.partition("::")
        body = (root / file).read_text().partition(f"def {name}(")[2].partition("\ndef ")[0]
        assert error.__name__ in body, place
