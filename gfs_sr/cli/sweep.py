"""`gfs-sr sweep`."""

from typing import Any

import typer

from gfs_sr.cli.console import finish
from gfs_sr.errors import BackendNotInstalled


def sweep(context: typer.Context) -> None:
    """Train a product of settings: -c CONFIG.yaml, --sweep.KEY=[..] for each list, --sweep_name, --output, any key."""

    def work() -> dict[str, Any]:
        try:
            from gfs_sr.sweep import as_markdown
            from gfs_sr.training.sweep import main
        except ImportError as error:
            if (error.name or "").partition(".")[0] == "gfs_sr":
                raise
            raise BackendNotInstalled(
                f"training needs {error.name}, which is not installed", "gfs-sr sweep", "pip install 'gfs-sr[train]'"
            ) from error
        return {"table": as_markdown(main(context.args), best="skill")}

    finish(work, lambda report: print(report["table"], end=""), json_output=False, debug="--debug" in context.args)
