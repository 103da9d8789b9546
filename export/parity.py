"""Do two engines agree? Per variable, in its own units, on real input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Parity
from gfs_sr.data.variables import lookup
from gfs_sr.errors import ParityFailed
from gfs_sr.runtime.backends.base import TOLERANCE_SD, Array

Engine = Callable[[Mapping[str, Array]], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Batch:
    """One input on which engines are compared."""

    inputs: Mapping[str, Array]  # what the graph takes
    variables: tuple[str, ...]  # of the output's channels


def measure_parity(
    contract: Contract, batches: Sequence[Batch], reference: Engine, candidate: Engine
) -> tuple[Parity, ...]:
    """How far `candidate` strays from `reference`, per variable over all batches, in the variable's units."""
    differences: dict[str, list[npt.NDArray[np.float64]]] = {}
    for batch in batches:
        truth = np.array(reference(batch.inputs), np.float64)  # a copy: an engine may reuse its output
        difference = np.asarray(candidate(batch.inputs), np.float64) - truth
        for channel, name in enumerate(batch.variables):
            differences.setdefault(name, []).append(difference[:, :, channel].ravel())
    lines = []
    for name, parts in differences.items():
        scaling = contract.normalization[name]
        pooled = np.concatenate(parts) * scaling.sd
        lines.append(
            Parity(
                variable=name,
                units=lookup(name).units,
                max_abs=float(np.abs(pooled).max()),
                rmse=float(np.sqrt(np.mean(pooled**2))),
                tolerance=TOLERANCE_SD[contract.precision] * scaling.sd,
            )
        )
    return tuple(lines)


def require_parity(lines: Sequence[Parity], where: str) -> None:
    """Raise if any variable is beyond its tolerance, or not a number at all.

    Raises:
        ParityFailed: names each variable with both figures.
    """
    beyond = [line for line in lines if not line.max_abs <= line.tolerance]
    if beyond:
        figures = "; ".join(
            f"{line.variable} by {line.max_abs:.3g} {line.units} (allowed {line.tolerance:.3g})" for line in beyond
        )
        raise ParityFailed(
            f"the exported graph strays from the network: {figures}",
            where,
            "nothing was published; try --precision fp32 or another --opset, and report the model if that fails too",
        )
