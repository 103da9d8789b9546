"""The command line: parse, call one function, print."""

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from gfs_sr.errors import BackendNotInstalled, GfsSrError, Interrupted, UsageError

app = typer.Typer(
    name="gfs-sr",
    help="Super-resolution of weather-forecast fields: whole forecasts, without seams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

LONGEST_WARNING = 300  # characters on a terminal; a GFS file may hold five hundred fields nobody asked for

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout at the end, errors too.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")]
Model = Annotated[
    str, typer.Option("--model", help="Artifact folder, or name of a bundled model (see `gfs-sr models`).")
]
BackendName = Annotated[str, typer.Option("--backend", help="auto, torch, onnxruntime, openvino or tensorrt.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads that compute; default all cores.")]
Variables = Annotated[str | None, typer.Option("--variables", help="Canonical names, comma-separated, as in t2m,d2m.")]


@app.command()
def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="GRIB1/2, NetCDF or Zarr; one forecast.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.nc or OUT.zarr; appears only when complete.")],
    model: Model = "default",
    backend: BackendName = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16; default the artifact's.")] = None,
    variables: Variables = None,
    statics: Annotated[Path | None, typer.Option(help="File with orography and land-sea mask.")] = None,
    registration: Annotated[str | None, typer.Option(help="node or cell; overrides what the file says.")] = None,
    tile: Annotated[int | None, typer.Option(min=1, help="Side of a tile's core in coarse cells.")] = None,
    halo: Annotated[str, typer.Option(help="exact.")] = "exact",
    extent: Annotated[str, typer.Option(help="hull, full, or a box N,W,S,E in degrees.")] = "hull",
    members: Annotated[int, typer.Option(min=1, help="Members of a stochastic model.")] = 1,
    digits: Annotated[int | None, typer.Option(help="Significant decimal digits to keep, 1 to 7.")] = None,
    threads: Threads = None,
    memory: Annotated[str | None, typer.Option(help="Most memory to take, as in 4GiB; a promise.")] = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Upscale a forecast to finer cells and shorter steps."""

    def body() -> None:
        from gfs_sr.data.grid import Registration
        from gfs_sr.runtime.request import Request
        from gfs_sr.runtime.sink import open_sink
        from gfs_sr.runtime.upscaler import Upscaler, parse_bytes

        request = Request(
            variables=_names(variables),
            registration=None if registration is None else _member(Registration, registration, "--registration"),
            extent=extent,
            tile=tile,
            halo=halo,
            members=members,
            statics=statics,
            memory_bytes=None if memory is None else parse_bytes(memory),
        )
        sink = open_sink(output, digits)
        with Upscaler.open(model, backend=backend, precision=_precision(precision), threads=threads) as upscaler:
            from gfs_sr.data.sources import open_forecast

            forecast = open_forecast(inputs, request.variables)
            with _progress(not json_output) as progress:
                summary = upscaler.run(forecast, sink, request, progress)
        if json_output:
            _print_json(summary.as_dict())
        else:
            _print_summary(summary)

    _run(body, json_output=json_output, debug=debug)


@app.command()
def inspect(
    target: Annotated[Path, typer.Argument(metavar="ARTIFACT|CKPT|FILE")],
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Say what an artifact, a checkpoint or a data file is, and whether it will run here."""

    def body() -> None:
        if target.suffix == ".ckpt":
            report = _describe_checkpoint(target)
        else:
            from gfs_sr.runtime.inspect import inspect_target

            report = inspect_target(target)
        if json_output:
            _print_json(report)
        else:
            _print_tree(report)

    _run(body, json_output=json_output, debug=debug)


@app.command()
def verify(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT")],
    input_file: Annotated[Path | None, typer.Option("--input", help="A real forecast to verify on.")] = None,
    backends: Annotated[str, typer.Option(help="Comma-separated backends to compare.")] = "onnxruntime",
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Certify that tiled = whole, streamed = batch and backend = backend, in the variables' units."""

    def body() -> None:
        from gfs_sr.runtime.verify import verify_artifact

        report = verify_artifact(artifact, input_file, tuple(backends.split(",")))
        if json_output:
            _print_json(report)
        else:
            _print_tree(report)

    _run(body, json_output=json_output, debug=debug)


@app.command()
def models(json_output: Json = False, debug: Debug = False) -> None:
    """List the families and the bundled models: parameters, FLOPs per fine cell, receptive field."""

    def body() -> None:
        from gfs_sr.runtime.catalog import bundled_models

        rows = [*bundled_models(), *_recipes()]
        if json_output:
            _print_json(rows)
        else:
            _print_models(rows)

    _run(body, json_output=json_output, debug=debug)


@app.command()
def coarsen(
    fine: Annotated[list[Path], typer.Argument(metavar="FINE...", help="The fine forecast.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="COARSE.nc or COARSE.zarr.")],
    registration: Annotated[
        str, typer.Option(help="node (blur, then every s-th point) or cell (block means).")
    ] = "node",
    sigma: Annotated[float, typer.Option(min=0.0, help="Of the blur, in fine cells; node only.")] = 3.0,
    scale_factor: Annotated[int, typer.Option(min=1, help="Fine cells per coarse cell.")] = 6,
    time_factor: Annotated[int, typer.Option(min=1, help="Fine frames per coarse frame.")] = 6,
    time: Annotated[str, typer.Option(help="every, mean_forward or mean_trailing.")] = "every",
    crop: Annotated[bool, typer.Option("--crop", help="Drop rows and columns that fill no block.")] = False,
    variables: Variables = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Make the coarse forecast that a fine one would have been, by a stated protocol."""

    def body() -> None:
        from gfs_sr.data import coarse_file
        from gfs_sr.data.coarsen import Coarsening, TimeReduction
        from gfs_sr.data.coarsen import coarsen as coarsened
        from gfs_sr.data.grid import Registration
        from gfs_sr.data.sources import open_forecast
        from gfs_sr.runtime.sink import check_target

        check_target(output)
        how = Coarsening(
            registration=_member(Registration, registration, "--registration"),
            scale_factor=scale_factor,
            time_factor=time_factor,
            sigma=sigma,
            time=_member(TimeReduction, time, "--time"),
            crop=crop,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they are among the forecast's own warnings, shown below
            coarse = coarsened(open_forecast(fine, _names(variables)), how)
        coarse_file.write(coarse, how, output)
        report = {
            "output": str(output),
            "registration": str(how.registration),
            "variables": list(coarse.variables),
            "shape": list(coarse.shape),
            "warnings": list(coarse.warnings),
        }
        if json_output:
            _print_json(report)
        else:
            _print_tree(report)

    _run(body, json_output=json_output, debug=debug)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option("--model", help="Artifact folder or name of a bundled model.")],
    data: Annotated[list[Path], typer.Option("--data", help="Fine forecast files; repeat for several.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")] = Path("report"),
    protocol: Annotated[str, typer.Option(help="A (the seed's figures) or B (registered, area-weighted).")] = "B",
    variables: Variables = None,
    backend: BackendName = "auto",
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Score a model on fine data against every registered baseline."""

    def body() -> None:
        from gfs_sr.evaluation.evaluate import Settings
        from gfs_sr.evaluation.evaluate import run as run_evaluation

        settings = Settings(
            model=model,
            data=tuple(data),
            output=output,
            protocol=protocol,
            variables=_names(variables),
            backend=backend,
        )
        result = run_evaluation(settings)
        if json_output:
            _print_json(result.as_dict())
        else:
            print(result.table())

    _run(body, json_output=json_output, debug=debug)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train a model: -c CONFIG.yaml and any dotted key, as in --trainer.max_steps=100."""

    def body() -> None:
        try:
            from gfs_sr.training.main import main as train_main
        except ImportError as error:
            if (error.name or "").partition(".")[0] == "gfs_sr":
                raise
            raise BackendNotInstalled(
                f"training needs {error.name}, which is not installed", "gfs-sr train", "pip install 'gfs-sr[train]'"
            ) from error
        train_main(context.args)

    _run(body, json_output=False, debug="--debug" in context.args)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for fine.nc and comparison.png.")] = Path(),
    model: Model = "default",
    backend: BackendName = "auto",
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Upscale the bundled real samples with a bundled model and show how good it is."""

    def body() -> None:
        from gfs_sr.demo.demo import run_demo

        with _progress(not json_output) as progress:
            report = run_demo(output, model, backend, progress)
        if json_output:
            _print_json(report.as_dict())
        else:
            print(report.text())

    _run(body, json_output=json_output, debug=debug)


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _show_warning
    debug = "--debug" in sys.argv
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except SystemExit:
        raise
    except KeyboardInterrupt:
        _fail(Interrupted("stopped by the user", "gfs-sr", "run the command again"), as_json=as_json)
    except Exception as error:
        usage = _as_usage_error(error)
        if usage is None:
            _fail_unexpected(error, as_json=as_json, debug=debug)
        else:
            _fail(usage, as_json=as_json)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """One line on stderr, without the place in our code."""
    print(f"warning: {message}", file=sys.stderr)


def _run(body: Callable[[], None], *, json_output: bool, debug: bool) -> None:
    """Call `body`; turn its errors into one block on stderr, or JSON on stdout, and an exit code."""
    try:
        body()
    except GfsSrError as error:
        if debug:
            traceback.print_exc()
        _fail(error, as_json=json_output)
    except KeyboardInterrupt:
        _fail(Interrupted("stopped by the user", "gfs-sr", "run the command again"), as_json=json_output)
    except (typer.Exit, SystemExit):
        raise
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _fail_unexpected(error, as_json=json_output, debug=debug)


def _fail(error: GfsSrError, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            {"error": _error_object(type(error).__name__, error.what, error.where, error.mend, error.exit_code)}
        )
    else:
        print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _fail_unexpected(error: Exception, *, as_json: bool, debug: bool) -> None:
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    mend = "this is a bug: run again with --debug and report what it shows"
    if debug:
        traceback.print_exception(error)
    if as_json:
        _print_json({"error": _error_object(type(error).__name__, what, "gfs-sr", mend, 1)})
    elif not debug:
        print(f"error: {what} ({mend})", file=sys.stderr)
    sys.exit(1)


def _error_object(kind: str, what: str, where: str, mend: str, exit_code: int) -> dict[str, Any]:
    return {"class": kind, "what": what, "where": where, "mend": mend, "exit_code": exit_code}


def _as_usage_error(error: Exception) -> UsageError | None:
    """Typer's own complaint about the command line, in our form; None for anything else."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    command = "gfs-sr" if context is None else context.command_path
    return UsageError(describe() or "no command was given", command, f"see `{command} --help`")


def _recipes() -> list[dict[str, Any]]:
    """What can be built and trained; needs torch, so it is empty in the plain install."""
    try:
        from gfs_sr.models import families
    except ImportError:
        return []
    from gfs_sr.runtime.upscaler import sides

    return [
        {
            "name": facts.name,
            "family": facts.family,
            "path": None,
            "default": facts.default,
            "stochastic": facts.stochastic,
            "parameters": facts.parameters,
            "flops_per_fine_cell": facts.flops_per_fine_cell,
            "receptive_field": sides(facts.receptive_field),
        }
        for facts in families()
    ]


def _describe_checkpoint(path: Path) -> dict[str, Any]:
    try:
        from gfs_sr.models.checkpoint import load_checkpoint
    except ImportError as error:
        raise BackendNotInstalled(
            "a checkpoint needs torch to be read", str(path), "pip install 'gfs-sr[train]'"
        ) from error
    checkpoint = load_checkpoint(path)
    contract = checkpoint.contract
    return {
        "kind": "checkpoint",
        "name": contract.name,
        "family": contract.family,
        "variables": list(contract.inputs),
        "factors": {"space": contract.scale_factor, "time": contract.time_factor},
        "registration": str(contract.registration),
        "parameters": sum(tensor.numel() for tensor in checkpoint.state_dict.values()),
        "sample": list(checkpoint.sample.values.shape),
        "skill": [line.model_dump() for line in checkpoint.skill],
        "provenance": checkpoint.provenance,
        "runs_here": f"after python -m export.onnx --ckpt {path}",
    }


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    from gfs_sr.data.variables import canonical_names

    known = canonical_names()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("no variable is named", "--variables", "give names, as in --variables t2m,d2m")
    return tuple(dict.fromkeys(known.get(name, name) for name in names))


def _member(kind: Any, value: str, option: str) -> Any:
    values = [str(member) for member in kind]
    if value not in values:
        raise UsageError(f"{value!r} is not allowed", option, f"choose from: {', '.join(values)}")
    return kind(value)


def _precision(value: str | None) -> Any:
    if value not in {None, "fp32", "fp16", "bf16"}:
        raise UsageError(f"{value!r} is no precision", "--precision", "choose from: fp32, bf16, fp16")
    return value


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and time left on stderr; None where nobody looks."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("upscaling"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("upscaling", total=None, rate="")

        def advance(done: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            bar.update(task, completed=done, total=total, rate=f"{done / elapsed / 1e6:.2f} M cells/s")

        yield advance


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=str, allow_nan=False))


def _print_summary(summary: Any) -> None:
    tile = ", ".join(f"{axis} {size}" for axis, size in summary.tile.items())
    busy = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in summary.stage_seconds.items())
    print(f"{summary.output}: {summary.frames} frames of {', '.join(summary.variables)}")
    print(f"  model   {summary.model} ({summary.model_sha256[:12]}) on {summary.backend}, {summary.precision}")
    print(f"  tile    {tile} coarse cells and frames; exact")
    print(f"  speed   {summary.cells_per_second / 1e6:.2f} M fine cells/s, {summary.seconds:.1f} s (busy: {busy} s)")
    print(f"  memory  {summary.peak_rss_bytes / 2**20:.0f} MiB at most")
    for warning in summary.warnings:
        shown = warning if len(warning) <= LONGEST_WARNING else f"{warning[:LONGEST_WARNING]} … (--json shows all)"
        print(f"warning: {shown}", file=sys.stderr)


def _print_tree(value: Any, indent: int = 0) -> None:
    for key, entry in value.items():
        if isinstance(entry, dict):
            print(f"{'  ' * indent}{key}:")
            _print_tree(entry, indent + 1)
        elif isinstance(entry, list | tuple) and entry and isinstance(entry[0], dict):
            print(f"{'  ' * indent}{key}:")
            for item in entry:
                print(f"{'  ' * (indent + 1)}- " + ", ".join(f"{name} {each}" for name, each in item.items()))
        else:
            shown = ", ".join(map(str, entry)) if isinstance(entry, list | tuple) else entry
            print(f"{'  ' * indent}{key}: {shown}")


def _print_models(rows: list[dict[str, Any]]) -> None:
    print(f"{'name':26}{'family':16}{'parameters':>11}{'FLOP/fine cell':>16}  reach (time; lat; lon)")
    for row in rows:
        reach = row["receptive_field"]
        shown = reach if isinstance(reach, str) else "; ".join(f"{before}+{after}" for before, after in reach.values())
        notes = ["default"] * row["default"] + (["recipe"] if row["path"] is None else ["bundled"])
        print(
            f"{row['name']:26}{row['family']:16}{row['parameters']:>11,}{row['flops_per_fine_cell']:>16,.0f}  "
            f"{shown} ({', '.join(notes)})"
        )


if __name__ == "__main__":
    main()
