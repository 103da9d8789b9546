import math

import pytest
import torch

from gfs_sr.training.optim import OptimizerConfig, epoch_cosine, make_optimizer, warmup_cosine

CONFIG = OptimizerConfig(lr=1.0, min_lr=0.1, schedule="warmup-cosine", warmup_steps=10)


def test_s000_13_warmup_rises_from_a_tenth_and_the_cosine_ends_at_min_lr():
    assert warmup_cosine(0, 110, CONFIG) == pytest.approx(0.1)
    assert warmup_cosine(5, 110, CONFIG) == pytest.approx(0.55)
    assert warmup_cosine(10, 110, CONFIG) == pytest.approx(1.0)
    assert warmup_cosine(60, 110, CONFIG) == pytest.approx(0.55)
    assert warmup_cosine(110, 110, CONFIG) == pytest.approx(0.1)


def test_s000_13_the_epoch_cosine_goes_from_lr_to_min_lr():
    assert epoch_cosine(0, 30, CONFIG) == pytest.approx(1.0)
    assert epoch_cosine(10, 30, CONFIG) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2)
    assert epoch_cosine(30, 30, CONFIG) == pytest.approx(0.1)


def test_s000_13_the_optimizer_follows_the_schedule():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer, schedule, interval = make_optimizer([weight], CONFIG, steps=20, epochs=1)
    rates = []
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert interval == "step"
    assert rates == pytest.approx([warmup_cosine(step, 20, CONFIG) for step in range(21)])


def test_parameters_set_by_a_closed_form_move_slowly_and_do_not_decay():
    fast, slow = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer, _, _ = make_optimizer([fast, slow], OptimizerConfig(), steps=1, epochs=1, fitted=[slow])
    first, second = optimizer.param_groups
    assert first["params"] == [fast]
    assert second["lr"] == pytest.approx(0.05 * first["lr"])
    assert second["weight_decay"] == 0


def test_min_lr_above_lr_is_refused():
    with pytest.raises(ValueError, match="min_lr"):
        OptimizerConfig(lr=1e-4, min_lr=1e-3)
