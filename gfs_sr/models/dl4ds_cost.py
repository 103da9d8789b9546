"""What a member of the DL4DS family costs, counted layer by layer on a field that runs through it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from gfs_sr.contract import EngineMemory
from gfs_sr.models.dl4ds_upsampling import Resize, deconv_reach

# peak memory of 13 members on tiles of 40 and 80 cells, ONNX Runtime 1.32, over the largest layer's input and output
LIVE: Final = 6.0  # copies of them in other layouts, and what waits for a branch
COLUMNS: Final = 1.6  # of the unfolded kernels of a transposed convolution


@dataclass(frozen=True)
class LayerCost:
    """Of one convolution."""

    flops: int  # 2 per multiply-add
    size: int  # rows of its output
    live_bytes: float  # while it runs


@dataclass(frozen=True)
class Cost:
    """Of a run."""

    layers: tuple[LayerCost, ...]

    @property
    def flops(self) -> int:
        """Of all convolutions."""
        return sum(each.flops for each in self.layers)

    def memory(self, side: int, scale_factor: int, halo_is_fine: bool) -> EngineMemory:
        """What an engine keeps at most.

        Args:
            side: coarse cells of the field that ran.
            scale_factor: s.
            halo_is_fine: the whole tile is on fine cells, not its core alone.
        """
        coarse = max((each.live_bytes for each in self.layers if each.size <= side), default=0.0)
        fine = max((each.live_bytes for each in self.layers if each.size > side), default=0.0)
        cells = side**2
        if halo_is_fine:
            return EngineMemory(per_fine_cell=0.0, per_coarse_cell=(coarse + fine) / cells)
        return EngineMemory(per_fine_cell=fine / (cells * scale_factor**2), per_coarse_cell=coarse / cells)


def count(run: Callable[[], object], network: nn.Module) -> Cost:
    """The convolutions in `network` while `run` runs it."""
    counted: list[LayerCost] = []

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        counted.append(_layer(layer, inputs[0], output))

    hooks = [
        layer.register_forward_hook(note)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | Resize)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(tuple(counted))


def _layer(layer: nn.Module, given: Any, output: Any) -> LayerCost:
    if isinstance(layer, Resize):
        given, output = given.values, output.values
        live = LIVE * 4 * (given.numel() + output.numel())
        return LayerCost(2 * given.numel() * layer.weight.numel(), output.shape[-2], live)
    live = LIVE * 4 * (given.numel() + output.numel())
    if isinstance(layer, nn.Conv2d):
        return LayerCost(2 * output.numel() * layer.weight[0].numel(), output.shape[-2], live)
    assert isinstance(layer, nn.ConvTranspose2d)  # the three that have hooks
    reach = deconv_reach(layer.stride[0])
    N, inputs, h, w = given.shape
    padding = reach.before + reach.after
    cells = N * (h - padding) * (w - padding)  # the cells themselves, not what they are continued by
    columns = N * h * w * (layer.weight.numel() // inputs)
    return LayerCost(2 * cells * layer.weight.numel(), output.shape[-2], live + COLUMNS * 4 * columns)
