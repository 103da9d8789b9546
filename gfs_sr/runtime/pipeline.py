"""The straight way of a forecast: read, gather, infer, scatter and write as threads joined by bounded queues.

The unit of work is the block: one time tile by one band of latitude (a row of tiles). Queues and buffers are made once
and have fixed sizes, so that a stage that runs ahead waits, and memory does not grow with the number of lead times.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product

from gfs_sr.errors import Interrupted
from gfs_sr.runtime.backends.base import Array, Backend, Started
from gfs_sr.runtime.channel import Cancelled, Channel, Pool
from gfs_sr.runtime.layout import BlockBuffer, Layout
from gfs_sr.runtime.sink import Sink
from gfs_sr.runtime.stages import Stages, Window

STAGES = ("read", "gather", "infer", "scatter", "write")
IN_FLIGHT = 2  # buffers of each kind: one being filled while the other is being emptied


Progress = Callable[[int, int], None]
"""Is told after every block how many fine cells of how many were written."""


@dataclass
class Timings:
    """Seconds each stage was busy, waiting left out."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the body's time to `stage`. Each stage runs in one thread, so no lock is needed."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some tiles of one block on their way from gather to scatter."""

    window: Window
    member: int
    band: int
    tiles: range
    buffers: dict[str, Array] | None  # None after inference: they went back to their pool
    fine: Array | None
    started: tuple[Started, ...]  # what fills `fine`, and may be on its way still
    is_first: bool
    is_last: bool


class Pipeline:
    """Runs one job through a backend into a sink."""

    def __init__(self, stages: Stages, backend: Backend, sink: Sink, progress: Progress | None = None) -> None:
        self._stages = stages
        self._layout: Layout = stages.layout
        self._backend = backend
        self._sink = sink
        self._progress = progress
        self._timings = Timings()
        layout = stages.layout
        self._windows: Channel[Window] = Channel(1)
        self._gathered: Channel[_Batch] = Channel(IN_FLIGHT)
        self._inferred: Channel[_Batch] = Channel(IN_FLIGHT)
        self._blocks: Channel[tuple[Window, int, int, BlockBuffer]] = Channel(IN_FLIGHT)
        self._free_inputs = Pool([layout.empty_inputs(backend.empty) for _ in range(IN_FLIGHT)])
        self._free_fine = Pool([layout.empty_fine(backend.empty) for _ in range(IN_FLIGHT)])
        self._free_blocks = Pool([layout.empty_block() for _ in range(IN_FLIGHT)])
        self._lock = threading.Lock()  # guards `_error`
        self._error: BaseException | None = None
        self._ended = threading.Semaphore(0)

    def run(self) -> Timings:
        """Run to the end; the sink is open, and is left uncommitted.

        Raises:
            Interrupted: Ctrl-C or SIGTERM.
            GfsSrError: the first error of any stage; the others were stopped.
        """
        bodies: list[Callable[[], None]] = [self._read, self._gather, self._infer, self._scatter, self._write]
        threads = [
            threading.Thread(target=self._guarded, args=(body,), name=f"gfs-sr-{stage}", daemon=True)
            for stage, body in zip(STAGES, bodies, strict=True)
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                # a lock without timeout cannot be interrupted on every platform
                while not self._ended.acquire(timeout=0.2):
                    pass
        except KeyboardInterrupt as error:
            self._stop(Interrupted("stopped by the user", "upscaling", "run the command again"))
            raise Interrupted(
                "stopped by the user; nothing half-written was left", "upscaling", "run the command again"
            ) from error
        finally:
            self._cancel()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._error is not None:
            raise self._error
        return self._timings

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except Cancelled:
            pass
        except BaseException as error:
            self._stop(error)
        finally:
            self._ended.release()

    def _stop(self, error: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
        self._cancel()

    def _cancel(self) -> None:
        for channel in (
            self._windows,
            self._gathered,
            self._inferred,
            self._blocks,
            self._free_inputs,
            self._free_fine,
            self._free_blocks,
        ):
            channel.cancel()

    def _read(self) -> None:
        windows = self._stages.windows()
        while True:
            with self._timings.measure("read"):
                window = next(windows, None)
            if window is None:
                break
            self._windows.put(window)
        self._windows.close()

    def _gather(self) -> None:
        for window in self._windows:
            with self._timings.measure("gather"):
                fields = self._stages.fields(window)
            for member, band in product(range(self._layout.job.members), self._layout.bands):
                batches = self._layout.batches(band)
                for index, tiles in enumerate(batches):
                    buffers = self._free_inputs.get()
                    with self._timings.measure("gather"):
                        self._stages.gather(window, fields, tiles, buffers, member)
                    is_last = index == len(batches) - 1
                    self._gathered.put(_Batch(window, member, band, tiles, buffers, None, (), index == 0, is_last))
        self._gathered.close()

    def _infer(self) -> None:
        for batch in self._gathered:
            fine = self._free_fine.get()
            assert batch.buffers is not None
            with self._timings.measure("infer"):
                started = self._layout.start(self._backend, batch.buffers, len(batch.tiles), fine)
                for each in started:
                    each.taken()
            self._free_inputs.put(batch.buffers)
            self._inferred.put(replace(batch, buffers=None, fine=fine, started=tuple(started)))
        self._inferred.close()

    def _scatter(self) -> None:
        block: BlockBuffer | None = None
        for batch in self._inferred:
            if batch.is_first:
                block = self._free_blocks.get()
            assert block is not None
            assert batch.fine is not None
            for each in batch.started:
                each.done()
            with self._timings.measure("scatter"):
                self._stages.scatter(batch.fine[: len(batch.tiles)], batch.window, batch.band, batch.tiles, block)
                if batch.is_last:
                    self._stages.keep_frames(batch.window, batch.band, block)
                    self._stages.flag(batch.window, batch.band, block)
            self._free_fine.put(batch.fine)
            if batch.is_last:
                self._blocks.put((batch.window, batch.member, batch.band, block))
        self._blocks.close()

    def _write(self) -> None:
        done, total = 0, self._layout.job.output_cells
        room = self._layout.job.slots
        for window, member, band, block in self._blocks:
            region = self._layout.region(window.time_tile, band)
            values, flags = block.views(region)
            first_frame = region.first_frame
            if room is not None:
                kept = room.kept[region.fine_frame : region.fine_frame + region.frames]
                first_frame = room.place(region.fine_frame)
                values, flags = (values, flags) if kept.all() else (values[kept], flags[kept])
            with self._timings.measure("write"):
                if len(values):
                    self._sink.write(first_frame, region.first_row, values, flags, member)
            self._free_blocks.put(block)
            done += values.size
            if self._progress is not None:
                self._progress(done, total)
