import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

from gfs_sr.training.optim import RATES, OptimizerConfig, Schedule, learning_rate, make_optimizer

CONFIG = OptimizerConfig(lr=1.0, min_lr=0.1, schedule="warmup-cosine", warmup_steps=10)
FREE = OptimizerConfig(lr=2.0, min_lr=0.0)


def rates(config: OptimizerConfig, count: int, total: int) -> list[float]:
    """What a real optimizer is given, count after count."""
    weight = torch.nn.Parameter(torch.zeros(1))
    made = make_optimizer([weight], config, steps=total, epochs=total)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_s000_13_warmup_rises_from_a_tenth_and_the_cosine_ends_at_min_lr():
    expected = {0: 0.1, 5: 0.55, 10: 1.0, 60: 0.55, 110: 0.1}
    for step, rate in expected.items():
        assert learning_rate(step, 110, CONFIG) == pytest.approx(rate)


def test_s000_13_the_epoch_cosine_goes_from_lr_to_min_lr():
    config = replace(CONFIG, schedule="epoch-cosine")
    assert learning_rate(0, 30, config) == pytest.approx(1.0)
    assert learning_rate(10, 30, config) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2)
    assert learning_rate(30, 30, config) == pytest.approx(0.1)


def test_s000_13_the_optimizer_follows_the_schedule():
    assert rates(CONFIG, 21, 20) == pytest.approx([learning_rate(step, 20, CONFIG) for step in range(21)])


def test_s001_16_multi_step_exponential_and_poly_follow_their_formulas():
    milestones = (250, 450)
    multi = replace(FREE, schedule="multi-step", milestones=milestones)
    assert [learning_rate(e, 500, multi) for e in (0, 249, 250, 450)] == pytest.approx([2, 2, 0.2, 0.02])
    decay = replace(FREE, schedule="exponential", gamma=0.99)
    assert [learning_rate(e, 500, decay) for e in (0, 249, 250, 450)] == pytest.approx(
        [2 * 0.99**e for e in (0, 249, 250, 450)]
    )
    poly = replace(FREE, schedule="poly", milestones=milestones)
    power = math.log(0.1) / math.log(1 - (250 - 1e-6) / 500)
    assert [learning_rate(e, 500, poly) for e in (0, 249, 250, 450)] == pytest.approx(
        [2, 2 * (1 - 249 / 500) ** power, 0.2, 0.02]
    )
    assert 2 * (1 - 250 / 500) ** power == pytest.approx(0.2, rel=1e-6)  # the power meets the milestone


def test_s003_14_the_rate_is_1e_3_before_and_1e_4_after_the_boundary():
    config = OptimizerConfig(method="adam", lr=1e-3, min_lr=0.0, schedule="piecewise", milestones=(5,))
    assert rates(config, 8, 100) == pytest.approx([1e-3] * 5 + [1e-4] * 3)


def torch_one_cycle(steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2.0, total_steps=steps, cycle_momentum=False, final_div_factor=2 / 25 / 0.01
    )
    seen = []
    for step in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    return seen


S004_17 = {
    "constant": (FREE, [2.0] * 40),
    "epoch-cosine": (
        replace(FREE, min_lr=0.5),
        [0.5 + 1.5 * (1 + math.cos(math.pi * n / 40)) / 2 for n in range(40)],
    ),
    "warmup-cosine": (
        replace(FREE, warmup_steps=8),
        [2 * (0.1 + 0.9 * n / 8) for n in range(8)] + [1 + math.cos(math.pi * n / 32) for n in range(32)],
    ),
    "warmup": (replace(FREE, warmup_steps=16), [2 * min(n / 16, 1) for n in range(40)]),
    "step": (replace(FREE, gamma=0.9, every=10), [2 * 0.9 ** (n // 10) for n in range(40)]),
    "multi-step": (
        replace(FREE, milestones=(30, 7), gamma=0.5),
        [2.0] * 7 + [1.0] * 23 + [0.5] * 10,
    ),
    "poly": (
        replace(FREE, milestones=(20,)),
        [2 * (1 - n / 40) ** (math.log(0.1) / math.log(1 - (20 - 1e-6) / 40)) for n in range(20)] + [0.2] * 20,
    ),
    "one-cycle": (replace(FREE, min_lr=0.01), torch_one_cycle(40)),
    "exponential": (replace(FREE, gamma=0.8), [2 * 0.8**n for n in range(40)]),
    "piecewise": (replace(FREE, milestones=(25,)), [2.0] * 25 + [0.2] * 15),
}


@pytest.mark.parametrize("name", RATES)
def test_s004_17_each_schedule_gives_the_rates_of_its_formula(name):
    config, expected = S004_17[name]
    assert rates(replace(config, schedule=name, milestones=config.milestones), 40, 40) == pytest.approx(expected)


def test_s004_17_plateau_lowers_the_rate_after_its_patience_and_stops_at_min_lr():
    config = replace(FREE, schedule="plateau", gamma=0.5, patience=1, min_lr=0.6)
    weight = torch.nn.Parameter(torch.zeros(1))
    made = make_optimizer([weight], config, steps=10, epochs=10)
    assert made["lr_scheduler"]["monitor"] == "val/loss"
    seen = []
    for loss in (1.0, 0.5, 0.5, 0.6, 0.5, 0.5, 0.5, 0.5):
        made["lr_scheduler"]["scheduler"].step(loss)
        seen.append(made["optimizer"].param_groups[0]["lr"])
    assert seen == pytest.approx([2, 2, 2, 1, 1, 0.6, 0.6, 0.6])


@pytest.mark.parametrize("name", RATES)
def test_s000_13_no_schedule_goes_below_min_lr_or_above_lr(name):
    config = OptimizerConfig(lr=1.0, min_lr=0.3, schedule=name, milestones=(3, 5), gamma=0.1, warmup_steps=5, every=2)
    seen = rates(config, 30, 20)
    assert min(seen) >= 0.3 - 1e-12
    assert max(seen) <= 1 + 1e-12


def test_every_schedule_that_may_be_asked_for_is_in_the_table():
    assert {*RATES, "plateau"} == set(get_args(Schedule))


def test_parameters_set_by_a_closed_form_move_slowly_and_do_not_decay():
    fast, slow = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    made = make_optimizer([fast, slow], OptimizerConfig(), steps=1, epochs=1, fitted=[slow])
    first, second = made["optimizer"].param_groups
    assert first["params"] == [fast]
    assert second["lr"] == pytest.approx(0.05 * first["lr"])
    assert second["weight_decay"] == 0


@pytest.mark.parametrize("method", ["adam", "adamw"])
def test_the_first_step_is_that_of_the_method(method):
    """g = 3, w = 2: the first step of Adam is lr·sign(g); adamw also takes lr·decay·w off."""
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    config = OptimizerConfig(method=method, lr=0.1, weight_decay=0.5, min_lr=0.0)
    optimizer = make_optimizer([weight], config, steps=1, epochs=1)["optimizer"]
    weight.grad = torch.tensor([3.0])
    optimizer.step()
    expected = 2 - 0.1 - (0.1 * 0.5 * 2 if method == "adamw" else 0.0)
    assert weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lr": 1e-4, "min_lr": 1e-3}, "min_lr"),
        ({"schedule": "poly"}, "needs milestones"),
        ({"gamma": 1.5}, "gamma"),
        ({"schedule": "multi-step", "milestones": (0,)}, "start at 1"),
        ({"every": 0}, "every"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        OptimizerConfig(**settings)
