"""`fused` against `factorized` and against sup3r's x6/x6 generator: the same task, ONNX Runtime, halo included.

8 x 24 x 24 coarse values of five variables become 48 x 144 x 144. `factorized` has its 20 blocks and is folded, as it
is exported; its halo of 43 cells makes a lone 24-cell tile (110 cells wide) dear, so both networks are also compared on
256 cells, where halos weigh less (one time core frame there). The peer runs in an environment of its own, see
`benchmarks/peers/sup3r_generator.py`: give its interpreter in GFS_SR_PEERS_PYTHON, or that case is skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.base import input_shapes

CONFIGS = {"fused": {"family": "fused"}, "factorized": {"family": "factorized"}}
TASKS = {"8x24x24": (8, 24), "1x256x256": (1, 256)}
VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")


@pytest.fixture(scope="module", params=CONFIGS)
def model(request, tmp_path_factory):
    """(name, artifact) of an untrained network of the default size: weights do not change the speed."""
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    folder = tmp_path_factory.mktemp("models") / "artifact"
    publish(make_checkpoint(CONFIGS[request.param]), folder)
    return request.param, Artifact.open(folder)


@pytest.mark.benchmark(group="models")
@pytest.mark.parametrize("task", TASKS)
def bench_models(benchmark, model, task):
    name, artifact = model
    frames, cells = TASKS[task]
    if name == "factorized" and cells > 100:
        pytest.skip("factorized on 256 cells with 7 frames of halo a side needs more memory than small machines have")
    random = np.random.default_rng(0)
    shapes = input_shapes(artifact.contract, (1, frames, len(VARIABLES), cells, cells))
    inputs = {
        each: random.standard_normal(shape).astype(np.float32) for each, shape in shapes.items() if each != "variable"
    }
    if "variable" in shapes:
        inputs["variable"] = np.arange(len(VARIABLES), dtype=np.int64)
    ordered = {each: inputs[each] for each in artifact.contract.graph_inputs()}
    with open_backend("onnxruntime", artifact) as backend:
        benchmark.pedantic(backend.infer, args=(ordered,), rounds=5, warmup_rounds=1)
    benchmark.extra_info |= {
        "case": f"{task}, five variables, x6/x6",
        "implementation": name,
        "reference": "factorized" if cells < 100 else "fused",
        "cells": frames * 6 * len(VARIABLES) * (6 * cells) ** 2,
    }


@pytest.mark.benchmark(group="models")
@pytest.mark.parametrize("task", TASKS)
def bench_sup3r_generator(benchmark, task):
    python = os.environ.get("GFS_SR_PEERS_PYTHON")
    if python is None:
        pytest.skip("set GFS_SR_PEERS_PYTHON to the interpreter of the peer's environment")
    frames, cells = TASKS[task]
    if cells > 100:
        pytest.skip("the generator works on 8 frames; one frame of 256 cells is not its task")
    script = Path(__file__).parent / "peers" / "sup3r_generator.py"
    command = [python, str(script), "--size", str(cells), "--frames", str(frames), "--repeats", "5"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    benchmark.pedantic(lambda: None, rounds=1)
    # the peer timed itself in its own process: its figures stand in for ours
    benchmark.stats.stats.data = list(json.loads(output.splitlines()[-1])["seconds"])
    benchmark.extra_info |= {
        "case": f"{task}, five variables, x6/x6",
        "implementation": "sup3r generator (TensorFlow)",
        "reference": "factorized",
        "cells": frames * 6 * len(VARIABLES) * (6 * cells) ** 2,
    }
