"""The discrete cosine process and its samplers, against the formulas in the process's own variables."""

from itertools import pairwise

import numpy as np
import pytest

from gfs_sr.sampling import CosineProcess, SamplerConfig, SamplingConfig, ScheduleConfig, VpProcess, sample
from gfs_sr.sampling.schedules import levels

BETAS, SIGNAL = CosineProcess.betas(), CosineProcess.signal()


def cosine(n=1000, **sampler):
    return SamplingConfig(
        sampler=SamplerConfig(s_churn=0.0, s_noise=1.0, **sampler), schedule=ScheduleConfig(type="cosine", n=n)
    )


def test_s002_6_the_cosine_schedule_leaves_the_signal_that_is_listed():
    np.testing.assert_allclose(SIGNAL[[0, 499]], [0.99996, 0.4938], atol=5e-5)
    assert SIGNAL[-1] == pytest.approx(2.4e-10, rel=0.02)
    assert BETAS[-1] == 0.9999


def test_s002_6_levels_are_those_of_the_steps_from_the_last_to_the_first():
    found = levels(ScheduleConfig(type="cosine", n=1000), VpProcess())
    np.testing.assert_allclose(found[:-1], np.sqrt((1 - SIGNAL) / SIGNAL)[::-1])
    ten = levels(ScheduleConfig(type="cosine", n=10), VpProcess())
    np.testing.assert_allclose(ten[:-1], found[:-1][::111])


def test_s002_6_the_process_has_no_more_than_its_steps():
    with pytest.raises(ValueError, match="1000 steps"):
        ScheduleConfig(type="cosine", n=1001)


@pytest.mark.parametrize("step", [0, 10, 500, 999])
def test_s002_6_noise_added_step_by_step_has_the_moments_of_noise_added_at_once(step):
    """Monte Carlo: x_0 = 1 through every single step, against sqrt(abar) x_0 and 1 - abar."""
    rng = np.random.default_rng(0)
    x = np.ones(20_000)
    for beta in BETAS[: step + 1]:
        x = np.sqrt(1 - beta) * x + np.sqrt(beta) * rng.standard_normal(x.size)
    error = 4 / np.sqrt(x.size)  # four standard errors of a mean of unit variance
    assert x.mean() == pytest.approx(np.sqrt(SIGNAL[step]), abs=error)
    assert x.var() == pytest.approx(1 - SIGNAL[step], abs=error * np.sqrt(2))


def ancestral(x, clean, step, noise):
    """The posterior of x at t - 1 given x_t and x_0 (Ho et al. 2020, equations 6 and 7)."""
    if step == 0:
        return clean
    beta, before, now = BETAS[step], SIGNAL[step - 1], SIGNAL[step]
    mean = beta * np.sqrt(before) / (1 - now) * clean + (1 - before) * np.sqrt(1 - beta) / (1 - now) * x
    return mean + np.sqrt(beta * (1 - before) / (1 - now)) * noise


def test_s002_6_a_step_of_the_ancestral_sampler_is_a_draw_from_the_posterior():
    """All 1000 steps with a denoiser that is wrong in a known way, both samplers fed the same noise."""
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((1001, 64))

    def expected(x, sigma):
        return 0.3 + 0.5 * x / (1 + sigma * sigma)

    found = sample(expected, lambda number: draws[number], cosine(integrator="euler_ancestral"), VpProcess())
    sigmas = CosineProcess.sigmas()
    x = np.sqrt(SIGNAL[-1]) * sigmas[-1] * draws[0]
    for number, step in enumerate(range(999, -1, -1)):
        x = ancestral(x, expected(x / np.sqrt(SIGNAL[step]), sigmas[step]), step, draws[number + 1])
    np.testing.assert_allclose(found, x, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n", [10, 25, 50, 100])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_s002_6_fewer_steps_are_ddim_with_its_share_of_fresh_noise(n, eta):
    """Song et al. 2021 (DDIM), equation 12, in the process's own variables."""
    draws = np.random.default_rng(2).standard_normal((n + 1, 16))

    def expected(x, sigma):
        return 0.3 + 0.5 * x / (1 + sigma * sigma)

    config = cosine(n, integrator="euler_ancestral", eta=eta)
    found = sample(expected, lambda number: draws[number], config, VpProcess())
    sigmas = np.array(levels(config.schedule, VpProcess()))
    signal = 1 / (1 + sigmas**2)
    x = np.sqrt(signal[0]) * sigmas[0] * draws[0]
    for number, (now, after) in enumerate(pairwise(signal)):
        clean = expected(x / np.sqrt(now), sigmas[number])
        noise = (x - np.sqrt(now) * clean) / np.sqrt(1 - now)
        fresh = eta * np.sqrt((1 - after) / (1 - now)) * np.sqrt(1 - now / after)
        x = np.sqrt(after) * clean + np.sqrt(max(0.0, 1 - after - fresh**2)) * noise + fresh * draws[number + 1]
    np.testing.assert_allclose(found, x, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "euler", "heun", "dpm2", "dpmpp_2m"])
def test_s002_7_a_perfect_oracle_of_the_noise_is_led_back_to_the_field(sampler):
    """The noise that the oracle names is what separates x from x_0: any sampler must return x_0."""
    rng = np.random.default_rng(3)
    clean = rng.standard_normal(50)

    def denoise(x, sigma):
        noise = (x - clean) / sigma
        return x - sigma * noise

    found = sample(denoise, lambda _: rng.standard_normal(50), cosine(100, integrator=sampler), VpProcess())
    np.testing.assert_allclose(found, clean, atol=1e-3)
