"""What follows linearly from coarse fields, told from what does not."""

import numpy as np
import pytest
import torch

from crossvalidation.linear import HALVES, ITSELF, SIDE, TRAINED, Bound, table
from gfs_sr import models
from gfs_sr.models.learned_kernel import Kernel

CONFIG = {
    "family": "geodiff", "variables": ["t@1000", "t@850", "t@700"], "scale_factor": 4, "registration": "cell",
    "width": 8, "heads": 1, "head_width": 8, "multipliers": [1],
}  # fmt: skip


@pytest.fixture(scope="module")
def bound():
    torch.manual_seed(0)
    return Bound(models.build(CONFIG))


def made(bound, frames, kernel=None, noise=0.0, seed=0):
    """Samples whose fine fields are bicubic ones, a kernel's and noise, in model units."""
    rng = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(frames):
        coarse = torch.randn(1, 1, 9, 8, 10, generator=rng)
        part = {"coarse": coarse}
        with torch.no_grad():
            fine = bound.bicubic(part)[0]
            if kernel is not None:
                fine = fine + kernel(coarse[:, :, :3])
        fine = fine + noise * torch.randn(fine.shape, generator=rng)
        samples.append(part | {"fine": fine, "mask": torch.ones_like(fine, dtype=torch.bool)})
    return samples


def drawn_kernel(seed=1):
    kernel = Kernel(SIDE, 4)
    with torch.no_grad():
        kernel.weight.copy_(0.1 * torch.randn(kernel.weight.shape, generator=torch.Generator().manual_seed(seed)))
    return kernel


def test_a_kernel_that_is_there_is_found_and_nothing_is_left(bound):
    kernel = drawn_kernel()
    samples = made(bound, 4, kernel)
    # one unit of temperature on every level, or the kernel would not be one in kelvin
    found = bound.fitted(samples)
    lines = {line.fitted_to: line for line in bound.lines("x", samples, bound.begun(samples))}
    scale = bound.scorer.physics.temperature(torch.ones(1, 1, 3, 1, 1)) - bound.scorer.physics.temperature(
        torch.zeros(1, 1, 3, 1, 1)
    )
    assert float(scale.max() - scale.min()) < 1e-6
    own, true = (each.weight - each.weight.mean(dim=(2, 3), keepdim=True) for each in (found, kernel))
    torch.testing.assert_close(own, true, atol=1e-4, rtol=0)
    assert lines[ITSELF].ratio < 1e-3
    assert lines[HALVES].ratio < 1e-3
    assert lines[TRAINED].ratio < 0.05  # its ridge pulls


def test_what_does_not_follow_is_fitted_in_sample_alone(bound):
    lines = {line.fitted_to: line for line in bound.lines("x", made(bound, 4, noise=1.0), drawn_kernel())}
    assert 0.9 < lines[ITSELF].ratio < 1
    assert lines[HALVES].ratio > 1


def test_no_other_kernel_errs_less_on_the_frames_it_was_fitted_to(bound):
    samples = made(bound, 2, drawn_kernel(), noise=0.5)
    best = bound.errors(samples, bound.fitted(samples))[0].mean()
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = bound.fitted(samples)
        with torch.no_grad():
            other.weight += torch.from_numpy(0.01 * rng.standard_normal(tuple(other.weight.shape))).float()
        assert bound.errors(samples, other)[0].mean() > best


def test_a_single_frame_has_no_halves(bound):
    lines = list(bound.lines("one", made(bound, 1, noise=1.0), drawn_kernel()))
    assert [line.fitted_to for line in lines] == [ITSELF, TRAINED]
    assert table(lines).splitlines()[-1].count("|") == 5
