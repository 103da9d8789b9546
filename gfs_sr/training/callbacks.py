"""What happens beside the steps: averaged weights, the best checkpoint, throughput."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gfs_sr.models.checkpoint import save_checkpoint
from gfs_sr.training.datamodule import Batch
from gfs_sr.training.supervised import Supervised


class AveragedWeights(Callback):
    """Exponential moving average of the weights; validation, checkpoints and export use it.

    Args:
        decay: per step; a short run averages over fewer steps, (1 + step)/(10 + step) at most.
    """

    def __init__(self, decay: float = 0.995) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start from the weights as they are, or as a resumed run had them."""
        device = pl_module.device
        state = self.average or _ours(pl_module).network.state_dict()
        self.average = {name: tensor.detach().clone().to(device) for name, tensor in state.items()}
        _ours(pl_module).averaged = self.average

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """One step further."""
        step = trainer.global_step
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in _ours(pl_module).network.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average."""
        if self.average and not trainer.sanity_checking:
            self._trained = {name: x.detach().clone() for name, x in _ours(pl_module).network.state_dict().items()}
            _ours(pl_module).network.load_state_dict(self.average)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the weights that are trained."""
        if self._trained:
            _ours(pl_module).network.load_state_dict(self._trained)
            self._trained = {}

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"average": {name: tensor.cpu() for name, tensor in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self.average = state_dict["average"]


class BestCheckpoint(Callback):
    """`NAME.ckpt` in the run's folder: the best so far by validation skill against the best baseline.

    Args:
        monitor: the figure to raise.
        at_end: the run's last weights instead, where something is still done to them after the last validation.
    """

    def __init__(self, monitor: str = "val/skill", at_end: bool = False) -> None:
        self.monitor, self.at_end = monitor, at_end
        self.best = -float("inf")
        self.path: Path | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write if better."""
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None or not float(value) > self.best or not trainer.is_global_zero:
            return
        self.best = float(value)
        self.path = Path(trainer.default_root_dir) / f"{_ours(pl_module).offered_as}.ckpt"
        save_checkpoint(_ours(pl_module).checkpoint(), self.path)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that was never validated leaves its last weights, and so does one that is finished afterwards."""
        if (self.at_end or self.path is None) and trainer.is_global_zero:
            self.path = Path(trainer.default_root_dir) / f"{_ours(pl_module).offered_as}.ckpt"
            save_checkpoint(_ours(pl_module).checkpoint(), self.path)

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self.best = state_dict["best"]


class Throughput(Callback):
    """Logs samples per second, `perf/throughput`.

    Args:
        every: batches per figure.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._samples, self._start = 0, 0.0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Start the clock of a window."""
        if not self._samples:
            self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count, and log at the end of a window."""
        self._samples += sum(part["coarse"].shape[0] for part in batch.values())
        if (batch_idx + 1) % self.every == 0:
            pl_module.log("perf/throughput", self._samples / (time.perf_counter() - self._start))
            self._samples = 0


def _ours(module: L.LightningModule) -> Supervised:
    assert isinstance(module, Supervised)  # these callbacks are made for no other
    return module
