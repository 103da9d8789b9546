"""Amounts that keep what the forecast gave: the fine cells of a coarse cell, over its bucket, have its amount again."""

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.coarsen import block_mean
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import UsageError

FloatField = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def check_conserving(contract: Contract, outputs: tuple[str, ...]) -> None:
    """Raise where there is nothing that could be kept.

    Raises:
        UsageError: a model that draws no members, point values, or variables that are no amounts over intervals.
    """
    others = [name for name in outputs if not _is_amount(name)]
    said = ""
    if contract.denoising is None:
        said = f"{contract.name} draws no members"
    elif contract.registration is not Registration.CELL:
        said = f"{contract.name} takes values at points, which are no means over cells"
    elif others:
        said = f"{', '.join(others)} are no amounts over intervals"
    if said:
        raise UsageError(said, "--conserve", "leave --conserve out")


def _is_amount(name: str) -> bool:
    variable = lookup(name)
    return variable.time_kind in {TimeKind.ACCUMULATED, TimeKind.AVERAGED} and variable.bounds[0] == 0


def correction(
    fine: Doubles, coarse: FloatField, weights: Doubles, scale_factor: int, time_factor: int, *, adds: bool
) -> tuple[Doubles, Doubles]:
    """(factor, added) on coarse cells (T, H, W): fine · factor + added has the amounts of `coarse`.

    Where the fine cells are all dry and the coarse one is not, they share its amount evenly: that is `added`.

    Args:
        fine: (r·T, s·H, s·W), at least 0.
        coarse: (T, H, W).
        weights: (s·H,) areas of the fine rows.
        scale_factor: s.
        time_factor: r.
        adds: the fine buckets add up to the coarse one; else they have its mean.
    """
    frames, height, width = coarse.shape
    means = block_mean(fine, scale_factor, weights).reshape(frames, time_factor, height, width)
    found = means.sum(axis=1) if adds else means.mean(axis=1)
    wanted = np.maximum(np.asarray(coarse, np.float64), 0.0)
    is_dry = found <= 0
    factor = np.where(is_dry, 0.0, wanted / np.where(is_dry, 1.0, found))
    return factor, np.where(is_dry, wanted / (time_factor if adds else 1), 0.0)


def on_fine(values: Doubles, scale_factor: int, time_factor: int) -> Doubles:
    """(T, H, W) -> (r·T, s·H, s·W): each fine cell and frame has its coarse one's."""
    fine: Doubles = values.repeat(time_factor, axis=0).repeat(scale_factor, axis=1).repeat(scale_factor, axis=2)
    return fine
