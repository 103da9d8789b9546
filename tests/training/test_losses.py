import math

import numpy as np
import pytest
import torch

from gfs_sr.training import losses
from gfs_sr.training.losses import LossConfig, compose

SHAPE = (2, 3, 1, 4, 5)
ONES = torch.ones(SHAPE)
TARGET = torch.zeros(SHAPE)


def test_s000_11_l1_and_huber_have_their_closed_forms():
    assert losses.l1(0.5 * ONES, TARGET, ONES) == pytest.approx(0.5, rel=1e-5)
    assert losses.huber(0.5 * ONES, TARGET, ONES) == pytest.approx(0.125, rel=1e-5)  # e²/2
    assert losses.huber(3 * ONES, TARGET, ONES) == pytest.approx(2.5, rel=1e-5)  # e - 1/2
    assert losses.huber(3 * ONES, TARGET, ONES, delta=2.0) == pytest.approx(2.0, rel=1e-5)  # δ/2 + e - δ


def test_s000_11_temporal_coherence_is_the_mean_change_that_differs():
    rising = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(SHAPE)
    assert losses.temporal_coherence(rising, TARGET, ONES) == pytest.approx(1.0, rel=1e-5)
    assert losses.temporal_coherence(rising, rising + 7, ONES) == 0
    assert losses.temporal_coherence(rising[:, :1], TARGET[:, :1], ONES[:, :1]) == 0


def test_s000_11_the_gradient_of_a_ramp_is_eight_times_its_slope():
    ramp = torch.arange(9.0).expand(1, 1, 1, 9, 9)
    inner = torch.zeros(1, 1, 1, 9, 9)
    inner[..., 1:-1, 1:-1] = 1  # the rim sees the zeros beyond it
    assert losses.gradient(0.25 * ramp, torch.zeros_like(ramp), inner) == pytest.approx(2.0, rel=1e-4)


def test_s000_12_the_spectrum_of_a_field_against_itself_is_zero_and_against_its_blur_is_not():
    field = torch.randn(1, 1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(field)
    blurred = torch.nn.functional.avg_pool2d(field[0], 3, 1, padding=1)[None]
    assert losses.spectrum(field, field, mask) == 0
    assert losses.spectrum(blurred, field, mask) > 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(losses.spectrum(blurred, field, mask))


def test_the_spectrum_of_a_wave_stands_at_its_own_frequency():
    size = 32
    wave = torch.cos(2 * math.pi * 5 * torch.arange(size) / size).expand(size, size)
    curve = losses.radial_spectrum(wave[None, None, None])[0, 0, 0]
    width = math.sqrt(0.5) / 16  # the largest radius of a square field, in 16 bins
    assert int(curve.argmax()) == math.ceil(5 / size / width) - 1
    assert float(curve.sum()) == pytest.approx(1.0, abs=1e-3)
    assert float(curve.max()) > 0.99


@pytest.mark.parametrize("name", ["l1", "huber", "dt", "grad"])
def test_s000_11_masked_cells_give_no_gradient_and_no_value(name):
    generator = torch.Generator().manual_seed(1)
    prediction = torch.randn(SHAPE, generator=generator, requires_grad=True)
    target = torch.randn(SHAPE, generator=generator)
    mask = torch.rand(SHAPE, generator=generator) > 0.4
    config = LossConfig({name: 1.0})
    total, _ = compose(config, prediction, torch.where(mask, target, torch.nan), mask)
    (gradient,) = torch.autograd.grad(total, prediction)
    assert torch.isfinite(gradient).all()
    assert torch.equal(gradient[~mask], torch.zeros_like(gradient[~mask]))
    assert gradient[mask].abs().max() > 0


def test_s000_25_masked_targets_leave_the_loss_of_the_valid_cells():
    generator = torch.Generator().manual_seed(1)
    prediction, target = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    mask = torch.rand(SHAPE, generator=generator) > 0.4
    total, _ = compose(LossConfig({"l1": 1.0}), prediction, torch.where(mask, target, torch.nan), mask)
    valid = mask.numpy()
    assert float(total) == pytest.approx(np.abs(prediction.numpy() - target.numpy())[valid].mean(), rel=1e-5)
    empty, _ = compose(LossConfig(), prediction, torch.full(SHAPE, torch.nan), torch.zeros(SHAPE, dtype=torch.bool))
    assert float(empty) == 0


def test_s000_11_a_term_of_weight_zero_is_not_computed(monkeypatch):
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("computed")

    monkeypatch.setitem(losses.LOSSES, "psd", refuse)
    total, terms = compose(LossConfig({"l1": 2.0, "psd": 0.0}), ONES, TARGET, ONES)
    assert set(terms) == {"l1"}
    assert float(total) == pytest.approx(2.0, rel=1e-5)


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown loss rmse"):
        LossConfig({"rmse": 1.0})


def test_the_relative_scale_is_the_baselines_error():
    base = torch.stack([torch.full((1, 1, 3, 3), 2.0), torch.full((1, 1, 3, 3), 8.0)])
    scale = losses.relative_scale(base, torch.zeros_like(base), torch.ones_like(base), own=0.5)
    torch.testing.assert_close(
        scale.flatten(), torch.tensor([2.0**0.5 * 4**0.5, 8.0**0.5 * 4**0.5])
    )  # √(own · geometric mean)
