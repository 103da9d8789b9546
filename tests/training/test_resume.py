import csv
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from gfs_sr.errors import CheckpointInvalid, Interrupted, MissingFile, TrainingFailed, UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.curve_log import CurveLog
from gfs_sr.training.main import _take_up, main, parse, run
from tests.training.lives import CALLBACK_MOMENTS
from tests.training.runs import FACTORIZED, FUSED, Death, Life, arguments, live_all

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)
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


STEADY = {"model.optimizer.schedule": "constant", "trainer.log_every_n_steps": "1", "ckpt_path": "last"}


def test_a_run_can_be_made_longer_where_its_schedule_does_not_know_its_length(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    lives = ((whole, "10", "null"), (parts, "3", "null"), (parts, "6", "last"), (parts, "10", "last"))
    for folder, length, resumed in lives:  # 3 is amid an epoch, 6 past its end
        folder.mkdir(exist_ok=True)
        options = STEADY | {"trainer.max_steps": length, "trainer.max_epochs": "-1", "ckpt_path": resumed}
        main(arguments(folder, FACTORIZED, steps=4, **options))
    assert_same_run(parts / "run", whole / "run")


def test_where_the_schedule_is_another_only_weights_are_taken_up_and_it_is_said(tmp_path):
    options = {"trainer.log_every_n_steps": "1", "ckpt_path": "last"}
    main(arguments(tmp_path, FACTORIZED, steps=4, epochs=1, **options | {"ckpt_path": "null"}))
    left = load_checkpoint(tmp_path / "run" / "last.ckpt")
    longer = parse(arguments(tmp_path, FACTORIZED, steps=4, epochs=2, **options))
    with pytest.warns(UserWarning, match="only the weights are taken up.*length, which was 4 steps"):
        assert _take_up(longer) is None
    state = longer.model.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in left.state_dict.items())
    slower = parse(arguments(tmp_path, FACTORIZED, steps=2, epochs=1, **options | {"model.optimizer.lr": "1e-3"}))
    with pytest.warns(UserWarning, match=r"model.optimizer.lr was 0.004"):
        assert _take_up(slower) is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(slower)
    assert len(curve(tmp_path / "run")) == 2 * 2 + 1  # a new course has a new curve


def test_a_change_that_keeps_the_schedule_keeps_the_state_and_is_said(tmp_path):
    main(arguments(tmp_path, FACTORIZED, steps=2, epochs=1, **STEADY | {"ckpt_path": "null"}))
    other = parse(arguments(tmp_path, FACTORIZED, steps=2, epochs=2, **STEADY | {"data.seed": "3"}))
    with pytest.warns(UserWarning, match="not as one that was never interrupted: data.seed changed"):
        assert _take_up(other) == tmp_path / "run" / "last.ckpt"


def test_last_is_the_beginning_where_there_is_none_yet(tmp_path):
    command = parse(arguments(tmp_path, FACTORIZED, **STEADY))
    with pytest.warns(UserWarning, match="no last.ckpt yet"):
        assert _take_up(command) is None


def test_a_checkpoint_that_cannot_be_taken_up_is_refused_before_training(tmp_path):
    shipped = main(arguments(tmp_path, FACTORIZED, steps=2, epochs=1, **STEADY | {"ckpt_path": "null"}))
    last = shipped.with_name("last.ckpt")
    faults = {
        tmp_path / "absent.ckpt": (MissingFile, "no checkpoint"),
        shipped: (CheckpointInvalid, "no state of a training"),
        tmp_path / "half.ckpt": (CheckpointInvalid, "cannot be read"),
    }
    (tmp_path / "half.ckpt").write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    for path, (error, message) in faults.items():
        with pytest.raises(error, match=message):
            main(arguments(tmp_path, FACTORIZED, steps=2, epochs=2, **STEADY | {"ckpt_path": str(path)}))
    wider = FACTORIZED.replace("width: 8", "width: 9")
    with pytest.raises(UsageError, match="another network"):
        main(arguments(tmp_path, wider, steps=2, epochs=2, **STEADY))


def test_a_run_that_failed_does_not_go_on(tmp_path):
    options = STEADY | {"fail_fast.explosion": "1.000001", "model.optimizer.lr": "10.0"}
    for resumed in ("null", "last"):
        with pytest.raises(TrainingFailed, match="rose to"):
            main(arguments(tmp_path, FACTORIZED, steps=2, epochs=5, **options | {"ckpt_path": resumed}))


def test_the_curve_keeps_what_the_checkpoint_counts_and_no_more(tmp_path):
    log = CurveLog(tmp_path)
    log.log_metrics({"a": 1.0, "epoch": 0}, step=0)
    log.log_metrics({"a": 2.0, "b": 0.1}, step=1)
    log.log_metrics({"c": 3.0}, step=2)
    again = CurveLog(tmp_path)
    again.start(2)
    again.log_metrics({"a": 4.0}, step=2)
    with (tmp_path / "metrics.csv").open() as file:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert rows == [
        {"step": "0", "epoch": "0", "a": "1.0"},
        {"step": "1", "a": "2.0", "b": "0.1"},
        {"step": "2", "a": "4.0"},
    ]
    with pytest.warns(UserWarning, match="3 of the 9 rows"):
        CurveLog(tmp_path).start(9)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_says_how_to_go_on(tmp_path, sent):
    given = arguments(
        tmp_path, FACTORIZED, steps=500, **{"trainer.log_every_n_steps": "1", "checkpoints.every_steps": "1"}
    )
    command = [str(Path(sys.executable).with_name("gfs-sr")), "train", *given]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    rows = tmp_path / "run" / "csv" / "metrics.csv"
    while process.poll() is None and (not rows.is_file() or rows.read_bytes().count(b"\n") < 9):
        time.sleep(0.01)
    process.send_signal(sent)
    _, said = process.communicate(timeout=120)
    assert process.returncode == Interrupted.exit_code
    assert "go on with --ckpt_path last" in said
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] > 0
