"""One model after the other: space by one, time by another, in one run."""

import time
from dataclasses import replace

from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import FRAME
from gfs_sr.runtime.chain_sink import ChainSink
from gfs_sr.runtime.pipeline import Progress
from gfs_sr.runtime.request import Job, Request
from gfs_sr.runtime.scratch import ScratchSink
from gfs_sr.runtime.sink import FileSink, Sink
from gfs_sr.runtime.summary import RunSummary
from gfs_sr.runtime.upscaler import Upscaler


def run_chain(
    space: Upscaler,
    in_time: Upscaler,
    forecast: Forecast,
    sink: Sink,
    request: Request | None = None,
    progress: Progress | None = None,
    *,
    time_first: bool = False,
) -> RunSummary:
    """Refine a forecast in space by one model and in time by another, and publish it.

    Between the two the fields wait in memory, or on disk where they are many. Quality flags of the first stay. Members
    are drawn by the model of space, and refined in time one by one.

    Args:
        space: of its frames one by one: time factor 1, or a model that has a graph for frames on their own.
        in_time: a model of time alone.
        forecast: coarse in space and time.
        sink: where the result goes.
        request: `times` and what concerns members go to their model; of `statics` each takes what it needs.
        progress: is told of the second stage.
        time_first: time is refined on the coarse cells, then every frame in space.

    Raises:
        UsageError: a model that is not of its kind, or members that are to be kept between the two.
        RegistrationMismatch, InputError: what the first gives is not what the second takes.
    """
    request = request or Request()
    check_chain(space.contract, in_time.contract, has_frames=space.artifact.has_graph(FRAME))
    start = time.perf_counter()
    wanted = request.variables
    if request.resume and not time_first:
        raise UsageError(
            "members wait between the two models, and none is kept of a stopped run",
            "--resume with --time-model", "give --time-first, or leave --resume out",
        )  # fmt: skip
    of_time = replace(
        request, tile=None, members=1, sampler={}, schedule={}, resume=False, conserve=False, mean=False,
        statics=request.statics if _takes_statics(in_time) else None,
    )  # fmt: skip
    of_space = replace(request, times=None)
    with space.frames_alone() as frames:
        first, second = (in_time, frames) if time_first else (frames, in_time)
        asked, then = (of_time, of_space) if time_first else (of_space, of_time)
        if time_first:
            asked = replace(asked, extent="full")  # the second cuts, as it is asked to
        else:
            then = replace(then, extent="full", registration=None)
        asked = replace(asked, variables=_shared(second.contract, first.contract, forecast, wanted))
        between = ScratchSink()
        made = first.run_job(forecast, between, asked)
        members = made.members if made.has_members else None
        count = members or 1
        title = f"{forecast.source}, upscaled {space.contract.scale_factor} times in space, then in time"
        if time_first:
            title = f"{forecast.source}, refined in time, then {space.contract.scale_factor} times in space"
        for member in range(count):
            onward = ChainSink(sink, between.description, title, made.warnings, member, members)
            passed = handed_on(made, between, forecast, member)
            summary = second.run(passed, onward, replace(then, variables=wanted), _part_of(progress, member, count))
    seconds, cells = time.perf_counter() - start, count * summary.fine_cells
    return replace(
        summary,
        output=str(sink.path) if isinstance(sink, FileSink) else None,
        model=f"{first.contract.name}, then {second.contract.name}",
        fine_cells=cells,
        seconds=seconds,
        cells_per_second=cells / seconds,
        warnings=tuple(dict.fromkeys((*made.warnings, *summary.warnings))),
    )


def check_chain(space: Contract, in_time: Contract, *, has_frames: bool) -> None:
    """Whether two models can follow each other.

    Raises:
        UsageError: one of them is not of its kind, or they share no variable.
    """
    if not in_time.keeps_frames:
        raise UsageError(
            f"{in_time.name} refines space {in_time.scale_factor} times and is no model of time alone",
            "--time-model", "give a model of the families temdeep, temdeep_narrow or rife",
        )  # fmt: skip
    if space.keeps_frames or (space.time_factor > 1 and not has_frames):
        raise UsageError(
            f"{space.name} makes {space.time_factor} frames of one, and has no graph for frames on their own",
            "--model", "give a model of space alone, as one exported with --time-factor 1",
        )  # fmt: skip
    if not set(space.outputs) & set(in_time.inputs):
        raise UsageError(
            f"{space.name} and {in_time.name} share no variable",
            f"--model gives {', '.join(space.outputs)}; --time-model takes {', '.join(in_time.inputs)}",
            "give two models of the same variables",
        )


def handed_on(job: Job, between: ScratchSink, source: Forecast, member: int = 0) -> Forecast:
    """What the first model made (one member of it), as the second's forecast: canonical units, its grid, its times."""
    turned = between.description.lat_ascending
    values = between.values[..., ::-1, :] if turned else between.values
    if values.ndim == 5:
        values = values[member]
    flags = between.flags[:, ::-1] if turned else between.flags
    made = Forecast.from_arrays(
        values, job.outputs, job.horizontal.fine, job.fine_times,
        layout=source.layout, registration=job.contract.registration, source=source.source,
    )  # fmt: skip
    return replace(made, notes=source.notes, quality=lambda frame: flags[frame])


def _shared(second: Contract, first: Contract, forecast: Forecast, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """What the first is asked for: all that the second may take of it."""
    there = [name for name in first.outputs if name in second.inputs]
    if first.any_subset:
        there = [name for name in there if name in forecast.variables]
    needed = there if wanted is None else [name for name in there if name in wanted or not second.any_subset]
    return tuple(needed)


def _part_of(progress: Progress | None, member: int, members: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(member * total + done, members * total)


def _takes_statics(upscaler: Upscaler) -> bool:
    return bool(upscaler.contract.statics_coarse or upscaler.contract.statics_fine)
