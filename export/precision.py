"""Half precision where it is harmless: in the residual branch, never on the interpolation."""

from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor, nn

from gfs_sr.errors import UsageError
from gfs_sr.runtime.backends.base import Precision

DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BRANCH: Final = "residual"  # the submodule that every family with something to learn adds to its base


class Lowered(nn.Module):
    """A branch that computes in another type than it takes and gives."""

    def __init__(self, branch: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.branch = deepcopy(branch).to(dtype)  # what it shares with the base stays fp32 there
        self.dtype = dtype

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Cast in, compute, cast out, be it one tensor or several."""
        lowered = self.branch(*map(self._cast, inputs), **{name: self._cast(x) for name, x in named.items()})
        if isinstance(lowered, Tensor):
            return lowered.float()
        return tuple(None if each is None else each.float() for each in lowered)

    def _cast(self, x: Any) -> Any:
        return x.to(self.dtype) if isinstance(x, Tensor) and x.is_floating_point() else x


def lower_residual(model: nn.Module, precision: Precision) -> nn.Module:
    """A copy of `model` with its residual branch in `precision`; what it takes, gives and interpolates stays fp32.

    Raises:
        UsageError: the model has no residual branch to lower.
    """
    if precision in ("fp32", "int8"):  # int8 is a matter of the finished graph
        return model
    lowered = deepcopy(model)  # the original is what the copy is compared with
    branch = getattr(lowered, BRANCH, None)
    if not isinstance(branch, nn.Module):
        raise UsageError(
            f"this model has no residual branch that could compute in {precision}",
            "--precision",
            "use --precision fp32",
        )
    setattr(lowered, BRANCH, Lowered(branch, DTYPES[precision]))
    return lowered
