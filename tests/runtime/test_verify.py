"""The certificate, and what refuses it."""

from pathlib import Path

import numpy as np
import pytest

from export.publication import publish
from gfs_sr.data.forecast import Forecast
from gfs_sr.errors import ParityFailed, UsageError
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import FineForecast, Upscaler
from gfs_sr.runtime.verify import verify_artifact
from tests.artifacts import make_repeat_artifact
from tests.export.checkpoints import make_checkpoint
from tests.export.test_members import MODELS


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return make_repeat_artifact(tmp_path / "repeat")


def test_a_good_artifact_is_certified_tiled_streamed_and_on_every_backend(artifact: Path) -> None:
    report = verify_artifact(artifact, backends=("onnxruntime", "onnxruntime"))
    assert report["certified"] is True
    checks = report["checks"]
    assert isinstance(checks, list)
    labels = list(dict.fromkeys(line["check"].partition("=")[2].strip() for line in checks))
    assert labels == ["whole", "batch", "onnxruntime"]
    assert {(line["variable"], line["units"]) for line in checks} == {("t2m", "K"), ("sp", "Pa")}
    assert all(line["passed"] and line["max_abs"] <= line["tolerance"] for line in checks)


def test_a_backend_that_sees_its_tile_s_place_is_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = OnnxRuntimeBackend._infer

    def zero_rim(self: OnnxRuntimeBackend, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        fine = infer(self, inputs)["fine"].copy()
        fine[..., 0] += 1e-3  # what a layer that pads with zeros does: the tile's own rim differs
        return {"fine": fine}

    monkeypatch.setattr(OnnxRuntimeBackend, "_infer", zero_rim)
    with pytest.raises(ParityFailed, match=r"tiled \(\d+\) = whole: t2m by 0\.017 K") as caught:
        verify_artifact(artifact)
    assert "= batch" not in caught.value.what


def test_a_stream_that_differs_is_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Upscaler.stream

    def late(self: Upscaler, *args: object) -> object:
        frames = list(stream(self, *args))
        frames[-1].values[0] += 1.0
        return iter(frames)

    monkeypatch.setattr(Upscaler, "stream", late)
    with pytest.raises(ParityFailed, match="streamed = batch: t2m by 1 K"):
        verify_artifact(artifact)


def test_engines_that_differ_are_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infer, calls = OnnxRuntimeBackend._infer, []
    activate = OnnxRuntimeBackend._activate

    def count(self: OnnxRuntimeBackend) -> None:
        calls.append(self)
        activate(self)

    def drift(self: OnnxRuntimeBackend, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"fine": infer(self, inputs)["fine"] + np.float32(5e-4 if self is not calls[0] else 0)}

    monkeypatch.setattr(OnnxRuntimeBackend, "_activate", count)
    monkeypatch.setattr(OnnxRuntimeBackend, "_infer", drift)
    with pytest.raises(ParityFailed, match=r"onnxruntime \(CPUExecutionProvider\) = onnxruntime: t2m"):
        verify_artifact(artifact, backends=("onnxruntime", "onnxruntime"))


def test_cells_that_are_masked_in_one_way_alone_are_refused(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Upscaler.stream

    def holed(self: Upscaler, *args: object) -> object:
        frames = list(stream(self, *args))
        frames[0].values[0, 0, 0] = np.nan
        return iter(frames)

    monkeypatch.setattr(Upscaler, "stream", holed)
    with pytest.raises(ParityFailed, match="streamed = batch: t2m"):
        verify_artifact(artifact)


@pytest.mark.parametrize("backends", [(), ("",)])
def test_no_backend_is_refused(artifact: Path, backends: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        verify_artifact(artifact, backends=backends)


def test_a_real_file_may_be_the_input(artifact: Path) -> None:
    sample = Path(__file__).parents[2] / "gfs_sr/demo/sample/gfs_0p25_poland_all_20200829_06z_f000.grib2"
    if not sample.is_file():
        pytest.skip("needs the bundled GFS sample")
    report = verify_artifact(artifact, sample)
    assert (report["grid"], report["frames"]) == ([33, 49], 1)


@pytest.mark.parametrize(("family", "ways"), [("shared", {"tiled", "in company"}), ("global", {"in company"})])
def test_a_model_that_draws_step_by_step_is_certified_without_a_stream(
    tmp_path: Path, family: str, ways: set[str]
) -> None:
    publish(make_checkpoint(MODELS[family], spread=0.1), tmp_path / "members")
    report = verify_artifact(tmp_path / "members", backends=("onnxruntime", "torch"))
    checks = report["checks"]
    assert isinstance(checks, list)
    found = {line["check"].partition(" (")[0].partition(" =")[0] for line in checks}
    assert found == {*ways, "torch"}
    assert {line["variable"] for line in checks} == {"t2m", "msl"}
    assert all(line["passed"] for line in checks)


def test_a_member_that_changes_in_company_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(make_checkpoint(MODELS["shared"], spread=0.1), tmp_path / "members")
    whole = Upscaler.upscale_forecast

    def sociable(self: Upscaler, forecast: Forecast, request: Request) -> FineForecast:
        made = whole(self, forecast, request)
        made.members[0] += 1.0 * (len(made.members) - 1)
        return made

    monkeypatch.setattr(Upscaler, "upscale_forecast", sociable)
    with pytest.raises(ParityFailed, match="in company = alone: t2m by 1 K"):
        verify_artifact(tmp_path / "members")


def test_a_model_that_is_run_in_one_way_alone_is_not_certified(tmp_path: Path) -> None:
    artifact = tmp_path / "whole"
    publish(make_checkpoint({"family": "temdeep", "variables": ["t2m"], "widths": [4, 8, 8, 8]}, spread=0.01), artifact)
    with pytest.raises(UsageError, match="no other way"):
        verify_artifact(artifact)
    assert verify_artifact(artifact, backends=("onnxruntime", "torch"))["certified"] is True
