"""A branch of a network in half precision, between parts that stay in fp32."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn


class Lowered(nn.Module):
    """A branch that computes in another type than it takes and gives."""

    def __init__(self, branch: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.branch = deepcopy(branch).to(dtype)  # what it shares with the base stays fp32 there
        self.dtype = dtype

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Cast in, compute, cast out, be it one tensor or several."""
        lowered = self.branch(*(cast(x, self.dtype) for x in inputs), **cast_all(named, self.dtype))
        if isinstance(lowered, Tensor):
            return lowered.float()
        return tuple(None if each is None else each.float() for each in lowered)


def cast(x: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors in `dtype`, anything else as it is."""
    return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x


def cast_all(named: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The same for arguments by name."""
    return {name: cast(x, dtype) for name, x in named.items()}
