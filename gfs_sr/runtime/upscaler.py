"""The public face of the runtime: open an artifact, upscale a dataset, a stream or a file."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from gfs_sr import __version__
from gfs_sr.contract import Contract, Halo
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import DENOISER, FRAME, MEAN, MODEL, Artifact
from gfs_sr.runtime.backends import Backend, open_backend
from gfs_sr.runtime.backends.base import Precision
from gfs_sr.runtime.cf import Description, describe
from gfs_sr.runtime.drawing import Drawing
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.member_store import open_store
from gfs_sr.runtime.pipeline import Pipeline, Progress
from gfs_sr.runtime.planner import choose_layout
from gfs_sr.runtime.request import Job, Request, prepare
from gfs_sr.runtime.sink import FileSink, FloatField, MemorySink, Sink
from gfs_sr.runtime.stages import Stages
from gfs_sr.runtime.statics import open_job_statics
from gfs_sr.runtime.step_plan import canvas_bytes, drawn_part, frames_at_once, plan_steps, step_bytes
from gfs_sr.runtime.streaming import FineFrame, stream
from gfs_sr.runtime.summary import RunSummary, peak_rss_bytes
from gfs_sr.runtime.tiling import Plan

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class FineForecast:
    """A fine forecast as arrays."""

    members: FloatField  # (M, T, C, H, W), canonical units, north to south; M is 1 for a deterministic model
    variables: tuple[str, ...]
    grid: Grid
    times: TimeAxis
    summary: RunSummary

    @property
    def values(self) -> FloatField:
        """(T, C, H, W) of the first member."""
        first: FloatField = self.members[0]
        return first


class Upscaler:
    """A model ready to run; a context manager.

    Example:
        with Upscaler.open("default") as upscaler:
            fine = upscaler.upscale(xr.open_dataset("gfs.t00z.nc"))
    """

    def __init__(self, artifact: Artifact, backend: Backend, memory_bytes: int | None = None) -> None:
        self.artifact = artifact
        self.backend = backend
        self._memory_bytes = memory_bytes
        self._frame_backend: Backend | None = None
        self._denoiser: Backend | None = None

    @classmethod
    def open(
        cls,
        artifact: Path | str | Artifact = "default",
        *,
        backend: str = "auto",
        precision: Precision | None = None,
        threads: int | None = None,
        memory: int | str | None = None,
    ) -> Self:
        """Open an artifact and make its engine ready.

        Args:
            artifact: a folder, the name of a bundled model, or an opened artifact.
            backend: auto, torch, onnxruntime, openvino or tensorrt.
            precision: of the residual branch; None takes what the artifact was exported in.
            threads: that compute; None is all cores.
            memory: most bytes a run may take, as a number or like "4GiB"; a promise.

        Raises:
            ArtifactError: the artifact is damaged or not one.
            BackendError: the engine is not to be had.
        """
        opened = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
        draws = opened.contract.denoising is not None
        engine = open_backend(backend, opened, precision=precision, threads=threads, role=MEAN if draws else MODEL)
        engine.activate()
        return cls(opened, engine, parse_bytes(memory) if isinstance(memory, str) else memory)

    @property
    def contract(self) -> Contract:
        """What the model promises."""
        return self.artifact.contract

    def close(self) -> None:
        """Let go of the engine."""
        for engine in (self.backend, self._frame_backend, self._denoiser):
            if engine is not None:
                engine.deactivate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def upscale(self, dataset: "xr.Dataset", request: Request | None = None) -> "xr.Dataset":
        """The fine forecast of a coarse one, with the dataset's own names and orientation.

        Raises:
            InputError: the dataset cannot be used as it is.
            UsageError: the request asks for what cannot be.
        """
        from gfs_sr.data.sources import from_dataset
        from gfs_sr.runtime.assemble import to_dataset

        request = request or Request()
        sink = MemorySink()
        self.run(from_dataset(dataset, request.variables), sink, request)
        return to_dataset(sink)

    def upscale_forecast(self, forecast: Forecast, request: Request | None = None) -> FineForecast:
        """The fine forecast as arrays."""
        sink = MemorySink()
        job, summary = self._run(forecast, sink, request or Request(), None)
        values = sink.values[..., ::-1, :] if sink.description.lat_ascending else sink.values
        members = values if job.has_members else values[None]
        return FineForecast(members, job.outputs, job.horizontal.fine, job.fine_times, summary)

    def stream(
        self,
        frames: Iterable[tuple[np.datetime64, FloatField]],
        variables: tuple[str, ...],
        grid: Grid,
        request: Request | None = None,
    ) -> Iterator[FineFrame]:
        """Fine frames as the coarse ones arrive; each waits for the look-ahead of the contract (`halo.after`).

        Args:
            frames: (valid time, (C, H, W) canonical units), evenly spaced and rising.
            variables: canonical names of the channels.
            grid: of the coarse frames, north to south.
            request: as for `upscale`.

        Yields:
            (valid time, (C, s·H, s·W) fine frame, its quality flag).
        """
        return stream(self.backend, frames, variables, grid, request or Request(), self._memory_bytes)

    @contextmanager
    def frames_alone(self) -> Iterator["Upscaler"]:
        """The model for frames on their own, its engine ready: itself where it knows nothing of time."""
        if self.contract.time_factor == 1 or self.backend.role == FRAME:
            yield self
            return
        with self._engine_for(FRAME) as alone:
            yield Upscaler(self.artifact, alone, self._memory_bytes)

    def run_job(self, forecast: Forecast, sink: Sink, request: Request) -> Job:
        """As `run`; what was done, with its warnings."""
        return self._run(forecast, sink, request, None)[0]

    def run(
        self, forecast: Forecast, sink: Sink, request: Request | None = None, progress: Progress | None = None
    ) -> RunSummary:
        """Upscale a forecast into a sink and publish it; on any error the sink is left as if nothing had been.

        Raises:
            InputError: the data cannot be used as they are.
            UsageError: the request asks for what cannot be.
            Interrupted: Ctrl-C.
        """
        return self._run(forecast, sink, request or Request(), progress)[1]

    def _run(
        self, forecast: Forecast, sink: Sink, request: Request, progress: Progress | None
    ) -> tuple[Job, RunSummary]:
        start = time.perf_counter()
        backend = self._backend_for(len(forecast.times))
        job = prepare(backend.contract, forecast, request)
        if job.contract.denoising is not None:
            return self._draw(job, forecast, sink, request, progress, start)
        layout = choose_layout(
            job,
            request,
            request.memory_bytes or self._memory_bytes,
            resident_bytes=sink.resident_bytes(job.output_cells),
        )
        stages = Stages(layout, open_job_statics(layout, request.statics), self.backend.threads or 0)
        with sink:
            sink.open(self._describe(job, layout), layout.block_shape)
            timings = Pipeline(stages, backend, sink, progress).run()
            _publish(job, sink, [*forecast.findings, *stages.warnings])
        seconds = time.perf_counter() - start
        return job, self._summarize(job, layout, sink, seconds, timings.seconds)

    def _draw(
        self, job: Job, forecast: Forecast, sink: Sink, request: Request, progress: Progress | None, start: float
    ) -> tuple[Job, RunSummary]:
        """As `_run`, of a model that denoises."""
        job = drawn_part(job)
        held = sink.resident_bytes(job.output_cells)
        budget = request.memory_bytes or self._memory_bytes
        steps = plan_steps(job, request.tile, budget, held)
        held += canvas_bytes(job) + step_bytes(job, steps)
        denoising = job.contract.denoising
        if denoising is not None and denoising.halo == "global" and job.contract.halo != "global":
            # its conditions may be led by the whole field too
            request = replace(request, tile=max(job.horizontal.coarse.shape))
        elif denoising is not None and denoising.halo != "global" and job.contract.halo == "global":
            request = replace(request, tile=None)  # tiles are the denoiser's, the mean is computed whole
        layout = choose_layout(job, request, budget, resident_bytes=held, core_frames=frames_at_once(job))
        statics = open_job_statics(layout, request.statics)
        store = None
        if request.resume and not job.mean:
            store = open_store(sink, job, self.artifact.sha256, steps, statics)
        if self._denoiser is None:
            self._denoiser = self._engine_for(DENOISER)
        if not job.mean:
            self._denoiser.activate()
        assert job.sampling is not None  # `prepare` has settled it
        drawing = Drawing(layout, steps, statics, self.backend, self._denoiser, job.sampling, store, progress)
        with sink:
            sink.open(self._describe(job, layout, steps, exact=not drawing.is_blended), drawing.block_shape)
            timings = drawing.run(sink)
            _publish(job, sink, [*forecast.findings, *drawing.warnings])
        if store is not None:
            store.remove()
        seconds = time.perf_counter() - start
        summary = self._summarize(job, layout, sink, seconds, timings.seconds, steps)
        return job, replace(summary, exact=not drawing.is_blended)

    def _backend_for(self, frames: int) -> Backend:
        """The engine for a forecast of so many frames: a lone one needs nothing of time, where the model can do so."""
        if frames > 1 or not self.artifact.has_graph(FRAME) or self.backend.role == FRAME:
            return self.backend
        if self._frame_backend is None:
            self._frame_backend = self._engine_for(FRAME)
        self._frame_backend.activate()
        return self._frame_backend

    def _engine_for(self, role: str) -> Backend:
        """Another graph of the artifact, run as the first is; not active yet."""
        engine = self.backend
        return open_backend(engine.name, self.artifact, precision=engine.precision, threads=engine.threads, role=role)

    def _describe(self, job: Job, layout: Layout, steps: Plan | None = None, *, exact: bool = True) -> Description:
        """`steps`: tiles of a denoiser."""
        contract = job.contract
        halo = sides(contract.halo if contract.denoising is None else contract.denoising.halo)
        plan = steps or layout.plan
        provenance = {
            "title": f"{job.forecast.source}, upscaled {contract.scale_factor} times in space"
            + (_in_time(job) if len(job.forecast.times) > 1 else ""),
            "institution": "not stated",
            "source": f"gfs_sr {__version__}, model {contract.name}",
            "history": f"{np.datetime64('now', 's')}Z: gfs-sr upscale with {contract.name}",
            "references": f"model SHA-256 {self.artifact.sha256}",
            "comment": "fine structure is estimated, not forecast; see quality_flag",
            "gfs_sr_version": __version__,
            "gfs_sr_model": contract.name,
            "gfs_sr_model_sha256": self.artifact.sha256,
            "gfs_sr_model_registration": str(contract.registration),
            "gfs_sr_scale_factor": str(contract.scale_factor),
            "gfs_sr_time_factor": str(contract.time_factor),
            "gfs_sr_tile": f"time {plan.time.core}, lat {plan.lat.core}, lon {plan.lon.core} coarse frames and cells",
            "gfs_sr_halo": halo
            if isinstance(halo, str)
            else ", ".join(f"{axis} {n[0]}+{n[1]}" for axis, n in halo.items()),
            **({"gfs_sr_seed": str(job.seed)} if job.has_members else {}),
            **({} if job.sampling is None else {"gfs_sr_sampling": job.sampling.model_dump_json()}),
            **({"gfs_sr_conserved": ", ".join(job.outputs)} if job.conserve else {}),
            "gfs_sr_exact": "true" if exact else "false",
            "gfs_sr_backend": f"{self.backend.name} {self.backend.provider}, {self.backend.precision}",
        }
        return describe(
            job.outputs,
            job.forecast.layout,
            job.horizontal.fine,
            job.fine_times,
            registration=contract.registration,
            bucket_step=job.bucket_step,
            provenance=provenance,
            members=job.members if job.has_members else None,
        )

    def _summarize(
        self,
        job: Job,
        layout: Layout,
        sink: Sink,
        seconds: float,
        stage_seconds: dict[str, float],
        steps: Plan | None = None,
    ) -> RunSummary:
        plan, denoising = steps or layout.plan, job.contract.denoising
        halo = sides(job.contract.halo if denoising is None else denoising.halo)
        return RunSummary(
            output=str(sink.path) if isinstance(sink, FileSink) else None,
            model=job.contract.name,
            model_sha256=self.artifact.sha256,
            backend=self.backend.name,
            backend_reason=self.backend.chosen,
            provider=self.backend.provider,
            precision=self.backend.precision,
            tile={"time": plan.time.core, "lat": plan.lat.core, "lon": plan.lon.core},
            halo=halo,
            receptive_field=halo,
            exact=True,
            variables=job.outputs,
            frames=len(job.fine_times),
            fine_cells=job.output_cells,
            seconds=seconds,
            cells_per_second=job.output_cells / seconds,
            stage_seconds=stage_seconds,
            peak_rss_bytes=peak_rss_bytes(),
            warnings=(*self.artifact.warnings, *job.warnings),
        )


def _in_time(job: Job) -> str:
    if job.slots is None:
        return f" and {job.contract.time_factor} times in time"
    return f", in time from {len(job.forecast.times)} frames to {len(job.fine_times)}"


def _publish(job: Job, sink: Sink, noticed: list[str]) -> None:
    """All is written: keep the warnings with it, and put it under its name."""
    job.warnings.extend(noticed)
    if job.warnings:
        sink.set_attribute("gfs_sr_warnings", "\n".join(job.warnings))
    sink.commit()


def sides(halo: Halo | str) -> dict[str, list[int]] | str:
    """A halo as {time, lat, lon} pairs for JSON, or "global"."""
    if isinstance(halo, str):
        return halo
    return {"time": [halo.before, halo.after], "lat": [halo.north, halo.south], "lon": [halo.west, halo.east]}


def parse_bytes(text: str) -> int:
    """`4GiB`, `500MB`, `1e9` -> bytes.

    Raises:
        UsageError: no amount of memory.
    """
    units = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9, "b": 1}
    spelled = text.strip().lower()
    unit = next((unit for unit in units if spelled.endswith(unit)), "")
    try:
        value = float(spelled.removesuffix(unit)) * units.get(unit, 1)
    except ValueError as error:
        raise UsageError(f"{text!r} is no amount of memory", "--memory", "write it like 4GiB or 500MB") from error
    if not 0 < value < 2**60:
        raise UsageError(f"{text!r} is no amount of memory", "--memory", "write it like 4GiB or 500MB")
    return int(value)
