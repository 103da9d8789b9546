"""Losses of columns against closed forms, on fields that a hand can work out."""

import pytest
import torch

from gfs_sr.models.column_physics import KAPPA, pressure_slopes
from gfs_sr.training.losses.column import Column, coupling_error, gradient_error, stability_error
from gfs_sr.training.losses.pointwise import charbonnier

LEVELS = (100_000.0, 85_000.0, 70_000.0)
SHAPE = (2, 1, 3, 5, 7)


def column(levels=LEVELS, stability=1e-3, gradient=0.5, shear=1e-5):
    count = len(levels)
    sizes = [torch.full((count, 1, 1), value) for value in (stability, gradient, shear)]
    return Column(torch.tensor(levels)[:, None, None], pressure_slopes(levels), *sizes)


def columns():
    rows = torch.arange(SHAPE[-2], dtype=torch.float32)[:, None]
    columns = torch.arange(SHAPE[-1], dtype=torch.float32)
    return rows.expand(SHAPE[-2:]), columns.expand(SHAPE[-2:])


def test_s002_8_an_error_linear_in_pressure_is_worth_its_change_of_stability():
    """T + c p changes sigma = kappa T/p - dT/dp by (kappa - 1) c everywhere, and leaves this air stable."""
    p = column().pressure
    truth = (250 + 0 * p).expand(SHAPE)
    c = 1e-4
    value = stability_error(truth + c * p, truth, torch.ones(SHAPE), column())
    assert float(value) == pytest.approx((1 - KAPPA) * c / 1e-3, rel=1e-3)


def test_s002_8_air_that_overturns_costs_what_it_lacks():
    """Of a true column of the same kind nothing is left but max(0, -sigma)."""
    p = column().pressure
    truth = (250 + 2e-3 * (p - 85_000)).expand(SHAPE)  # dT/dp beyond kappa T/p, near 0.8e-3 to 1.0e-3
    missing = (2e-3 - KAPPA * truth / p).clamp(min=0)
    value = stability_error(truth, truth, torch.ones(SHAPE), column())
    assert float(value) == pytest.approx(float(missing.mean()) / 1e-3, rel=1e-4)


def test_s002_8_an_error_with_a_slope_is_worth_that_slope():
    rows, across = columns()
    error = (0.2 * across - 0.3 * rows).expand(SHAPE)
    value = gradient_error(270 + error, torch.full(SHAPE, 270.0), torch.ones(SHAPE), column())
    assert float(value) == pytest.approx((0.2 + 0.3) / 0.5, rel=1e-4)


def test_s002_8_coupling_sees_slopes_that_change_with_height_and_no_others():
    rows, across = columns()
    truth, mask, p = torch.full(SHAPE, 270.0), torch.ones(SHAPE), column().pressure
    assert float(coupling_error(truth + 0.2 * across, truth, mask, column())) == pytest.approx(0, abs=0.05)
    tilted = truth + 4e-6 * (p - 85_000) * (across - 2 * rows)
    assert float(coupling_error(tilted, truth, mask, column())) == pytest.approx(3 * 4e-6 / 1e-5, rel=1e-2)


def test_s002_8_vertical_motion_weighs_errors_of_stability():
    """An error c p: |omega| (1 - kappa) c on top of what slopes give, which is nothing."""
    truth, c = torch.full(SHAPE, 250.0), 1e-4
    omega = torch.full(SHAPE, -1.5)
    value = coupling_error(truth + c * column().pressure, truth, torch.ones(SHAPE), column(), omega)
    assert float(value) == pytest.approx(1.5 * (1 - KAPPA) * c / 1e-3, rel=1e-2)


def test_s002_8_one_level_alone_has_no_column():
    one = column(LEVELS[:1])
    guess, truth = torch.randn(1, 1, 1, 4, 4), torch.randn(1, 1, 1, 4, 4)
    assert stability_error(guess, truth, torch.ones_like(truth), one) == 0
    assert coupling_error(guess, truth, torch.ones_like(truth), one) == 0


@pytest.mark.parametrize("loss", [stability_error, gradient_error, coupling_error], ids=lambda each: each.__name__)
def test_a_masked_cell_has_no_part_and_no_gradient(loss):
    generator = torch.Generator().manual_seed(0)
    truth = 260 + torch.randn(SHAPE, generator=generator)
    guess = (truth + torch.randn(SHAPE, generator=generator)).requires_grad_()
    mask = torch.ones(SHAPE)
    mask[0, 0, 1, 2, 3] = 0
    loss(guess, truth, mask, column()).backward()
    assert guess.grad is not None
    assert not guess.grad[0, 0, 1, 2, 3]
    assert guess.grad[1].any()
    moved = guess.detach().clone()
    moved[0, 0, 1, 2, 3] += 100
    torch.testing.assert_close(loss(moved, truth, mask, column()), loss(guess.detach(), truth, mask, column()))


def test_measured_sizes_are_those_of_the_field():
    _, across = columns()
    p = column().pressure
    truth = (250 + 1e-4 * (p - 85_000) * across).expand(SHAPE)
    found = Column.measured(p, column().slopes, truth, torch.ones(SHAPE))
    # half of the differences are 0: the field has no slope along its columns
    steps = (1e-4 * (p - 85_000)).abs().flatten() / 2**0.5
    torch.testing.assert_close(found.gradient.flatten(), steps.clamp(min=1e-12), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.shear.flatten(), torch.full((3,), 1e-4 / 2**0.5), rtol=1e-2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_s002_9_charbonnier_without_an_error_is_its_delta_and_has_no_slope(dtype):
    guess = torch.full((1, 1, 1, 4, 4), 3.0, dtype=dtype, requires_grad=True)
    value = charbonnier(guess, torch.full_like(guess, 3.0), torch.ones_like(guess), delta=1e-3)
    value.backward()
    assert float(value.detach()) == pytest.approx(1e-3, rel=1e-2)
    assert guess.grad is not None
    assert not guess.grad.any()
    assert torch.isfinite(value)
