"""Plans over (time, lat, lon), and the typed face of the compiled gather, scatter and filling of missing cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from gfs_sr import _core
from gfs_sr.contract import Halo
from gfs_sr.data.grid import Boundary, Grid, Registration
from gfs_sr.errors import MemoryBudgetTooSmall, ShapeMismatch, UsageError

FloatArray = npt.NDArray[np.float32]
Frames = Sequence[FloatArray] | FloatArray  # frames (C, H, W), or all of them as one array (T, C, H, W)
Result = TypeVar("Result")
Codes = npt.NDArray[np.uint8]  # of `gfs_sr.data.transforms.Transform`, one per channel
Tiles = Sequence[int] | npt.NDArray[np.integer[Any]]

DEFAULT_MEMORY_BYTES = 2 * 2**30
CALL_VALUES = 1 << 22  # fine values of one call of an engine; smaller calls leave it idle between them
# reading, gathering and writing overlap with inference on all blocks but the first and the last: their share of one
# block's time, an estimate
UNOVERLAPPED = 0.25


@dataclass(frozen=True)
class AxisPlan:
    """One axis cut into tiles of one shape: tile t sees source indices t·core - before … (t + 1)·core + after - 1.

    Raises:
        UsageError: a number is out of range, or the boundary does not fit.
    """

    length: int
    core: int
    before: int
    after: int
    boundary: Boundary = Boundary.EDGE
    pole_offsets: tuple[int | None, int | None] = (None, None)  # as in Grid.pole_offsets

    def __post_init__(self) -> None:
        _refused("axis", lambda: self.compiled)

    @property
    def tiles(self) -> int:
        """Number of tiles; the last one overhangs the axis by the boundary rule."""
        return -(-self.length // self.core)

    @property
    def extent(self) -> int:
        """Cells of a tile, halo included."""
        return self.before + self.core + self.after

    @property
    def compiled(self) -> _core.Axis:
        """The same for the compiled core."""
        return _core.Axis(self.length, self.core, self.before, self.after, self.boundary.value, *self.pole_offsets)


@dataclass(frozen=True)
class Plan:
    """How a field (T, H, W) is cut. Spatial tiles count row by row: lat band, then lon.

    Raises:
        UsageError: the boundaries do not fit together, as poles without periodic longitudes.
    """

    time: AxisPlan
    lat: AxisPlan
    lon: AxisPlan

    def __post_init__(self) -> None:
        _refused("plan", lambda: self.compiled)

    @property
    def tile_shape(self) -> tuple[int, int, int]:
        """(t, h, w) of every tile, halo included."""
        return self.time.extent, self.lat.extent, self.lon.extent

    @property
    def core_shape(self) -> tuple[int, int, int]:
        """(t, h, w) of every tile's core."""
        return self.time.core, self.lat.core, self.lon.core

    @property
    def spatial_tiles(self) -> int:
        """Number of tiles of one time tile."""
        return self.lat.tiles * self.lon.tiles

    @property
    def compiled(self) -> _core.Plan:
        """The same for the compiled core."""
        return _core.Plan(self.time.compiled, self.lat.compiled, self.lon.compiled)

    def window(self, time_tile: int) -> range:
        """Source frames that a time tile sees."""
        first = time_tile * self.time.core - self.time.before
        return range(max(first, 0), min(first + self.time.extent, self.time.length))


@dataclass(frozen=True)
class Footprint:
    """What decides how much memory a plan needs besides its shape."""

    channels: int
    scale_factor: int
    time_factor: int
    batch: int = 1  # tiles per inference
    queue_depth: int = 2  # buffers of each kind
    place_bytes: float = 0.0  # of statics and predictors in an input buffer, per coarse cell of a tile with its halo
    splits_channels: bool = False  # the engine may take the variables of a large tile one group after the other
    # workspace of the engine for the variables it takes at once:
    core_bytes: float = 0.0  # per coarse cell, frame and variable of a core
    value_bytes: float = 0.0  # per frame and variable of a core, and coarse cell of a tile with its halo
    frame_bytes: float = 0.0  # per frame of a core and cell of a tile with its halo, for all variables together

    def channels_at_once(self, core_cells: Any) -> Any:
        """Variables that the engine takes together, of a tile with so many coarse cells times frames in its core.

        All of a small tile, fewer of a large one: its intermediate fields then take less memory, which larger tiles
        with relatively less halo make better use of. Groups are of one size, so that the engine sees one shape.
        """
        if not self.splits_channels:
            return np.full(np.shape(core_cells), self.channels)
        single = np.asarray(core_cells) * self.scale_factor**2 * self.time_factor
        divisors = np.array([part for part in range(1, self.channels + 1) if self.channels % part == 0])
        fitting = np.where(divisors * single[..., None] <= CALL_VALUES, divisors, 1)
        return fitting.max(axis=-1)

    def memory_bytes(self, plan: Plan) -> int:
        """Bytes held at once: coarse frames with masks, tiles in and out, fine blocks, and the engine's workspace."""
        cells = np.array([[axis.length, axis.core, axis.extent] for axis in (plan.time, plan.lat, plan.lon)])
        return int(self._bytes(cells[:, 0], cells[:, 1], cells[:, 2]))

    def _bytes(self, length: Any, core: Any, extent: Any) -> Any:
        area = self.scale_factor**2 * self.time_factor
        frames = np.minimum(extent[0] + self.queue_depth * core[0], length[0])
        ring = frames * length[1] * length[2] * self.channels * 5.0  # fp32 values and one byte of mask
        place = self.batch * extent[1] * extent[2]
        tiles_in = self.queue_depth * place * (extent[0] * self.channels * 4.0 + self.place_bytes)
        core_cells = core[0] * core[1] * core[2]
        at_once = self.channels_at_once(core_cells)
        working = self.batch * core_cells * at_once * self.core_bytes
        working = working + core[0] * place * (at_once * self.value_bytes + self.frame_bytes)
        # one more than queued: the engine's own result
        tiles_out = (self.queue_depth + 1) * self.batch * core_cells * area * self.channels * 4.0
        block = core[0] * np.minimum(core[1], length[1]) * length[2]
        blocks = self.queue_depth * block * area * (self.channels * 4.0 + 1.0)  # a byte of quality flag beside
        return ring + tiles_in + tiles_out + blocks + working


def make_plan(
    grid: Grid,
    frames: int,
    halo: Halo | Literal["global"],
    footprint: Footprint,
    *,
    core: int | None = None,
    time_core: int | None = None,
    memory_bytes: int | None = None,
    frames_apart: bool = False,
) -> Plan:
    """The plan that computes least within a memory budget: large cores, full-width bands first.

    Args:
        grid: the coarse grid; decides what lies beyond its ends.
        frames: coarse frames of the forecast.
        halo: of the contract; `global` gives one tile, the whole field of all frames.
        footprint: channels, factors, batch and engine workspace.
        core: side of a tile's core in coarse cells, in place of the planner's choice.
        time_core: frames of a tile's core, in place of the planner's choice.
        memory_bytes: the budget; 2 GiB where nothing is said.
        frames_apart: a halo that is global is so in space alone.

    Raises:
        MemoryBudgetTooSmall: not even the smallest plan fits; says what is needed.
        UsageError: a core below 1.
    """
    for name, value in (("tile", core), ("time core", time_core), ("frames", frames)):
        if value is not None and value < 1:
            raise UsageError(f"{name} of {value} holds nothing", f"--{name}", "give 1 or more")
    budget = DEFAULT_MEMORY_BYTES if memory_bytes is None else memory_bytes
    lengths = (frames, *grid.shape)
    if halo == "global":
        margins = ((0, 0), (0, 0), (0, 0))
        choices = [np.array([length]) for length in lengths]
        if frames_apart:
            choices[0] = _even_cores(frames) if time_core is None else np.array([min(time_core, frames)])
    else:
        margins = ((halo.before, halo.after), (halo.north, halo.south), (halo.west, halo.east))
        fixed = (time_core, core, core)
        choices = [
            _even_cores(length) if wanted is None else np.array([min(wanted, length)])
            for length, wanted in zip(lengths, fixed, strict=True)
        ]
    cores = np.stack([axis.ravel() for axis in np.meshgrid(*choices, indexing="ij")]).astype(np.float64)
    length = np.array(lengths, np.float64)[:, None]
    extent = cores + np.array([before + after for before, after in margins])[:, None]
    needed = footprint._bytes(length, cores, extent)
    fits = needed <= budget
    if not fits.any():
        smallest = int(needed.argmin())
        least = f"{np.ceil(needed[smallest] / 2**20):.0f}"
        raise MemoryBudgetTooSmall(
            f"{budget / 2**20:.0f} MiB were allowed, and the smallest plan needs {least} MiB",
            f"a field of {lengths[1]} by {lengths[2]} cells, {footprint.channels} variables, tile core "
            f"{'x'.join(f'{side:.0f}' for side in cores[:, smallest])} (time, lat, lon)",
            f"give --memory {least}MiB or more, or fewer variables",
        )
    counts = np.ceil(length / cores)
    blocks = counts[0] * counts[1]
    work = (counts * extent).prod(axis=0) * (1 + UNOVERLAPPED / blocks)
    work = np.where(fits, work, np.inf)
    # of equal work the fewest tiles across, then the least memory
    best = int(np.lexsort((needed, counts[2], work))[0])
    boundaries = _boundaries(grid)
    axes = [AxisPlan(lengths[i], int(cores[i, best]), *margins[i], *boundaries[i]) for i in range(3)]
    return Plan(*axes)


def gather(
    frames: Frames,
    first_frame: int,
    plan: Plan,
    time_tile: int,
    tiles: Tiles,
    *,
    offset: FloatArray,
    scale: FloatArray,
    flip: npt.NDArray[np.bool_],
    out: npt.NDArray[Any],
    fill: FloatArray | None = None,
    transform: Codes | None = None,
    threads: int = 0,
) -> None:
    """Write tiles with their halo, normalized, into `out`: z = (g(x) - offset) · scale.

    Args:
        frames: (C, H, W) float32 each, consecutive; what the time tile sees must be among them.
        first_frame: index of frames[0] on the plan's time axis.
        plan: how the field is cut.
        time_tile: which time tile.
        tiles: spatial tiles, one per entry of `out`.
        offset: (C,) float32, units of g(x).
        scale: (C,) float32.
        flip: (C,) whether the sign changes beyond a pole, as for components of a vector.
        out: (N, t, C, h, w) float32 or float16, or uint16 (or ml_dtypes.bfloat16) for the bits of bfloat16.
        fill: (C,) float32, model units, written where the normalized value is NaN; None leaves NaN.
        transform: (C,) which `Transform` g is, by its code; x itself where none is given.
        threads: 0 for one per processor.

    Raises:
        ShapeMismatch: an array has another shape, type or order, or `out` cannot be written or shares memory with a
            frame. Nothing was written.
    """
    if out.dtype.name == "bfloat16":
        out = out.view(np.uint16)
    _refused(
        "gather",
        lambda: _core.gather(
            list(frames),
            first_frame,
            plan.compiled,
            time_tile,
            _indices(tiles),
            transform,
            offset,
            scale,
            flip,
            fill,
            out,
            threads,
        ),
    )


def scatter(
    fine: npt.NDArray[Any],
    plan: Plan,
    time_tile: int,
    tiles: Tiles,
    *,
    scale_factor: int,
    time_factor: int,
    offset: FloatArray,
    scale: FloatArray,
    low: FloatArray,
    high: FloatArray,
    registration: Registration,
    out: FloatArray,
    origin: tuple[int, int, int] = (0, 0, 0),
    mask: Sequence[npt.NDArray[np.bool_ | np.uint8]] | None = None,
    mask_first_frame: int | None = None,
    bucket: npt.NDArray[np.bool_] | None = None,
    transform: Codes | None = None,
    threads: int = 0,
) -> None:
    """Put fine tiles where they belong, in physical units and bounds: g(x) = z · scale + offset, NaN under the mask.

    Args:
        fine: (N, r·t, C, s·h, s·w) of the tiles' cores; float32, float16, or bfloat16 as in `gather`.
        plan: how the coarse field is cut.
        time_tile: which time tile.
        tiles: spatial tiles, one per entry of `fine`.
        scale_factor: s.
        time_factor: r.
        offset: (C,) float32, units of g(x).
        scale: (C,) float32.
        low: (C,) float32 lower bounds, physical units.
        high: (C,) float32 upper bounds.
        registration: where fine cells lie; decides which coarse cell is nearest.
        out: (T, C, H, W) float32, a window of the fine domain [0, r·T) x [0, s·H) x [0, s·W). Cells of the window that
            belong to no given tile are left as they are.
        origin: first (frame, row, column) of the window.
        mask: coarse frames (C, H, W), nonzero where masked.
        mask_first_frame: index of mask[0] on the plan's time axis; the first frame the time tile sees, if not given.
        bucket: (C,) whether a channel's fine frame f lies in coarse frame f // r (accumulated or averaged), not
            nearest to f / r (instant, as are all where nothing is given). Without a halo after the core the nearest
            frame is f // r too: the model sees no later one.
        transform: (C,) which `Transform` g is, by its code; x itself where none is given.
        threads: 0 for one per processor.

    Raises:
        ShapeMismatch: as for `gather`.
    """
    if fine.dtype.name == "bfloat16":
        fine = fine.view(np.uint16)
    first_mask = plan.window(time_tile).start if mask_first_frame is None else mask_first_frame
    _refused(
        "scatter",
        lambda: _core.scatter(
            fine,
            plan.compiled,
            time_tile,
            _indices(tiles),
            scale_factor,
            time_factor,
            transform,
            offset,
            scale,
            low,
            high,
            [] if mask is None else list(mask),
            first_mask,
            registration is Registration.NODE,
            bucket,
            out,
            origin,
            threads,
        ),
    )


def fill_nearest(frame: FloatArray, is_periodic: bool, threads: int = 0) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """A copy of `frame` (C, H, W) whose NaN cells hold the nearest valid value of their channel, and where they were.

    Nearest by index distance, around the globe where `is_periodic`; a tie goes to the westernmost cell, then to the
    northernmost. A channel that is NaN throughout stays so.

    Returns:
        (filled (C, H, W) float32, mask (C, H, W) uint8, 1 where NaN was).

    Raises:
        ShapeMismatch: not a contiguous float32 array (C, H, W).
    """
    return _refused("fill_nearest", lambda: _core.fill_nearest(frame, is_periodic, threads))


def _refused(where: str, call: Callable[[], Result]) -> Result:
    """Run `call`; what the core refuses becomes an error with a place and a mend."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        if where in {"axis", "plan"}:
            raise UsageError(str(error), f"tiling {where}", "choose numbers in that range") from error
        raise ShapeMismatch(str(error), f"tiling.{where}", "pass arrays as its documentation says") from error


def _indices(tiles: Tiles) -> list[int]:
    return [int(tile) for tile in tiles]


def _even_cores(length: int) -> npt.NDArray[np.int64]:
    """Cores that cut an axis as evenly as can be: one per count of tiles, ends overhanging least."""
    return np.unique(-(-length // np.arange(1, length + 1)))


def _boundaries(grid: Grid) -> tuple[tuple[Boundary, tuple[int | None, int | None]], ...]:
    plain = (None, None)
    poles = grid.pole_offsets
    return (
        (Boundary.EDGE, plain),
        (Boundary.EDGE if poles == plain else Boundary.POLE, poles),
        (Boundary.PERIODIC if grid.is_periodic else Boundary.EDGE, plain),
    )
