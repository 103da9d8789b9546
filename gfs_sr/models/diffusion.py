"""What surrounds a network that denoises: preconditioning, the noise levels it learns from, and what they count."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from gfs_sr.sampling import CosineProcess, VpProcess

ProcessName = Literal["edm", "vp"]
LevelsName = Literal["mixed", "lognormal", "loguniform", "vp", "cosine"]
WeightName = Literal["one", "soft_min_snr", "snr"]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """D(x) = skip·x + out·F(into·x), each of the shape of the noise levels."""

    skip: Tensor
    out: Tensor
    into: Tensor


Preconditioning = Callable[[Tensor, float], Coefficients]


def edm(sigma: Tensor, sd: float) -> Coefficients:
    """Input and target of the network have unit variance at every level (Karras et al. 2022, Table 1).

    Args:
        sigma: noise levels.
        sd: of the data.
    """
    total = sigma * sigma + sd * sd
    root = total.sqrt()
    return Coefficients(sd * sd / total, sigma * sd / root, 1 / root)


def vp(sigma: Tensor, sd: float) -> Coefficients:
    """The network gives the noise; its input has unit variance if the data have (Karras et al. 2022, Table 1)."""
    return Coefficients(torch.ones_like(sigma), -sigma, 1 / (sigma * sigma + 1).sqrt())


PRECONDITIONING: Final[dict[ProcessName, Preconditioning]] = {"edm": edm, "vp": vp}


@dataclass(frozen=True)
class LevelsConfig:
    """Which noise levels training draws."""

    distribution: LevelsName = "mixed"
    mean: float = -1.6  # of ln sigma, lognormal
    sd: float = 0.8
    low: float = 0.02  # ends, log-uniform
    high: float = 80.1
    least_time: float = 1e-4  # of vp

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution {self.distribution!r} is none of {', '.join(DISTRIBUTIONS)}")
        if not 0 < self.low < self.high or self.sd <= 0 or not 0 < self.least_time < 1:
            raise ValueError("low lies between 0 and high, sd above 0, least_time between 0 and 1")


def draw_levels(count: int, config: LevelsConfig, process: VpProcess, rng: torch.Generator | None = None) -> Tensor:
    """(count,) noise levels; of `mixed` each is lognormal or log-uniform, half of them each."""
    return DISTRIBUTIONS[config.distribution](count, config, process, rng)


def _lognormal(count: int, config: LevelsConfig, _: VpProcess, rng: torch.Generator | None) -> Tensor:
    return torch.exp(config.mean + config.sd * torch.randn(count, generator=rng))


def _loguniform(count: int, config: LevelsConfig, _: VpProcess, rng: torch.Generator | None) -> Tensor:
    low, high = torch.tensor([config.low, config.high], dtype=torch.float64).log().tolist()
    return torch.exp(low + (high - low) * torch.rand(count, generator=rng))


def _mixed(count: int, config: LevelsConfig, process: VpProcess, rng: torch.Generator | None) -> Tensor:
    normal = _lognormal(count, config, process, rng)
    uniform = _loguniform(count, config, process, rng)
    # every second one, from the first or the second on: an odd batch gives neither the advantage
    turn = torch.randint(2, (1,), generator=rng)
    return torch.where((torch.arange(count) + turn) % 2 == 0, normal, uniform)


def _vp(count: int, config: LevelsConfig, process: VpProcess, rng: torch.Generator | None) -> Tensor:
    time = config.least_time + (1 - config.least_time) * torch.rand(count, generator=rng, dtype=torch.float64)
    exponent = 0.5 * process.beta_d * time * time + process.beta_min * time
    return torch.expm1(exponent).sqrt().float()


def _cosine(count: int, _: LevelsConfig, __: VpProcess, rng: torch.Generator | None) -> Tensor:
    steps = torch.randint(CosineProcess.STEPS, (count,), generator=rng)
    return torch.from_numpy(CosineProcess.sigmas())[steps].float()


DISTRIBUTIONS: Final[dict[str, Callable[[int, LevelsConfig, VpProcess, torch.Generator | None], Tensor]]] = {
    "mixed": _mixed,
    "lognormal": _lognormal,
    "loguniform": _loguniform,
    "vp": _vp,
    "cosine": _cosine,
}

WEIGHTS: Final[dict[str, Callable[[Tensor, float], Tensor]]] = {
    "one": lambda sigma, sd: torch.ones_like(sigma),
    # Crowson et al. 2024 (Hourglass diffusion transformers), section 3.3
    "soft_min_snr": lambda sigma, sd: (sigma * sd) ** 2 / (sigma**2 + sd**2) ** 2,
    "snr": lambda sigma, sd: sd**2 / (sigma**2 + sd**2),
}
"""What the squared error of F counts at each level, by name: of (noise levels, sd of the data)."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one step teaches: the network's own output against its target, both of unit size at every level."""

    output: Tensor  # F
    target: Tensor
    denoised: Tensor  # D, in the data's units


def teach(
    network: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    preconditioning: Preconditioning,
    sd: float,
) -> Lesson:
    """Run the network on `clean + sigma·noise` and say what it should have given.

    Args:
        network: (scaled field, ln sigma (B,)) -> F.
        clean: (B, ...), the data's units.
        noise: standard normals of that shape.
        sigma: (B,).
        preconditioning: how D is made of F.
        sd: of the data.
    """
    at = sigma.reshape(-1, *[1] * (clean.dim() - 1))
    how = preconditioning(at, sd)
    noisy = clean + at * noise
    output = network(how.into * noisy, sigma.log())
    return Lesson(output, (clean - how.skip * noisy) / how.out, how.skip * noisy + how.out * output)


def denoised(
    network: Callable[[Tensor, Tensor], Tensor],
    noisy: Tensor,
    sigma: Tensor,
    preconditioning: Preconditioning,
    sd: float,
) -> Tensor:
    """D(noisy; sigma): arguments as of `teach`."""
    at = sigma.reshape(-1, *[1] * (noisy.dim() - 1))
    how = preconditioning(at, sd)
    return how.skip * noisy + how.out * network(how.into * noisy, sigma.log())
