"""The stages joined by queues: back pressure, errors, cancellation, bounded memory."""

import threading
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import AllMissing, BackendFailed, Interrupted
from gfs_sr.runtime.planner import choose_layout
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import MemorySink, Sink
from tests.forecasts import globe, make_forecast

DEADLINE = 60.0  # seconds; a deadlock would wait for ever


class NullSink(Sink):
    """Takes everything, keeps nothing; calls `on_write` before each block."""

    def __init__(self, on_write=lambda first_frame: None):
        super().__init__()
        self.on_write = on_write
        self.blocks = 0
        self.committed = self.aborted = False

    def _open(self, description, block_shape):
        pass

    def _write(self, frames, rows, values, flags, place):
        self.blocks += 1
        self.on_write(frames.start)

    def commit(self):
        self.committed = True

    def abort(self):
        self.aborted = True


def counted(forecast: Forecast, on_read) -> Forecast:
    """The same forecast; `on_read(frame)` is called before each frame is read."""

    def wrap(read):
        def counting(index):
            on_read(index)
            return read(index)

        return counting

    return replace(forecast, readers=tuple(wrap(read) for read in forecast.readers))


def within_deadline(call):
    """Run `call` in the main thread, but fail instead of hanging for ever."""
    outcome = []

    def body():
        try:
            outcome.append(("value", call()))
        except BaseException as error:
            outcome.append(("error", error))

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "deadlock"
    kind, value = outcome[0]
    if kind == "error":
        raise value
    return value


@pytest.fixture
def one_frame_blocks(monkeypatch):
    """One coarse frame per time tile, so that stages could run far ahead of each other."""
    monkeypatch.setattr("gfs_sr.runtime.upscaler.choose_layout", partial(choose_layout, core_frames=1))


def long_forecast(frames: int) -> Forecast:
    return make_forecast(frames, ("t2m",), Grid(50 - 1.0 * np.arange(8), 5 + 1.0 * np.arange(8)))


def small_blocks(budget=None) -> Request:
    return Request(tile=4, memory_bytes=budget)


def test_each_frame_is_read_once(node):
    reads = []
    node.run(counted(long_forecast(30), reads.append), NullSink(), Request(tile=3))
    assert reads == list(range(30))


@pytest.mark.usefixtures("one_frame_blocks")
def test_a_slow_writer_holds_the_reader_back(node):
    reads, ahead = [], []
    sink = NullSink(lambda first_frame: (time.sleep(0.005), ahead.append(max(reads) - first_frame // 6)))
    node.run(counted(long_forecast(40), reads.append), sink)
    # a window beyond what is in flight: 1 queued window, 2 batches gathered, 2 inferred, 2 blocks, one in each hand
    assert sink.blocks >= 40
    assert max(ahead) <= 12


@pytest.mark.usefixtures("one_frame_blocks")
def test_memory_does_not_grow_with_the_number_of_lead_times(node):
    peaks = []
    for frames in (10, 10, 200):  # the first run warms up
        random = np.random.default_rng(0)
        grid = globe(10.0)
        shared = random.normal(281, 5, grid.shape).astype(np.float32)
        times = TimeAxis.from_times(
            None, np.datetime64("2026-01-01T00") + np.timedelta64(6, "h") * np.arange(frames), "test"
        )
        forecast = Forecast(("t2m",), grid, times, (lambda _index, field=shared: field,))
        tracemalloc.start()
        node.run(forecast, NullSink())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # twenty times the frames; what grows is the time axis itself, some bytes a frame
    assert peaks[2] < 1.1 * peaks[1] + 200 * 1024


STAGES = ("read", "gather", "infer", "scatter", "write")


@pytest.mark.usefixtures("one_frame_blocks")
@pytest.mark.parametrize("stage", STAGES)
def test_an_error_in_any_stage_ends_the_run_with_that_error(node, monkeypatch, stage):
    sink = NullSink()
    forecast = long_forecast(30)

    def fail(*_args, **_options):
        raise RuntimeError(f"in {stage}")

    if stage == "read":
        forecast = counted(forecast, lambda index: fail() if index == 11 else None)
    elif stage == "write":
        sink.on_write = lambda first_frame: fail() if first_frame > 20 else None
    elif stage == "infer":
        monkeypatch.setattr(node.backend, "infer", fail)
    else:
        monkeypatch.setattr(f"gfs_sr.runtime.tiling.{stage}", fail)
    with pytest.raises(RuntimeError, match=f"in {stage}"):
        within_deadline(lambda: node.run(forecast, sink))
    assert sink.aborted
    assert not sink.committed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gfs-sr-")]


def test_a_bad_frame_late_in_the_forecast_is_found_and_nothing_committed(node):
    values = long_forecast(20).load()
    values[13] = np.nan
    plain = long_forecast(20)
    sink = NullSink()
    with pytest.raises(AllMissing, match="t2m"):
        node.run(Forecast.from_arrays(values, ("t2m",), plain.grid, plain.times), sink)
    assert sink.aborted


@pytest.mark.usefixtures("one_frame_blocks")
def test_ctrl_c_stops_every_stage(node):
    import _thread

    def interrupt(first_frame):
        if first_frame == 60:
            _thread.interrupt_main()
        if first_frame >= 60:
            time.sleep(0.01)  # or the rest is written before the main thread, which looks five times a second, sees it

    sink = NullSink(interrupt)
    with pytest.raises(Interrupted):
        node.run(long_forecast(200), sink)
    assert sink.aborted
    assert sink.blocks < 200
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gfs-sr-")]


def test_progress_ends_at_the_total(node):
    steps = []
    node.run(long_forecast(12), NullSink(), small_blocks(), lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_a_backend_that_reuses_its_result_gives_the_same_output(node, monkeypatch):
    forecast = make_forecast(12, ("t2m",), globe(10.0))
    plain, reused = MemorySink(), MemorySink()
    node.run(forecast, plain, small_blocks())
    infer, kept = node.backend.infer, {}

    def reusing(inputs):
        fine = infer(inputs)["fine"]
        buffer = kept.setdefault(fine.shape, np.empty_like(fine))
        buffer[...] = fine
        return {"fine": buffer}

    monkeypatch.setattr(node.backend, "infer", reusing)
    node.run(forecast, reused, small_blocks())
    np.testing.assert_array_equal(reused.values, plain.values)


def test_an_engine_that_fails_says_so(node, monkeypatch):
    def broken(_inputs):
        raise MemoryError("out of it")

    monkeypatch.setattr(node.backend, "_infer", broken)
    with pytest.raises(BackendFailed, match="out of it"):
        node.run(long_forecast(3), NullSink())
