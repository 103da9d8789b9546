"""`gfs-sr coarsen`."""

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish, print_tree


def coarsen(
    fine: Annotated[list[Path], typer.Argument(metavar="FINE...", help="The fine forecast.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="COARSE.nc or COARSE.zarr.")],
    registration: Annotated[
        str, typer.Option(help="node (blur, then every s-th point) or cell (block means).")
    ] = "node",
    method: Annotated[
        str | None, typer.Option(help="gauss_decimate, block_mean, nearest, bilinear, bicubic or lanczos.")
    ] = None,
    sigma: Annotated[float, typer.Option(min=0.0, help="Of the blur, in fine cells; node only.")] = 3.0,
    scale_factor: Annotated[int, typer.Option(min=1, help="Fine cells per coarse cell.")] = 6,
    time_factor: Annotated[int, typer.Option(min=1, help="Fine frames per coarse frame.")] = 6,
    time: Annotated[str, typer.Option(help="every, mean_forward or mean_trailing.")] = "every",
    crop: Annotated[bool, typer.Option("--crop", help="Drop rows and columns that fill no block.")] = False,
    variables: options.Variables = None,
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make the coarse forecast that a fine one would have been, by a stated protocol."""

    def work() -> dict[str, Any]:
        from gfs_sr.data import coarse_file
        from gfs_sr.data.coarsen import Coarsening, SpaceReduction, TimeReduction
        from gfs_sr.data.coarsen import coarsen as coarsened
        from gfs_sr.data.grid import Registration
        from gfs_sr.data.sources import open_forecast
        from gfs_sr.runtime.sink import check_target

        check_target(output)
        how = Coarsening(
            registration=options.member(Registration, registration, "--registration"),
            scale_factor=scale_factor,
            time_factor=time_factor,
            sigma=sigma,
            time=options.member(TimeReduction, time, "--time"),
            crop=crop,
            method=None if method is None else options.member(SpaceReduction, method, "--method"),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they are among the forecast's own warnings, shown below
            coarse = coarsened(open_forecast(fine, options.names(variables)), how)
        coarse_file.write(coarse, how, output)
        return {
            "output": str(output),
            "registration": str(how.registration),
            "variables": list(coarse.variables),
            "shape": list(coarse.shape),
            "warnings": list(coarse.warnings),
        }

    finish(work, print_tree, json_output=json_output, debug=debug)
