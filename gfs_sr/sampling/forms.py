"""The same equation in different variables: of what a solver takes the slope, and over which time it integrates.

The probability-flow equation of a denoiser D is dx/d sigma = (x - D(x; sigma)) / sigma. With a time of its own,
sigma(t), and a scaled variable s(t)·x it reads
    d(s x)/dt = (sigma'/sigma + s'/s) s x - (sigma' s / sigma) D(x; sigma)
(Karras et al. 2022, equation 4 with the score written as (D - x) / sigma^2).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final

from gfs_sr.sampling.config import FormName
from gfs_sr.sampling.schedules import VpProcess


class Form(ABC):
    """Time and scale of one way to write the equation."""

    @abstractmethod
    def time(self, sigma: float) -> float:
        """The time at which the noise level is `sigma`; 0 at level 0."""

    def scale(self, sigma: float) -> float:
        """s: what the solver's variable is of x."""
        return 1.0

    @abstractmethod
    def slope(self, x: Any, denoised: Any, sigma: float) -> Any:
        """D x / d time of the solver's variable `x`, given D of x / s."""


@dataclass(frozen=True)
class Edm(Form):
    """Time is the noise level."""

    def time(self, sigma: float) -> float:
        """The level itself."""
        return sigma

    def slope(self, x: Any, denoised: Any, sigma: float) -> Any:
        """(x - D) / sigma."""
        return (x - denoised) / sigma


@dataclass(frozen=True)
class SquareRoot(Form):
    """Time is the noise's variance: the variance-exploding process of Song et al. 2021."""

    def time(self, sigma: float) -> float:
        """The variance."""
        return sigma * sigma

    def slope(self, x: Any, denoised: Any, sigma: float) -> Any:
        """(x - D) / (2 t), t being the variance."""
        return (x - denoised) / (2.0 * sigma * sigma)


@dataclass(frozen=True)
class Vp(Form):
    """Time of a VP process, whose variable keeps its variance."""

    process: VpProcess

    def time(self, sigma: float) -> float:
        """Of the process."""
        return self.process.time(sigma) if sigma else 0.0

    def scale(self, sigma: float) -> float:
        """1 / sqrt(1 + sigma^2)."""
        return 1.0 / math.sqrt(1.0 + sigma * sigma)

    def slope(self, x: Any, denoised: Any, sigma: float) -> Any:
        """As in the module's equation; s'/s = -sigma sigma' s^2."""
        s, change = self.scale(sigma), self.process.sigma_slope(self.time(sigma))
        return (change / sigma - sigma * change * s * s) * x - (change * s / sigma) * denoised


def form_of(name: FormName, process: VpProcess) -> Form:
    """The form of a name, for a denoiser trained with `process`."""
    return _FORMS[name](process)


_FORMS: Final = {"edm": lambda _: Edm(), "sqrt": lambda _: SquareRoot(), "vp": Vp}
