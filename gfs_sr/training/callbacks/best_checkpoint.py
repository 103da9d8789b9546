"""The checkpoint a run is made for."""

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback

from gfs_sr.models.checkpoint import save_checkpoint
from gfs_sr.training.supervised import supervised


class BestCheckpoint(Callback):
    """`NAME.ckpt` in the run's folder: the best so far, by validation skill against the best baseline.

    Args:
        monitor: the figure.
        mode: whether it should rise or fall.
        at_end: the run's last weights instead, where something is still done to them after the last validation.
    """

    def __init__(self, monitor: str = "val/skill", mode: Literal["max", "min"] = "max", at_end: bool = False) -> None:
        self.monitor, self.at_end = monitor, at_end
        self.sign = 1.0 if mode == "max" else -1.0
        self.best = -float("inf")  # of the figure times the sign

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write if better."""
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None or not trainer.is_global_zero:
            return
        if not self.sign * float(value) > self.best:
            return
        self.best = self.sign * float(value)
        self._save(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that was never validated leaves its last weights, and so does one that is finished afterwards."""
        if (self.at_end or self.best == -float("inf")) and trainer.is_global_zero:
            self._save(trainer, pl_module)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module = supervised(pl_module)
        save_checkpoint(module.checkpoint(), Path(trainer.default_root_dir) / f"{module.offered_as}.ckpt")

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self.best = state_dict["best"]
