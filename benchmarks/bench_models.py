"""`fused` and `factorized` against sup3r's x6/x6 generator: the same task, all halos included, per fine value.

Coarse values of five variables become six times as many frames, rows and columns: 8 x 24 x 24 (the size the peer was
timed on before) and 4 x 256 x 256. `fused` runs in ONNX Runtime and in OpenVINO, there also with our own convolutions,
and exported with `--precision bf16` (the artifact whose parity gate it passed). As in the product, a large tile's
variables go through one at a time. `factorized` is folded, as it is exported; its halo of 43 cells makes a lone 24-cell
tile dear, and 256 cells of it need more memory than small machines have. `of_peak` counts the folded operations of the
core; Winograd convolutions need fewer than are counted. The peer runs in an environment of its own,
made by `benchmarks/peers/setup.sh`: give its interpreter in GFS_SR_PEERS_PYTHON, or that case is skipped. It takes 256
cells in about a minute and 10 GB; all cases together five minutes on two cores.
"""

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.operations import folded_operations
from benchmarks.peaks import shares
from gfs_sr import models
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.choice import smooth_inputs
from gfs_sr.runtime.tiling import CALL_VALUES

MODELS = {  # implementation -> family, precision, engine
    "fused, ONNX Runtime": ("fused", "fp32", "onnxruntime"),
    "fused, OpenVINO": ("fused", "fp32", "openvino"),
    "fused, OpenVINO with our convolutions": ("fused", "fp32", "openvino-winograd"),
    "fused bf16, OpenVINO": ("fused", "bf16", "openvino"),
    "factorized, ONNX Runtime": ("factorized", "fp32", "onnxruntime"),
    "factorized, OpenVINO": ("factorized", "fp32", "openvino"),
    "factorized, OpenVINO with our convolutions": ("factorized", "fp32", "openvino-winograd"),
}
TASKS = {"8x24x24": (8, 24, 5), "4x256x256": (4, 256, 2)}  # frames, cells a side, rounds
VARIABLES = 5
PEER = "sup3r generator (TensorFlow)"
REFERENCE = {"8x24x24": PEER, "4x256x256": PEER}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """Untrained networks of the default size, exported when first asked for: weights do not change the speed."""
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    made: dict[tuple[str, str], Artifact] = {}

    def artifact(family: str, precision: str) -> Artifact:
        if (family, precision) not in made:
            folder = tmp_path_factory.mktemp("models") / f"{family}-{precision}"
            made[family, precision] = publish(make_checkpoint({"family": family}), folder, precision=precision).artifact
        return made[family, precision]

    return artifact


def facts(task: str, implementation: str) -> dict[str, object]:
    frames, cells, _ = TASKS[task]
    return {
        "case": f"{task}, five variables, x6/x6",
        "implementation": implementation,
        "reference": REFERENCE[task] if os.environ.get("GFS_SR_PEERS_PYTHON") else "fused, ONNX Runtime",
        "cells": frames * 6 * VARIABLES * (6 * cells) ** 2,
    }


@pytest.mark.benchmark(group="models")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("implementation", MODELS)
def bench_models(benchmark, artifacts, task, implementation):
    family, precision, engine = MODELS[implementation]
    frames, cells, rounds = TASKS[task]
    if find_spec(engine.removesuffix("-winograd")) is None:
        pytest.skip(f"needs {engine}")
    if family == "factorized" and cells > 100:
        pytest.skip("256 cells with 7 frames of halo a side need more memory than small machines have")
    artifact = artifacts(family, precision)
    at_once = VARIABLES
    if artifact.contract.any_subset and frames * 6 * VARIABLES * (6 * cells) ** 2 > CALL_VALUES:
        at_once = 1
    inputs = smooth_inputs(artifact.contract, (1, frames, at_once, cells, cells))
    with open_backend(engine, artifact) as backend:

        def once():
            for _ in range(VARIABLES // at_once):
                backend.infer(inputs)

        benchmark.pedantic(once, rounds=rounds, warmup_rounds=1)
    known = facts(task, implementation)
    operations = folded_operations(models.build({"family": family}), (1, frames, VARIABLES, cells, cells))
    moved = VARIABLES // at_once * sum(each.nbytes for each in inputs.values()) + 4 * known["cells"]
    benchmark.extra_info |= known | shares(benchmark.stats.stats.min, precision, operations=operations, moved=moved)


@pytest.mark.benchmark(group="models")
@pytest.mark.parametrize("task", TASKS)
def bench_sup3r_generator(benchmark, task):
    python = os.environ.get("GFS_SR_PEERS_PYTHON")
    if python is None:
        pytest.skip("set GFS_SR_PEERS_PYTHON to the interpreter of the peer's environment")
    frames, cells, rounds = TASKS[task]
    script = Path(__file__).parent / "peers" / "sup3r_generator.py"
    command = [python, str(script), "--size", str(cells), "--frames", str(frames), "--repeats", str(rounds)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    benchmark.pedantic(lambda: None, rounds=1)
    # the peer timed itself in its own process: its figures stand in for ours
    benchmark.stats.stats.data = list(json.loads(output.splitlines()[-1])["seconds"])
    benchmark.extra_info |= facts(task, PEER)
