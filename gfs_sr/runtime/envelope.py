"""Is this input inside what the model was trained on?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Quantiles
from gfs_sr.data.variables import lookup

TOLERATED = 0.05  # of a frame's cells; the quantiles leave out 0.2 % of the training data themselves


class Envelope:
    """Compares frames with the quantiles in the contract and remembers what was outside."""

    def __init__(self, contract: Contract, variables: Sequence[str]) -> None:
        self._known = [
            (channel, name, _reachable(contract.envelope[name], lookup(name).bounds))
            for channel, name in enumerate(variables)
            if name in contract.envelope
        ]
        self._contract = contract
        self._outside: dict[str, int] = {}
        self._frames = 0

    def holds(self, frame: npt.NDArray[np.float32]) -> bool:
        """Whether at most `TOLERATED` of the cells of each variable of `frame` (C, H, W) lie outside; NaN is inside."""
        self._frames += 1
        inside = True
        for channel, name, (low, high) in self._known:
            field = frame[channel]
            outside = np.count_nonzero((field < low) | (field > high))
            if outside > TOLERATED * field.size:
                self._outside[name] = self._outside.get(name, 0) + 1
                inside = False
        return inside

    def warnings(self) -> list[str]:
        """One sentence per variable that was outside."""
        bounds = {name: self._contract.envelope[name] for _, name, _ in self._known}
        return [
            f"{name}: {count} of {self._frames} frames lie outside what the model was trained on "
            f"({bounds[name].low:g} to {bounds[name].high:g}); the output is flagged there"
            for name, count in self._outside.items()
        ]


def _reachable(known: Quantiles, bounds: tuple[float, float]) -> tuple[float, float]:
    """The ends of an envelope; one at a physical bound is none, for what lies beyond it is the rounding of a file."""
    low = -np.inf if known.low <= bounds[0] else known.low
    return low, np.inf if known.high >= bounds[1] else known.high
