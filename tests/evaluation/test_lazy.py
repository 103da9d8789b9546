"""Forecasts longer than memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gfs_sr.data.coarsen import Coarsening
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.resampling import Closure
from gfs_sr.data.time_interpolation import TIME
from gfs_sr.data.variables import TimeKind
from gfs_sr.evaluation import detail, scoring, shown, view
from gfs_sr.evaluation import evaluate as evaluating
from gfs_sr.evaluation.baselines import Rival, rivals
from gfs_sr.evaluation.cases import make_case
from gfs_sr.evaluation.evaluate import Settings, evaluate, evaluate_cases
from gfs_sr.evaluation.subject import Subject, interpolating
from gfs_sr.runtime import scratch as scratching
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.scratch import ScratchSink, scratch
from gfs_sr.runtime.upscaler import Upscaler
from tests import fields
from tests.evaluation.test_evaluate import write_fine
from tests.interpolating_artifact import make_interpolation_artifact

HEIGHT, WIDTH = 49, 55
HOW = Coarsening(Registration.NODE, 6, 6)


class Rolling:
    """A model that makes its frames when they are read."""

    members, tile = 1, None

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def read(self, channel, frames):
        return np.stack([frame(index) for index in range(frames.start, frames.stop)])[None] + np.float32(0.1)


def frame(index):
    return (285 + fields.waves(1, HEIGHT, WIDTH, seed=1)[0] * (1 + 0.1 * np.sin(index / 7))).astype(np.float32)


def long_case(frames):
    """A truth whose frames exist only while they are read."""
    times = fields.times(frames)
    one = Forecast.from_arrays(frame(0)[None, None], ("t2m",), fields.grid(HEIGHT, WIDTH), fields.times(1))
    return make_case(replace(one, times=times, readers=(frame,)), [], HOW, None)


def peak(frames):
    case = long_case(frames)
    subject = Subject("rolling", lambda coarse: Rolling(frames), 6, 6, Registration.NODE)
    settings = Settings((), tasks=("joint",), metrics=("join ratio", "RMSE"), by_terrain=False)
    tracemalloc.start()
    evaluation = evaluate_cases(subject, [case], settings)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used, evaluation


def test_memory_follows_the_chunk_and_not_the_length_of_the_forecast(monkeypatch):
    monkeypatch.setattr(view, "CHUNK_CELLS", 12 * HEIGHT * WIDTH)
    monkeypatch.setattr(view, "TRUTH_BYTES", 0)
    monkeypatch.setattr(scoring, "rivals", lambda a: [rival for rival in rivals(a) if rival.headline])  # for speed
    monkeypatch.setattr(shown, "FIELD_BYTES", 1 << 18)
    monkeypatch.setattr(detail, "SAMPLED_VALUES", 1 << 14)
    (short, _), (long, evaluation) = peak(19), peak(67)
    more = 48 * HEIGHT * WIDTH * 4  # bytes of truth
    assert long - short < 0.4 * more  # the coarse series, sums by frame, and every n-th frame for pictures
    (line, *_) = evaluation.lines()
    assert line.rmse == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("rival", [Rival("bicubic", time) for time in TIME], ids=lambda rival: rival.name)
@pytest.mark.parametrize("kind", [TimeKind.INSTANT, TimeKind.ACCUMULATED])
def test_frames_made_from_a_part_of_the_coarse_series_are_those_made_from_all_of_it(rival, kind, monkeypatch):
    monkeypatch.setattr(view, "CHUNK_CELLS", 1)
    case = long_case(6 * 60)
    subject = Subject("rolling", lambda coarse: Rolling(360), 6, 6, Registration.NODE)
    (found,) = view.views(case, [subject], ["joint"], evaluation_protocol())
    series = found.of("t2m")
    coarse = np.abs(np.random.Generator(np.random.PCG64(3)).normal(size=(60, 9, 10)))
    object.__setattr__(series, "coarse", coarse)
    setting = replace(series.setting, kind=kind)
    monkeypatch.setattr(type(series), "setting", property(lambda self: setting))
    for closure in rival.closures:
        whole = rival.frames(coarse, setting, closure)
        for chunk in (slice(0, 6), slice(150, 168), slice(354, 360)):
            np.testing.assert_allclose(series._in_time(rival, closure, chunk), whole[chunk], rtol=0, atol=1e-11)


def evaluation_protocol():
    from gfs_sr.evaluation.protocols import protocol

    return protocol("B")


def test_a_long_prediction_waits_on_disk(tmp_path, monkeypatch):
    path = write_fine(tmp_path / "fine.nc")
    artifact = make_interpolation_artifact(tmp_path / "artifact")
    settings = Settings((path,), metrics=(), by_terrain=False)
    with Upscaler.open(artifact) as upscaler:
        in_memory = evaluate(Subject.of(upscaler), settings)
        monkeypatch.setattr(scratching, "MEMORY_BYTES", 1000)
        sink = ScratchSink()
        coarse = make_case(_opened(path), [path], HOW, None).coarse
        upscaler.run(coarse, sink, Request(extent="full"))
        assert isinstance(sink.values, np.memmap)
        assert sink.resident_bytes(10_000) == 0
        on_disk = evaluate(Subject.of(upscaler), settings)
    assert on_disk.rmse() == in_memory.rmse()
    assert not isinstance(scratch((2, 3)), np.memmap)


def _opened(path):
    from gfs_sr.data.sources import open_forecast

    return open_forecast([path])


def test_closures_that_cannot_differ_are_not_tried_twice():
    both = {rival.name for rival in rivals(0.2) if len(rival.closures) == 2}
    assert "bilinear/linear" not in both
    assert {"bicubic/linear", "bilinear/catmull_rom", "sharpened lanczos/hold"} <= both
    assert all(rival.closures[-1] is Closure.RAMP for rival in rivals(0.2))


def test_the_predictions_of_many_forecasts_are_not_all_kept(tmp_path, monkeypatch):
    paths = tuple(write_fine(tmp_path / f"{day}.nc", seed=day, start=f"2021-03-0{day}T00") for day in (1, 2, 3))
    runs = []

    def predict(coarse):
        runs.append(coarse.source)
        return interpolating("bicubic/linear", 6, 6, Registration.NODE).predict(coarse)

    subject = Subject("counted", predict, 6, 6, Registration.NODE)
    settings = Settings(paths, tasks=("joint",), metrics=("RMSE",), by_terrain=False)
    kept = evaluate(subject, settings)
    assert len(runs) == 3
    one = 15 * 31 * 37 * 4 * 2  # a series and its extrapolated frames
    monkeypatch.setattr(evaluating, "MEMORY_BYTES", one)
    again = evaluate(subject, settings)
    assert len(runs) == 3 + 3 + 2  # the first stays
    assert [score.value for score in again.scores()] == [score.value for score in kept.scores()]
