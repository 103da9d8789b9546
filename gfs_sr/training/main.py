"""`gfs-sr train -c CONFIG.yaml`: typed configuration, one run folder, one checkpoint of ours."""

import difflib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from gfs_sr.errors import Interrupted, UsageError
from gfs_sr.training.callbacks import AveragedWeights, BestCheckpoint, Throughput
from gfs_sr.training.closed_form import ClosedForm
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.supervised import Supervised


class TrainCommand(LightningCLI):
    """The parser of `gfs-sr train`, and the objects it makes."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own options beside model, data and trainer."""
        parser.add_argument("--output", default=None, help="Run folder; default: runs/ and the model's name.")
        parser.add_argument("--ckpt_path", default=None, help="Resume: a Trainer checkpoint, or `last`.")
        parser.add_argument("--ema_decay", type=float, default=0.995, help="Of the averaged weights; 0 is none.")
        parser.add_argument("--closed_form", type=bool, default=False, help="Fit what needs no gradient first (fused).")
        parser.add_argument("--threads", type=int, default=None, help="Of torch; default: all cores.")
        parser.set_defaults({"seed_everything": 42, "trainer.max_epochs": 30, "trainer.gradient_clip_val": 1.0})

    @property
    def folder(self) -> Path:
        """Of this run."""
        return Path(self.config["output"] or Path("runs") / self.model.offered_as)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With our loggers and callbacks, writing into the run's folder."""
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        callbacks = list(self.config_init["trainer"]["callbacks"] or [])
        callbacks.append(BestCheckpoint(at_end=self.config["closed_form"]))
        if self.config["ema_decay"]:
            callbacks.append(AveragedWeights(self.config["ema_decay"]))  # after the best, which ships the average
        if self.config["closed_form"]:
            callbacks.insert(0, ClosedForm())  # its last word comes before the last checkpoint's
        callbacks += [Throughput(), LearningRateMonitor("step")]
        callbacks.append(ModelCheckpoint(folder, filename="last", enable_version_counter=False))
        loggers = [TensorBoardLogger(folder, name="", version="tensorboard"), CSVLogger(folder, name="", version="csv")]
        made: Trainer = super().instantiate_trainer(
            default_root_dir=folder, callbacks=callbacks, logger=loggers, enable_checkpointing=True, **kwargs
        )
        return made


def main(argv: Sequence[str] | None = None) -> Path:
    """Train; the path of the checkpoint that was best.

    Raises:
        UsageError: an unknown key, a wrong type, or a configuration that cannot be.
        Interrupted: stopped by Ctrl-C; `last.ckpt` is in the run's folder.
    """
    return run(parse(list(argv) if argv is not None else None))


def parse(argv: list[str] | None) -> TrainCommand:
    """Configuration file and dotted keys -> the objects of a run."""
    try:
        with warnings.catch_warnings():
            # `gfs-sr train` hands its own arguments on, which Lightning takes for a mistake
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            return TrainCommand(
                model_class=Supervised,
                datamodule_class=TrainingData,
                run=False,
                args=argv,
                save_config_callback=None,
                parser_kwargs={"exit_on_error": False, "description": "Train a model."},
            )
    except (ArgumentError, TypeError, ValueError) as error:
        raise usage_error(str(error)) from error


def run(command: TrainCommand) -> Path:
    """Fit, and name what was left in the run's folder."""
    config, trainer, model = command.config, command.trainer, command.model
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    folder = command.folder
    command.parser.save(config, folder / "config.yaml", overwrite=True, skip_validation=True)
    resume = config["ckpt_path"]
    last = folder / "last.ckpt"
    trainer.fit(model, command.datamodule, ckpt_path=str(last) if resume == "last" else resume)
    if trainer.interrupted:
        raise Interrupted("training was stopped", str(folder), "go on with --ckpt_path last")
    return folder / f"{model.offered_as}.ckpt"


_UNKNOWN = re.compile(
    r"[Kk]ey \"?'?([\w.]+)\"?'? is not expected"
    r"|[Uu]nrecognized arguments: --([\w.]+)"
    r"|No action for key \"([\w.]+)\""
    r"|[Oo]ption '([\w.]+)' is not accepted"
)


def usage_error(message: str) -> UsageError:
    """What the parser says, with the nearest key where one is unknown."""
    text = " ".join(message.split())
    found = _UNKNOWN.search(text)
    if found is None:
        return UsageError(text, "gfs-sr train", "see gfs-sr train --help")
    key = next(group for group in found.groups() if group)
    known = _known_keys()
    last_part = key.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(last_part, [each.rpartition(".")[2] for each in known], n=1)
    return UsageError(f"unknown key {key!r}", "gfs-sr train", f"did you mean {near[0]!r}?" if near else "see --help")


def _known_keys() -> list[str]:
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Supervised, "model")
    parser.add_lightning_class_args(TrainingData, "data")
    parser.add_class_arguments(Trainer, "trainer")
    own = ["output", "ckpt_path", "ema_decay", "closed_form", "threads", "seed_everything"]
    return [action.dest for action in parser._actions if action.dest != "help"] + own
