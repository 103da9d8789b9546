"""`gfs-sr evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish
from gfs_sr.errors import UsageError

if TYPE_CHECKING:
    from gfs_sr.evaluation.result import Evaluation


def evaluate(
    data: Annotated[list[Path], typer.Option("--data", help="Fine truth: files or folders; repeat for several.")],
    model: Annotated[
        list[str], typer.Option("--model", help="Artifact folder or bundled model; repeat to rank several.")
    ] = ["default"],  # noqa: B006 - typer copies it
    coarse: Annotated[
        list[Path] | None, typer.Option(help="Coarse forecasts of another model; without them the truth is coarsened.")
    ] = None,
    forecast: Annotated[
        Path | None, typer.Option(help="A finished fine forecast (NetCDF, Zarr), scored in place of a model.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")] = Path("report"),
    protocol: Annotated[str, typer.Option(help="A (the seed's figures) or B (registered, area-weighted).")] = "B",
    variables: options.Variables = None,
    hours: Annotated[str | None, typer.Option(help="First and last lead time to score, as in 13,24.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Metrics by title, comma-separated, as in SSIM,FSS; default all.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="A region of its own, NAME=N,W,S,E; repeat for several.")
    ] = None,
    terrain: Annotated[
        bool, typer.Option("--terrain/--no-terrain", help="Score land, sea and classes of height by themselves.")
    ] = True,
    statics: Annotated[
        Path | None, typer.Option(help="Orography and land-sea mask on the truth's cells; default: the bundled map.")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(min=0, help="Blur of the coarsening, fine cells; node models only.")
    ] = None,
    sharpening: Annotated[
        float | None, typer.Option(help="Strength of the sharpened baselines; default: fitted on training data.")
    ] = None,
    members: Annotated[int, typer.Option(min=1, help="Members of the stochastic models among them.")] = 1,
    seed: Annotated[int, typer.Option(help="Of their members.")] = 0,
    sampler: Annotated[
        list[str] | None,
        typer.Option(help="Of diffusion models, as in integrator=heun; repeat to compare several in one report."),
    ] = None,
    schedule: Annotated[
        list[str] | None, typer.Option(help="Their noise levels, as in n=30; repeated, each with each sampler.")
    ] = None,
    tile: Annotated[int | None, typer.Option(min=1, help="Side of a tile's core, coarse cells.")] = None,
    dask: Annotated[
        str | None, typer.Option(help="Score forecasts in parallel: address of a scheduler, or `local`.")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, help="Protocol A: of how many forecasts the seed system's figures are drawn.")
    ] = 4,
    example_hours: Annotated[str, typer.Option(help="Protocol A: at which lead times.")] = "0,6,12",
    backend: options.BackendName = "auto",
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score models on fine data against every registered baseline."""

    def work() -> "Evaluation":
        from gfs_sr.data.coarsen import SIGMA
        from gfs_sr.evaluation.evaluate import Settings, run
        from gfs_sr.evaluation.regions import Box

        settings = Settings(
            models=tuple(model),
            data=tuple(data),
            coarse=tuple(coarse or ()),
            forecast=forecast,
            output=output,
            protocol=protocol,
            variables=options.names(variables),
            hours=_hours(hours),
            metrics=None if metrics is None else tuple(name.strip() for name in metrics.split(",") if name.strip()),
            regions=tuple(Box.parse(text) for text in region or ()),
            by_terrain=terrain,
            statics=statics,
            sigma=SIGMA if sigma is None else sigma,
            sharpening=sharpening,
            members=members,
            seed=seed,
            samplers=tuple(options.settings(text, "--sampler") for text in sampler or (None,)),
            schedules=tuple(options.settings(text, "--schedule") for text in schedule or (None,)),
            tile=tile,
            dask=dask,
            examples=examples,
            example_hours=_example_hours(example_hours),
            backend=backend,
        )
        return run(settings)

    finish(work, lambda result: print(result.table()), json_output=json_output, debug=debug)


def _hours(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, last = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{text!r} are no two lead times", "--hours", "write them like 13,24") from error
    return first, last


def _example_hours(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} are no lead times", "--example-hours", "write them like 0,6,12") from error
