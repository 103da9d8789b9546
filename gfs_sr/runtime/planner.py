"""How large the tiles of a job are, and how many go through the engine at once, within a promised memory."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from gfs_sr.contract import Contract, NoiseGrid
from gfs_sr.errors import MemoryBudgetTooSmall, UsageError
from gfs_sr.runtime.backends.shapes import output_shape
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.request import Job, Request
from gfs_sr.runtime.tiling import CALL_VALUES, Footprint, Plan, make_plan
from gfs_sr.runtime.workspace import workspace_of

IN_FLIGHT = 2  # buffers of each kind in the pipeline
DEFAULT_BUDGET = 2 << 30  # larger tiles leave the caches: `fused` loses 10 % at 6 GiB, a halo of 43 cells gains a third
SINK_BYTES = 96 << 20  # compressors and chunk caches
SMALL_CORE = 16  # coarse cells; smaller tiles are nearly all halo
UNLIMITED = 1 << 62


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
    if job.contract.halo == "global" and request.tile is not None:
        raise UsageError(
            f"{job.contract.name} sees the whole field at once and cannot be tiled", "--tile", "leave --tile out"
        )
    cells = int(np.prod(job.horizontal.coarse.shape))
    fixed = resident_now_bytes() + resident_bytes + SINK_BYTES + int(cells * _static_bytes(job.contract))
    footprint = _footprint(job)
    free = _default_budget() if budget_bytes is None else budget_bytes - fixed
    try:
        plan = _plan(job, footprint, request.tile, core_frames, free)
    except MemoryBudgetTooSmall as error:
        if budget_bytes is None:  # nothing was promised: a small plan runs, whatever it takes
            small = _plan(job, footprint, request.tile or SMALL_CORE, core_frames or 1, UNLIMITED)
            return _layout(job, small, footprint)
        least = _plan(job, footprint, request.tile or 1, core_frames or 1, UNLIMITED)
        needed = -(-(fixed + footprint.memory_bytes(least)) // 2**20)
        raise MemoryBudgetTooSmall(
            f"{budget_bytes / 2**20:.0f} MiB were allowed, and the smallest plan needs {needed} MiB",
            error.where,
            f"give --memory {needed}MiB or more, fewer variables, or a smaller box",
        ) from error
    return _batched(_layout(job, plan, footprint), footprint, free)


def _layout(job: Job, plan: Plan, footprint: Footprint) -> Layout:
    return Layout(job, plan, 1, int(footprint.channels_at_once(int(np.prod(plan.core_shape)))))


def _footprint(job: Job) -> Footprint:
    contract = job.contract
    channels = max(len(job.inputs), len(contract.outputs) if not contract.any_subset else 0)
    refined = contract.scale_factor**2 * contract.time_factor
    workspace = workspace_of(contract)
    return Footprint(
        channels=channels,
        scale_factor=contract.scale_factor,
        time_factor=contract.time_factor,
        queue_depth=IN_FLIGHT,
        place_bytes=_static_bytes(contract),
        splits_channels=contract.any_subset,
        core_bytes=workspace.per_fine_byte * 4.0 * refined,
        value_bytes=workspace.per_value,
        # predictors on any grid and their buffers count as if they were fine
        frame_bytes=workspace.per_fine_frame * contract.time_factor
        + len(contract.predictors) * 8.0 * refined
        + IN_FLIGHT * _noise_bytes(contract),
    )


def _noise_bytes(contract: Contract) -> float:
    """Of the random inputs of one coarse cell at one frame."""
    fine = contract.scale_factor**2 * contract.time_factor
    sizes = {NoiseGrid.COARSE: 1, NoiseGrid.FINE: fine, NoiseGrid.SHARED: 0}
    return 4.0 * sum(each.channels * sizes[each.grid] for each in contract.noise)


def _static_bytes(contract: Contract) -> float:
    """Of the statics of one coarse cell."""
    return 4.0 * (len(contract.statics_coarse) + contract.scale_factor**2 * len(contract.statics_fine))


def _plan(job: Job, footprint: Footprint, tile: int | None, core_frames: int | None, budget: int) -> Plan:
    frames = len(job.forecast.times)
    time_core = None if core_frames is None else min(core_frames, frames)
    return make_plan(
        job.horizontal.coarse,
        frames,
        job.contract.halo,
        footprint,
        core=tile,
        time_core=time_core,
        memory_bytes=max(budget, 0),
        frames_apart=job.contract.frames_apart,
    )


def _batched(layout: Layout, footprint: Footprint, budget: int) -> Layout:
    """Several tiles at a time where a single one is small and the budget allows it."""
    count = len(layout.columns)
    single = int(np.prod(output_shape(layout.contract, layout.core)))
    batch = max(1, min(count, CALL_VALUES // max(1, single)))
    while batch > 1 and replace(footprint, batch=batch).memory_bytes(layout.plan) > budget:
        batch -= 1
    # even batches, so that the engine sees one shape
    return replace(layout, batch=-(-count // -(-count // batch)))


def _default_budget() -> int:
    """A quarter of what is free, at most `DEFAULT_BUDGET`."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(DEFAULT_BUDGET, free // 4)


def resident_now_bytes() -> int:
    """Bytes of resident memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
