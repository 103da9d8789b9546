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
    pairs: dict[str, list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]] = {}
    for batch in batches:
        truth = np.array(reference(batch.inputs), np.float64)  # a copy: an engine may reuse its output
        other = np.asarray(candidate(batch.inputs), np.float64)
        for channel, name in enumerate(batch.variables):
            pairs.setdefault(name, []).append((truth[:, :, channel].ravel(), other[:, :, channel].ravel()))
    lines = []
    for name, parts in pairs.items():
        scaling = contract.normalization[name]
        truth, other = (np.concatenate(each) for each in zip(*parts, strict=True))
        pooled = scaling.denormalize(other) - scaling.denormalize(truth)
        # where the units are bent, the tolerance in them is that of the cell which strays most
        worst = int(np.argmax(np.abs(other - truth)))
        tolerance = scaling.physical_step(scaling.denormalize(truth[worst]), TOLERANCE_SD[contract.precision])
        lines.append(
            Parity(
                variable=name,
                units=lookup(name).units,
                max_abs=float(np.abs(pooled[worst])),
                rmse=float(np.sqrt(np.mean(pooled**2))),
                tolerance=float(tolerance),
            )
        )
    return tuple(lines)


def worst(measured: Sequence[Sequence[Parity]]) -> tuple[Parity, ...]:
    """Of several graphs' lines, each variable's that comes closest to its tolerance."""
    found: dict[str, Parity] = {}
    for line in (line for lines in measured for line in lines):
        known = found.setdefault(line.variable, line)
        if not line.max_abs / line.tolerance <= known.max_abs / known.tolerance:  # NaN is the worst
            found[line.variable] = line
    return tuple(found.values())


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
