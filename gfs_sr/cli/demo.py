"""`gfs-sr demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish, progress_bar

if TYPE_CHECKING:
    from gfs_sr.demo.demo import DemoReport


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for fine.nc and comparison.png.")] = Path(),
    model: options.Model = "default",
    backend: options.BackendName = "auto",
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Upscale the bundled real samples with a bundled model and show how good it is."""

    def work() -> "DemoReport":
        from gfs_sr.demo.demo import run_demo

        with progress_bar(not json_output) as progress:
            return run_demo(output, model, backend, progress)

    finish(work, lambda report: print(report.text()), json_output=json_output, debug=debug)
