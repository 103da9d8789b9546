"""Frames on their own: a graph of their own, a fraction of the work, the same field."""

import shutil

import numpy as np
import pytest
from onnx import load, numpy_helper, save

from gfs_sr.errors import DigestMismatch, ParityFailed
from gfs_sr.runtime.artifact import FRAME, Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import MemorySink
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.runtime.verify import verify_artifact
from tests.forecasts import make_forecast

VARIABLES = ("t2m", "u10", "sp")
pytestmark = pytest.mark.filterwarnings(
    "ignore::gfs_sr.errors.NegativeSkillWarning"
)  # said by the artifact's own record


@pytest.fixture(scope="module", params=["fused-node", "fused-cell", "interpolation-node"])
def upscaler(request):
    with Upscaler.open(request.param, threads=1) as opened:
        yield opened


def test_a_lone_frame_is_the_series_own(upscaler):
    series = make_forecast(3, VARIABLES)
    whole = upscaler.upscale_forecast(series)
    alone = upscaler.upscale_forecast(series.isel_time(slice(0, 1)))
    assert alone.values.shape == (1, *whole.values.shape[1:])
    assert whole.summary.halo["time"] != [0, 0]
    assert alone.summary.halo["time"] == [0, 0]
    assert alone.summary.tile["time"] == 1
    for channel, name in enumerate(VARIABLES):
        allowed = 1e-4 * upscaler.contract.normalization[name].sd
        np.testing.assert_allclose(alone.values[0, channel], whole.values[0, channel], rtol=0, atol=allowed)


def test_a_lone_frame_does_not_depend_on_the_tiling(upscaler):
    frame = make_forecast(1, VARIABLES)
    whole = upscaler.upscale_forecast(frame).values
    tiled = upscaler.upscale_forecast(frame, Request(tile=4)).values
    for channel, name in enumerate(VARIABLES):
        allowed = 1e-5 * upscaler.contract.normalization[name].sd
        np.testing.assert_allclose(tiled[:, channel], whole[:, channel], rtol=0, atol=allowed)


def test_the_file_of_a_lone_frame_says_nothing_of_time(upscaler):
    sink = MemorySink()
    upscaler.run(make_forecast(1, VARIABLES), sink)
    assert "in time" not in sink.description.attrs["title"]
    assert "time 0+0" in sink.description.attrs["gfs_sr_halo"]


def test_torch_runs_frames_on_their_own_too():
    pytest.importorskip("torch")
    artifact = Artifact.open("fused-node")
    frame = make_forecast(1, VARIABLES)
    fine = []
    for name in ("onnxruntime", "torch"):
        with Upscaler.open(artifact, backend=name, threads=1) as opened:
            fine.append(opened.upscale_forecast(frame))
    assert fine[1].summary.halo["time"] == [0, 0]
    for channel, name in enumerate(VARIABLES):
        allowed = 1e-4 * artifact.contract.normalization[name].sd
        np.testing.assert_allclose(fine[1].values[:, channel], fine[0].values[:, channel], rtol=0, atol=allowed)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(Artifact.open("fused-node").path, tmp_path / "copy")


def spoil(path):
    graph = load(path)
    weight = next(each for each in graph.graph.initializer if each.name.endswith("head.weight"))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + 0.05, weight.name))
    save(graph, path)


def test_a_changed_frame_graph_is_refused_by_its_digest(copy):
    spoil(copy / "graphs" / "frame.onnx")
    with pytest.raises(DigestMismatch, match=r"graphs/frame\.onnx"):
        Artifact.open(copy)


def test_the_certificate_finds_a_frame_graph_of_another_function(copy, monkeypatch):
    spoil(copy / "graphs" / "frame.onnx")
    monkeypatch.setattr("gfs_sr.runtime.artifact._verify_files", lambda folder, manifest: None)
    with pytest.raises(ParityFailed, match="lone frame = series"):
        verify_artifact(copy)


def test_an_artifact_without_a_frame_graph_still_takes_a_lone_frame(node):
    assert not node.artifact.has_graph(FRAME)
    assert node.upscale_forecast(make_forecast(1)).values.shape[0] == 1


def test_the_backend_for_frames_takes_the_contract_for_frames():
    backend = open_backend("onnxruntime", Artifact.open("fused-node"), role=FRAME)
    assert backend.contract.time_factor == 1
    assert backend.contract.graph_inputs() == ("coarse", "variable", "static_coarse", "static_fine")
