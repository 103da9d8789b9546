"""The optimizer and its learning rate, step by step."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

WARMUP_START = 0.1  # of the learning rate, at step 0
FITTED_RATE = 0.05  # of the learning rate, for parameters that a closed form set


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule; defaults are the seed system's."""

    lr: float = 8e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    schedule: Literal["constant", "epoch-cosine", "warmup-cosine"] = "epoch-cosine"
    warmup_steps: int = 800  # of warmup-cosine
    min_lr: float = 1e-5  # where either cosine ends

    def __post_init__(self) -> None:
        if not 0 <= self.min_lr <= self.lr:
            raise ValueError(f"min_lr {self.min_lr:g} is not between 0 and lr {self.lr:g}")


def epoch_cosine(epoch: int, epochs: int, config: OptimizerConfig) -> float:
    """Learning rate of an epoch: from lr in epoch 0 down to min_lr after the last one."""
    return _cosine(epoch / max(1, epochs), config)


def warmup_cosine(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step: linear from 0.1·lr over the warm-up, then a cosine to min_lr at the last step."""
    warmup = min(config.warmup_steps, steps)
    if step < warmup:
        return config.lr * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    return _cosine((step - warmup) / max(1, steps - warmup), config)


def _cosine(progress: float, config: OptimizerConfig) -> float:
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    config: OptimizerConfig,
    *,
    steps: int,
    epochs: int,
    fitted: Iterable[nn.Parameter] = (),
) -> tuple[torch.optim.Optimizer, LambdaLR, Literal["step", "epoch"]]:
    """AdamW, its schedule, and what the schedule counts.

    Args:
        parameters: all that are trained.
        config: rates and schedule.
        steps: of the whole run.
        epochs: of the whole run.
        fitted: those among `parameters` that a closed form set: a twentieth of the rate, no decay.
    """
    slow = list(fitted)
    fast = [each for each in parameters if all(each is not other for other in slow)]
    groups: list[dict[str, object]] = [{"params": fast}]
    if slow:
        groups.append({"params": slow, "lr": FITTED_RATE * config.lr, "weight_decay": 0.0})
    optimizer = AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
    rate: Callable[[int], float]
    if config.schedule == "warmup-cosine":
        rate = lambda step: warmup_cosine(step, steps, config) / config.lr  # noqa: E731
        return optimizer, LambdaLR(optimizer, rate), "step"
    if config.schedule == "epoch-cosine":
        rate = lambda epoch: epoch_cosine(epoch, epochs, config) / config.lr  # noqa: E731
    else:
        rate = lambda _: 1.0  # noqa: E731
    return optimizer, LambdaLR(optimizer, rate), "epoch"
