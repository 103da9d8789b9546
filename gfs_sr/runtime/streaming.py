"""Fine frames as the coarse ones arrive: the pipeline's own steps along a sliding window of time."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import GapInLeadTimes, UnsortedTimes, UsageError
from gfs_sr.runtime.backends.base import Backend
from gfs_sr.runtime.backends.shapes import halo_of
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.planner import choose_layout
from gfs_sr.runtime.request import Job, Request, prepare
from gfs_sr.runtime.sink import FlagField, FloatField
from gfs_sr.runtime.stages import CoarseFrame, Stages, Window
from gfs_sr.runtime.statics import Statics, open_job_statics


@dataclass(frozen=True, eq=False)
class FineFrame:
    """One fine frame of a stream."""

    valid_time: np.datetime64
    values: FloatField  # (C, rows, columns), canonical units, north to south
    flags: FlagField  # (rows, columns)
    member: int = 0


@dataclass(frozen=True, eq=False)
class _Arrived:
    valid_time: np.datetime64
    values: FloatField
    coarse: CoarseFrame


def stream(
    backend: Backend,
    frames: Iterable[tuple[np.datetime64, FloatField]],
    variables: tuple[str, ...],
    grid: Grid,
    request: Request,
    memory_bytes: int | None,
) -> Iterator[FineFrame]:
    """See `Upscaler.stream`.

    Raises:
        UsageError: the model sees all frames at once, so it cannot stream; or times are asked for one by one.
        UnsortedTimes: a frame is older than the one before, or as old.
        GapInLeadTimes: the step changes.
    """
    contract = backend.contract
    if contract.halo == "global":
        raise UsageError(
            f"{contract.name} sees the whole forecast at once", "stream", "use upscale, or a model of finite reach"
        )
    if contract.denoising is not None:
        raise UsageError(
            f"{contract.name} draws members step by step over whole frames", "stream", "use upscale, frame by frame"
        )
    if request.times is not None and request.times.kind not in ("step", "fractions"):
        raise UsageError(
            "a stream does not know its end, and times are asked for one by one", "stream", "give a step or fractions"
        )
    halo = halo_of(contract)
    runner = _Runner(backend, variables, grid, request, memory_bytes)
    arrived: deque[_Arrived] = deque(maxlen=halo.before + 1 + halo.after)
    current = -1  # index within `arrived` of the next frame to be refined
    for valid_time, values in frames:
        frame = runner.arrive(arrived[-1] if arrived else None, valid_time.astype("datetime64[ns]"), values)
        if len(arrived) == arrived.maxlen:
            current -= 1
        arrived.append(frame)
        current = max(current, 0)
        if len(arrived) - 1 - current >= halo.after:
            yield from runner.refine(list(arrived), current, is_last=False)
            current += 1
    # what is left had less look-ahead than the halo: the edge rule continues the last frame
    for index in range(max(current, 0), len(arrived)):
        window = list(arrived)[max(0, index - halo.before) :]
        yield from runner.refine(window, index - max(0, index - halo.before), is_last=index == len(arrived) - 1)


class _Runner:
    """Refines the middle frame of a window."""

    def __init__(
        self, backend: Backend, variables: tuple[str, ...], grid: Grid, request: Request, memory_bytes: int | None
    ) -> None:
        self._backend = backend
        self._contract: Contract = backend.contract
        self._variables = variables
        self._grid = grid
        self._request = request
        self._memory_bytes = memory_bytes
        self._first: np.datetime64 | None = None
        self._step: np.timedelta64 | None = None
        self._statics: Statics | None = None
        self._statics_cores: tuple[int, int] | None = None

    def arrive(self, before: _Arrived | None, valid_time: np.datetime64, values: FloatField) -> _Arrived:
        """Check a new frame against the one before it, and fill what is masked."""
        if before is not None:
            step = valid_time - before.valid_time
            if step <= np.timedelta64(0, "ns"):
                raise UnsortedTimes(
                    f"frame {valid_time} comes after {before.valid_time}", "stream", "give the frames in rising order"
                )
            if self._step is not None and step != self._step:
                raise GapInLeadTimes(
                    f"frame {valid_time} comes {step / np.timedelta64(1, 'h'):g} h after the one before it; "
                    f"the earlier ones came every {self._step / np.timedelta64(1, 'h'):g} h",
                    "stream",
                    "supply the missing frames",
                )
            self._step = step
        else:
            self._first = valid_time
        window = self._window_of([(valid_time, values)])
        stages = self._stages_for(window, 1, is_last=True)
        # the reader's own checks, and the channels in the model's order
        return _Arrived(valid_time, values, stages.coarse_frame(stages.layout.job.forecast.frame(0)))

    def refine(self, arrived: list[_Arrived], current: int, *, is_last: bool) -> Iterator[FineFrame]:
        """Fine frames of `arrived[current]`: r of them, one where the stream ends; of each member in turn."""
        forecast = self._window_of([(frame.valid_time, frame.values) for frame in arrived])
        stages = self._stages_for(forecast, current + 1, is_last=is_last)
        layout = stages.layout
        window = Window(current, 0, tuple(frame.coarse for frame in arrived))
        fields = stages.fields(window)
        inputs, fine = layout.empty_inputs(), layout.empty_fine()
        horizontal = layout.job.horizontal
        r = self._contract.time_factor
        count = layout.region(current, layout.bands[0]).frames
        rows_out, columns_out = horizontal.rows.size, horizontal.columns.size
        flags = np.empty((count, rows_out, columns_out), np.uint8)
        block = layout.empty_block()
        times, kept = layout.job.fine_times.valid_times[r * current :], np.ones(count, bool)
        if layout.job.slots is not None:
            room = layout.job.slots
            r = room.count
            times, kept = room.all_times[r * current :], room.kept[r * current : r * current + count]
        for member in range(layout.job.members):
            values = np.empty((count, len(layout.job.outputs), rows_out, columns_out), np.float32)
            for band in layout.bands:
                for tiles in layout.batches(band):
                    stages.gather(window, fields, tiles, inputs, member)
                    layout.infer(self._backend, inputs, len(tiles), fine)
                    stages.scatter(fine[: len(tiles)], window, band, tiles, block)
                stages.keep_frames(window, band, block)
                stages.flag(window, band, block)
                region = layout.region(current, band)
                rows = slice(region.first_row, region.first_row + region.rows)
                values[:, :, rows], flags[:, rows] = block.views(region)
            for index in np.flatnonzero(kept):
                yield FineFrame(times[index], values[index], flags[index], member)

    def _window_of(self, frames: list[tuple[np.datetime64, npt.NDArray[np.float32]]]) -> Forecast:
        times = TimeAxis.from_times(self._first, [valid_time for valid_time, _ in frames], "stream")
        stacked = np.stack([values for _, values in frames])
        return Forecast.from_arrays(stacked, self._variables, self._grid, times)

    def _stages_for(self, forecast: Forecast, frames: int, *, is_last: bool) -> Stages:
        job: Job = prepare(self._contract, forecast, self._request)
        if job.slots is not None:
            return self._staged(job)
        r = self._contract.time_factor
        step = self._step
        if step is None:  # the first frame of all, and no look-ahead to wait for
            hours = self._contract.interval_hours[0] if self._contract.interval_hours else 1.0
            step = np.timedelta64(round(hours * 3600e9), "ns")
        first = forecast.times.valid_times[0]
        wanted = r * (frames - 1) + (1 if is_last else r)
        fine = TimeAxis(forecast.times.reference_time, first + step / r * np.arange(wanted))
        return self._staged(replace(job, fine_times=fine, extrapolated_frames=0))

    def _staged(self, job: Job) -> Stages:
        layout: Layout = choose_layout(job, self._request, self._memory_bytes, core_frames=1)
        cores = (layout.plan.lat.core, layout.plan.lon.core)
        if cores != self._statics_cores:  # the same fields serve every window of one tile size
            self._statics, self._statics_cores = open_job_statics(layout, self._request.statics), cores
        return Stages(layout, self._statics, self._backend.threads or 0)
