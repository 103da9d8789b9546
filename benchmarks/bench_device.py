"""Networks on one GPU: resident on the device, from host to host, and a whole global cycle.

Device-resident: a batch in device memory, replayed as one CUDA graph; `of_peak` counts the folded operations of the
core (halo excluded) against bf16 matrix products measured in this run. Host to host: a stream of batches from pinned
memory to pinned memory, as a fraction of the slowest of compute, copy in and copy out, each timed alone. Global cycle:
`fused` and `factorized` over 721 by 1440 cells, five variables, 8 -> 48 frames, x6 (9e9 values), tile by tile into
reused pinned buffers; the first batches, which capture, are `cold_s` and no part of it. On the CPU nothing is measured.
"""

import statistics

import pytest
import torch

from benchmarks.operations import folded_operations
from benchmarks.peaks import shares, timed
from gfs_sr import models
from gfs_sr.models.folding import fold
from gfs_sr.models.lowering import Lowered
from gfs_sr.models.on_kernels import on_kernels
from gfs_sr.runtime.backends.choice import smooth_inputs
from gfs_sr.runtime.backends.registry import make_backend
from gfs_sr.runtime.backends.torch_device import SLOTS
from gfs_sr.runtime.backends.torch_lanes import Lane, Lanes, Program
from tests.weights import published_weights

CONFIGS = {"factorized": {"family": "factorized"}, "fused": {"family": "fused", "variables": [
    "t2m", "d2m", "r2", "wspd", "sp"]}}  # fmt: skip
CORE = (1, 8, 5, 128, 128)  # B, T, C, H, W, device-resident
STREAM = 12  # batches from host to host
GLOBAL = (8, 721, 1440)
TILE = (103, 144)  # 7 by 10 tiles cover the globe
IMPLEMENTATIONS = ("eager", "torch.compile", "kernels")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run benchmarks/gpu.sh")


def networks(family: str, implementation: str) -> torch.nn.Module:
    """In bf16, on the device."""
    model = models.build(CONFIGS[family])
    taken = on_kernels(model, torch.bfloat16) if implementation == "kernels" else None
    if taken is None:
        taken = fold(model)
        taken.residual = Lowered(taken.residual, torch.bfloat16)
    return taken.to("cuda").to(memory_format=torch.channels_last).requires_grad_(False)


def facts(family: str, case: str, implementation: str, reference: str, cells: int) -> dict[str, object]:
    return {
        "case": f"{family} bf16, {case}",
        "implementation": implementation,
        "reference": reference,
        "cells": cells,
        "device": torch.cuda.get_device_name(),
    }


@pytest.mark.benchmark(group="device-resident")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("family", CONFIGS)
def bench_resident(benchmark, family, implementation):
    device = torch.device("cuda")
    network = networks(family, implementation)
    run = torch.compile(network, dynamic=False) if implementation == "torch.compile" else network
    model = models.build(CONFIGS[family])
    contract = model.make_contract(name=family)
    given = {name: torch.from_numpy(array) for name, array in smooth_inputs(contract, CORE).items()}
    B, T, C, H, W = CORE
    lanes = Lanes(device)
    program = Program(run, lanes, captured=True)
    with torch.inference_mode(), lanes.on(Lane.COMPUTE):
        program({name: each.to(device) for name, each in given.items()})  # warms up and captures

    torch.cuda.synchronize()

    def once():
        program.graph.replay()
        torch.cuda.synchronize()

    benchmark.pedantic(once, rounds=10, warmup_rounds=2)
    cells = B * 6 * T * C * 36 * H * W
    benchmark.extra_info |= facts(family, "x".join(map(str, CORE)), implementation, "eager", cells)
    benchmark.extra_info |= shares(
        benchmark.stats.stats.min, "bf16", operations=folded_operations(model, CORE), device=device
    )


def stream(backend, inputs, fines, count):
    """`count` batches, as many in flight as there are buffers."""
    flying = []
    for turn in range(count):
        if len(flying) == len(fines):
            flying.pop(0).done()
        started = backend.start(inputs[turn % len(inputs)], fines[turn % len(fines)])
        started.taken()
        flying.append(started)
    for each in flying:
        each.done()


def pinned(backend, contract, core):
    shaped = smooth_inputs(contract, core)
    inputs = []
    for _ in range(SLOTS):
        made = {name: backend.empty(array.shape, array.dtype) for name, array in shaped.items()}
        for name, array in shaped.items():
            made[name][...] = array
        inputs.append(made)
    B, T, C, H, W = core
    return inputs, [backend.empty((B, 6 * T, C, 6 * H, 6 * W)) for _ in range(SLOTS)]


@pytest.mark.benchmark(group="host-to-host")
@pytest.mark.parametrize("family", CONFIGS)
def bench_host_to_host(benchmark, family, tmp_path):
    artifact = published_weights(tmp_path / family, CONFIGS[family], 0.03)
    device = torch.device("cuda")
    core = (1, 8, 5, 64, 128)
    with make_backend("torch-cuda", artifact, precision="bf16") as backend:
        inputs, fines = pinned(backend, artifact.contract, core)
        stream(backend, inputs, fines, 2 * SLOTS)
        benchmark.pedantic(lambda: stream(backend, inputs, fines, STREAM), rounds=5)
        slot = next(iter(backend._slots.values()))[0]
        on_device = torch.empty(fines[0].shape, device=device)
        outward = torch.from_numpy(fines[0])
        own = {name: torch.from_numpy(array) for name, array in inputs[0].items()}
        alone = {
            "compute": slot._program.graph.replay,
            "copy in": lambda: [slot._inputs[name].copy_(each, non_blocking=True) for name, each in own.items()],
            "copy out": lambda: outward.copy_(on_device, non_blocking=True),
        }
        alone = {name: statistics.median(timed(work, device)) for name, work in alone.items()}
    per_batch = benchmark.stats.stats.min / STREAM
    benchmark.extra_info |= facts(family, "host to host", "torch-cuda", "torch-cuda", STREAM * fines[0].size)
    benchmark.extra_info |= {"of_slowest": max(alone.values()) / per_batch, "alone_s": alone}


@pytest.mark.benchmark(group="global cycle")
@pytest.mark.parametrize("family", CONFIGS)
def bench_global_cycle(benchmark, family, tmp_path):
    artifact = published_weights(tmp_path / family, CONFIGS[family], 0.03)
    core = (1, GLOBAL[0], 5, *TILE)
    tiles = -(-GLOBAL[1] // TILE[0]) * -(-GLOBAL[2] // TILE[1])
    with make_backend("torch-cuda", artifact, precision="bf16") as backend:
        inputs, fines = pinned(backend, artifact.contract, core)
        cold = timed_once(lambda: stream(backend, inputs, fines, SLOTS))
        benchmark.pedantic(lambda: stream(backend, inputs, fines, tiles), rounds=2)
    benchmark.extra_info |= facts(family, "global cycle 721x1440, 8 -> 48 frames", "torch-cuda", "torch-cuda",
                                  tiles * fines[0].size)  # fmt: skip
    benchmark.extra_info["cold_s"] = cold


def timed_once(work):
    import time

    start = time.perf_counter()
    work()
    return time.perf_counter() - start
