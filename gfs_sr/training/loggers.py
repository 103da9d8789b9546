"""Where a run's figures go."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from gfs_sr.errors import UsageError
from gfs_sr.training.curve_log import CurveLog

LoggerName = Literal["tensorboard", "csv", "wandb"]


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases, for those who ask for it."""

    mode: Literal["offline", "online", "disabled"] = "offline"  # offline: nothing leaves the run's folder
    project: str = "gfs-sr"
    name: str | None = None  # of the run; None: the run folder's
    id: str | None = None  # of a run to go on with


def make_loggers(
    names: Sequence[LoggerName], folder: Path, wandb: WandbConfig, resumed_step: int | None = None
) -> list[Logger]:
    """Those asked for, each writing below the run's folder.

    Args:
        names: of the loggers.
        folder: of the run.
        wandb: settings of Weights & Biases.
        resumed_step: what was logged from this step on comes again, and is forgotten.

    Raises:
        UsageError: Weights & Biases is asked for and not installed.
    """
    made: list[Logger] = []
    for name in dict.fromkeys(names):
        if name == "tensorboard":
            # an earlier run's curves in this folder end where this one's begin
            made.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=resumed_step or 0))
        elif name == "csv":
            made.append(CurveLog(folder / "csv"))
        elif wandb.mode != "disabled":
            made.append(_wandb(folder, wandb))
    return made


def _wandb(folder: Path, config: WandbConfig) -> WandbLogger:
    if find_spec("wandb") is None:
        raise UsageError(
            "the logger wandb is asked for and not installed", "loggers", "pip install 'gfs-sr[wandb]', or leave it out"
        )
    return WandbLogger(
        name=config.name or folder.name,
        save_dir=folder,
        offline=config.mode == "offline",
        project=config.project,
        id=config.id,
    )
