"""`gfs-sr train -c CONFIG.yaml`: typed configuration, one run folder, one checkpoint of ours."""

import difflib
import json
import logging
import math
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from gfs_sr.atomic import on_disk, whole, write_text
from gfs_sr.errors import Interrupted, TrainingFailed, UsageError
from gfs_sr.training import callbacks
from gfs_sr.training.adversarial import Adversarial
from gfs_sr.training.closed_form import ClosedForm
from gfs_sr.training.curve_log import CurveLog
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.diffusion import Diffusing
from gfs_sr.training.distributed import placement
from gfs_sr.training.estimate import Estimate, Measure
from gfs_sr.training.loggers import LoggerName, WandbConfig, make_loggers
from gfs_sr.training.physics import PhysicsInformed
from gfs_sr.training.plan import Plan, logged_steps, take_up
from gfs_sr.training.presets import PRESETS, asked_for, last_word
from gfs_sr.training.resume import LastCheckpoint, WholeFiles
from gfs_sr.training.self_supervised import SelfSupervised
from gfs_sr.training.supervised import Supervised
from gfs_sr.training.warm_start import WarmStart, start_from

SUMMARY = "summary.json"  # in the folder of a run that has ended well
DEFAULTS = {"seed_everything": 42, "trainer.max_epochs": 30, "trainer.gradient_clip_val": 1.0}

TRAININGS: dict[str, type[Supervised]] = {
    "supervised": Supervised,
    "adversarial": Adversarial,
    "diffusion": Diffusing,
    "self-supervised": SelfSupervised,
    "physics-informed": PhysicsInformed,
}

# what the Trainer would take and a run decides by a key of its own
OURS = {"logger": "loggers", "default_root_dir": "output", "enable_checkpointing": "checkpoints"}


@dataclass(frozen=True)
class CheckpointConfig:
    """Of `last.ckpt`, which a run is resumed from, and of others beside `NAME.ckpt`, which is the best."""

    every_steps: int = 100  # between two writings of last.ckpt: what a kill costs at most
    keep_best: int = 0  # this many more of the best, in the folder best/
    monitor: str = "val/skill"  # what they, and NAME.ckpt, are best by
    mode: Literal["max", "min"] = "max"  # whether that should rise or fall
    every_epochs: int = 0  # one every so many epochs, in the folder epochs/; 0 keeps none

    def __post_init__(self) -> None:
        if min(self.keep_best, self.every_epochs) < 0 or self.every_steps < 1:
            raise ValueError("keep_best and every_epochs start at 0, every_steps at 1")


def add_options(parser: LightningArgumentParser) -> None:
    """Our own options beside model, data and trainer."""
    add = parser.add_argument
    add("--output", default=None, help="Run folder; default: runs/ and the model's name.")
    add("--training", type=Literal[*TRAININGS], default="supervised", help="How a network learns.")
    add("--preset", default="none", help=f"Defaults that every given key beats: {', '.join(PRESETS)}.")
    add(
        "--ckpt_path",
        type=str | None,
        default=None,
        help="Resume: `last` (anew where there is none), or the last.ckpt of a run.",
    )
    add("--weights", type=WarmStart, default=WarmStart(), help="Start from another run's weights.")
    add("--closed_form", type=bool, default=False, help="Fit what needs no gradient first (fused).")
    add("--threads", type=int, default=None, help="Of torch; default: all cores.")
    add("--estimate", action="store_true", help="Measure steps of several patch and batch sizes, print, and end.")
    add("--loggers", type=list[LoggerName], default=["tensorboard", "csv"], help="Where the figures go.")
    add("--wandb", type=WandbConfig, default=WandbConfig(), help="Weights & Biases, where it is among the loggers.")
    add("--checkpoints", type=CheckpointConfig, default=CheckpointConfig(), help="last.ckpt, and what beside it.")
    parser.add_class_arguments(callbacks.AveragedWeights, "ema")
    parser.add_class_arguments(callbacks.FailFast, "fail_fast")
    parser.add_class_arguments(callbacks.StopAtBest, "early_stopping")
    parser.add_class_arguments(callbacks.Pictures, "pictures")


class TrainCommand(LightningCLI):
    """The parser of `gfs-sr train`, and the objects it makes."""

    def __init__(self, argv: list[str], **kwargs: Any) -> None:
        self.preset = PRESETS[asked_for(argv)]
        self.measure, self.fit = Measure(), ClosedForm()
        super().__init__(args=argv, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Ours, and the defaults of the preset."""
        add_options(parser)
        parser.set_defaults(DEFAULTS | self.preset)

    @property
    def folder(self) -> Path:
        """Of this run."""
        return Path(self.config["output"] or Path("runs") / self.model.offered_as)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With our loggers and callbacks, writing into the run's folder."""
        for key, place in OURS.items():
            if self.config["trainer"][key] is not None:
                raise UsageError(f"trainer.{key} has no part in a run", f"trainer.{key}", f"use {place}")
        if self.config["estimate"]:
            kwargs |= {"callbacks": [self.measure], "logger": False, "enable_checkpointing": False}
            kwargs |= {"num_sanity_val_steps": 0, "enable_progress_bar": False, "enable_model_summary": False}
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            loggers = self._loggers()
            ours = self._callbacks(next((each for each in loggers if isinstance(each, CurveLog)), None))
            kept = any(isinstance(each, Checkpoint) for each in ours)
            kwargs |= {"callbacks": ours, "logger": loggers, "enable_checkpointing": kept, "plugins": self._plugins()}
        kwargs |= placement(self.config_init["trainer"])
        made: Trainer = super().instantiate_trainer(default_root_dir=self.folder, **kwargs)
        wanted = str(self.config["trainer"]["precision"] or "32-true")
        if wanted in ("16", "16-mixed") and made.precision != "16-mixed":
            raise UsageError(
                f"precision {wanted} is for GPUs, and this run is on the CPU",
                "trainer.precision",
                "use bf16-mixed or 32",
            )
        return made

    @property
    def resumed(self) -> Path | None:
        """The checkpoint to go on from; None where there is none yet."""
        asked = self.config["ckpt_path"]
        last = self.folder / "last.ckpt"
        if asked == "last":
            return last if last.is_file() else None
        return None if asked is None else Path(asked)

    def _loggers(self) -> list[Logger]:
        step = None if self.resumed is None else logged_steps(self.resumed)
        return make_loggers(self.config_init["loggers"], self.folder, self.config_init["wandb"], step)

    def _plugins(self) -> list[Any]:
        given = self.config_init["trainer"]["plugins"] or []
        return [WholeFiles(), *(given if isinstance(given, list) else [given])]

    def _callbacks(self, curve: CurveLog | None) -> list[Callback]:
        """In the order in which they must act on a validation, and at the end."""
        made, folder = self.config_init, self.folder
        kept: CheckpointConfig = made["checkpoints"]
        self.last = LastCheckpoint(folder / "last.ckpt", kept.every_steps, curve)
        self.best = callbacks.BestCheckpoint(kept.monitor, kept.mode, at_end=self.config["closed_form"])
        ours: list[Callback] = [self.last]
        ours += made["trainer"]["callbacks"] or []
        if self.config["closed_form"]:
            ours.append(self.fit)  # its last word comes before the last checkpoint's
        ours += [callbacks.ValidationScores(), made["fail_fast"]]
        if made["early_stopping"].patience:
            ours.append(made["early_stopping"])
        ours.append(self.best)
        if made["ema"].decay:
            ours.append(made["ema"])  # after the best, which ships the average
        if made["pictures"].every:
            ours.append(made["pictures"])
        ours += [callbacks.LearningCurve(), callbacks.Throughput()]
        if self._loggers_wanted:
            ours.append(LearningRateMonitor("step"))
        if kept.keep_best:
            name = "step-{step:06d}"
            ours.append(
                ModelCheckpoint(
                    folder / "best", name, monitor=kept.monitor, mode=kept.mode, save_top_k=kept.keep_best,
                    auto_insert_metric_name=False, enable_version_counter=False,
                )
            )  # fmt: skip
        if kept.every_epochs:
            name = "epoch-{epoch:04d}"
            ours.append(
                ModelCheckpoint(
                    folder / "epochs", name, every_n_epochs=kept.every_epochs, save_top_k=-1,
                    auto_insert_metric_name=False, enable_version_counter=False,
                )
            )  # fmt: skip
        return ours

    @property
    def _loggers_wanted(self) -> bool:
        return any(name != "wandb" or self.config_init["wandb"].mode != "disabled" for name in self.config["loggers"])


def main(argv: Sequence[str] | None = None) -> Path | Estimate:
    """Train; the path of the checkpoint that was best. With `--estimate`, what training would take.

    Raises:
        UsageError: an unknown key, a wrong type, or a configuration that cannot be.
        TrainingFailed: the loss was not finite, or exploded; the best checkpoint before it is in the run's folder.
        Interrupted: stopped by Ctrl-C; `last.ckpt` is in the run's folder.
    """
    command = parse(list(argv) if argv is not None else None)
    return estimate(command) if command.config["estimate"] else run(command)


def parse(argv: list[str] | None) -> TrainCommand:
    """Configuration file and dotted keys -> the objects of a run."""
    argv = sys.argv[1:] if argv is None else argv
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    try:
        with warnings.catch_warnings():
            # `gfs-sr train` hands its own arguments on, which Lightning takes for a mistake
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            # a precision that a device lacks is refused below, not replaced
            warnings.filterwarnings("ignore", message=".*AMP with fp16 is not supported on CPU")
            return TrainCommand(
                argv,
                model_class=TRAININGS.get(_training_of(argv), Supervised),
                datamodule_class=TrainingData,
                run=False,
                save_config_callback=None,
                parser_kwargs={"exit_on_error": False, "prog": "gfs-sr train", "description": "Train a model."},
            )
    except (ArgumentError, TypeError, ValueError) as error:
        raise usage_error(str(error)) from error


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()  # Lightning 2.6 tells of its platform at every start


def _training_of(argv: list[str]) -> str:
    """How the network learns, by the arguments or by their preset."""
    return last_word("training", argv) or str(PRESETS[asked_for(argv)].get("training", "supervised"))


def run(command: TrainCommand) -> Path:
    """Fit, and name what was left in the run's folder."""
    trainer, model, folder = command.trainer, command.model, command.folder
    _prepare(command)
    if trainer.is_global_zero:
        with whole(folder / "config.yaml") as partial:
            command.parser.save(command.config, partial, skip_validation=True)
    whole_state = _take_up(command)
    try:
        with on_disk(folder, place=folder):  # TensorBoard's errors name no file
            trainer.fit(model, command.datamodule, ckpt_path=whole_state, weights_only=True)
    except SystemExit as ended:  # Lightning's answer to Ctrl-C
        raise Interrupted("training was stopped", str(folder), "go on with --ckpt_path last") from ended
    failure = command.config_init["fail_fast"].failure
    if failure:
        raise TrainingFailed(failure, str(folder), "lower model.optimizer.lr, or look at the data of this step")
    checkpoint = folder / f"{model.offered_as}.ckpt"
    if trainer.is_global_zero:
        best, last = command.best, command.last
        summary = {
            "checkpoint": checkpoint.name,
            "monitor": best.monitor,
            "best": best.sign * best.best if math.isfinite(best.best) else None,
            "steps": trainer.global_step,
            "seconds": round(last.seconds, 1),
        }
        write_text(folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return checkpoint


def _take_up(command: TrainCommand) -> Path | None:
    """The checkpoint that the Trainer is to restore; where only its weights fit the plan, they are taken here."""
    found = command.resumed
    if found is None:
        if command.config["ckpt_path"] is not None:
            warnings.warn(f"{command.folder} holds no last.ckpt yet: the run starts from its beginning", stacklevel=2)
        elif (command.folder / "last.ckpt").is_file():
            warnings.warn(
                f"{command.folder} holds an earlier run, which this one replaces; --ckpt_path last goes on with it, "
                "another --output keeps it",
                stacklevel=2,
            )
        return None
    if take_up(found, Plan.of(command.trainer, command.model, command.datamodule)):
        return found
    start_from(command.model.network, found, ())
    command.fit.is_fitted = True
    return None


def estimate(command: TrainCommand) -> Estimate:
    """A few steps of every size, and nothing written."""
    _prepare(command)
    command.trainer.fit(command.model, command.datamodule)
    return command.measure.estimate


def _prepare(command: TrainCommand) -> None:
    if command.config["threads"]:
        torch.set_num_threads(command.config["threads"])
    if command.trainer.strategy.root_device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as the seed system trained
    weights: WarmStart = command.config_init["weights"]
    if weights.path is not None:
        if command.config["closed_form"]:
            raise UsageError("closed_form fits anew what weights bring", "weights.path", "give one of the two")
        start_from(command.model.network, Path(weights.path), weights.partial)


_UNKNOWN = re.compile(
    r"[Kk]ey \"?'?([\w.]+)\"?'? is not expected"
    r"|[Uu]nrecognized arguments: --([\w.]+)"
    r"|No action for key \"([\w.]+)\""
    r"|[Oo]ption '([\w.]+)' is not accepted"
    r"|does not accept option '([\w.]+)'"
)


def usage_error(message: str) -> UsageError:
    """What the parser says, with the nearest key where one is unknown."""
    text = " ".join(message.split())
    found = _UNKNOWN.search(text)
    if found is None:
        has_no_network = text.endswith("required: model.network")
        mend = (
            "name a family, or give -c CONFIG.yaml, as configs/fused.yaml"
            if has_no_network
            else "see gfs-sr train --help"
        )
        return UsageError(text, "gfs-sr train", mend)
    key = next(group for group in found.groups() if group)
    if key.removeprefix("model.").startswith("adversarial"):
        return UsageError(f"unknown key {key!r}", "gfs-sr train", "give training: adversarial")
    known = known_keys()
    last_part = key.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(last_part, [each.rpartition(".")[2] for each in known], n=1)
    return UsageError(f"unknown key {key!r}", "gfs-sr train", f"did you mean {near[0]!r}?" if near else "see --help")


def known_keys() -> list[str]:
    """Every key that a configuration may hold."""
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(TrainingData, "data")
    parser.add_class_arguments(Trainer, "trainer")
    add_options(parser)
    actions = parser._actions
    for training in TRAININGS.values():  # the keys of all ways to learn
        learner = LightningArgumentParser()
        learner.add_lightning_class_args(training, "model")
        actions = actions + learner._actions
    keys = [action.dest for action in actions if action.dest.rpartition(".")[2] != "help"]
    return [*dict.fromkeys(keys), "seed_everything", "config"]
