import csv
import random
import signal
from pathlib import Path

import pytest
import torch

from tests.training.lives import CALLBACK_MOMENTS
from tests.training.runs import FACTORIZED, FUSED, Death, Life, live_all

KILLED = -signal.SIGKILL
NOT_OF_THE_RUN = {"seconds", "window"}  # clocks


def run_lives(tmp_path: Path, text: str, deaths: list[Death], **options: str) -> tuple[Path, Path, list[int]]:
    """An uninterrupted run, one with these deaths, and how the lives of the latter ended."""
    options = {"trainer.log_every_n_steps": "1", "ckpt_path": "last"} | options
    runs = [Life(tmp_path / "whole", options, noisy=True)]
    runs += [Life(tmp_path / "killed", options, death, noisy=True) for death in deaths]
    ends = live_all(tmp_path, text, runs)
    return tmp_path / "whole" / "run", tmp_path / "killed" / "run", ends[1:]


def differences(one, other, where="") -> list[str]:
    """Places at which two checkpoints are not the same in every bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) and one.dtype == other.dtype else [where]
    if isinstance(one, list | tuple):
        one, other = (dict(enumerate(each)) for each in (one, other))
    if isinstance(one, dict):
        if set(one) != set(other):
            return [f"{where}: {set(one) ^ set(other)}"]
        compared = [key for key in one if key not in NOT_OF_THE_RUN]
        return [each for key in compared for each in differences(one[key], other[key], f"{where}/{key}")]
    return [] if one == other else [f"{where}: {one!r}, {other!r}"]


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if not name.startswith("perf/")} for row in rows]


def assert_same_run(killed: Path, whole: Path) -> None:
    """Weights, moments, averages, counters and every line of the curve."""
    for name in ("last.ckpt", next(path.name for path in whole.glob("*.ckpt") if path.name != "last.ckpt")):
        one, other = (torch.load(folder / name, weights_only=True) for folder in (killed, whole))
        assert not differences(one, other)
    assert curve(killed) == curve(whole)
    assert not list(killed.glob("*.partial*"))


def test_s000_16_a_run_that_is_killed_again_and_again_is_the_uninterrupted_one_in_every_bit(tmp_path):
    lives = [("after the weights moved", 4), ("amid writing", 2), ("rows", 30), ("after validation", 12), None]
    options = {"steps": 6, "epochs": 3, "checkpoints.every_steps": "2"}
    whole, killed, ends = run_lives(tmp_path, FACTORIZED, lives, **options)
    assert ends == [KILLED] * 4 + [0]
    assert_same_run(killed, whole)
    assert len(curve(whole)) == 18 * 2 + 3  # a rate and a loss for every step, a line for every validation


def random_deaths(count: int, steps: int, seed: int) -> list[Death]:
    """Deaths at every moment there is, at steps that come later and later."""
    draw = random.Random(seed)
    moments = list(CALLBACK_MOMENTS)
    draw.shuffle(moments)
    chosen = sorted(draw.sample(range(steps), count))
    return [(moments[number % len(moments)], step) for number, step in enumerate(chosen)]


SCHEDULES = {
    "constant": {}, "epoch-cosine": {}, "warmup-cosine": {"warmup_steps": "4"}, "warmup": {"warmup_steps": "4"},
    "step": {"every": "1"}, "multi-step": {"milestones": "[1,2]"}, "poly": {"milestones": "[2]"}, "one-cycle": {},
    "plateau": {"patience": "0", "gamma": "0.5"}, "exponential": {"gamma": "0.7"}, "piecewise": {"milestones": "[5,9]"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("text", [FACTORIZED, FUSED], ids=["factorized", "fused"])
@pytest.mark.parametrize("seed", range(2))
def test_s002_13_it_does_not_matter_when_a_run_is_killed(tmp_path, text, workers, seed):
    deaths = [*random_deaths(7, 20, seed), ("amid writing", 1), ("written, not renamed", 1), None]
    whole, killed, ends = run_lives(
        tmp_path, text, deaths, steps=7, epochs=3, **{"checkpoints.every_steps": "3", "data.num_workers": str(workers)}
    )
    assert ends[-1] == 0
    assert KILLED in ends
    assert_same_run(killed, whole)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_goes_on_where_it_was_whatever_it_counts(tmp_path, schedule):
    options = {f"model.optimizer.{key}": value for key, value in SCHEDULES[schedule].items()}
    options |= {"model.optimizer.schedule": schedule, "fail_fast.patience": "1", "checkpoints.every_steps": "1"}
    text = FACTORIZED.replace("schedule: warmup-cosine, warmup_steps: 5", "min_lr: 0.0")
    deaths = [("after the weights moved", 3), ("amid validation", 5), ("before the weights move", 12), None]
    whole, killed, ends = run_lives(tmp_path, text, deaths, steps=5, epochs=4, **options)
    assert ends == [KILLED] * 3 + [0]
    assert_same_run(killed, whole)


@pytest.mark.slow
@pytest.mark.parametrize("accumulated", [2, 3])
def test_gradients_under_way_are_gathered_again(tmp_path, accumulated):
    options = {"trainer.accumulate_grad_batches": str(accumulated), "checkpoints.every_steps": "1"}
    options |= {"trainer.val_check_interval": "0.5", "ema.every": "2"}
    deaths = [("as a step begins", 2), ("after the weights moved", 3), ("after validation", 4), None]
    whole, killed, ends = run_lives(tmp_path, FACTORIZED, deaths, steps=8, epochs=2, **options)
    assert ends == [KILLED] * 3 + [0]
    assert_same_run(killed, whole)
