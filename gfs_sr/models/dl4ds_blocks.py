"""Blocks of the DL4DS family: convolutions with dropout and norm as each backbone has them, attention, local weights.

Every block takes and gives a `Field`; what it needs around the core is its `reach`. Weights start as Keras starts them:
Glorot uniform, biases zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.contract import NoiseGrid
from gfs_sr.models.blocks import Padding, SpaceConv, pad_space
from gfs_sr.models.dl4ds_dropout import Dropout, DropoutVariant, Noise, NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin, aligned

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "selu": F.selu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),  # Keras' slope
}
NORMALIZATIONS: Final = ("none", "bn", "ln")
EPSILON: Final = 1e-3  # of Keras' norms
NO_MARGIN: Final = Margin()
ATTENTION_RATIO: Final = 4


@dataclass(frozen=True)
class Recipe:
    """What blocks of one network have in common."""

    padding: Padding
    normalization: str = "none"
    activation: str = "relu"
    dropout_rate: float = 0.0
    dropout_variant: DropoutVariant = DropoutVariant.VANILLA
    attention: bool = False
    separable: bool = False
    grid: NoiseGrid = NoiseGrid.COARSE  # cells the trunk works on

    @property
    def act(self) -> Callable[[Tensor], Tensor]:
        """The activation itself."""
        return ACTIVATIONS[self.activation]


class Conv(nn.Module):
    """k × k convolution of a field, whole or as depthwise and 1 × 1."""

    def __init__(
        self, inputs: int, outputs: int, size: int, padding: Padding, bias: bool = True, separable: bool = False
    ) -> None:
        super().__init__()
        self.depth = SpaceConv(inputs, inputs, size, padding, groups=inputs, bias=False) if separable else None
        self.conv = SpaceConv(inputs, outputs, 1 if separable else size, padding, bias=bias)
        for each in (self.depth, self.conv):
            if each is not None:
                glorot(each)
        self.reach = reach_of(size, padding)

    def forward(self, x: Field) -> Field:
        """Convolve."""
        values = x.values if self.depth is None else self.depth(x.values)
        return Field(self.conv(values), x.margin - self.reach)

    def joined(self, mix: Tensor, shuffled: int = 1) -> tuple[Tensor, Tensor]:
        """Weight and bias of this convolution and a 1 × 1 after it as one.

        Args:
            mix: (K, outputs) of the 1 × 1, which comes after depth to space where there is one.
            shuffled: q² channels that depth to space lays beside each other.
        """
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None  # those that are joined have one
        channels = mix.shape[1]
        both = torch.einsum("kc,cqiyx->kqiyx", mix, weight.reshape(channels, shuffled, *weight.shape[1:]))
        return both.flatten(0, 1), (mix @ bias.reshape(channels, shuffled)).flatten()

    def mixed(self, x: Field, weight: Tensor, bias: Tensor) -> Field:
        """Convolve with other weights of the same size."""
        values = pad_space(x.values, self.conv.cells, self.conv.padding_rule)
        return Field(F.conv2d(values, weight, bias), x.margin - self.reach)

    def replaced(self, weight: Tensor, bias: Tensor) -> "Conv":
        """One with these weights."""
        made = Conv(weight.shape[1], weight.shape[0], weight.shape[-1], self.conv.padding_rule).to(weight)
        made.conv.weight.data.copy_(weight)
        assert made.conv.bias is not None  # it was made with one
        made.conv.bias.data.copy_(bias)
        return made


def glorot(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    """Keras' start: Glorot & Bengio 2010, uniform; bias zero."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every cell, in float32."""

    def __init__(self, channels: int, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape and type."""
        wide = x.float()
        centered = wide - wide.mean(dim=1, keepdim=True)
        scale = torch.rsqrt(centered.square().mean(dim=1, keepdim=True) + self.epsilon)
        normal = centered * scale * self.weight[:, None, None].float() + self.bias[:, None, None].float()
        return normal.to(x.dtype)


def make_norm(name: str, channels: int, epsilon: float = EPSILON) -> nn.Module:
    """The layer that a normalization's name means."""
    if name == "bn":
        return nn.BatchNorm2d(channels, eps=epsilon, momentum=0.01)
    return ChannelNorm(channels, epsilon) if name == "ln" else nn.Identity()


class ChannelAttention(nn.Module):
    """Channels weighted by what their means over the whole field say: the reach is global.

    Source: squeeze and excitation, Hu et al. 2018, with ratio 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(1, channels // ATTENTION_RATIO), 1)
        self.excite = nn.Conv2d(max(1, channels // ATTENTION_RATIO), channels, 1)
        glorot(self.squeeze)
        glorot(self.excite)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same."""
        means = x.float().mean(dim=(-2, -1), keepdim=True).to(x.dtype)
        weights: Tensor = torch.sigmoid(self.excite(F.relu(self.squeeze(means))))
        return x * weights


class ConvBlock(nn.Module):
    """[dropout] -> convolution -> [norm] -> activation, twice, then [attention]."""

    def __init__(self, inputs: int, outputs: int, size: int, recipe: Recipe, slots: NoiseSlots) -> None:
        super().__init__()
        plain = recipe.normalization == "none"
        self.convs = nn.ModuleList(
            Conv(width, outputs, size, recipe.padding, plain, recipe.separable) for width in (inputs, outputs)
        )
        self.norms = nn.ModuleList(make_norm(recipe.normalization, outputs) for _ in range(2))
        self.drops = nn.ModuleList(_dropout(recipe, width, slots) for width in (inputs, outputs))
        self.attention = ChannelAttention(outputs) if recipe.attention else nn.Identity()
        self.act = recipe.act
        self.width, self.reach = outputs, reach_of(size, recipe.padding) * 2

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """Two convolutions."""
        for drop, conv, norm in zip(self.drops, self.convs, self.norms, strict=True):
            x = conv(drop(x, noise)).map(norm).map(self.act)
        return x.map(self.attention)


class ResidualBlock(nn.Module):
    """x + [dropout] conv [norm] act [dropout] conv [norm] [attention], then activation."""

    def __init__(self, inputs: int, outputs: int, recipe: Recipe, slots: NoiseSlots, project: bool = False) -> None:
        super().__init__()
        plain = recipe.normalization == "none"
        self.first = Conv(inputs, outputs, 3, recipe.padding, plain, recipe.separable)
        self.second = Conv(outputs, outputs, 3, recipe.padding, plain, recipe.separable)
        self.norms = nn.ModuleList(make_norm(recipe.normalization, outputs) for _ in range(2))
        self.drops = nn.ModuleList(_dropout(recipe, width, slots) for width in (inputs, outputs))
        self.attention = ChannelAttention(outputs) if recipe.attention else nn.Identity()
        self.project = Conv(inputs, outputs, 1, recipe.padding) if project else None
        self.act = recipe.act
        self.width, self.reach = outputs, reach_of(3, recipe.padding) * 2

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """Add what the block has to say."""
        branch = self.first(self.drops[0](x, noise)).map(self.norms[0]).map(self.act)
        branch = self.second(self.drops[1](branch, noise)).map(self.norms[1]).map(self.attention)
        skip = (x if self.project is None else self.project(x)).within(branch.margin)
        return Field(self.act(skip.values + branch.values), branch.margin)


class DenseBlock(nn.Module):
    """[norm] act [dropout] 1 × 1 to 4·f, [norm] act [dropout] 3 × 3 to f, [attention]; beside x."""

    def __init__(self, inputs: int, growth: int, recipe: Recipe, slots: NoiseSlots) -> None:
        super().__init__()
        self.first = Conv(inputs, 4 * growth, 1, recipe.padding)
        self.second = Conv(4 * growth, growth, 3, recipe.padding, separable=recipe.separable)
        self.norms = nn.ModuleList(make_norm(recipe.normalization, width) for width in (inputs, 4 * growth))
        self.drops = nn.ModuleList(_dropout(recipe, width, slots) for width in (inputs, 4 * growth))
        self.attention = ChannelAttention(growth) if recipe.attention else nn.Identity()
        self.act = recipe.act
        self.width, self.reach = inputs + growth, reach_of(3, recipe.padding)

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """(new, x) along the channels."""
        new = self.first(self.drops[0](x.map(self.norms[0]).map(self.act), noise))
        new = self.second(self.drops[1](new.map(self.norms[1]).map(self.act), noise)).map(self.attention)
        return concat(new, x)


class ConvNextBlock(nn.Module):
    """Depthwise 7 × 7, norm, 1 × 1 to 4·f, activation, 1 × 1 to f, + x.

    Source: Liu et al. 2022, without layer scale and drop path.
    """

    def __init__(self, inputs: int, outputs: int, recipe: Recipe, project: bool = False) -> None:
        super().__init__()
        self.depth = SpaceConv(inputs, inputs, 7, recipe.padding, groups=inputs)
        self.norm = make_norm("bn" if recipe.normalization == "bn" else "ln", inputs, 1e-6)
        self.wide = nn.Conv2d(inputs, 4 * outputs, 1)
        self.narrow = nn.Conv2d(4 * outputs, outputs, 1)
        self.attention = ChannelAttention(outputs) if recipe.attention else nn.Identity()
        self.project = Conv(inputs, outputs, 1, recipe.padding) if project else None
        for each in (self.depth, self.wide, self.narrow):
            glorot(each)
        self.act = recipe.act
        self.width, self.reach = outputs, reach_of(7, recipe.padding)

    def forward(self, x: Field, noise: Noise | None = None) -> Field:
        """Add what the block has to say; it drops nothing."""
        branch = Field(self.norm(self.depth(x.values)), x.margin - self.reach)
        branch = branch.map(self.wide).map(self.act).map(self.narrow).map(self.attention)
        skip = (x if self.project is None else self.project(x)).within(branch.margin)
        return Field(skip.values + branch.values, branch.margin)


class Transition(nn.Module):
    """1 × 1 convolution and activation; with batch norm: norm, activation, convolution."""

    def __init__(self, inputs: int, outputs: int, recipe: Recipe) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs, eps=EPSILON, momentum=0.01) if recipe.normalization == "bn" else None
        self.conv = nn.Conv2d(inputs, outputs, 1)
        glorot(self.conv)
        self.act = recipe.act

    def forward(self, x: Field) -> Field:
        """Mix the channels."""
        return x.map(self._mixed)

    def _mixed(self, x: Tensor) -> Tensor:
        if self.norm is not None:
            mixed: Tensor = self.conv(self.act(self.norm(x)))
            return mixed
        return self.act(self.conv(x))


class LocalizedConv(nn.Module):
    """Two channels, mixed by a 2 × 2 matrix and a bias of each cell's own: the grid is part of the weights."""

    def __init__(self, inputs: int, rows: int, columns: int, recipe: Recipe) -> None:
        super().__init__()
        self.transition = Transition(inputs, 2, recipe)
        bound = (6 / 4) ** 0.5
        self.weight = nn.Parameter(torch.empty(2, 2, rows, columns).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(2, rows, columns))

    def forward(self, x: Field) -> Field:
        """(N, C, rows, columns) -> (N, 2, rows, columns)."""
        narrow = self.transition(x).values
        mixed = (self.weight * narrow[:, None]).sum(dim=2) + self.bias
        return Field(mixed, x.margin)


def concat(*fields: Field) -> Field:
    """Channels of all, on the cells that all have."""
    cut = aligned(*fields)
    return Field(torch.cat([each.values for each in cut], dim=1), cut[0].margin)


def _dropout(recipe: Recipe, channels: int, slots: NoiseSlots) -> Dropout:
    return Dropout(recipe.dropout_rate, recipe.dropout_variant, channels, recipe.grid, slots)


def reach_of(size: int, padding: Padding) -> Margin:
    """Cells that a convolution of that size uses up: none where it pads."""
    cells = (size - 1) // 2
    return Margin(cells, cells) if padding is Padding.VALID else NO_MARGIN
