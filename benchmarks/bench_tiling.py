"""Gather and scatter of a global quarter-degree field, normalization included, against memcpy, NumPy and peers.

The field is float32 (8, 5, 721, 1440), core 64, halo 16, an identity network. Buffers are allocated and touched before
the first round and used again; each implementation normalizes on the way in and denormalizes on the way out. `memcpy`
copies as many bytes as the tiling moves at least: the tiles with their halo once, the field once.

NREL-sup3r itself needs a TensorFlow that does not install beside this NumPy; `slicing, channels last` is its idea, done
here independently: (y, x, t, c) layout, long contiguous rows, padding of the border tiles only.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.peaks import shares
from gfs_sr.data.grid import Boundary, Registration
from gfs_sr.runtime import tiling
from gfs_sr.runtime.tiling import AxisPlan, Plan

FloatArray = npt.NDArray[np.float32]
FRAMES, CHANNELS, HEIGHT, WIDTH, CORE, HALO = 8, 5, 721, 1440, 64, 16
TILE = CORE + 2 * HALO
ROUNDS = 12
OFFSET = np.linspace(0, 280, CHANNELS, dtype=np.float32)
SCALE = np.linspace(0.5, 2, CHANNELS, dtype=np.float32)
Case = Callable[[], object]


@pytest.fixture(scope="module")
def field() -> FloatArray:
    random = np.random.default_rng(0)
    return random.standard_normal((FRAMES, CHANNELS, HEIGHT, WIDTH), dtype=np.float32) + OFFSET[:, None, None]


def corners() -> list[tuple[int, int]]:
    return [(y, x) for y in range(0, HEIGHT, CORE) for x in range(0, WIDTH, CORE)]


def compiled(field: FloatArray, threads: int = 0, over_poles: bool = True) -> tuple[Case, FloatArray]:
    poles = (Boundary.POLE, (0, 0)) if over_poles else (Boundary.EDGE, (None, None))
    plan = Plan(
        AxisPlan(FRAMES, FRAMES, 0, 0),
        AxisPlan(HEIGHT, CORE, HALO, HALO, *poles),
        AxisPlan(WIDTH, CORE, HALO, HALO, Boundary.PERIODIC),
    )
    tiles = range(plan.spatial_tiles)
    gathered = np.zeros((len(tiles), FRAMES, CHANNELS, TILE, TILE), np.float32)
    cores = np.zeros((len(tiles), FRAMES, CHANNELS, CORE, CORE), np.float32)
    cores[...] = gathered[..., HALO:-HALO, HALO:-HALO]
    out = np.zeros_like(field)
    flip = np.zeros(CHANNELS, bool)
    infinity = np.full(CHANNELS, np.inf, np.float32)

    def gather() -> None:
        tiling.gather(
            field, 0, plan, 0, tiles, offset=OFFSET, scale=1 / SCALE, flip=flip, out=gathered, threads=threads
        )

    def scatter() -> None:
        tiling.scatter(
            cores,
            plan,
            0,
            tiles,
            scale_factor=1,
            time_factor=1,
            offset=OFFSET,
            scale=SCALE,
            low=-infinity,
            high=infinity,
            registration=Registration.NODE,
            out=out,
            threads=threads,
        )

    def round_trip() -> None:
        gather()
        scatter()

    gather()
    cores[...] = gathered[..., HALO:-HALO, HALO:-HALO]  # the identity network gives cores, as a valid network does
    return round_trip, out


def compiled_on_one_thread(field: FloatArray) -> tuple[Case, FloatArray]:
    return compiled(field, threads=1)


def memcpy(field: FloatArray) -> tuple[Case, FloatArray]:
    tiles = np.ones(len(corners()) * FRAMES * CHANNELS * TILE * TILE, np.float32)
    target, out = np.zeros_like(tiles), np.zeros_like(field)

    def copy() -> None:
        np.copyto(target, tiles)
        np.copyto(out, field)

    return copy, out


def numpy_slices(field: FloatArray) -> tuple[Case, FloatArray]:
    """Normalize and pad the whole field, then slice per tile."""
    rows, columns = -(-HEIGHT // CORE) * CORE, -(-WIDTH // CORE) * CORE
    normalized = np.zeros_like(field)
    padded = np.zeros((FRAMES, CHANNELS, rows + 2 * HALO, columns + 2 * HALO), np.float32)
    gathered = np.zeros((len(corners()), FRAMES, CHANNELS, TILE, TILE), np.float32)
    out = np.zeros_like(field)

    def round_trip() -> None:
        np.subtract(field, OFFSET[:, None, None], out=normalized)
        np.multiply(normalized, 1 / SCALE[:, None, None], out=normalized)
        padded[:, :, HALO : HALO + HEIGHT, HALO : HALO + WIDTH] = normalized
        padded[:, :, HALO : HALO + HEIGHT, :HALO] = normalized[..., -HALO:]
        surplus = padded.shape[3] - HALO - WIDTH
        padded[:, :, HALO : HALO + HEIGHT, HALO + WIDTH :] = normalized[..., :surplus]
        padded[:, :, :HALO] = padded[:, :, HALO : HALO + 1]
        padded[:, :, HALO + HEIGHT :] = padded[:, :, HALO + HEIGHT - 1 : HALO + HEIGHT]
        for n, (y, x) in enumerate(corners()):
            gathered[n] = padded[:, :, y : y + TILE, x : x + TILE]
        for n, (y, x) in enumerate(corners()):
            target = out[:, :, y : y + CORE, x : x + CORE]
            core = gathered[n, :, :, HALO : HALO + target.shape[2], HALO : HALO + target.shape[3]]
            np.multiply(core, SCALE[:, None, None], out=target)
            target += OFFSET[:, None, None]

    return round_trip, out


def slicing_channels_last(field: FloatArray) -> tuple[Case, FloatArray]:
    source = np.ascontiguousarray(field.transpose(2, 3, 0, 1))
    gathered = np.zeros((len(corners()), TILE, TILE, FRAMES, CHANNELS), np.float32)
    out = np.zeros_like(source)

    def round_trip() -> None:
        for n, (y, x) in enumerate(corners()):
            top, left = max(y - HALO, 0), max(x - HALO, 0)
            bottom, right = min(y + CORE + HALO, HEIGHT), min(x + CORE + HALO, WIDTH)
            part, tile = source[top:bottom, left:right], gathered[n]
            before, after = (top - y + HALO, left - x + HALO), (y + CORE + HALO - bottom, x + CORE + HALO - right)
            if before == after == (0, 0):
                np.subtract(part, OFFSET, out=tile)
            else:
                pad = [*zip(before, after, strict=True), (0, 0), (0, 0)]
                np.subtract(np.pad(part, pad, mode="edge"), OFFSET, out=tile)
            np.multiply(tile, 1 / SCALE, out=tile)
        for n, (y, x) in enumerate(corners()):
            target = out[y : y + CORE, x : x + CORE]
            core = gathered[n, HALO : HALO + target.shape[0], HALO : HALO + target.shape[1]]
            np.multiply(core, SCALE, out=target)
            target += OFFSET

    return round_trip, out.transpose(2, 3, 0, 1)


def monai_sliding_window(field: FloatArray) -> tuple[Case, FloatArray]:
    if find_spec("monai") is None or find_spec("torch") is None:
        pytest.skip("needs monai")
    import torch
    from monai.inferers import SlidingWindowInferer

    source = torch.from_numpy(field)
    offset, scale = torch.from_numpy(OFFSET)[:, None, None], torch.from_numpy(SCALE)[:, None, None]
    inferer = SlidingWindowInferer((TILE, TILE), sw_batch_size=1, overlap=2 * HALO / TILE, mode="constant")
    out = np.zeros_like(field)

    def round_trip() -> None:
        out[...] = (inferer((source - offset) / scale, lambda tile: tile) * scale + offset).numpy()

    return round_trip, out


def tiler_overlap_tile(field: FloatArray) -> tuple[Case, FloatArray]:
    if find_spec("tiler") is None:
        pytest.skip("needs tiler")
    from tiler import Merger, Tiler

    stacked = field.reshape(FRAMES * CHANNELS, HEIGHT, WIDTH)
    shape = (FRAMES * CHANNELS, TILE, TILE)
    tiler = Tiler(stacked.shape, shape, overlap=(0, 2 * HALO, 2 * HALO), channel_dimension=0)
    new_shape, padding = tiler.calculate_padding()
    tiler.recalculate(data_shape=new_shape)
    out = np.zeros_like(field)

    def round_trip() -> None:
        normalized = ((field - OFFSET[:, None, None]) / SCALE[:, None, None]).reshape(stacked.shape)
        padded = np.pad(normalized, padding, mode="edge")
        merger = Merger(tiler, window="overlap-tile")
        for n, tile in tiler(padded, progress_bar=False):
            merger.add(n, tile)
        merged = merger.merge(extra_padding=padding, dtype=np.float32)
        out[...] = merged.reshape(field.shape) * SCALE[:, None, None] + OFFSET[:, None, None]

    return round_trip, out


IMPLEMENTATIONS = {
    "memcpy": memcpy,
    "compiled": compiled,
    "compiled, 1 thread": compiled_on_one_thread,
    "NumPy": numpy_slices,
    "slicing, channels last": slicing_channels_last,
    "MONAI": monai_sliding_window,
    "tiler": tiler_overlap_tile,
}


@pytest.mark.benchmark(group="tiling")
@pytest.mark.filterwarnings("ignore")  # of the peers
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_round_trip(benchmark, field, implementation):
    run, out = IMPLEMENTATIONS[implementation](field)
    is_slow = implementation in {"MONAI", "tiler"}
    benchmark.pedantic(run, rounds=3 if is_slow else ROUNDS, warmup_rounds=1)
    benchmark.extra_info.update(
        case="round trip (8,5,721,1440) core 64 halo 16",
        implementation=implementation,
        reference="memcpy",
        cells=field.size,
        field_gb_per_s=round(field.nbytes / benchmark.stats.stats.min / 1e9, 2),
        **shares(
            benchmark.stats.stats.min,
            moved=2 * 4 * (len(corners()) * FRAMES * CHANNELS * TILE * TILE + field.size),
        ),
    )
    np.testing.assert_allclose(out, field, rtol=1e-5, atol=1e-3)
