"""`gfs-sr train`."""

import warnings

import typer

from gfs_sr.cli.console import finish
from gfs_sr.errors import BackendNotInstalled

BESIDE_THE_POINT = (
    r".*isinstance\(treespec, LeafSpec\)",  # what torch 2.13 says to Lightning 2.6
    r".*sync_dist=True",  # of figures that are those of all processes before they are logged
)


def train(context: typer.Context) -> None:
    """Train a model: -c CONFIG.yaml and any dotted key, as in --trainer.max_steps=100."""

    def work() -> dict[str, str]:
        try:
            from gfs_sr.training.distributed import is_first
            from gfs_sr.training.estimate import Estimate
            from gfs_sr.training.main import main
        except ImportError as error:
            if (error.name or "").partition(".")[0] == "gfs_sr":
                raise
            raise BackendNotInstalled(
                f"training needs {error.name}, which is not installed", "gfs-sr train", "pip install 'gfs-sr[train]'"
            ) from error
        for text in BESIDE_THE_POINT:
            warnings.filterwarnings("ignore", message=text)
        result = main(context.args)
        if not is_first():
            return {}  # one process speaks for all
        return {"estimate" if isinstance(result, Estimate) else "checkpoint": str(result)}

    finish(
        work,
        lambda report: print("\n".join(report.values())) if report else None,
        json_output=False,
        debug="--debug" in context.args,
    )
