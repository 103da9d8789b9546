"""How the steps of a sampler are tiled, and what the whole of a drawing takes, within a promised memory."""

from dataclasses import replace

import numpy as np

from gfs_sr.contract import Halo
from gfs_sr.errors import MemoryBudgetTooSmall, UsageError
from gfs_sr.runtime.planner import SINK_BYTES, UNLIMITED, resident_now_bytes
from gfs_sr.runtime.request import Job
from gfs_sr.runtime.tiling import Footprint, Plan, make_plan
from gfs_sr.runtime.window import around

FIELDS = 7  # of one group of variables: z before and after a step, two results, a slope, noise, a sum
DEFAULT_STEP_BYTES = 1 << 30  # of one tile; larger ones gain little once the halo is small beside them
STEP_SHARE = 0.5  # of what is free, for one tile of the denoiser; the rest is for the conditions
SPARE = 8  # coarse cells around all that is read: statics are blurred and coarsened there
BLENDED_SHARE = 4  # of a tile's side: its part that overlaps a neighbour's, on each side, where tiles are blended


def frames_at_once(job: Job) -> int:
    """Coarse frames that are drawn together: all where frames know each other, or their conditions do; else one."""
    contract = job.contract
    assert contract.denoising is not None  # else nothing is drawn
    conditions_know = contract.halo == "global" and not contract.frames_apart
    return len(job.forecast.times) if contract.denoising.temporal or conditions_know else 1


def drawn_part(job: Job) -> Job:
    """The job on the part of the field that its kept cells can know of: every step sees as far as its halo, and on.

    All of it where anything sees the whole field.
    """
    contract = job.contract
    assert contract.denoising is not None  # else nothing is drawn
    assert job.sampling is not None  # `prepare` has settled it
    step, mean = contract.denoising.halo, contract.halo
    if not isinstance(step, Halo) or not isinstance(mean, Halo):
        return job
    sides = ("north", "south", "west", "east")
    reach = {side: job.sampling.evaluations * getattr(step, side) + getattr(mean, side) + SPARE for side in sides}
    margin = Halo(before=0, after=0, **reach)
    return replace(job, horizontal=around(job.horizontal, contract.scale_factor, margin))


def is_blended(job: Job, tile: int | None) -> bool:
    """Whether tiles of a denoiser that sees everything were asked for: they overlap, and are blended at every step."""
    assert job.contract.denoising is not None  # else nothing is drawn
    return job.contract.denoising.halo == "global" and tile is not None and tile < max(job.horizontal.coarse.shape)


def canvas_bytes(job: Job) -> int:
    """Of everything that is kept for a whole window: mean, unit, conditions, the field, and the sampler's own."""
    contract = job.contract
    assert contract.denoising is not None
    cells = contract.scale_factor**2 * int(np.prod(job.horizontal.coarse.shape))
    frames = contract.time_factor * frames_at_once(job)
    variables = len(job.inputs) if contract.any_subset else len(contract.outputs)
    conditions = contract.denoising.condition * (variables if contract.any_subset else 1)
    drawn = 1 if contract.any_subset else variables
    return 4 * cells * frames * (3 * variables + conditions + FIELDS * drawn)


def plan_steps(job: Job, tile: int | None, budget_bytes: int | None, sink_bytes: int = 0) -> Plan:
    """Tiles of the denoiser, in coarse cells with their halo; one where it sees everything, but see `is_blended`.

    Args:
        job: what is drawn.
        tile: side of a core, in place of the planner's choice.
        budget_bytes: most that the process may take; None lets a tile take what is reasonable.
        sink_bytes: what the sink keeps in memory.

    Raises:
        MemoryBudgetTooSmall: not even the smallest tile fits.
        UsageError: tiles of a model that is led by the place of the whole field.
    """
    contract = job.contract
    denoising = contract.denoising
    assert denoising is not None
    frames = frames_at_once(job)
    variables = 1 if contract.any_subset else len(contract.outputs)
    conditions = denoising.condition
    fine = contract.scale_factor**2 * contract.time_factor
    halo = denoising.halo
    if isinstance(halo, Halo):  # frames are never cut
        halo = halo.model_copy(update={"before": 0, "after": 0})
    elif tile is not None and is_blended(job, tile):
        halo = _overlap(job, tile)
    footprint = Footprint(
        channels=0,
        scale_factor=1,
        time_factor=1,
        queue_depth=0,
        frame_bytes=fine * (4.0 * (2 * variables + conditions) + denoising.bytes_per_cell * variables),
    )
    grid, fixed = job.horizontal.coarse, fixed_bytes(job, sink_bytes)
    free = DEFAULT_STEP_BYTES if budget_bytes is None else int(STEP_SHARE * max(0, budget_bytes - fixed))
    try:
        return make_plan(grid, frames, halo, footprint, core=tile, time_core=frames, memory_bytes=free)
    except MemoryBudgetTooSmall as error:
        least = tile if tile is not None or budget_bytes is None else 1
        plan = make_plan(grid, frames, halo, footprint, core=least, time_core=frames, memory_bytes=UNLIMITED)
        if budget_bytes is None:  # nothing was promised
            return plan
        needed = -(-int(fixed + step_bytes(job, plan) / STEP_SHARE) // 2**20)
        raise MemoryBudgetTooSmall(
            f"{budget_bytes / 2**20:.0f} MiB were allowed, and drawing members needs {needed} MiB at least",
            error.where,
            f"give --memory {needed}MiB or more, fewer variables, or a smaller region",
        ) from error


def step_bytes(job: Job, plan: Plan) -> int:
    """What one tile of the denoiser takes: its inputs, its result, and the engine's work."""
    contract = job.contract
    denoising = contract.denoising
    assert denoising is not None
    cells = contract.scale_factor**2 * contract.time_factor * plan.time.core * plan.lat.extent * plan.lon.extent
    variables = 1 if contract.any_subset else len(contract.outputs)
    return int(cells * (4.0 * (2 * variables + denoising.condition) + denoising.bytes_per_cell * variables))


def fixed_bytes(job: Job, sink_bytes: int) -> int:
    """What a drawing takes whatever its tiles."""
    return resident_now_bytes() + SINK_BYTES + sink_bytes + canvas_bytes(job)


def _overlap(job: Job, tile: int) -> Halo:
    """A part of the side, and no more than goes once around."""
    if any(predictor.name == "latitude" for predictor in job.contract.predictors):
        raise UsageError(f"{job.contract.name} is led by the place of the whole field", "--tile", "leave --tile out")
    rows, columns = ((size - min(tile, size)) // 2 for size in job.horizontal.coarse.shape)
    widest = -(-tile // BLENDED_SHARE)
    lat, lon = min(widest, rows), min(widest, columns)
    return Halo(before=0, after=0, north=lat, south=lat, west=lon, east=lon)
