"""Losses: pure functions of prediction, target, mask and area, all in float32 on normalized fields.

Shapes are (B, T, C, H, W) throughout; `mask` is 1 where the target counts and 0 elsewhere, `area` weighs the cells and
is None where all count alike. A masked cell has no part in any value and gets no gradient. Each function takes finite
fields; `compose` makes them so. Source of formulas and default weights: specification, sections 2.4, 3.4 and 5.5.
"""

from gfs_sr.training.losses.compose import LossConfig, compose, named, relative_scale, sample_loss
from gfs_sr.training.losses.registry import LOSSES, MIXTURES, Loss

__all__ = ["LOSSES", "MIXTURES", "Loss", "LossConfig", "compose", "named", "relative_scale", "sample_loss"]
