"""An exponential moving average of the weights."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gfs_sr.training.parcel import Batch
from gfs_sr.training.supervised import supervised


class AveragedWeights(Callback):
    """Exponential moving average of the weights; validation, checkpoints and export use it.

    Args:
        decay: per update; 0 keeps no average.
        every: steps between updates.
        copy_until: up to this step the weights are copied. Where it is 0, the average of a young run reaches back over
            fewer steps instead: the decay is (1 + step)/(10 + step) at most.
        on_cpu: keep the average in main memory, for networks that fill the device.
    """

    def __init__(self, decay: float = 0.995, every: int = 1, copy_until: int = 0, on_cpu: bool = False) -> None:
        if not 0 <= decay < 1 or every < 1 or copy_until < 0:
            raise ValueError("decay lies in [0, 1), every starts at 1, copy_until at 0")
        self.decay, self.every, self.copy_until, self.on_cpu = decay, every, copy_until, on_cpu
        self.average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] = {}
        self._pairs: tuple[list[Tensor], list[Tensor]] = ([], [])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start from the weights as they are, or as a resumed run had them."""
        device = torch.device("cpu") if self.on_cpu else pl_module.device
        state = supervised(pl_module).network.state_dict()  # tensors that share the weights' memory
        self.average = {name: x.detach().clone().to(device) for name, x in (self.average or state).items()}
        supervised(pl_module).averaged = self.average
        moving = [name for name, tensor in state.items() if tensor.is_floating_point()]
        self._pairs = [self.average[name] for name in moving], [state[name] for name in moving]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """One step further."""
        step = trainer.global_step
        if step % self.every and step > self.copy_until:
            return
        averages, weights = self._pairs
        if self.on_cpu:
            weights = [each.cpu() for each in weights]
        torch._foreach_lerp_(averages, weights, 1 - self.decay_at(step))

    def decay_at(self, step: int) -> float:
        """Of the update after `step` steps."""
        if self.copy_until:
            return 0.0 if step <= self.copy_until else self.decay
        return min(self.decay, (1 + step) / (10 + step))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average."""
        if self.average and not trainer.sanity_checking:
            self._trained = {name: x.detach().clone() for name, x in supervised(pl_module).network.state_dict().items()}
            supervised(pl_module).network.load_state_dict(self.average)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the weights that are trained."""
        if self._trained:
            supervised(pl_module).network.load_state_dict(self._trained)
            self._trained = {}

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"average": {name: tensor.cpu() for name, tensor in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self.average = state_dict["average"]
