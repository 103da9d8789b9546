"""A training step of `factorized` by `gfs-sr train`: against a bare PyTorch loop, and against sup3r's generator.

One sample of 8 x 16 x 16 coarse values of five variables becomes 48 x 96 x 96 in every step. Ours is the committed
configuration with everything that a run does beside it: drawing the sample, losses, clipping, averaged weights, logs,
checks. The bare loop is the same network, loss, clipping and optimizer on the same sample, ready in memory. A bare step
follows each of ours in one process, so that both meet the same machine. Steps differ by a twentieth among themselves,
so one pair of minima of nine says little: five are taken, and -s prints the median of their differences and of those
of medians, by the clock and of processor time. What is not timed: reading files, validation, checkpoints.

The peer's generator has 4.27 million parameters where `factorized` has 2.86, and the same input and output; its step is
the content loss alone. It runs in an environment of its own, made by `benchmarks/peers/setup.sh`: give its interpreter
in GFS_SR_PEERS_PYTHON, or that case is skipped.
"""

import copy
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from lightning.pytorch.callbacks import Callback

from gfs_sr.training.losses import compose
from gfs_sr.training.main import parse, run
from tests.fields import waves

ROUNDS, REPEATS, WARM_UP, CELLS, FRAMES = 9, 5, 2, 16, 8
VARIABLES = {"t2m": ("K", 280.0), "d2m": ("K", 275.0), "r2": ("%", 50.0), "wspd": ("m s-1", 5.0), "sp": ("Pa", 1e5)}
FACTS = {
    "case": f"training step, {FRAMES}x{CELLS}x{CELLS}, five variables, x6/x6",
    "cells": FRAMES * 6 * len(VARIABLES) * (6 * CELLS) ** 2,
}


Moment = np.ndarray  # seconds by the clock, and of processor time


def now() -> Moment:
    return np.array([time.perf_counter(), time.process_time()])


class Beside(Callback):
    """Times whole steps of the Trainer, from the end of a batch to the end of the next, and a bare step after each."""

    def __init__(self) -> None:
        self.ours: list[Moment] = []
        self.bare: list[Moment] = []
        self.start: Moment | None = None

    def on_train_start(self, trainer, pl_module) -> None:
        self.network, self.loss = copy.deepcopy(pl_module.network), pl_module.loss
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=8e-4, fused=True)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if self.start is not None:
            self.ours.append(now() - self.start)
        part = batch["whole"]
        start = now()
        loss, _ = compose(self.loss, self.network(part["coarse"]), part["fine"], part["mask"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.bare.append(now() - start)
        self.start = now()


pytestmark = pytest.mark.timeout(3600)  # four minutes on a quiet machine with two cores; a busy one takes its time


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> dict[str, list[float]]:
    """Seconds of every step, by implementation."""
    folder = tmp_path_factory.mktemp("training")
    write_fields(folder / "fields.nc")
    stream = f"{{kind: space_time, batch: 1, patch: {CELLS}, intervals: {FRAMES}}}"
    config = Path(__file__).resolve().parents[1] / "configs" / "factorized.yaml"
    command = parse(
        ["-c", str(config), f"--data.folder={folder}", '--data.sources=[{name: made, files: ["fields.nc"]}]',
         f"--data.streams={{whole: {stream}}}", "--data.context=0",
         f"--data.steps_per_epoch={WARM_UP + REPEATS * ROUNDS}",
         f"--output={folder / 'run'}", "--trainer.accelerator=cpu", "--trainer.max_epochs=1",
         "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false",
         "--trainer.enable_model_summary=false"]
    )  # fmt: skip
    beside = Beside()
    command.trainer.callbacks.append(beside)
    run(command)
    bare, ours = (np.array(each[-REPEATS * ROUNDS :]) for each in (beside.bare, beside.ours))
    for name, of in (("minima", np.min), ("medians", np.median)):
        of_each = [of(each.reshape(REPEATS, ROUNDS, 2), axis=1) for each in (ours, bare)]
        differences = 1e3 * (of_each[0] - of_each[1])
        clock, processor = np.median(differences, axis=0)
        each = ", ".join(f"{difference:.1f}" for difference in differences[:, 0])
        print(
            f"\ndifference of the {name} of {ROUNDS}: {clock:.1f} ms ({each}); "
            f"of processor time on each thread {processor / torch.get_num_threads():.1f} ms"
        )
    return {"bare loop": bare[:, 0].tolist(), "gfs-sr train": ours[:, 0].tolist()}


def write_fields(path: Path) -> None:
    """Made-up hourly fields of 120 x 120 cells over two days."""
    made = xr.Dataset(
        {
            name: (("time", "lat", "lon"), (mean + waves(49, 120, 120, number)).astype(np.float32), {"units": units})
            for number, (name, (units, mean)) in enumerate(VARIABLES.items())
        },
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(49) * np.timedelta64(3600, "s"),
            "lat": ("lat", 50 - 0.25 * np.arange(120), {"units": "degrees_north"}),
            "lon": ("lon", 5 + 0.25 * np.arange(120), {"units": "degrees_east"}),
        },
    )
    made.to_netcdf(path)


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("implementation", ["bare loop", "gfs-sr train"])
@pytest.mark.filterwarnings("ignore")
def bench_training(benchmark, steps, implementation):
    stand_in(benchmark, steps[implementation])
    benchmark.extra_info |= {**FACTS, "implementation": implementation, "reference": "bare loop"}


@pytest.mark.benchmark(group="training step")
def bench_sup3r_generator_training(benchmark):
    python = os.environ.get("GFS_SR_PEERS_PYTHON")
    if python is None:
        pytest.skip("set GFS_SR_PEERS_PYTHON to the interpreter of the peer's environment")
    script = Path(__file__).parent / "peers" / "sup3r_generator.py"
    command = [python, str(script), "--train", "--size", str(CELLS), "--frames", str(FRAMES), "--repeats", str(ROUNDS)]
    command += ["--threads", str(torch.get_num_threads())]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    stand_in(benchmark, json.loads(output.splitlines()[-1])["seconds"])
    benchmark.extra_info |= {**FACTS, "implementation": "sup3r generator (TensorFlow)", "reference": "gfs-sr train"}


def stand_in(benchmark, seconds: list[float]) -> None:
    """Give the benchmark times that were taken elsewhere."""
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.stats.stats.data = list(seconds)
