"""`gfs-sr inspect`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gfs_sr.cli import options
from gfs_sr.cli.console import finish, print_tree
from gfs_sr.errors import BackendNotInstalled


def inspect(
    target: Annotated[Path, typer.Argument(metavar="ARTIFACT|CKPT|FILE")],
    json_output: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Say what an artifact, a checkpoint or a data file is, and whether it will run here."""

    def work() -> dict[str, Any]:
        if target.suffix == ".ckpt":
            return _describe_checkpoint(target)
        from gfs_sr.runtime.inspect import inspect_target

        return inspect_target(target)

    finish(work, print_tree, json_output=json_output, debug=debug)


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
