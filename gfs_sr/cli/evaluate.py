"""`gfs-sr evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish

if TYPE_CHECKING:
    from gfs_sr.evaluation.result import Evaluation


def evaluate(
    data: Annotated[list[Path], typer.Option("--data", help="Fine forecast files; repeat for several.")],
    model: options.Model = "default",
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")] = Path("report"),
    protocol: Annotated[str, typer.Option(help="A (the seed's figures) or B (registered, area-weighted).")] = "B",
    variables: options.Variables = None,
    backend: options.BackendName = "auto",
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score a model on fine data against every registered baseline."""

    def work() -> "Evaluation":
        from gfs_sr.evaluation.evaluate import Settings, run

        settings = Settings(
            model=model,
            data=tuple(data),
            output=output,
            protocol=protocol,
            variables=options.names(variables),
            backend=backend,
        )
        return run(settings)

    finish(work, lambda result: print(result.table()), json_output=json_output, debug=debug)
