"""What a member of the DL4DS family costs, counted layer by layer on a field that runs through it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gfs_sr.models.dl4ds_upsampling import Resize, deconv_reach


def count_flops(run: Callable[[], object], network: nn.Module) -> int:
    """Of all convolutions in `network` while `run` runs it; 2 per multiply-add."""
    counted: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        counted.append(_flops(layer, inputs[0], output))

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | Resize)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counted)


def _flops(layer: nn.Module, given: Any, output: Any) -> int:
    if isinstance(layer, nn.Conv2d):
        return 2 * _numel(output) * layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):  # of the cells themselves, not of what they are continued by
        reach = deconv_reach(layer.stride[0])
        N, _, h, w = given.shape
        padding = reach.before + reach.after
        cells: int = N * (h - padding) * (w - padding)
        return 2 * cells * layer.weight.numel()
    assert isinstance(layer, Resize)  # the three that have hooks
    return 2 * _numel(given.values) * layer.weight.numel()


def _numel(x: Tensor) -> int:
    return x.numel()
