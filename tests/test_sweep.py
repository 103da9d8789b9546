import csv
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from gfs_sr.errors import DiskFailed, OutputExists, TrainingFailed, UsageError
from gfs_sr.sweep import Sweep, folder_name

# the children compute nothing that a thread of this process could hold a lock of
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
SAMPLING = {"sampling.schedule.n": [10, 15, 20], "sampling.schedule.rho": [3, 7.5, 15]}


def cost(run, handle):
    """A work whose best run is known: n 15, rho 7.5."""
    n, rho = run.settings.values()
    return {"error": (n - 15) ** 2 + (rho - 7.5) ** 2, "steps": 2 * n}


def test_s004_18_two_lists_make_nine_runs_in_folders_of_their_names_with_their_settings_beside(tmp_path):
    sweep = Sweep(SAMPLING, tmp_path, "n{n:03d}_rho{sampling.schedule.rho}")
    lines = sweep.carry_out(cost, best="error", more_is_better=False)
    expected = [(n, rho) for n in (10, 15, 20) for rho in (3, 7.5, 15)]
    assert [line.run.name for line in lines] == [f"n{n:03d}_rho{rho}" for n, rho in expected]
    for (n, rho), line in zip(expected, lines, strict=True):
        saved = json.loads((line.run.folder / "settings.json").read_text())["settings"]
        assert saved == {"sampling.schedule.n": n, "sampling.schedule.rho": rho}
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["sampling.schedule.n"]), float(row["sampling.schedule.rho"])) for row in rows] == expected
    assert [row["steps"] for row in rows] == [str(2 * n) for n, _ in expected]
    (best,) = (line for line in (tmp_path / "summary.md").read_text().splitlines() if "**" in line)
    assert best == "| **15** | **7.5** | **finished** | **0** | **30** |"


@forks
def test_s004_18_a_killed_sweep_goes_on_with_the_run_it_was_in_and_repeats_none(tmp_path):
    def work(run, handle):
        with (run.folder / "begun").open("a") as file:
            file.write("x")
        if (tmp_path / "lethal").is_file() and run.name == "n=15,rho=7.5":
            os.kill(os.getpid(), signal.SIGKILL)
        return cost(run, handle)

    (tmp_path / "lethal").touch()
    child = os.fork()
    if not child:
        Sweep(SAMPLING, tmp_path / "sweep").carry_out(work, best="error")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (tmp_path / "lethal").unlink()
    lines = Sweep(SAMPLING, tmp_path / "sweep").carry_out(work, best="error")
    assert {line.state for line in lines} == {"finished"}
    begun = {line.run.name: len((line.run.folder / "begun").read_text()) for line in lines}
    assert begun.pop("n=15,rho=7.5") == 2
    assert set(begun.values()) == {1}


def test_a_run_that_fails_stops_no_other_and_is_tried_again(tmp_path):
    tried: list[str] = []

    def work(run, handle):
        tried.append(run.name)
        if run.settings["a"] == 2 and tried.count(run.name) == 1:
            raise TrainingFailed("the loss became nan", run.name, "lower the rate")
        return {"skill": run.settings["a"]}

    first = Sweep({"a": [1, 2, 3]}, tmp_path).carry_out(work, best="skill")
    assert [line.state for line in first] == ["finished", "failed: the loss became nan", "finished"]
    assert "failed: the loss became nan" in (tmp_path / "summary.md").read_text()
    again = Sweep({"a": [1, 2, 3]}, tmp_path).carry_out(work, best="skill")
    assert [line.state for line in again] == ["finished"] * 3
    assert tried == ["a=1", "a=2", "a=3", "a=2"]


def test_a_disk_that_fails_a_run_stops_the_sweep_before_the_others_fail_as_well(tmp_path):
    tried: list[str] = []

    def work(run, handle):
        tried.append(run.name)
        raise DiskFailed("could not be written: No space left on device", run.name, "free space")

    with pytest.raises(DiskFailed, match="No space left"):
        Sweep({"a": [1, 2, 3]}, tmp_path).carry_out(work, best="skill")
    assert tried == ["a=1"]


@forks
def test_two_processes_share_a_sweep_and_no_run_is_done_twice(tmp_path):
    def work(run, handle):
        with (tmp_path / "done").open("a") as file:
            file.write(f"{run.name} {os.getpid()}\n")
        time.sleep(0.05)
        return {"x": 1}

    lists = {"a": list(range(8))}
    children = []
    for _ in range(2):
        children.append(os.fork())
        if not children[-1]:
            Sweep(lists, tmp_path / "sweep").carry_out(work, best="x")
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    done = [line.split() for line in (tmp_path / "done").read_text().splitlines()]
    assert sorted(name for name, _ in done) == [f"a={number}" for number in range(8)]
    assert {int(pid) for _, pid in done} == set(children)


def test_a_run_whose_process_outlives_the_sweep_is_waited_for_and_not_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr("gfs_sr.sweep.WAIT_SECONDS", 0.01)
    sweep = Sweep({"a": [1]}, tmp_path)
    started = []

    def handed_on(run, handle):
        """The process that began it is gone; a child of its own still holds the file, and finishes later."""
        copy = os.dup(handle)

        def finish():
            time.sleep(0.2)
            (run.folder / "finished.json").write_text('{"skill": 0.5}')
            os.close(copy)

        started.append(threading.Thread(target=finish))
        started[-1].start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.carry_out(handed_on, best="skill")
    (line,) = Sweep({"a": [1]}, tmp_path).carry_out(lambda *_: pytest.fail("started twice"), best="skill")
    started[0].join()
    assert line.result == {"skill": 0.5}


def test_another_sweep_in_the_same_folder_is_refused(tmp_path):
    Sweep({"a": [1, 2]}, tmp_path, base="one").carry_out(lambda *_: {"x": 1}, best="x")
    with pytest.raises(OutputExists, match="another sweep"):
        Sweep({"a": [1, 2]}, tmp_path, base="two").carry_out(lambda *_: {"x": 1}, best="x")
    more = Sweep({"a": [1, 2, 3]}, tmp_path, base="one").carry_out(lambda *_: {"x": 2}, best="x")
    assert [line.result["x"] for line in more] == [1, 1, 2]  # a longer list goes on


@pytest.mark.parametrize(
    ("lists", "name", "complaint"),
    [
        ({"a": []}, None, "a has no list"),
        ({"a": "12"}, None, "a has no list"),
        ({"a": [1, 1]}, None, "2 runs would be named 'a=1'"),
        ({"a": [1, 2], "b": [1, 2]}, "{a}", "2 runs would be named '1'"),
        ({"a": [1]}, "{rate}", "'rate'"),
        ({"a": ["x"]}, "{a:.2f}", "'f'"),
    ],
)
def test_lists_and_names_that_make_no_sweep_are_refused_before_the_first_run(tmp_path, lists, name, complaint):
    with pytest.raises(UsageError, match=complaint):
        Sweep(lists, tmp_path / "sweep", name)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("form", "settings", "name"),
    [
        (None, {"model.optimizer.lr": 1e-3, "data.seed": 3}, "lr=0.001,seed=3"),
        (None, {"model.name": "a", "run.name": "b"}, "model.name=a,run.name=b"),
        ("lr{lr:.0e}", {"model.optimizer.lr": 1e-3}, "lr1e-03"),
        ("{betas}", {"betas": [0.9, 0.95]}, "0.9,-0.95"),
        ("{path}", {"path": "../../etc/x y"}, "etc-x-y"),
        ("{none}", {"none": None}, "None"),
    ],
)
def test_a_folder_has_a_name_that_every_file_system_takes(form, settings, name):
    assert folder_name(form, settings) == name
    assert Path(name).name == name
