"""Recurrent blocks of the DL4DS family: convolutional LSTMs over the frames of a window."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gfs_sr.models.blocks import Padding
from gfs_sr.models.dl4ds_blocks import Conv, Recipe, make_norm
from gfs_sr.models.dl4ds_dropout import Dropout, Noise, NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin, aligned


def hard_sigmoid(x: Tensor) -> Tensor:
    """clip(0.2·x + 0.5, 0, 1): Keras' slope, not torch's."""
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


class ConvLstm(nn.Module):
    """i, f, o = hard_sigmoid(W_x * x + W_h * h + b), g = tanh(...); c = f·c + i·g; h = o·tanh(c); zero start.

    The state of a step reads the one before by a convolution, so a series of n steps reaches n - 1 convolutions further
    than one; where nothing pads, each step keeps the cells that have all their neighbors.

    Source: Shi et al. 2015, without peepholes; orthogonal recurrent kernels, forget bias 1.
    """

    def __init__(self, inputs: int, width: int, size: int, padding: Padding) -> None:
        super().__init__()
        self.width = width
        self.of_input = Conv(inputs, 4 * width, size, padding)  # gates i, f, g, o
        self.of_state = Conv(width, 4 * width, size, padding, bias=False)
        nn.init.orthogonal_(self.of_state.conv.weight)
        if self.of_input.conv.bias is not None:
            nn.init.ones_(self.of_input.conv.bias[width : 2 * width])
        self.reach = self.of_input.reach

    def forward(self, steps: Sequence[Field]) -> list[Field]:
        """State after every step."""
        gates = self._of_inputs(steps)
        states: list[Field] = []
        cell: Field | None = None
        for gate in gates:
            if states:
                mine, others, *rest = aligned(gate, self.of_state(states[-1]), *([] if cell is None else [cell]))
                gate, cell = Field(mine.values + others.values, mine.margin), rest[0]
            i, f, g, o = gate.values.chunk(4, dim=1)
            memory = hard_sigmoid(i) * torch.tanh(g)
            if cell is not None:
                memory = hard_sigmoid(f) * cell.values + memory
            cell = Field(memory, gate.margin)
            states.append(Field(hard_sigmoid(o) * torch.tanh(memory), gate.margin))
        return states

    def _of_inputs(self, steps: Sequence[Field]) -> list[Field]:
        """The share of the inputs, of all steps at once where they are of one size."""
        if any(each.margin != steps[0].margin for each in steps):
            return [self.of_input(each) for each in steps]
        together: Field = self.of_input(Field(torch.cat([each.values for each in steps]), steps[0].margin))
        return [Field(part, together.margin) for part in together.values.chunk(len(steps))]


class RecurrentBlock(nn.Module):
    """ConvLSTM 5 × 5 -> [norm] -> activation -> [dropout] -> ConvLSTM 3 × 3 -> [norm] -> activation, all steps."""

    def __init__(self, inputs: int, width: int, recipe: Recipe, slots: NoiseSlots) -> None:
        super().__init__()
        self.first = ConvLstm(inputs, width, 5, recipe.padding)
        self.second = ConvLstm(width, width, 3, recipe.padding)
        self.norms = nn.ModuleList(make_norm(recipe.normalization, width) for _ in range(2))
        self.drop = Dropout(recipe.dropout_rate, recipe.dropout_variant, width, recipe.grid, slots)
        self.act = recipe.act
        self.width = width

    def forward(self, steps: Sequence[Field], noise: Noise | None = None) -> list[Field]:
        """(N, C, h, w) of every step -> (N, width, ...) of every step."""
        inner = [each.map(self.norms[0]).map(self.act) for each in self.first(steps)]
        outer = self.second(self.drop.series(inner, noise))
        return [each.map(self.norms[1]).map(self.act) for each in outer]


def window_reach(blocks: Sequence[nn.Module], earlier: int) -> Margin:
    """What the last state of `earlier` + 1 steps reads: every convolution once, the widest once more for every step."""
    layers = [layer for block in blocks if isinstance(block, RecurrentBlock) for layer in (block.first, block.second)]
    once = Margin(sum(each.reach.before for each in layers), sum(each.reach.after for each in layers))
    widest = Margin(max(each.reach.before for each in layers), max(each.reach.after for each in layers))
    return once + widest * earlier
