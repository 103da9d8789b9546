import math

import numpy as np
import pytest
import torch

from gfs_sr.sampling import SAMPLERS, SamplerConfig, SamplingConfig, ScheduleConfig, VpProcess, form_of, sample
from gfs_sr.sampling.samplers import gamma
from gfs_sr.sampling.schedules import levels
from tests.sampling.gaussian import SD, denoise, exact

PROCESS = VpProcess()
NO_NOISE = SamplerConfig(s_churn=0.0)
# values of k-diffusion 0.1.1 (float64) for x = 10·(0.3, -1.1, 0.05), get_sigmas_karras(6, 0.1, 10, 7) and the denoiser
# below; churn 1.5 within [0.05, 9], noise 1.003, the draws of step i being FACTORS[i]·(0.1, -0.7, 1.3)
FACTORS = (1, -1, 0.5, 0.25, 1.5, -0.3)
GOLDEN = {
    "euler": (0.1881908285651186, -0.5560786495055112, 0.03597981390228106),
    "heun": (0.273522270657471, -0.8862990478929107, 0.04695394058922475),
    "dpm2": (0.2538655875642597, -0.8187724895717062, 0.04358338301083004),
    "dpmpp_2m": (0.2215623593952398, -0.7371886416831892, 0.03664653877920251),
    "euler_ancestral": (0.04997726046020701, -0.23251898230258783, 0.3441974904378858),
}
GOLDEN_CHURN = {
    "euler": (0.120059309857301, -0.47086179283833607, 0.3594923907049552),
    "heun": (0.18700619439690908, -0.7490953868214659, 0.397650921177875),
    "dpm2": (0.1670746614869141, -0.6958462698460581, 0.4155136304298447),
}


def bent(x, sigma):
    return 0.25 * x / (0.25 + sigma * sigma) + 0.1 * np.sin(x)


def no_noise(number):
    return 0.0


def error(integrator, form, n):
    """Of the solver alone: from the first level to the last above 0, against the exact solution."""
    sigmas = levels(ScheduleConfig(n=n), PROCESS)[:-1]
    config, shape = SamplerConfig(integrator=integrator, form=form, s_churn=0.0), form_of(form, PROCESS)
    start = np.array([0.7, -1.3])
    x = sigmas[0] * shape.scale(sigmas[0]) * start
    found = SAMPLERS[integrator](denoise, x, sigmas, no_noise, config, shape) / shape.scale(sigmas[-1])
    return np.abs(found - exact(sigmas[0] * start, sigmas[0], sigmas[-1])).max()


@pytest.mark.parametrize(
    ("integrator", "form", "order"),
    [("euler", form, 1) for form in ("edm", "vp", "sqrt")]
    + [(name, form, 2) for name in ("heun", "dpm2", "dpm2_heun") for form in ("edm", "vp", "sqrt")]
    + [("dpmpp_2m", "edm", 2)],
)
def test_s004_08_the_error_falls_by_the_order_of_the_solver(integrator, form, order):
    coarse, fine = error(integrator, form, 257), error(integrator, form, 513)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.08)


@pytest.mark.parametrize("integrator", list(SAMPLERS))
def test_s004_08_samples_of_the_exact_gaussian_have_its_spread(integrator):
    steps = 1000 if integrator.startswith("euler") else 120  # of first and of second order
    config = SamplingConfig().changed({"integrator": integrator, "s_noise": 1.0}, {"n": steps})
    rng = np.random.default_rng(0)
    found = sample(denoise, lambda _: rng.standard_normal(60_000), config, PROCESS)
    assert found.std() == pytest.approx(SD, rel=0.01)
    assert abs(found.mean()) < 0.005


def test_s004_08_the_seeds_sampling_takes_39_evaluations():
    asked = []

    def counted(x, sigma):
        asked.append(sigma)
        return denoise(x, sigma)

    config = SamplingConfig()
    rng = np.random.default_rng(1)
    found = sample(counted, lambda _: rng.standard_normal(200_000), config, PROCESS)
    assert (config.sampler.integrator, config.schedule.type, config.schedule.n) == ("dpm2_heun", "karras", 20)
    assert len(asked) == config.evaluations == 39
    # 20 steps of 80 to 0.02 leave 6.6 % too much, of which churn's inflated noise is 0.5
    assert found.std() == pytest.approx(1.066 * SD, rel=0.01)


@pytest.mark.parametrize("integrator", list(SAMPLERS))
@pytest.mark.parametrize("n", [1, 2, 13])
def test_s004_08_each_sampler_asks_as_often_as_it_says(integrator, n):
    count = 0

    def counted(x, sigma):
        nonlocal count
        count += 1
        return denoise(x, sigma)

    config = SamplingConfig().changed({"integrator": integrator}, {"n": n})
    sample(counted, lambda _: np.ones(1), config, PROCESS)
    assert count == config.evaluations


@pytest.mark.parametrize("integrator", GOLDEN)
def test_s004_08_samplers_agree_with_k_diffusion(integrator):
    assert run(integrator, 0.0) == pytest.approx(GOLDEN[integrator], rel=1e-12)


@pytest.mark.parametrize("integrator", GOLDEN_CHURN)
def test_s004_09_churn_agrees_with_k_diffusion(integrator):
    assert run(integrator, 1.5) == pytest.approx(GOLDEN_CHURN[integrator], rel=1e-12)


def run(integrator, churn):
    config = SamplerConfig(integrator=integrator, s_churn=churn, s_tmin=0.05, s_tmax=9.0, s_noise=1.003)
    if integrator == "euler_ancestral":
        config = config.model_copy(update={"s_noise": 1.0})
    sigmas = levels(ScheduleConfig(n=6, sigma_min=0.1, sigma_max=10.0), PROCESS)
    start = 10.0 * np.array([0.3, -1.1, 0.05])

    def draw(number):
        return FACTORS[number - 1] * np.array([0.1, -0.7, 1.3])

    return tuple(SAMPLERS[integrator](bent, start, sigmas, draw, config, form_of("edm", PROCESS)))


def test_s004_09_gamma_is_the_formula_and_0_outside_its_window():
    config = SamplerConfig()
    assert gamma(1.0, 20, config) == pytest.approx(math.sqrt(2) - 1)  # 10 / 20 is above the cap
    assert gamma(1.0, 100, config) == pytest.approx(0.1)
    assert [gamma(sigma, 100, config) for sigma in (0.039, 0.04, 50.0, 50.1)] == pytest.approx([0.0, 0.1, 0.1, 0.0])
    churned = [sigma for sigma in levels(ScheduleConfig(), PROCESS)[:-1] if gamma(sigma, 20, config)]
    assert len(churned) == 17


@pytest.mark.parametrize("integrator", ["euler", "heun", "dpm2", "dpmpp_2m"])
def test_s004_09_without_churn_the_sample_follows_from_the_start(integrator):
    draws = []

    def noise(number):
        draws.append(number)
        return np.array([0.3, -0.2])

    config = SamplingConfig().changed({"integrator": integrator, "s_churn": 0.0}, {})
    first, second = (sample(denoise, noise, config, PROCESS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert draws == [0, 0]


def test_s004_09_each_step_has_a_draw_of_its_own():
    draws = []

    def noise(number):
        draws.append(number)
        return np.ones(1)

    sample(denoise, noise, SamplingConfig(), PROCESS)
    assert draws == [0, *range(3, 20)]  # the start, then the 17 steps within the window


def test_s004_10_the_start_of_the_vp_form_is_scaled_by_its_own_scale():
    config = SamplingConfig().changed({"integrator": "euler", "form": "vp", "s_churn": 0.0}, {"type": "vp", "n": 1})
    seen = []

    def constant(x, sigma):
        seen.append(x)
        return np.zeros_like(x)

    sample(constant, lambda _: np.ones(1), config, PROCESS)
    sigma = PROCESS.sigma(1.0)
    np.testing.assert_allclose(seen[0], sigma)  # what the denoiser gets is the unscaled field
    form = form_of("vp", PROCESS)
    assert sigma * form.scale(sigma) == pytest.approx(1.0, abs=3e-5)  # the variable keeps its variance


def test_s004_10_the_vp_form_is_the_scaled_equation():
    """Its slope is d(s x)/dt along the exact solution, by finite differences."""
    form, time, h = form_of("vp", PROCESS), 0.4, 1e-6
    at = [PROCESS.sigma(t) for t in (time - h, time, time + h)]
    path = [form.scale(sigma) * exact(np.array([2.0, -1.0]), at[1], sigma) for sigma in at]
    slope = form.slope(path[1], denoise(path[1] / form.scale(at[1]), at[1]), at[1])
    np.testing.assert_allclose(slope, (path[2] - path[0]) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize("form", ["vp", "sqrt"])
def test_s004_10_the_exact_gaussian_is_recovered(form):
    vp = {"integrator": "euler", "form": form, "s_churn": 3.0, "s_noise": 1.0, "s_tmin": 1e-4, "s_tmax": 1000.0}
    config = SamplingConfig().changed(vp, {"type": "vp", "n": 300 if form == "vp" else 1500})
    rng = np.random.default_rng(2)
    found = sample(denoise, lambda _: rng.standard_normal(60_000), config, PROCESS)
    assert found.std() == pytest.approx(SD, rel=0.01)


@pytest.mark.parametrize("integrator", list(SAMPLERS))
def test_numpy_and_torch_give_the_same_sample(integrator):
    config = SamplingConfig().changed({"integrator": integrator}, {"n": 8})
    draws = np.random.default_rng(3).standard_normal((9, 4, 5)).astype(np.float32)
    ours = sample(denoise, lambda number: draws[number], config, PROCESS)
    theirs = sample(denoise, lambda number: torch.from_numpy(draws[number]), config, PROCESS)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"integrator": "dpmpp_2m", "s_churn": 1.0}, "takes no churn"),
        ({"integrator": "euler_ancestral", "s_churn": 0.0, "form": "vp"}, "form edm only"),
        ({"integrator": "rk4"}, "integrator"),
        ({"churn": 1.0}, "churn"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        SamplerConfig(**settings)
