"""Guidance: the two ends ask one side alone, and between and beyond them lies a straight line."""

import numpy as np
import pytest

from gfs_sr.sampling import SamplerConfig, SamplingConfig, ScheduleConfig, guided

X, SIGMA = np.array([1.0, -2.0, 0.5]), 0.7


class Denoiser:
    """One estimate with conditions and another without, and which of them was asked for."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def __call__(self, x: np.ndarray, sigma: float, told: bool) -> np.ndarray:
        self.asked.append(told)
        return np.sin(x) / (1 + sigma) if told else x**2 - sigma


@pytest.mark.parametrize(("scale", "told"), [(1.0, True), (0.0, False)])
def test_s002_14_scale_1_is_plain_and_scale_0_is_null_and_either_asks_once(scale, told):
    denoiser = Denoiser()
    np.testing.assert_array_equal(guided(denoiser, scale)(X, SIGMA), Denoiser()(X, SIGMA, told))
    assert denoiser.asked == [told]


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 7.5])
def test_s002_14_the_formula_is_a_straight_line_through_both(scale):
    plain, null = (Denoiser()(X, SIGMA, told) for told in (True, False))
    np.testing.assert_allclose(guided(Denoiser(), scale)(X, SIGMA), (1 - scale) * null + scale * plain, rtol=1e-12)


@pytest.mark.parametrize(("scale", "times"), [(0.0, 1), (1.0, 1), (1.5, 2)])
def test_the_cost_is_that_of_the_sides_that_are_asked(scale, times):
    config = SamplingConfig(sampler=SamplerConfig(guidance=scale), schedule=ScheduleConfig(n=10))
    assert config.evaluations == times * 19


def test_what_does_not_guide_is_not_in_an_artifact():
    assert "guidance" not in SamplerConfig().model_dump()
    assert SamplerConfig.model_validate_json(SamplerConfig(guidance=2.0).model_dump_json()).guidance == 2.0
    changed = SamplingConfig(sampler=SamplerConfig(guidance=2.0)).changed({"s_churn": 0.0}, {})
    assert changed.sampler.guidance == 2.0
