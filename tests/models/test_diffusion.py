"""Preconditioning, noise levels and weights of diffusion."""

import math

import numpy as np
import pytest
import torch

from gfs_sr.models.diffusion import (
    PRECONDITIONING,
    WEIGHTS,
    LevelsConfig,
    denoised,
    draw_levels,
    edm,
    teach,
    vp,
)
from gfs_sr.sampling import VpProcess

SIGMAS = (0.02, 0.5, 80.0)
PROCESS = VpProcess()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_s004_05_edm_preconditioning_is_its_formulas(sigma):
    made = edm(torch.tensor(sigma, dtype=torch.float64), 0.5)
    assert float(made.skip) == pytest.approx(0.25 / (sigma**2 + 0.25))
    assert float(made.out) == pytest.approx(sigma * 0.5 / math.sqrt(sigma**2 + 0.25))
    assert float(made.into) == pytest.approx(1 / math.sqrt(sigma**2 + 0.25))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_s004_05_vp_preconditioning_is_its_formulas(sigma):
    made = vp(torch.tensor(sigma, dtype=torch.float64), 0.5)
    assert float(made.skip) == 1
    assert float(made.out) == -sigma
    assert float(made.into) == pytest.approx(1 / math.sqrt(sigma**2 + 1))


@pytest.mark.parametrize("name", PRECONDITIONING)
def test_s004_05_a_silent_network_leaves_skip_times_x(name):
    x, sigma = torch.randn(3, 1, 4, 4, generator=generator()), torch.tensor(SIGMAS)
    how = PRECONDITIONING[name](sigma.reshape(-1, 1, 1, 1), 0.5)
    found = denoised(lambda scaled, level: torch.zeros_like(scaled), x, sigma, PRECONDITIONING[name], 0.5)
    torch.testing.assert_close(found, how.skip * x)


@pytest.mark.parametrize("name", PRECONDITIONING)
def test_a_network_that_meets_its_target_denoises_perfectly(name):
    clean, noise = (torch.randn(3, 2, 5, 5, generator=generator(seed), dtype=torch.float64) for seed in (0, 1))
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    how = PRECONDITIONING[name](sigma.reshape(-1, 1, 1, 1), 0.5)
    seen = {}

    def perfect(scaled, level):
        seen.update(scaled=scaled, level=level)
        return (clean - how.skip * scaled / how.into) / how.out

    lesson = teach(perfect, clean, noise, sigma, PRECONDITIONING[name], 0.5)
    torch.testing.assert_close(lesson.output, lesson.target)
    torch.testing.assert_close(lesson.denoised, clean)
    torch.testing.assert_close(seen["level"], sigma.log())
    torch.testing.assert_close(seen["scaled"], how.into * (clean + sigma.reshape(-1, 1, 1, 1) * noise))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_edm_targets_have_unit_size_at_every_level(sigma):
    clean = 0.5 * torch.randn(100_000, 1, generator=generator(2), dtype=torch.float64)
    noise = torch.randn(100_000, 1, generator=generator(3), dtype=torch.float64)
    lesson = teach(
        lambda scaled, _: torch.zeros_like(scaled), clean, noise, torch.full((100_000,), sigma).double(), edm, 0.5
    )
    assert float(lesson.target.std()) == pytest.approx(1.0, rel=0.01)


def test_s004_06_half_of_the_levels_are_lognormal_and_half_log_uniform():
    levels = draw_levels(1_000_000, LevelsConfig(), PROCESS, generator()).double().log()
    low, high = math.log(0.02), math.log(80.1)
    uniform_mean, uniform_square = (low + high) / 2, (low**2 + low * high + high**2) / 3
    assert float(levels.mean()) == pytest.approx((-1.6 + uniform_mean) / 2, abs=0.01)
    assert float((levels**2).mean()) == pytest.approx((0.8**2 + 1.6**2 + uniform_square) / 2, rel=0.01)
    # far above the lognormal there are the uniform ones alone
    share = (high - 2.5) / (high - low) / 2
    assert float((levels > 2.5).double().mean()) == pytest.approx(share, abs=0.002)
    assert float(levels.max()) <= high + 1e-5


def test_s004_06_log_uniform_levels_stay_between_their_ends():
    levels = draw_levels(100_000, LevelsConfig("loguniform"), PROCESS, generator())
    assert 0.02 <= float(levels.min()) < 0.0201
    assert 79.5 < float(levels.max()) <= 80.1001


@pytest.mark.parametrize("count", [1, 7])
def test_s004_06_odd_batches_favour_neither_kind(count):
    config = LevelsConfig(mean=10.0, sd=0.01)  # above every log-uniform one
    rng = generator(5)
    shares = [float((draw_levels(count, config, PROCESS, rng) > 1000).double().sum()) for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(count / 2, abs=0.05)
    assert {*shares} <= {count // 2, count // 2 + 1}


def test_vp_levels_are_those_of_even_times():
    levels = draw_levels(200_000, LevelsConfig("vp"), PROCESS, generator())
    middle = PROCESS.sigma(0.5)
    assert float((levels < middle).double().mean()) == pytest.approx(0.5, abs=0.005)
    assert float(levels.max()) <= PROCESS.sigma(1.0) * 1.0001


def test_weights_are_their_formulas():
    sigma = torch.tensor(SIGMAS, dtype=torch.float64)
    squares = np.square(SIGMAS)
    np.testing.assert_allclose(WEIGHTS["one"](sigma, 0.5), 1)
    np.testing.assert_allclose(WEIGHTS["soft_min_snr"](sigma, 0.5), squares * 0.25 / (squares + 0.25) ** 2)
    np.testing.assert_allclose(WEIGHTS["snr"](sigma, 0.5), 0.25 / (squares + 0.25))


@pytest.mark.parametrize("settings", [{"distribution": "sine"}, {"low": 90.0}, {"sd": 0.0}, {"least_time": 0.0}])
def test_levels_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match=r"is none of|lies between"):
        LevelsConfig(**settings)
