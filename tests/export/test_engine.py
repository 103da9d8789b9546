"""Engines: what is written beside them, what refuses them, and the order in which TensorRT is called."""

import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from export import engine as subject
from export.engine import build_engine, this_device, write_engine
from export.profiles import plan_profile
from gfs_sr.errors import BackendFailed, BackendNotInstalled, EngineMismatch
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.engines import Device, Sidecar, check_engine
from tests.artifacts import make_repeat_artifact

DEVICE = Device(gpu="NVIDIA H100", compute_capability="9.0", driver="580.1", tensorrt="11.4.0")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact.open(make_repeat_artifact(tmp_path / "a"))


def test_an_engine_that_was_written_is_accepted_on_its_own_device(artifact: Artifact) -> None:
    path = write_engine(artifact, b"plan", DEVICE)
    assert path.name == "fp32-sm90.engine"
    assert check_engine(artifact, path, DEVICE).device == DEVICE
    assert Artifact.open(artifact.path).engines() == (path,)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, path.name + ".json"]


@pytest.mark.parametrize("field", Device.model_fields)
def test_an_engine_for_another_device_is_refused_with_the_way_to_build_it(artifact: Artifact, field: str) -> None:
    path = write_engine(artifact, b"plan", DEVICE)
    with pytest.raises(EngineMismatch, match=field) as caught:
        check_engine(artifact, path, DEVICE.model_copy(update={field: "another"}))
    assert "export.trt" in caught.value.mend


def test_an_engine_of_another_graph_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    path = write_engine(artifact, b"plan", DEVICE)
    sidecar = Sidecar.model_validate_json(Sidecar.path_of(path).read_bytes())
    changed = sidecar.model_copy(update={"graph_sha256": "0" * 64})
    Sidecar.path_of(path).write_text(changed.model_dump_json())
    with pytest.raises(EngineMismatch, match="another graph"):
        check_engine(artifact, path, DEVICE)


def test_a_spoilt_engine_is_refused(artifact: Artifact) -> None:
    path = write_engine(artifact, b"plan", DEVICE)
    path.write_bytes(b"plam")
    with pytest.raises(EngineMismatch, match="bytes"):
        check_engine(artifact, path, DEVICE)


@pytest.mark.parametrize("sidecar", [None, b"", b"{}", b"\x80pickle"])
def test_an_engine_without_a_readable_sidecar_is_refused(artifact: Artifact, sidecar: bytes | None) -> None:
    path = write_engine(artifact, b"plan", DEVICE)
    Sidecar.path_of(path).unlink()
    if sidecar is not None:
        Sidecar.path_of(path).write_bytes(sidecar)
    with pytest.raises(EngineMismatch, match="sidecar"):
        check_engine(artifact, path, DEVICE)


def test_a_failed_replacement_leaves_no_engine_that_would_be_trusted(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_engine(artifact, b"plan", DEVICE)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(subject, "write_bytes", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_engine(artifact, b"other", DEVICE)
    with pytest.raises(EngineMismatch):
        check_engine(artifact, path, DEVICE)


def test_without_tensorrt_the_error_says_how_to_get_it(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    profile = plan_profile(artifact.contract, (1, 4, 4), (1, 1, 1))
    with pytest.raises(BackendNotInstalled, match="TensorRT is not installed") as caught:
        build_engine(artifact.graph(), profile, None)
    assert "pip install tensorrt" in caught.value.mend
    assert caught.value.exit_code == 5


def test_without_a_gpu_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendNotInstalled, match="no NVIDIA GPU"):
        this_device("11.4.0")


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A stand-in: it shows what is asked of TensorRT, not that TensorRT would do it."""
    stand_in = MagicMock(__version__="11.4.0")
    stand_in.NetworkDefinitionCreationFlag.STRONGLY_TYPED = 1
    stand_in.Builder.return_value.build_serialized_network.return_value = b"plan"
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in)
    monkeypatch.setattr(subject, "this_device", lambda version: DEVICE)
    return stand_in


def test_an_engine_is_built_strongly_typed_without_tf32_for_the_profile(
    artifact: Artifact, tensorrt: MagicMock, tmp_path: Path
) -> None:
    profile = plan_profile(artifact.contract, (1, 4, 4), (1, 2, 3))
    cache = tmp_path / "timings"
    config = tensorrt.Builder.return_value.create_builder_config.return_value
    config.create_timing_cache.return_value.serialize.return_value = b"timings"
    assert build_engine(artifact.graph(), profile, cache) == (b"plan", DEVICE)
    builder = tensorrt.Builder.return_value
    builder.create_network.assert_called_once_with(1 << 1)
    config.clear_flag.assert_called_once_with(tensorrt.BuilderFlag.TF32)
    config.set_flag.assert_not_called()
    coarse = profile.inputs["coarse"]
    builder.create_optimization_profile.return_value.set_shape.assert_called_once_with(
        "coarse", min=coarse.min, opt=coarse.opt, max=coarse.max
    )
    assert cache.read_bytes() == b"timings"
    build_engine(artifact.graph(), profile, cache)
    config.create_timing_cache.assert_called_with(b"timings")


def test_plugins_are_known_before_the_graph_is_parsed(
    artifact: Artifact, tensorrt: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from gfs_sr.kernels import tensorrt_plugins

    tensorrt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS = 2
    parse = tensorrt.OnnxParser.return_value.parse_from_file
    seen = []
    monkeypatch.setattr(tensorrt_plugins, "register_plugins", lambda: seen.append(parse.called))
    profile = plan_profile(artifact.contract, (1, 4, 4), (1, 1, 1))
    assert build_engine(artifact.graph(), profile, None, plugins=True) == (b"plan", DEVICE)
    assert seen == [False]
    tensorrt.Builder.return_value.create_network.assert_called_once_with(1 << 1 | 1 << 2)


def test_a_tensorrt_without_plugins_compiled_ahead_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from gfs_sr.kernels.tensorrt_plugins import register_plugins

    old = MagicMock(spec=["__version__"], __version__="10.7.0")
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(BackendNotInstalled, match=r"10\.7\.0 has no plugins"):
        register_plugins("sm_90", 2)


def test_a_graph_tensorrt_cannot_read_is_refused_with_its_reasons(artifact: Artifact, tensorrt: MagicMock) -> None:
    parser = tensorrt.OnnxParser.return_value
    parser.parse_from_file.return_value = False
    parser.num_errors = 1
    parser.get_error.return_value.desc.return_value = "no such operator"
    with pytest.raises(BackendFailed, match="no such operator"):
        build_engine(artifact.graph(), plan_profile(artifact.contract, (1, 4, 4), (1, 1, 1)), None)


def test_an_engine_that_was_not_built_is_an_error(artifact: Artifact, tensorrt: MagicMock) -> None:
    tensorrt.Builder.return_value.build_serialized_network.return_value = None
    with pytest.raises(BackendFailed, match="could not build"):
        build_engine(artifact.graph(), plan_profile(artifact.contract, (1, 4, 4), (1, 1, 1)), None)
