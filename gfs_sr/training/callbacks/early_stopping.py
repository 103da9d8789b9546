"""Stops a run that gets no better, and brings its best weights back."""

from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from gfs_sr.training.supervised import supervised


class StopAtBest(EarlyStopping):
    """Early stopping that leaves the network with the weights of its best validation.

    Args:
        monitor: the figure that is watched.
        patience: validations without a better figure before the run ends; 0 never ends it.
        min_delta: what counts as better.
        mode: whether the figure should fall or rise.
        restore_best: bring the best weights back when the run ends, early or not.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        patience: int = 0,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, patience, mode=mode, check_on_train_epoch_end=False)
        self.restore_best = restore_best
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge, and keep the weights if they are the best so far."""
        best = self.best_score.clone()
        super().on_validation_end(trainer, pl_module)
        if self.restore_best and not trainer.sanity_checking and self.best_score.to(best.device) != best:
            state = supervised(pl_module).shipped_state()
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Bring the best weights back."""
        if self.weights:
            module = supervised(pl_module)
            module.network.load_state_dict(self.weights)
            for name, tensor in (module.averaged or {}).items():
                tensor.copy_(self.weights[name])

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {**super().state_dict(), "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        state = dict(state_dict)
        self.weights = state.pop("weights")
        super().load_state_dict(state)
