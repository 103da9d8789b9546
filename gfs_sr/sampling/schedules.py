"""Noise levels from large to small, then 0: each function gives the n levels of a schedule, `levels` adds the end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gfs_sr.sampling.config import ScheduleConfig

Levels = npt.NDArray[np.float64]

LEAST_TIME: Final = 1e-3  # at which the schedules in the time of a VP process end (Song et al. 2021)


@dataclass(frozen=True)
class VpProcess:
    """The variance-preserving process in units of its noise level: sigma(t), and the way back.

    Source: Song et al. 2021 (SDE framework), as written by Karras et al. 2022, Table 1.
    """

    beta_d: float = 19.9
    beta_min: float = 0.1

    def exponent(self, time: float) -> float:
        """The integral of beta from 0 to `time`."""
        return 0.5 * self.beta_d * time * time + self.beta_min * time

    def sigma(self, time: float) -> float:
        """Noise level at a time from 0 to 1."""
        return float(np.sqrt(np.expm1(self.exponent(time))))

    def time(self, sigma: float) -> float:
        """When the process has this noise level."""
        exponent = np.log1p(np.float64(sigma) * sigma)
        return float((np.sqrt(self.beta_min**2 + 2 * self.beta_d * exponent) - self.beta_min) / self.beta_d)

    def sigma_slope(self, time: float) -> float:
        """D sigma / d t; infinite at 0."""
        sigma = self.sigma(time)
        return 0.5 * (self.beta_d * time + self.beta_min) * (sigma + 1 / sigma)


def karras(config: "ScheduleConfig", _: VpProcess) -> Levels:
    """Even steps of sigma^(1/rho) (Karras et al. 2022, equation 5)."""
    largest, least = (sigma ** (1 / config.rho) for sigma in (config.sigma_max, config.sigma_min))
    sigmas: Levels = np.power(largest + _ramp(config.n) * (least - largest), config.rho)
    return sigmas


def karras_sqrt(config: "ScheduleConfig", process: VpProcess) -> Levels:
    """The square root of `karras`."""
    return np.sqrt(karras(config, process))


def exponential(config: "ScheduleConfig", _: VpProcess) -> Levels:
    """Even steps of ln sigma."""
    sigmas: Levels = np.exp(np.log(config.sigma_max) + _ramp(config.n) * np.log(config.sigma_min / config.sigma_max))
    return sigmas


def polyexponential(config: "ScheduleConfig", _: VpProcess) -> Levels:
    """Steps of ln sigma by a power of the ramp; rho = 1 is `exponential`."""
    ratio = np.log(config.sigma_max / config.sigma_min)
    sigmas: Levels = np.exp(np.power(1 - _ramp(config.n), config.rho) * ratio + np.log(config.sigma_min))
    return sigmas


def vp(config: "ScheduleConfig", process: VpProcess) -> Levels:
    """Even steps of the time of a VP process."""
    return np.array([process.sigma(time) for time in _times(config.n)])


def ve(config: "ScheduleConfig", _: VpProcess) -> Levels:
    """Levels in geometric progression, as the variance-exploding process takes them (Song et al. 2021)."""
    sigmas: Levels = config.sigma_max * np.power(config.sigma_min / config.sigma_max, _ramp(config.n))
    return sigmas


def subvp(config: "ScheduleConfig", process: VpProcess) -> Levels:
    """The standard deviation of the sub-VP process (Song et al. 2021, equation 29)."""
    return np.array([-np.expm1(-process.exponent(time)) for time in _times(config.n)])


Schedule = Callable[["ScheduleConfig", VpProcess], Levels]
SCHEDULES: Final[dict[str, Schedule]] = {
    "karras": karras,
    "karras_sqrt": karras_sqrt,
    "exponential": exponential,
    "polyexponential": polyexponential,
    "vp": vp,
    "ve": ve,
    "subvp": subvp,
}


def levels(config: "ScheduleConfig", process: VpProcess) -> tuple[float, ...]:
    """The n levels of a schedule and 0 after them.

    Args:
        config: which schedule, how many levels, and its ends.
        process: that the denoiser was trained with; the schedules in its time follow from it.
    """
    return (*(float(sigma) for sigma in SCHEDULES[config.type](config, process)), 0.0)


def _ramp(n: int) -> Levels:
    return np.linspace(0.0, 1.0, n)


def _times(n: int) -> Levels:
    return 1.0 + _ramp(n) * (LEAST_TIME - 1.0)
