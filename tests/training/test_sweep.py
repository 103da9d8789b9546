import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gfs_sr.errors import MissingFile, TrainingFailed, UsageError
from gfs_sr.training import sweep as training_sweep
from gfs_sr.training.sweep import main, parse
from tests.training.runs import FACTORIZED, arguments
from tests.training.test_resume import curve, differences

SWEEP = """
sweep_name: "{schedule}-{lr}"
sweep:
  model.optimizer:
    lr: [1e-3, 3.0e-4]
    schedule: [constant, epoch-cosine]
"""


def test_lists_come_from_the_configuration_and_from_dotted_options(tmp_path):
    config = tmp_path / "sweep.yaml"
    config.write_text("threads: 1\noutput: runs/some\n" + SWEEP)
    asked = parse(
        ["-c", str(config), "--sweep.seed_everything=[0, 1]", "--trainer.max_steps=3", "--sweep.model.optimizer.lr",
         "[1.0e-2]", "--data.num_workers", "2"]
    )  # fmt: skip
    assert asked.lists == {
        "model.optimizer.lr": [0.01],
        "model.optimizer.schedule": ["constant", "epoch-cosine"],
        "seed_everything": [0, 1],
    }  # fmt: skip
    assert asked.configs == [{"threads": 1}]
    assert asked.name == "{schedule}-{lr}"
    assert asked.output == Path("runs/some")
    assert asked.others == ["--trainer.max_steps=3", "--data.num_workers", "2"]


def test_a_float_is_a_float_with_or_without_a_point(tmp_path):
    config = tmp_path / "sweep.yaml"
    config.write_text("sweep: {model.optimizer.lr: [1e-3, 1.0e-3, .5], model.optimizer.betas: [[0.9, 9e-1]]}")
    assert parse(["-c", str(config)]).lists == {
        "model.optimizer.lr": [0.001, 0.001, 0.5], "model.optimizer.betas": [[0.9, 0.9]]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "error", "message"),
    [
        ([], UsageError, "nothing to sweep"),
        (["-c", "absent.yaml"], MissingFile, "absent.yaml"),
        (["--sweep.model.optimizer.lrr=[1]"], UsageError, "model.optimizer.lrr"),
        (["--sweep.data.seeds=[1]"], UsageError, "data.seeds"),
        (["--sweep.model.optimizer.lr=[1"], UsageError, "no YAML"),
        (["--sweep.model.optimizer.lr"], UsageError, "has no value"),
    ],
)
def test_a_command_line_without_sense_is_refused(argv, error, message):
    with pytest.raises(error, match=message):
        parse(argv)


def test_every_run_is_a_training_of_its_own_settings_that_takes_up_what_it_left(tmp_path, monkeypatch):
    """What `gfs-sr train` is started with; the next test starts it."""
    started = []

    def run(command, **options):
        started.append(command)
        folder = Path(next(word for word in command if word.startswith("--output="))[9:])
        (folder / "summary.json").write_text(
            f'{{"best": 0.{len(started)}, "steps": 7, "seconds": 1.5, "monitor": "m"}}'
        )
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(training_sweep.subprocess, "run", run)
    config = tmp_path / "sweep.yaml"
    config.write_text("threads: 1\n" + SWEEP)
    lines = main(["-c", str(config), f"--output={tmp_path / 'sweep'}", "--trainer.max_steps=3"])
    assert [line.run.name for line in lines] == [
        "constant-0.001", "epoch-cosine-0.001", "constant-0.0003", "epoch-cosine-0.0003"
    ]  # fmt: skip
    base = tmp_path / "sweep" / "base-0.yaml"
    assert base.read_text() == "threads: 1\n"
    for command, line in zip(started, lines, strict=True):
        lr, schedule = line.run.settings.values()
        assert command[3:] == [
            "train", "-c", str(base), "--trainer.max_steps=3", f"--model.optimizer.lr={lr}",
            f"--model.optimizer.schedule={schedule}", f"--output={line.run.folder}", "--ckpt_path=last",
        ]  # fmt: skip
    assert [line.result["skill"] for line in lines] == [0.1, 0.2, 0.3, 0.4]
    main(["-c", str(config), f"--output={tmp_path / 'sweep'}", "--trainer.max_steps=3"])
    assert len(started) == 4


def sweep_command(folder: Path, output: Path, *options: str) -> list[str]:
    given = [word for word in arguments(folder, FACTORIZED, steps=12, epochs=2) if not word.startswith("--output")]
    return [str(Path(sys.executable).with_name("gfs-sr")), "sweep", *given, f"--output={output}", *options]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_s004_18_a_killed_sweep_of_trainings_ends_as_one_that_was_let_be(tmp_path):
    lists = ["--sweep.model.optimizer.lr=[1e-3,1e-2]", "--sweep.seed_everything=[0,1]", "--checkpoints.every_steps=3",
             "--trainer.log_every_n_steps=1"]  # fmt: skip
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    done = subprocess.run(sweep_command(tmp_path, quiet, *lists), capture_output=True, text=True, check=True)
    assert done.stdout.count("finished") == 4
    asked = sweep_command(tmp_path, killed, *lists)
    rows = killed / "lr=0.001,seed_everything=1" / "csv" / "metrics.csv"
    for _ in range(2):  # in the second run, and again as it goes on
        process = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        seen = rows.read_bytes().count(b"\n") if rows.is_file() else 0
        while process.poll() is None and (not rows.is_file() or rows.read_bytes().count(b"\n") < seen + 9):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(asked, capture_output=True, text=True, check=True)
    for folder in sorted(quiet.iterdir()):
        if folder.is_dir():
            last = [torch.load(each / "last.ckpt", weights_only=True) for each in (folder, killed / folder.name)]
            assert not differences(*last)
            assert curve(folder) == curve(killed / folder.name)
    tables = []
    for folder in (quiet, killed):
        with (folder / "summary.csv").open() as file:
            tables.append([{name: row[name] for name in row if name != "seconds"} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_a_training_that_fails_says_why_in_the_table(tmp_path):
    asked = sweep_command(tmp_path, tmp_path / "sweep", "--sweep.data.streams.whole.patch=[8,1000]")
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == TrainingFailed.exit_code
    assert "1 of 2 runs failed, such as patch=1000" in done.stderr
    assert "failed: " in (tmp_path / "sweep" / "summary.md").read_text()
