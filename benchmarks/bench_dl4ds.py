"""The DL4DS family against dl4ds 1.8.0 itself: the same architecture, batch, threads and type, inference and training.

    benchmarks/peers/dl4ds_setup.sh build/dl4ds
    export GFS_SR_DL4DS_PYTHON=build/dl4ds/bin/python
    python -m pytest benchmarks/bench_dl4ds.py --benchmark-enable --record -s

`resnet_spc` x6 on 8 samples of 24 x 24 cells of five variables, with 8 filters (the package's default) and 64, and its
recurrent form with 8; direct output, zeros at the border (recurrent: repeated values) and attention in the output, as
theirs is: every weight has its like in the peer's network. Recurrent inference is measured twice: of one window of 8
frames, all given out; and of 8 frames, each out of a window of its own, as both packages serve a series (the peer
computes all frames of every window and keeps one). Ours runs what users run: for inference the exported graph (for one
window, which no graph gives out, the network itself), for training the step of `gfs-sr train` without data and logs.
Lines with bf16 compute in it, the peer and all others in float32. The peer's is its network as one TensorFlow graph.
Compare the least of each (`min_s`) on a busy machine. What is not timed: reading, tiling, compilation.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.operations import folded_operations
from benchmarks.peaks import shares
from export.publication import publish
from gfs_sr import models
from gfs_sr.runtime.backends.base import Precision
from gfs_sr.runtime.backends.opening import open_backend
from gfs_sr.training.losses import LossConfig, compose
from gfs_sr.training.optim import OptimizerConfig, make_optimizer
from tests.export.checkpoints import make_checkpoint

BATCH, CELLS, SCALE, THREADS = 8, 24, 6, int(os.environ.get("GFS_SR_BENCH_THREADS", "2"))
VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")
CASES: dict[str, dict[str, object]] = {
    "resnet_spc x6, 8 filters": {"n_filters": 8},
    "resnet_spc x6, 64 filters": {"n_filters": 64},
    "recurrent resnet_spc x6, 8 filters": {"n_filters": 8, "time_window": BATCH, "padding": "replicate"},
}
SERIES = "recurrent resnet_spc x6, 8 filters, windows of their own"
GRAPHS: dict[str, dict[str, object]] = {
    **{case: config for case, config in CASES.items() if "recurrent" not in case},
    SERIES: {"n_filters": 8, "time_window": BATCH, "padding": "valid"},
}
ENGINES: dict[str, tuple[str, Precision]] = {
    "gfs_sr (ONNX Runtime)": ("onnxruntime", "fp32"),
    "gfs_sr (OpenVINO)": ("openvino", "fp32"),
    "gfs_sr (OpenVINO, bf16)": ("openvino", "bf16"),
}
ROUNDS = {case: 3 if "64" in case else 9 for case in (*CASES, SERIES)}
PEER = "dl4ds 1.8.0 (TensorFlow)"
pytestmark = [pytest.mark.timeout(3600), pytest.mark.filterwarnings("ignore")]


def config_of(case: str) -> dict[str, object]:
    """Theirs, in our words."""
    options = {"padding": "zero", "baseline_residual": False, "variables": VARIABLES, "scale_factor": SCALE}
    return {"family": "dl4ds", **options, **(CASES | GRAPHS)[case]}


def coarse_input(case: str) -> np.ndarray:
    """The samples, or the frames of one window."""
    shape = (1, BATCH) if "recurrent" in case else (BATCH, 1)
    return np.random.default_rng(0).standard_normal((*shape, len(VARIABLES), CELLS, CELLS), np.float32)


def facts(case: str, work: str, implementation: str) -> dict[str, object]:
    """Of one line of the record."""
    cells = BATCH * len(VARIABLES) * (SCALE * CELLS) ** 2
    named = {"case": f"{case}, {work}, {THREADS} threads", "cells": cells}
    return named | {"implementation": implementation, "reference": PEER}


@pytest.fixture(autouse=True)
def threads():
    """As many as the peer has."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.benchmark(group="dl4ds inference")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", GRAPHS)
def bench_inference(benchmark, tmp_path, case, engine):
    backend, precision = ENGINES[engine]
    pytest.importorskip(backend)
    artifact = publish(make_checkpoint(config_of(case)), tmp_path / "model", precision=precision).artifact
    with open_backend(backend, artifact, threads=THREADS) as opened:
        inputs = {"coarse": coarse_input(case)}
        benchmark.pedantic(opened.infer, (inputs,), rounds=ROUNDS[case], warmup_rounds=2)
    core = (BATCH, 1, len(VARIABLES), CELLS, CELLS)
    benchmark.extra_info |= facts(case, "inference", engine) | shares(
        benchmark.stats.stats.min, precision, operations=folded_operations(models.build(config_of(case)), core)
    )


@pytest.mark.benchmark(group="dl4ds inference")
@pytest.mark.parametrize("case", [case for case in CASES if case not in GRAPHS])
def bench_window(benchmark, case):
    network, given = models.build(config_of(case)).eval(), torch.from_numpy(coarse_input(case))
    with torch.inference_mode():
        benchmark.pedantic(network, (given,), rounds=ROUNDS[case], warmup_rounds=2)
    benchmark.extra_info |= facts(case, "inference", "gfs_sr (torch)")


@pytest.mark.benchmark(group="dl4ds training")
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("case", CASES)
def bench_training(benchmark, case, bf16):
    network, loss = models.build(config_of(case)), LossConfig({"mae": 1.0})
    settings = OptimizerConfig("adam", lr=1e-3, weight_decay=0.0, schedule="constant")
    optimizer = make_optimizer(network.parameters(), settings, steps=1, epochs=1, fused=True)["optimizer"]
    coarse = torch.from_numpy(coarse_input(case))
    with torch.no_grad():
        fine = torch.zeros_like(network(coarse))
    mask = torch.ones_like(fine, dtype=torch.bool)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):  # as trainer.precision: bf16-mixed
            prediction = network(coarse)
        compose(loss, prediction.float(), fine, mask)[0].backward()
        optimizer.step()

    benchmark.pedantic(step, rounds=ROUNDS[case], warmup_rounds=2)
    benchmark.extra_info |= facts(case, "training step", "gfs_sr (torch, bf16)" if bf16 else "gfs_sr (torch)")


@pytest.mark.benchmark(group="dl4ds peer")
@pytest.mark.parametrize(
    ("case", "work"),
    [*((case, work) for case in CASES for work in ("inference", "training step")), (SERIES, "inference")],
)
def bench_peer(benchmark, case, work):
    python = os.environ.get("GFS_SR_DL4DS_PYTHON")
    if python is None:
        pytest.skip("set GFS_SR_DL4DS_PYTHON to the interpreter of dl4ds: see benchmarks/peers/dl4ds_setup.sh")
    script = Path(__file__).parent / "peers" / "dl4ds_network.py"
    command = [python, str(script), "--filters", str((CASES | GRAPHS)[case]["n_filters"]), "--size", str(CELLS)]
    command += ["--batch", str(BATCH), "--scale", str(SCALE), "--channels", str(len(VARIABLES))]
    command += ["--repeats", str(ROUNDS[case]), "--threads", str(THREADS)]
    command += ["--recurrent"] * ("recurrent" in case) + ["--train"] * (work != "inference")
    command += ["--windows", str(BATCH)] * (case == SERIES)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    ours = sorted(each.numel() for each in models.build(config_of(case)).parameters())
    assert found["sizes"] == ours  # one architecture: every weight has its like
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.stats.stats.data = list(found["seconds"])
    benchmark.extra_info |= facts(case, work, PEER)
