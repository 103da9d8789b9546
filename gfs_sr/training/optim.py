"""The optimizer and its learning rate, step by step."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from gfs_sr.training import schedules

FITTED_RATE: Final = 0.05  # of the learning rate, for parameters that a closed form set

Schedule = Literal[
    "constant",
    "epoch-cosine",
    "warmup-cosine",
    "warmup",
    "step",
    "multi-step",
    "poly",
    "one-cycle",
    "plateau",
    "exponential",
    "piecewise",
]


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam or AdamW and its schedule; defaults are the seed system's."""

    method: Literal["adamw", "adam"] = "adamw"  # adam adds the decay to the gradient, adamw takes it off the weights
    lr: float = 8e-4
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 1e-4
    schedule: Schedule = "epoch-cosine"
    min_lr: float = 1e-5  # no schedule goes below it
    warmup_steps: int = 800  # of warmup-cosine and warmup
    gamma: float = 0.1  # factor of step, multi-step, plateau, exponential and piecewise
    milestones: tuple[int, ...] = ()  # epochs of multi-step and poly, steps of piecewise
    every: int = 10  # epochs of step
    patience: int = 10  # epochs without a better val/loss, of plateau

    def __post_init__(self) -> None:
        if not 0 <= self.min_lr <= self.lr:
            raise ValueError(f"min_lr {self.min_lr:g} is not between 0 and lr {self.lr:g}")
        if not 0 < self.gamma <= 1 or min(self.every, self.warmup_steps, self.patience) < 0 or not self.every:
            raise ValueError("gamma lies in (0, 1], every starts at 1, warmup_steps and patience at 0")
        if self.schedule in ("multi-step", "poly", "piecewise") and not self.milestones:
            raise ValueError(f"schedule {self.schedule} needs milestones")
        if any(each < 1 for each in self.milestones):
            raise ValueError(f"milestones start at 1, got {self.milestones}")


@dataclass(frozen=True)
class Rate:
    """A schedule: the learning rate by what it counts."""

    of: Callable[[int, int, OptimizerConfig], float]  # count, of how many in the run
    counts: Literal["step", "epoch"]


RATES: Final[dict[str, Rate]] = {
    "constant": Rate(lambda _, __, c: c.lr, "epoch"),
    "epoch-cosine": Rate(lambda n, total, c: schedules.epoch_cosine(n, total, c.lr, c.min_lr), "epoch"),
    "warmup-cosine": Rate(
        lambda n, total, c: schedules.warmup_cosine(n, total, c.lr, c.min_lr, c.warmup_steps), "step"
    ),
    "warmup": Rate(lambda n, _, c: schedules.warmup(n, c.lr, c.warmup_steps), "step"),
    "step": Rate(lambda n, _, c: schedules.every(n, c.lr, c.every, c.gamma), "epoch"),
    "multi-step": Rate(lambda n, _, c: schedules.at_milestones(n, c.lr, c.milestones, c.gamma), "epoch"),
    "poly": Rate(lambda n, total, c: schedules.poly(n, total, c.lr, c.milestones), "epoch"),
    "one-cycle": Rate(lambda n, total, c: schedules.one_cycle(n, total, c.lr, c.min_lr), "step"),
    "exponential": Rate(lambda n, _, c: schedules.exponential(n, c.lr, c.gamma), "epoch"),
    "piecewise": Rate(lambda n, _, c: schedules.at_milestones(n, c.lr, c.milestones, c.gamma), "step"),
}
"""Every schedule but `plateau`, which looks at the validation instead of counting."""

PLATEAU_MONITOR: Final = "val/loss"


def learning_rate(count: int, total: int, config: OptimizerConfig) -> float:
    """Of a step or an epoch, whichever the schedule counts, never below `min_lr`."""
    return max(config.min_lr, RATES[config.schedule].of(count, total, config))


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    config: OptimizerConfig,
    *,
    steps: int,
    epochs: int,
    fitted: Iterable[nn.Parameter] = (),
    others: Iterable[dict[str, Any]] = (),
    fused: bool = False,
) -> dict[str, Any]:
    """The optimizer and its schedule, as Lightning's `configure_optimizers` gives them.

    Args:
        parameters: all that are trained.
        config: rates and schedule.
        steps: of the whole run.
        epochs: of the whole run.
        fitted: those among `parameters` that a closed form set: a twentieth of the rate, no decay.
        others: groups of further parameters, with what differs for them.
        fused: one kernel for all weights. It would unscale 16-bit gradients by itself, before they can be clipped.
    """
    slow = list(fitted)
    fast = [each for each in parameters if all(each is not other for other in slow)]
    groups: list[dict[str, Any]] = [{"params": fast}]
    if slow:
        groups.append({"params": slow, "lr": FITTED_RATE * config.lr, "weight_decay": 0.0})
    groups += others
    method = {"adamw": AdamW, "adam": Adam}[config.method]
    optimizer: Optimizer = method(
        groups, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=fused
    )
    return {"optimizer": optimizer, "lr_scheduler": _schedule(optimizer, config, steps, epochs)}


def _schedule(optimizer: Optimizer, config: OptimizerConfig, steps: int, epochs: int) -> dict[str, Any]:
    if config.schedule == "plateau":
        least = [config.min_lr * group["lr"] / config.lr for group in optimizer.param_groups]
        plateau = ReduceLROnPlateau(optimizer, "min", config.gamma, config.patience, min_lr=least)
        return {"scheduler": plateau, "interval": "epoch", "monitor": PLATEAU_MONITOR}
    counts = RATES[config.schedule].counts
    total = steps if counts == "step" else epochs
    schedule = LambdaLR(optimizer, lambda count: learning_rate(count, total, config) / config.lr)
    return {"scheduler": schedule, "interval": counts}
