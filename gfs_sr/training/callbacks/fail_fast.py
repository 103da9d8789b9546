"""Ends what has failed, and slows down what stands still."""

import math
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn


class FailFast(Callback):
    """Looks at every validation: stops where the loss is not finite or exploded, halves the rate where it is flat.

    Args:
        monitor: the loss.
        patience: validations without a better loss before every learning rate is halved, and again; 0 never halves.
        explosion: stop above this many times the best loss.
        floor: least learning rate that halving leads to.
    """

    def __init__(
        self, monitor: str = "val/loss", patience: int = 2, explosion: float = 5.0, floor: float = 1e-6
    ) -> None:
        if patience < 0 or explosion <= 1 or floor < 0:
            raise ValueError("patience and floor start at 0, explosion above 1")
        self.monitor, self.patience, self.explosion, self.floor = monitor, patience, explosion, floor
        self.best, self.flat = math.inf, 0
        self.failure: str | None = None  # why the run was stopped

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the loss."""
        logged = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or logged is None or trainer.state.fn != TrainerFn.FITTING:
            return
        value = float(logged)
        if not math.isfinite(value):
            self._stop(trainer, f"{self.monitor} became {value}")
        elif value > self.explosion * self.best:
            self._stop(trainer, f"{self.monitor} rose to {value:.4g}, {value / self.best:.3g} times its best")
        elif value < self.best:
            self.best, self.flat = value, 0
        else:
            self.flat += 1
            if self.patience and self.flat >= self.patience:
                self.flat = 0
                slow_down(trainer, 0.5, self.floor)

    def _stop(self, trainer: L.Trainer, why: str) -> None:
        self.failure = f"{why} in epoch {trainer.current_epoch}, step {trainer.global_step}"
        trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"best": self.best, "flat": self.flat, "failure": self.failure}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self.best, self.flat, self.failure = state_dict["best"], state_dict["flat"], state_dict["failure"]


def slow_down(trainer: L.Trainer, factor: float, floor: float) -> None:
    """Multiply every learning rate, for good: a schedule goes on from what it would have given, times the factor.

    Args:
        trainer: its optimizers and schedules.
        factor: below 1.
        floor: no rate is taken below it.
    """
    for optimizer in trainer.optimizers:
        for number, group in enumerate(optimizer.param_groups):
            rate = group["lr"]
            share = max(factor, min(1.0, floor / rate)) if rate > 0 else factor
            group["lr"] = share * rate
            for config in trainer.lr_scheduler_configs:
                # a schedule multiplies its base rates anew at every step, so they must fall too
                if config.scheduler.optimizer is optimizer and hasattr(config.scheduler, "base_lrs"):
                    config.scheduler.base_lrs[number] *= share
