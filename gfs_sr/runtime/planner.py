"""How large the tiles are: the plan of least work that the memory budget allows, wide bands first."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from gfs_sr.data.grid import Boundary, Grid
from gfs_sr.errors import MemoryBudgetTooSmall, UsageError
from gfs_sr.runtime.backends.base import halo_of, input_shapes, output_shape
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.request import Job, Request
from gfs_sr.runtime.tiling import AxisPlan, Plan

IN_FLIGHT = 2  # buffers of each kind in the pipeline
WORKSPACE_FACTOR = 16.0  # an engine's peak beside its inputs, in bytes per byte of fine output; measured in the tests
DEFAULT_BUDGET = 2 << 30  # beyond this, larger tiles gain less than 5 % even at a halo of 43 cells
SINK_BYTES = 96 << 20  # compressors and chunk caches
SMALLEST_CORE = 4  # coarse cells; smaller tiles are all halo


def choose_layout(
    job: Job, request: Request, budget_bytes: int | None, *, resident_bytes: int = 0, core_frames: int | None = None
) -> Layout:
    """The layout of least work within the budget.

    Args:
        job: what is to be done.
        request: its `tile` fixes the core's side.
        budget_bytes: most that the process may take; None is what is reasonable here.
        resident_bytes: what the sink will keep in memory.
        core_frames: fixes the core's length in time.

    Raises:
        MemoryBudgetTooSmall: even the smallest tiles need more.
        UsageError: a tile size for a model that sees the whole field.
    """
    budget = budget_bytes or _default_budget()
    fixed = _resident_now() + resident_bytes + SINK_BYTES
    best: tuple[float, Layout] | None = None
    least: int | None = None
    for cores in _candidates(job, request.tile, core_frames):
        layout = Layout(job, make_plan(job, *cores), 1)
        needed = fixed + working_bytes(layout)
        least = needed if least is None else min(least, needed)
        if needed <= budget:
            work = _work(layout)
            if best is None or work < best[0]:
                best = (work, layout)
    if best is None:
        assert least is not None
        if budget_bytes is None:  # no promise was asked for: the smallest plan runs, whatever it takes
            cores = min(_candidates(job, request.tile, core_frames), key=np.prod)
            return Layout(job, make_plan(job, *cores), 1)
        raise MemoryBudgetTooSmall(
            f"a budget of {budget / 2**20:.0f} MiB is too small: the smallest plan needs {least / 2**20:.0f} MiB",
            "--memory",
            f"give at least {_rounded_up(least)}, or upscale fewer variables or a smaller box",
        )
    return _batched(best[1], budget - fixed)


def make_plan(job: Job, frames: int, rows: int, columns: int) -> Plan:
    """The plan with these cores for a job's grid, contract and boundaries."""
    halo, grid = halo_of(job.contract), job.horizontal.coarse
    time = AxisPlan(len(job.forecast.times), frames, halo.before, halo.after, Boundary.EDGE)
    lat_boundary = Boundary.POLE if any(offset is not None for offset in grid.pole_offsets) else Boundary.EDGE
    lat = AxisPlan(grid.lat.size, rows, halo.north, halo.south, lat_boundary, grid.pole_offsets)
    lon = AxisPlan(grid.lon.size, columns, halo.west, halo.east, _lon_boundary(grid))
    return Plan(time, lat, lon)


def working_bytes(layout: Layout) -> int:
    """Bytes of the frames, buffers and the engine's workspace that a run under `layout` holds at its peak."""
    plan, job = layout.plan, layout.job
    core = (layout.batch, plan.time.core, len(job.inputs), plan.lat.core, plan.lon.core)
    shapes = input_shapes(job.contract, core)
    inputs = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    fine = 4 * int(np.prod(output_shape(job.contract, core)))
    block = int(np.prod(layout.block_shape)) * (4 * len(job.outputs) + 1)
    height, width = job.horizontal.coarse.shape
    window = plan.time.core + plan.time.before + plan.time.after
    # values and masks of two windows on their way, and predictors of the fine times
    frames = 2 * window * len(job.inputs) * height * width * 5
    predictors = 12 * job.contract.time_factor * plan.time.core * len(job.contract.predictors) * height * width
    return IN_FLIGHT * (inputs + fine + block) + frames + predictors + int(WORKSPACE_FACTOR * fine)


def _candidates(job: Job, tile: int | None, core_frames: int | None) -> Iterator[tuple[int, int, int]]:
    count = len(job.forecast.times)
    height, width = job.horizontal.coarse.shape
    if job.contract.halo == "global":
        if tile is not None:
            raise UsageError(
                f"{job.contract.name} sees the whole field at once and cannot be tiled", "--tile", "leave --tile out"
            )
        yield count, height, width
        return
    frames = [core_frames] if core_frames is not None else _parts(count, 1)
    rows = [min(tile, height)] if tile is not None else _parts(height, SMALLEST_CORE)
    columns = [min(tile, width)] if tile is not None else _parts(width, SMALLEST_CORE)
    yield from product(frames, rows, columns)


def _parts(length: int, smallest: int) -> list[int]:
    """Cores that divide an axis into 1, 2, 3 … even parts, with little overhang."""
    parts = sorted({-(-length // count) for count in range(1, length + 1)}, reverse=True)
    return [part for part in parts if part >= min(smallest, length)]


def _work(layout: Layout) -> float:
    """Coarse cells that pass the engine, halo and overhang included."""
    plan = layout.plan
    padded = [axis.core + axis.before + axis.after for axis in (plan.time, plan.lat, plan.lon)]
    tiles = len(layout.time_tiles) * len(layout.bands) * len(layout.columns)
    # a run of few blocks overlaps nothing: the first read and the last write are waited for
    blocks = len(layout.time_tiles) * len(layout.bands)
    return float(tiles * np.prod(padded)) * (1 + 0.5 / blocks)


def _batched(layout: Layout, budget: int) -> Layout:
    """Several tiles at a time where the budget allows it and a single one is small."""
    count = len(layout.columns)
    target = 1 << 22  # fine values; a batch of this size keeps an engine busy
    single = int(np.prod(output_shape(layout.contract, layout.core)))
    batch = max(1, min(count, target // max(1, single)))
    while batch > 1 and working_bytes(replace(layout, batch=batch)) > budget:
        batch -= 1
    # even batches, so that the engine sees one shape
    return replace(layout, batch=-(-count // -(-count // batch)))


def _lon_boundary(grid: Grid) -> Boundary:
    return Boundary.PERIODIC if grid.is_periodic else Boundary.EDGE


def _default_budget() -> int:
    """A quarter of what is free, at most `DEFAULT_BUDGET`, above what the process has already."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(DEFAULT_BUDGET, free // 4) + _resident_now()


def _resident_now() -> int:
    """Bytes of resident memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _rounded_up(size: int) -> str:
    return f"{-(-size // 2**20)}MiB"
