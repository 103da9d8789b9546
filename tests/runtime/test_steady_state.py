"""Memory in steady state: what the first tiles took serves all that follow.

How it is measured: one thread takes tile after tile through gather, infer and scatter, as the pipeline's threads do, so
that no other stage's objects are in flight. Traced memory is read after garbage collection and after CPython's cache of
attribute names was cleared, which keeps up to 4096 names of its own. Resident memory is read without tracing, after
all buffers were touched once, and the median of several rounds counts: a library that wakes up late, and pages that the
kernel took away and gives back, add half a megabyte once.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, json, sys, tracemalloc, warnings
from dataclasses import replace
warnings.simplefilter("ignore")
import numpy as np
from gfs_sr.data.grid import Grid
from gfs_sr.runtime.planner import choose_layout, resident_now_bytes
from gfs_sr.runtime.request import Request, prepare
from gfs_sr.runtime.stages import Stages
from gfs_sr.runtime.statics import open_job_statics
from gfs_sr.runtime.upscaler import Upscaler
from tests.forecasts import make_forecast

model, backend, traced = sys.argv[1], sys.argv[2], sys.argv[3] == "traced"
upscaler = Upscaler.open(model, backend=backend, threads=1)
forecast = make_forecast(2, ("t2m", "sp"), Grid(60 - 0.5 * np.arange(8), 0.35 * np.arange(8 * 121)))
job = prepare(upscaler.contract, forecast, Request(tile=8))
layout = replace(choose_layout(job, Request(tile=8), None, core_frames=2), batch=1)
stages = Stages(layout, open_job_statics(layout, None), 1)
window = next(stages.windows())
fields, tiles = stages.fields(window), layout.batches(0)
buffers, fine, block = layout.empty_inputs(), layout.empty_fine(), layout.empty_block()

def gather(k):
    stages.gather(window, fields, tiles[k], buffers)
def infer(k):
    layout.infer(upscaler.backend, buffers, 1, fine)
def scatter(k):
    stages.scatter(fine[:1], window, 0, tiles[k], block)
steps = (gather, infer, scatter)

def settled():
    gc.collect()
    sys._clear_type_cache()
    return tracemalloc.get_traced_memory()[0]

if traced:
    most = [0] * len(steps)
    before = after = 0
    tracemalloc.start()
    for k in range(120):
        if k == 10:
            most[:] = [0] * len(steps)
            before = settled()
        if k == 100:
            after = settled()
            break
        for step, run in enumerate(steps):
            now = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            run(k)
            most[step] = max(most[step], tracemalloc.get_traced_memory()[1] - now)
    print(json.dumps({"grown": after - before, "transient": dict(zip(("gather", "infer", "scatter"), most))}))
else:
    def once():
        for k in range(120):
            for run in steps:
                run(k)
    held = []
    for _ in range(6):
        once()
        held.append(resident_now_bytes())
    print(json.dumps({"per_tile": float(np.median(np.diff(held))) / 120}))
"""


def measured(model, backend, how):
    command = [sys.executable, "-c", SCRIPT, str(model), backend, how]
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("model", ["fused-node", "interpolation-node"])
def test_traced_memory_grows_by_nothing_between_tiles_10_and_100(model):
    found = measured(model, "onnxruntime", "traced")
    assert found["grown"] <= 256  # integers of the measurement itself; one object more per tile would be 2500
    # all small objects of one step together are about 4 KiB, so this leaves no room for any single one above 4 KiB
    assert max(found["transient"].values()) <= 8192, found


@pytest.mark.parametrize(("model", "backend"), [("fused-node", "onnxruntime"), ("fused-node", "openvino")])
def test_resident_memory_rises_by_less_than_a_kibibyte_per_tile(model, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    assert measured(model, backend, "resident")["per_tile"] < 1024
