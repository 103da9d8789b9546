"""Samplers as plain functions of a denoiser: from noise at the first level to a sample at level 0.

All take the same first arguments and work on any array that knows arithmetic. `x` is the solver's variable, which is
scaled noise at `sigmas[0]`; see `gfs_sr.sampling.run.sample` for the start. A denoiser's result must stay as it is
until the call after next: multistep solvers look back by one.

Slopes, levels and churn as in Karras et al. 2022, Algorithm 2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from gfs_sr.sampling.config import LARGEST_GAMMA, SamplerConfig
from gfs_sr.sampling.forms import Edm, Form

Denoiser = Callable[[Any, float], Any]  # (x, sigma) -> estimate of the clean field, of the same shape
Noise = Callable[[int], Any]  # number of a draw -> standard normals in the shape of x; 0 is the start, i + 1 of step i


@dataclass(frozen=True)
class Step:
    """One step of a sampler: from a level, after churn, to the next."""

    number: int
    sigma: float  # after churn
    sigma_next: float


def gamma(sigma: float, n: int, config: SamplerConfig) -> float:
    """By how much churn raises the level `sigma`, of n (Algorithm 2, line 4)."""
    inside = config.s_tmin <= sigma <= config.s_tmax
    return min(config.s_churn / n, LARGEST_GAMMA) if inside else 0.0


def _churned(
    x: Any, number: int, sigmas: Sequence[float], noise: Noise, config: SamplerConfig, form: Form
) -> tuple[Any, Step]:
    """Put noise back, raising the level."""
    sigma, sigma_next = sigmas[number], sigmas[number + 1]
    raised = gamma(sigma, len(sigmas) - 1, config)
    if raised == 0:
        return x, Step(number, sigma, sigma_next)
    higher = sigma * (1 + raised)
    added = config.s_noise * math.sqrt(higher * higher - sigma * sigma)
    # the variable at the higher level is scaled otherwise
    x = (x / form.scale(sigma) + added * noise(number + 1)) * form.scale(higher)
    return x, Step(number, higher, sigma_next)


def _slope(denoise: Denoiser, x: Any, sigma: float, form: Form) -> Any:
    scale = form.scale(sigma)
    denoised = denoise(x if scale == 1 else x / scale, sigma)
    return form.slope(x, denoised, sigma)


def sample_euler(
    denoise: Denoiser, x: Any, sigmas: Sequence[float], noise: Noise, config: SamplerConfig, form: Form
) -> Any:
    """Euler's method; first order, one evaluation a step."""
    for number in range(len(sigmas) - 1):
        x, step = _churned(x, number, sigmas, noise, config, form)
        slope = _slope(denoise, x, step.sigma, form)
        x = x + (form.time(step.sigma_next) - form.time(step.sigma)) * slope
    return x


def sample_euler_ancestral(
    denoise: Denoiser, x: Any, sigmas: Sequence[float], noise: Noise, config: SamplerConfig, form: Form
) -> Any:
    """Euler's method to a lower level, and noise up to the wanted one; its share is `config.eta`.

    Source: the ancestral step of Song et al. 2021 (equation 47) in terms of sigma.
    """
    assert isinstance(form, Edm)  # the configuration allows no other
    for number, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        up = min(sigma_next, config.eta * sigma_next * math.sqrt(sigma * sigma - sigma_next * sigma_next) / sigma)
        down = math.sqrt(sigma_next * sigma_next - up * up)
        x = x + (down - sigma) * _slope(denoise, x, sigma, form)
        if sigma_next > 0 and up > 0:
            x = x + config.s_noise * up * noise(number + 1)
    return x


def sample_heun(
    denoise: Denoiser, x: Any, sigmas: Sequence[float], noise: Noise, config: SamplerConfig, form: Form
) -> Any:
    """Heun's method; second order, two evaluations a step (Karras et al. 2022, Algorithm 2)."""
    for number in range(len(sigmas) - 1):
        x, step = _churned(x, number, sigmas, noise, config, form)
        slope = _slope(denoise, x, step.sigma, form)
        change = form.time(step.sigma_next) - form.time(step.sigma)
        if step.sigma_next > 0:  # at level 0 the slope is 0/0: the Euler step stands
            slope = (slope + _slope(denoise, x + change * slope, step.sigma_next, form)) / 2
        x = x + change * slope
    return x


def sample_dpm2(
    denoise: Denoiser, x: Any, sigmas: Sequence[float], noise: Noise, config: SamplerConfig, form: Form
) -> Any:
    """The midpoint rule, the middle in ln sigma; second order, two evaluations a step.

    Source: DPM-Solver-2 (Lu et al. 2022a, Algorithm 1) for a denoiser in terms of sigma, as Karras et al. have it.
    """
    for number in range(len(sigmas) - 1):
        x, step = _churned(x, number, sigmas, noise, config, form)
        slope = _slope(denoise, x, step.sigma, form)
        start, end = form.time(step.sigma), form.time(step.sigma_next)
        if step.sigma_next > 0:
            middle = math.sqrt(step.sigma * step.sigma_next)
            slope = _slope(denoise, x + (form.time(middle) - start) * slope, middle, form)
        x = x + (end - start) * slope
    return x


def sample_dpmpp_2m(
    denoise: Denoiser, x: Any, sigmas: Sequence[float], noise: Noise, config: SamplerConfig, form: Form
) -> Any:
    """Two-step exponential integrator in ln sigma; second order, one evaluation a step.

    Source: DPM-Solver++(2M) (Lu et al. 2022b, Algorithm 2), with alpha = 1.
    """
    assert isinstance(form, Edm)  # the configuration allows no other
    before: tuple[Any, float] | None = None  # the last denoised field and the width of its step in ln sigma
    for sigma, sigma_next in pairwise(sigmas):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            return denoised
        width = math.log(sigma / sigma_next)
        direction = denoised
        if before is not None:
            ratio = width / (2 * before[1])
            direction = (1 + ratio) * denoised - ratio * before[0]
        x = (sigma_next / sigma) * x - math.expm1(-width) * direction
        before = denoised, width
    return x


Sampler = Callable[[Denoiser, Any, Sequence[float], Noise, SamplerConfig, Form], Any]
SAMPLERS: Final[dict[str, Sampler]] = {
    "euler": sample_euler,
    "euler_ancestral": sample_euler_ancestral,
    "heun": sample_heun,
    "dpm2": sample_dpm2,
    "dpm2_heun": sample_dpm2,
    "dpmpp_2m": sample_dpmpp_2m,
}
