"""Floating-point operations of networks as they are exported, of the core alone: nobody asked for the halo."""

from gfs_sr.models.factorized import Factorized
from gfs_sr.models.model import Model


def folded_operations(model: Model, core: tuple[int, int, int, int, int]) -> float:
    """2 per multiply-add of the products of a batch whose core is (B, T, C, H, W).

    `factorized` is counted folded, every other family by its own count for five variables.
    """
    B, T, C, H, W = core
    s, r = model.facts.scale_factor, model.facts.time_factor
    if not isinstance(model, Factorized):
        return model.flops_per_fine_cell * B * r * T * s * s * H * W * C / 5
    width, blocks = model.settings.width, model.settings.blocks
    temporal = T * (3 * C * width + 6 * width * width + width * r * C)
    spatial = r * T * (9 * C * width + 18 * blocks * width * width + 25 * width * C * s * s)
    return 2.0 * B * H * W * (temporal + spatial)
