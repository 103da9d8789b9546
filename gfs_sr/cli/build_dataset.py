"""`gfs-sr build-dataset`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish, print_tree


def build_dataset(
    config: Annotated[Path, typer.Option("-c", "--config", help="CONFIG.yaml, see docs/guide/data.md.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="In place of the configuration's.")] = None,
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Merge sources into one training set: fine fields, coarse ones remapped conservatively, terrain and land."""

    def work() -> dict[str, Any]:
        from gfs_sr.data.build import build
        from gfs_sr.data.build_config import read_build_config
        from gfs_sr.data.built_file import open_built

        path = build(read_build_config(config), output)
        built = open_built(path)
        return {
            "output": str(path),
            "frames": len(built.fine.times),
            "fine": list(built.fine.variables),
            "fine_grid": list(built.fine.grid.shape),
            "coarse": list(built.coarse.variables),
            "coarse_grid": list(built.coarse.grid.shape),
            "statics": list(built.statics),
        }

    finish(work, print_tree, json_output=json_output, debug=debug)
