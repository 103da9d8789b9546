"""`gfs-sr upscale`."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish, progress_bar

if TYPE_CHECKING:
    from gfs_sr.runtime.summary import RunSummary

LONGEST_WARNING = 300  # characters on a terminal; a GFS file may hold five hundred fields nobody asked for


def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="GRIB1/2, NetCDF or Zarr; one forecast.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.nc or OUT.zarr; appears only when complete.")],
    model: options.Model = "default",
    backend: options.BackendName = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or int8; default the artifact's.")] = None,
    variables: options.Variables = None,
    statics: Annotated[Path | None, typer.Option(help="File with orography and land-sea mask.")] = None,
    registration: Annotated[str | None, typer.Option(help="node or cell; overrides what the file says.")] = None,
    tile: Annotated[int | None, typer.Option(min=1, help="Side of a tile's core in coarse cells.")] = None,
    halo: Annotated[str, typer.Option(help="exact.")] = "exact",
    extent: Annotated[str, typer.Option(help="hull, full, or a box N,W,S,E in degrees.")] = "hull",
    members: Annotated[int, typer.Option(min=1, help="Members of a stochastic model.")] = 1,
    seed: Annotated[int, typer.Option(help="Of a stochastic model: the same seed, the same members.")] = 0,
    mean: Annotated[bool, typer.Option("--mean", help="Of a diffusion model: what members lie around.")] = False,
    sampler: Annotated[
        str | None, typer.Option(help="Of a diffusion model, as in integrator=heun,s_churn=10; default the artifact's.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Its noise levels, as in n=30,sigma_max=40; default the artifact's.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished members beside OUTPUT; repeat to go on where a run stopped.")
    ] = False,
    conserve: Annotated[
        bool, typer.Option("--conserve", help="Of members: amounts that average to those of the coarse cells.")
    ] = False,
    times: Annotated[
        str | None,
        typer.Option(help="Of a model of any time: a step (15min), lead times (1h,90min), valid times, or fractions."),
    ] = None,
    time_model: Annotated[
        str | None, typer.Option(help="A model of time that refines what --model gives: a bundled name or a folder.")
    ] = None,
    time_first: Annotated[bool, typer.Option("--time-first", help="It refines the input: fewer cells.")] = False,
    digits: Annotated[int | None, typer.Option(help="Significant decimal digits to keep, 1 to 7.")] = None,
    threads: options.Threads = None,
    memory: Annotated[str | None, typer.Option(help="Most memory to take, as in 4GiB; a promise.")] = None,
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Upscale a forecast to finer cells and shorter steps."""
    said: list[str] = []  # when the models were opened

    def work() -> "RunSummary":
        from gfs_sr.data.built_file import open_coarse
        from gfs_sr.data.grid import Registration
        from gfs_sr.runtime.chain import run_chain
        from gfs_sr.runtime.output_times import OutputTimes
        from gfs_sr.runtime.request import Request
        from gfs_sr.runtime.sink import open_sink
        from gfs_sr.runtime.upscaler import Upscaler, parse_bytes

        request = Request(
            variables=options.names(variables),
            registration=None if registration is None else options.member(Registration, registration, "--registration"),
            extent=extent,
            tile=tile,
            halo=halo,
            members=members,
            seed=seed,
            mean=mean,
            statics=statics,
            memory_bytes=None if memory is None else parse_bytes(memory),
            times=None if times is None else OutputTimes.parse(times),
            sampler=options.settings(sampler, "--sampler"),
            schedule=options.settings(schedule, "--schedule"),
            resume=resume,
            conserve=conserve,
        )
        sink = open_sink(output, digits)
        opening = {"backend": backend, "precision": options.precision(precision), "threads": threads}
        with ExitStack() as stack:
            upscaler = stack.enter_context(Upscaler.open(model, **opening))
            said.extend(upscaler.artifact.warnings)
            progress = stack.enter_context(progress_bar(not json_output))
            # what is asked for is what comes out; a model of fixed inputs takes them all, whatever that is
            takes_all = request.variables is not None and not upscaler.contract.any_subset
            forecast = open_coarse(inputs, upscaler.contract.inputs if takes_all else request.variables)
            if time_model is None:
                return upscaler.run(forecast, sink, request, progress)
            in_time = stack.enter_context(Upscaler.open(time_model, backend=backend, threads=threads))
            said.extend(in_time.artifact.warnings)
            return run_chain(upscaler, in_time, forecast, sink, request, progress, time_first=time_first)

    finish(work, lambda summary: _show(summary, said), json_output=json_output, debug=debug)


def _show(summary: "RunSummary", said: list[str]) -> None:
    tile = ", ".join(f"{axis} {size}" for axis, size in summary.tile.items())
    busy = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in summary.stage_seconds.items())
    print(f"{summary.output}: {summary.frames} frames of {', '.join(summary.variables)}")
    print(f"  model   {summary.model} ({summary.model_sha256[:12]})")
    print(f"  engine  {summary.backend} ({summary.provider}), {summary.precision}: {summary.backend_reason}")
    print(f"  tile    {tile} coarse cells and frames; {'exact' if summary.exact else 'blended'}")
    print(f"  speed   {summary.cells_per_second / 1e6:.2f} M fine cells/s, {summary.seconds:.1f} s (busy: {busy} s)")
    print(f"  memory  {summary.peak_rss_bytes / 2**20:.0f} MiB at most")
    for warning in (each for each in summary.warnings if each not in said):
        shown = warning if len(warning) <= LONGEST_WARNING else f"{warning[:LONGEST_WARNING]} … (--json shows all)"
        print(f"warning: {shown}", file=sys.stderr)
