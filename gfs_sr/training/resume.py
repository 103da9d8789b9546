"""Runs that go on after a kill as if nothing had happened: what they leave on disk, and how it is taken up again."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gfs_sr.atomic import whole
from gfs_sr.training.curve_log import CurveLog
from gfs_sr.training.parcel import Batch
from gfs_sr.training.plan import KEY, Plan
from gfs_sr.training.supervised import supervised


class WholeFiles(TorchCheckpointIO):
    """Writes the Trainer's checkpoints whole or not at all, down to the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Beside, flushed, renamed."""
        with whole(Path(path)) as partial, partial.open("wb") as file:  # whose errors say their reason
            torch.save(checkpoint, file)


class LastCheckpoint(Callback):
    """Keeps `last.ckpt`, from which a killed run goes on to the very weights of an uninterrupted one.

    The file is written as a step begins: the one before is then over, logged and validated, no gradient is under way,
    and the schedule stands where the next step needs it. Global random numbers are drawn anew in every step from (seed,
    epoch, batch, rank), so they have no history. It comes first among the callbacks: what others do as a step begins is
    done again after a resume.

    Args:
        path: of the file.
        every_steps: optimizer steps between two writings.
        curve: the log that is to have neither doubled nor lost rows.
    """

    def __init__(self, path: Path, every_steps: int, curve: CurveLog | None = None) -> None:
        self.path, self.every_steps, self.curve = path, every_steps, curve
        self.seconds = 0.0  # of training, in earlier processes and up to `_since`
        self._since = time.monotonic()
        self._seed = 0
        self._epoch = self._batches = 0  # complete ones, and those of the epoch under way
        self._saved_step = 0
        self._is_saving = self._is_ending = False
        self._taken_up: Mapping[str, Any] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the curve up where the checkpoint was, or begin it."""
        saved = self._taken_up
        if saved is None:
            self._seed = torch.initial_seed()
        else:
            trainer.should_stop = saved["stopped"]
        if self.curve is not None:
            self.curve.start(0 if saved is None else saved["rows"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The clock counts training; the data go on where they were."""
        self._since = time.monotonic()
        if self._taken_up is not None and trainer.train_dataloader is not None:
            # Lightning has made the loader before it restores it, and then leaves it as it is
            trainer.train_dataloader.load_state_dict({"given": self._batches})

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Set right what the Trainer does not restore, write the file if it is time, seed the step."""
        if self._taken_up is not None:
            if self._taken_up["exact"]:
                _set_right(trainer, batch_idx, self._taken_up)
            self._taken_up = None
        if trainer.global_step - self._saved_step >= self.every_steps:
            self._save(trainer)
        key = [self._seed % 2**64, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count."""
        whole = batch_idx + 1 >= trainer.num_training_batches
        self._epoch, self._batches = trainer.current_epoch + whole, 0 if whole else batch_idx + 1

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Others have yet to act on the weights."""
        self._is_ending = True

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A finished run leaves its last state, from which a longer one can go on."""
        if self._is_ending:
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self._saved_step = trainer.global_step
        self._is_saving = True
        try:
            trainer.save_checkpoint(self.path, weights_only=False)
        finally:
            self._is_saving = False

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what the Trainer does not save, and bring its counters into the one state that it restarts well from."""
        now, module = time.monotonic(), supervised(pl_module)
        self.seconds, self._since = self.seconds + now - self._since, now
        checkpoint[KEY] = {
            "plan": Plan.of(trainer, module, module.data).facts(),
            "seed": self._seed,
            "seconds": self.seconds,
            "epoch": self._epoch,
            "batches": self._batches,
            "step": trainer.global_step,
            "logged_steps": trainer.fit_loop.epoch_loop._batches_that_stepped,
            "rows": 0 if self.curve is None else self.curve.rows,
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "stopped": self._is_ending and trainer.should_stop,
            "exact": self._is_saving,
        }
        if self._is_saving:
            _as_a_step_begins(checkpoint["loops"]["fit_loop"], self._epoch, self._batches)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember until the first step begins."""
        saved = self._taken_up = checkpoint[KEY]
        self._seed, self.seconds, self._saved_step = saved["seed"], saved["seconds"], saved["step"]
        self._epoch, self._batches = saved["epoch"], saved["batches"]


def _as_a_step_begins(loops: dict[str, Any], epoch: int, batches: int) -> None:
    """Counters of epoch `epoch` under way, as its batch `batches` has been fetched, wherever they stand."""
    for each in (loops["epoch_progress"]["total"], loops["epoch_progress"]["current"]):
        each.update(ready=epoch + 1, started=epoch + 1, processed=epoch, completed=epoch)
    progress = loops["epoch_loop.batch_progress"]
    for each, done in ((progress["total"], progress["total"]["completed"]), (progress["current"], batches)):
        each.update(ready=done + 1, started=done, processed=done, completed=done)
    validation = loops["epoch_loop.val_loop.batch_progress"]
    for each in (validation["total"], validation["current"]):
        each.update(ready=0, started=0, processed=0, completed=0)
    progress["is_last_batch"] = validation["is_last_batch"] = False
    loops["state_dict"]["combined_loader"] = [{"given": batches}]


def _set_right(trainer: L.Trainer, batch_idx: int, saved: Mapping[str, Any]) -> None:
    loop = trainer.fit_loop
    have, want = (trainer.current_epoch, batch_idx), (saved["epoch"], saved["batches"])
    assert have == want, f"resumed at epoch and batch {have} instead of {want}"
    # Lightning 2.6 counts logged steps and begun batches anew by guesses about when the file was written
    loop.epoch_loop._batches_that_stepped = saved["logged_steps"]
    total = loop.epoch_loop.batch_progress.total
    total.ready = total.completed + 1
    # it would skip schedules that look at the validation at the end of an epoch in which a run was resumed
    loop._restarting = False
    trainer._logger_connector._callback_metrics.update(
        {name: torch.tensor(value) for name, value in saved["metrics"].items()}
    )
