"""`gfs-sr verify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish, print_tree


def verify(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT")],
    input_file: Annotated[Path | None, typer.Option("--input", help="A real forecast to verify on.")] = None,
    backends: Annotated[str, typer.Option(help="Comma-separated backends to compare.")] = "onnxruntime",
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Certify that tiled = whole, streamed = batch and backend = backend, in the variables' units."""

    def work() -> dict[str, Any]:
        from gfs_sr.runtime.verify import verify_artifact

        return verify_artifact(artifact, input_file, tuple(backends.split(",")))

    finish(work, print_tree, json_output=json_output, debug=debug)
