"""What one run of a U-Net costs, counted layer by layer on a field without values."""

from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from gfs_sr.models.unet_backbone import Backbone, BackboneConfig
from gfs_sr.models.unet_blocks import GlobalAttention, LocalAttention

SIDE: Final = 128  # cells of the field, the seed's window: global attention grows with it


@cache
def flops_per_cell(
    inputs: int,
    outputs: int,
    config: BackboneConfig,
    predictors: int = 0,
    leads: tuple[str, ...] = (),
    kinds: int = 0,
) -> float:
    """Of one run of `Backbone(...)`, per cell of the field; 2 per multiply-add."""
    side = -(-SIDE // config.rates[-1]) * config.rates[-1]
    with torch.device("meta"):
        network = Backbone(inputs, outputs, config, predictors, leads, kinds).eval()
        x, level, place = torch.empty(1, inputs, side, side), torch.empty(1), torch.empty(1, 4)
        if config.level_embedding == "identity":
            level = torch.empty(1, config.width)
        counted: list[int] = []
        counting = (nn.Conv2d, nn.Conv1d, nn.Linear, GlobalAttention, LocalAttention)
        for layer in network.modules():
            if isinstance(layer, counting):
                layer.register_forward_hook(lambda each, given, output: counted.append(_flops(each, given[0], output)))
        with torch.no_grad():
            kind = torch.zeros(1, dtype=torch.int64)
            network(x, level if "level" in leads else None, place if "place" in leads else None, kind=kind)
    return sum(counted) / (side * side)


def _flops(layer: nn.Module, given: Tensor, output: Any) -> int:
    if isinstance(layer, nn.Conv2d | nn.Conv1d | nn.Linear):
        return int(2 * output.numel() * layer.weight[0].numel())
    cells = given[0, 0].numel()  # of attention, besides its convolutions: scores and their use
    seen = layer.window**2 if isinstance(layer, LocalAttention) else cells
    return 2 * 2 * given.numel() * seen
