from itertools import pairwise

import numpy as np
import pytest

from gfs_sr.sampling import SCHEDULES, ScheduleConfig, VpProcess
from gfs_sr.sampling.schedules import levels

KARRAS_20 = [80, 61.65, 47.03, 35.49, 26.47, 19.49, 14.15, 10.12, 7.11, 4.91, 3.32, 2.19, 1.41, 0.880, 0.531, 0.308,
             0.171, 0.0896, 0.0441, 0.02]  # fmt: skip


def test_s004_07_the_levels_of_karras_are_those_listed():
    np.testing.assert_allclose(levels(ScheduleConfig(), VpProcess())[:-1], KARRAS_20, rtol=3e-3)


def test_s004_07_the_square_root_of_karras():
    config = ScheduleConfig(type="karras_sqrt")
    np.testing.assert_allclose(np.square(levels(config, VpProcess())[:-1]), KARRAS_20, rtol=3e-3)


def test_s004_07_the_time_of_a_vp_process_runs_from_152_to_a_hundredth():
    found = levels(ScheduleConfig(type="vp", n=39), VpProcess())
    assert found[0] == pytest.approx(152.2, abs=0.05)
    assert found[-2] == pytest.approx(0.0105, abs=5e-5)


def test_s004_07_ve_gives_levels_not_their_squares():
    found = levels(ScheduleConfig(type="ve", n=5, sigma_min=0.002, sigma_max=80.0), VpProcess())
    np.testing.assert_allclose(found[:-1], 80.0 * (0.002 / 80.0) ** (np.arange(5) / 4))


def test_s004_07_exponential_and_polyexponential_are_even_in_the_logarithm():
    even = levels(ScheduleConfig(type="exponential", n=7), VpProcess())
    np.testing.assert_allclose(np.diff(np.log(even[:-1])), -np.log(80 / 0.02) / 6)
    same = levels(ScheduleConfig(type="polyexponential", n=7, rho=1.0), VpProcess())
    np.testing.assert_allclose(same, even)
    # values of k-diffusion 0.1.1, get_sigmas_polyexponential(4, 0.1, 10, rho=2)
    bent = levels(ScheduleConfig(type="polyexponential", n=4, rho=2.0, sigma_min=0.1, sigma_max=10.0), VpProcess())
    np.testing.assert_allclose(bent, [10.0, 0.7742636826811277, 0.1668100537200059, 0.1, 0.0])


def test_s004_07_subvp_is_the_square_of_its_exponents_complement():
    found = levels(ScheduleConfig(type="subvp", n=3), VpProcess(beta_d=17.2, beta_min=0.2))
    times = np.array([1.0, 0.5005, 1e-3])
    np.testing.assert_allclose(found[:-1], 1 - np.exp(-(17.2 * times**2 / 2 + 0.2 * times)), rtol=1e-12)


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize("n", [1, 2, 20, 79])
def test_s004_07_levels_fall_strictly_and_end_at_0(name, n):
    found = levels(ScheduleConfig(type=name, n=n), VpProcess())
    assert len(found) == n + 1
    assert found[-1] == 0
    assert all(a > b for a, b in pairwise(found))


@pytest.mark.parametrize("process", [VpProcess(), VpProcess(17.2, 0.1)])
@pytest.mark.parametrize("time", [1e-3, 0.3, 1.0])
def test_a_vp_process_finds_its_time_and_its_slope(process, time):
    sigma = process.sigma(time)
    assert process.time(sigma) == pytest.approx(time, rel=1e-9)
    step = 1e-5 * time
    slope = (process.sigma(time + step) - process.sigma(time - step)) / (2 * step)
    assert process.sigma_slope(time) == pytest.approx(slope, rel=1e-6)


def test_a_schedule_that_would_rise_is_refused():
    with pytest.raises(ValueError, match="not below sigma_max"):
        ScheduleConfig(sigma_min=90.0)
