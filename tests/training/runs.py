"""Whole runs on real bundled data, a few seconds each: configurations and command lines."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

FACTORIZED = """
model:
  network: {family: factorized, variables: [t2m, wspd], scale_factor: 3, time_factor: 3, blocks: 1, width: 8,
    padding: replicate}
  optimizer: {lr: 4.0e-3, schedule: warmup-cosine, warmup_steps: 5}
  loss: {weights: {huber: 1.0, dt: 0.05}}
data:
  sources: [{name: arpege, files: ["arpege_2m*.grib", "arpege_10m*.grib"]}]
  streams: {whole: {kind: space_time, batch: 2, patch: 8, intervals: 3}}
  validation_stream: {kind: space_time, batch: 2, patch: 8, intervals: 3}
"""
FUSED = """
closed_form: true
model:
  network: {family: fused, width: 6, blocks: 1, scale_factor: 3, time_factor: 3, interval_hours: 3.0}
  optimizer: {lr: 1.5e-3, schedule: warmup-cosine, warmup_steps: 5}
  loss: {weights: {huber: 1.0}, huber_delta: 1.5, relative: true}
data:
  sources: [{name: arpege, files: ["arpege_*.grib"], variables: [t2m, d2m, r2, u10, v10, msl]}]
  streams:
    frames: {kind: space, batch: 4, patch: 8}
    times: {kind: space_time, batch: 2, patch: 6, intervals: 2, fractions: 2, every: 2, repeat_ends: 0.3}
    series: {kind: time, batch: 3, patch: 4, intervals: 1, fractions: 3, every: 2, offset: 1}
  validation_stream: {kind: space_time, batch: 4, patch: 6, intervals: 2}
"""
COMMON = """
threads: 1
pictures: {every: 0}
trainer: {accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, log_every_n_steps: 5}
"""


def arguments(tmp_path: Path, text: str, steps: int = 20, epochs: int = 2, **more: str) -> list[str]:
    """The command line of a run of `text` into tmp_path/run, any dotted key beside."""
    config = tmp_path / "config.yaml"
    config.write_text(text + COMMON)
    options = {
        "data.folder": str(files("gfs_sr.demo") / "sample"), "data.steps_per_epoch": str(steps),
        "data.validation_steps": "2", "trainer.max_epochs": str(epochs), "output": str(tmp_path / "run"),
    } | more  # fmt: skip
    return ["-c", str(config), *(f"--{key}={value}" for key, value in options.items())]


Death = tuple[str, int] | None


@dataclass(frozen=True)
class Life:
    """One process of a run, or several together."""

    folder: Path
    options: dict[str, str]
    death: Death = None  # see tests.training.lives
    ranks: int = 1
    noisy: bool = False  # steps draw global random numbers
    text: str | None = None  # the configuration, where it is not that of all lives


def live_all(tmp_path: Path, text: str, lives: list[Life]) -> list[int]:
    """Live one life after the other, outside this process; how each ended."""
    plan = []
    for life in lives:
        life.folder.mkdir(exist_ok=True)
        given = arguments(life.folder, life.text or text, **life.options)
        curve = str(life.folder / "run" / "csv" / "metrics.csv")
        plan.append({"arguments": given, "kill": life.death, "ranks": life.ranks, "noisy": life.noisy, "curve": curve})
    (tmp_path / "lives.json").write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.lives", str(tmp_path / "lives.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False, timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ends: list[int] = json.loads(done.stdout)
    assert 1 not in ends, (tmp_path / "lives.log").read_text()
    return ends
