"""Which engine `auto` takes: measured once, stored, and never one that gives another field."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gfs_sr.errors import BackendFailed
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import choice, open_backend
from gfs_sr.runtime.backends.choice import choose_engine, smooth_inputs
from gfs_sr.runtime.backends.shapes import check_inputs
from gfs_sr.runtime.upscaler import Upscaler
from tests.forecasts import make_forecast

pytestmark = pytest.mark.filterwarnings("ignore::gfs_sr.errors.NegativeSkillWarning")


class Scripted:
    """An engine whose times and values are given."""

    def __init__(self, clock, contract, seconds, off=0.0, fails=False):
        self.clock, self.contract, self.seconds, self.off, self.fails = clock, contract, seconds, off, fails

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def infer(self, inputs):
        if self.fails:
            raise BackendFailed("it broke", "here", "mend it")
        self.clock.now += self.seconds
        return {"fine": np.full(check_inputs(self.contract, inputs), self.off, np.float32)}


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def artifact():
    return Artifact.open("fused-node")


@pytest.fixture
def engines(monkeypatch, tmp_path):
    """Sets the scripted engines; lists those that were made."""
    made = []
    clock = Clock()

    def set_up(**scripts):
        def make(name, opened, **options):
            made.append(name)
            return Scripted(clock, opened.contract, **scripts[name])

        monkeypatch.setattr(choice, "make_backend", make)
        monkeypatch.setattr(choice, "ORDER", tuple(scripts))
        monkeypatch.setattr(choice, "find_spec", lambda name: True)
        return made

    monkeypatch.setattr(choice, "time", clock)
    monkeypatch.setenv("GFS_SR_MEASURE", "on")
    monkeypatch.setenv("GFS_SR_CACHE", str(tmp_path / "cache"))
    return set_up


def test_the_faster_engine_is_taken_and_the_reason_says_why(artifact, engines):
    engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    chosen = choose_engine(artifact)
    assert chosen.backend == "openvino"
    assert chosen.reason == "fastest on one tile: onnxruntime 200 ms, openvino 100 ms"


def test_an_engine_ahead_by_less_than_noise_is_not_taken(artifact, engines):
    engines(onnxruntime={"seconds": 0.100}, openvino={"seconds": 0.097})
    assert choose_engine(artifact).backend == "onnxruntime"


def test_a_measurement_is_made_once(artifact, engines):
    made = engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    first = choose_engine(artifact)
    assert made == ["onnxruntime", "openvino"]
    assert choose_engine(artifact) == first
    assert made == ["onnxruntime", "openvino"]


@pytest.mark.parametrize("other", ["versions", "processor", "threads", "artifact"])
def test_what_was_measured_elsewhere_does_not_count(artifact, engines, monkeypatch, other):
    made = engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    choose_engine(artifact)
    threads = 1 if other == "threads" else None
    if other == "versions":
        monkeypatch.setattr(choice, "version", lambda name: "99.0")
    if other == "processor":
        monkeypatch.setattr(choice, "processor", lambda: "another")
    if other == "artifact":
        artifact = Artifact.open("fused-cell")
    choose_engine(artifact, threads)
    assert len(made) == 4


def test_an_engine_that_gives_another_field_is_ruled_out_however_fast(artifact, engines):
    engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.01, "off": 0.3})
    chosen = choose_engine(artifact)
    assert chosen.backend == "onnxruntime"
    assert "openvino strays by 0.3 sd from onnxruntime" in chosen.reason


def test_an_engine_that_gives_no_number_is_ruled_out(artifact, engines):
    engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.01, "off": np.nan})
    assert choose_engine(artifact).backend == "onnxruntime"


def test_an_engine_that_fails_is_passed_over_by_name(artifact, engines):
    engines(onnxruntime={"seconds": 0.2, "fails": True}, openvino={"seconds": 0.3})
    chosen = choose_engine(artifact)
    assert chosen.backend == "openvino"
    assert "onnxruntime it broke" in chosen.reason


def test_measuring_can_be_switched_off(artifact, engines, monkeypatch):
    made = engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    monkeypatch.setenv("GFS_SR_MEASURE", "off")
    assert choose_engine(artifact).backend == "onnxruntime"
    assert not made


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"backend": 3}'])
def test_a_spoilt_store_is_measured_again_and_mended(artifact, engines, tmp_path, spoilt):
    made = engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    choose_engine(artifact)
    (stored,) = (tmp_path / "cache" / "engines").iterdir()
    stored.write_bytes(spoilt)
    choose_engine(artifact)
    assert len(made) == 4
    assert json.loads(stored.read_text())["backend"] == "openvino"


def test_a_store_that_cannot_be_written_is_no_error(artifact, engines, tmp_path, monkeypatch):
    engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GFS_SR_CACHE", str(tmp_path / "file"))
    assert choose_engine(artifact).backend == "openvino"


def test_a_model_too_slow_to_measure_takes_the_first_engine(artifact, engines, monkeypatch):
    made = engines(onnxruntime={"seconds": 0.2}, openvino={"seconds": 0.1})
    monkeypatch.setattr(choice, "MOST_SECONDS", 1e-6)
    chosen = choose_engine(artifact)
    assert (chosen.backend, made) == ("onnxruntime", [])
    assert "too long" in chosen.reason


def test_a_single_engine_is_not_measured(artifact, engines):
    made = engines(onnxruntime={"seconds": 0.2})
    assert "only engine" in choose_engine(artifact).reason
    assert not made


def test_the_measured_tile_has_values_of_about_one_standard_deviation(artifact):
    inputs = smooth_inputs(artifact.contract, (1, 1, 1, 32, 32))
    assert check_inputs(artifact.contract, inputs) == (1, 6, 1, 192, 192)
    assert all(0.3 < array.std() < 1.5 for name, array in inputs.items() if name != "variable")


def test_the_summary_says_which_engine_ran_and_why(artifact):
    with Upscaler.open(artifact, threads=1) as upscaler:
        summary = upscaler.upscale_forecast(make_forecast(1, ("t2m",))).summary
    assert summary.backend_reason == open_backend("auto", artifact, threads=1).chosen
    assert summary.as_dict()["backend_reason"]


def test_a_real_measurement_is_stored_and_finds_all_engines_alike(tmp_path):
    pytest.importorskip("openvino")
    code = """
import time, warnings
warnings.simplefilter("ignore")
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends.choice import choose_engine
artifact = Artifact.open("fused-node")
first = choose_engine(artifact)
start = time.perf_counter()
assert choose_engine(artifact) == first
assert time.perf_counter() - start < 0.1
print(first.model_dump_json())
"""
    environment = {"PATH": "", "GFS_SR_CACHE": str(tmp_path), "GFS_SR_MEASURE": "on", "HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found = json.loads(run.stdout)
    assert {each["backend"] for each in found["timings"]} == set(choice.ORDER)
    assert all(each["seconds"] for each in found["timings"])  # all gave the same field
    assert len(list((tmp_path / "engines").iterdir())) == 1
