"""How fast a training goes, and how long it waits for its data."""

import time
from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from gfs_sr.training.parcel import Batch


class Throughput(Callback):
    """Logs samples and fine cells per second, the share of time spent waiting, and what an epoch will take.

    `perf/throughput`, `perf/fine_cells`, `perf/waiting`, `perf/epoch_seconds`, each over a window of steps; validation
    is not counted.

    Args:
        every: steps per window.
        clock: seconds.
    """

    def __init__(self, every: int = 50, clock: Callable[[], float] = time.perf_counter) -> None:
        self.every, self.clock = every, clock
        self._mark = 0.0
        self._clear()

    def _clear(self) -> None:
        self._steps = self._samples = self._cells = 0
        self._waiting = self._busy = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The first batch of a run that is resumed amid an epoch is waited for from here on."""
        self._mark = self.clock()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The first batch is waited for from here on."""
        self._mark = self.clock()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on where training goes on."""
        self._mark = self.clock()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """The batch is there."""
        now = self.clock()
        self._waiting += now - self._mark
        self._mark = now

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count, and log at the end of a window."""
        now = self.clock()
        self._busy += now - self._mark
        self._mark = now
        self._steps += 1
        self._samples += sum(part["fine"].shape[0] for part in batch.values())
        self._cells += sum(part["fine"].numel() for part in batch.values())
        if self._steps == self.every:
            seconds = max(self._busy + self._waiting, 1e-9)
            pl_module.log_dict(
                {
                    "perf/throughput": self._samples / seconds,
                    "perf/fine_cells": self._cells / seconds,
                    "perf/waiting": self._waiting / seconds,
                    "perf/epoch_seconds": seconds / self._steps * float(trainer.num_training_batches),
                }
            )
            self._clear()

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint: windows end at the same steps in a run that is resumed."""
        return {"window": [self._steps, self._samples, self._cells, self._waiting, self._busy]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self._steps, self._samples, self._cells, self._waiting, self._busy = state_dict["window"]
