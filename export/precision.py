"""Half precision where it is harmless: in the residual branch, never on the interpolation."""

from copy import deepcopy
from typing import Final

import torch
from torch import nn

from gfs_sr.errors import UsageError
from gfs_sr.models.lowering import Lowered
from gfs_sr.runtime.backends.base import Precision

DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BRANCH: Final = "residual"  # the submodule that every family with something to learn adds to its base


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
