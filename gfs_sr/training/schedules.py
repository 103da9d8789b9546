"""Learning rates as functions of steps or epochs; each gives the rate before `min_lr` holds it.

Sources: specification, sections 2.5 (cosines), 3.5 (steps, powers), 5.6 (piecewise), 6.6 (the rest); one cycle after
Smith and Topin 2019 (arXiv 1708.07120).
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

WARMUP_START: Final = 0.1  # of the learning rate, at step 0 of warmup-cosine
CYCLE_START: Final = 1 / 25  # of the learning rate, at step 0 of one-cycle
CYCLE_RISE: Final = 0.3  # of the run, until one-cycle is at its top
POLY_AT_MILESTONE: Final = 0.1  # of the learning rate


def epoch_cosine(epoch: int, epochs: int, lr: float, min_lr: float) -> float:
    """From lr in epoch 0 down to min_lr after the last one."""
    return _cosine(epoch / max(1, epochs), lr, min_lr)


def warmup_cosine(step: int, steps: int, lr: float, min_lr: float, warmup_steps: int) -> float:
    """Linear from 0.1·lr over the warm-up, then a cosine to min_lr at the last step."""
    warmup = min(warmup_steps, steps)
    if step < warmup:
        return lr * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    return _cosine((step - warmup) / max(1, steps - warmup), lr, min_lr)


def warmup(step: int, lr: float, warmup_steps: int) -> float:
    """Linear from 0 to lr over the warm-up, then lr."""
    return lr * min(1.0, step / max(1, warmup_steps))


def every(epoch: int, lr: float, epochs: int, gamma: float) -> float:
    """Times gamma after every so many epochs."""
    return lr * math.pow(gamma, epoch // epochs)


def at_milestones(count: int, lr: float, milestones: Sequence[int], gamma: float) -> float:
    """Times gamma at every milestone, of epochs or of steps."""
    passed = bisect_right(sorted(milestones), count)
    return lr * math.pow(gamma, passed)


def poly(epoch: int, epochs: int, lr: float, milestones: Sequence[int]) -> float:
    """A power of the share of the run that is left, 0.1·lr at the first milestone; then a tenth at every milestone."""
    first = min(milestones)
    if epoch < first:
        power = math.log(POLY_AT_MILESTONE) / math.log(1 - (first - 1e-6) / epochs)
        return lr * math.pow(1 - epoch / epochs, power)
    return at_milestones(epoch, lr, milestones, POLY_AT_MILESTONE)


def one_cycle(step: int, steps: int, lr: float, min_lr: float) -> float:
    """Up by a cosine from lr/25 over 30 % of the run, down by a cosine to min_lr at its last step."""
    top = CYCLE_RISE * steps - 1
    if step <= top:
        return _cosine(step / top, lr * CYCLE_START, lr) if top > 0 else lr
    return _cosine((step - top) / max(1e-9, steps - 1 - top), lr, min_lr)


def exponential(epoch: int, lr: float, gamma: float) -> float:
    """Times gamma every epoch."""
    return lr * math.pow(gamma, epoch)


def _cosine(progress: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
