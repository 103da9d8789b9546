"""Noise levels from large to small, then 0: each function gives the n levels of a schedule, `levels` adds the end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

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


@dataclass(frozen=True)
class CosineProcess:
    """The discrete process of 1000 steps whose share of signal follows a cosine.

    abar_k = cos^2(((k/N + 0.008) / 1.008) pi/2) over its value at k = 0; after step t (0 to 999) the share is that of
    k = t + 1, but no step takes more than 0.9999 of what is left. In the data's units, sigma = sqrt((1 - abar) / abar).

    Source: Nichol and Dhariwal 2021, equation 17.
    """

    STEPS: ClassVar[int] = 1000
    OFFSET: ClassVar[float] = 0.008
    LARGEST_BETA: ClassVar[float] = 0.9999

    @classmethod
    def betas(cls) -> Levels:
        """(1000,) the share of variance that each step replaces by noise."""
        angle = (np.arange(cls.STEPS + 1) / cls.STEPS + cls.OFFSET) / (1 + cls.OFFSET) * np.pi / 2
        signal = np.cos(angle) ** 2 / np.cos(angle[0]) ** 2
        betas: Levels = np.clip(1 - signal[1:] / signal[:-1], 0.0, cls.LARGEST_BETA)
        return betas

    @classmethod
    def signal(cls) -> Levels:
        """(1000,) abar: the share of the data's variance that is left after each step."""
        left: Levels = np.cumprod(1 - cls.betas(), dtype=np.float64)
        return left

    @classmethod
    def sigmas(cls) -> Levels:
        """(1000,) noise levels after each step, in units of the data."""
        signal = cls.signal()
        sigmas: Levels = np.sqrt((1 - signal) / signal)
        return sigmas


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


def cosine(config: "ScheduleConfig", _: VpProcess) -> Levels:
    """Steps of the cosine process, evenly picked from the last to the first; n = 1000 takes them all."""
    picked = np.rint(_ramp(config.n) * (1 - CosineProcess.STEPS) + CosineProcess.STEPS - 1).astype(int)
    sigmas: Levels = CosineProcess.sigmas()[picked]
    return sigmas


Schedule = Callable[["ScheduleConfig", VpProcess], Levels]
SCHEDULES: Final[dict[str, Schedule]] = {
    "karras": karras,
    "karras_sqrt": karras_sqrt,
    "exponential": exponential,
    "polyexponential": polyexponential,
    "vp": vp,
    "ve": ve,
    "subvp": subvp,
    "cosine": cosine,
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
