"""Gather and scatter in linear, logarithmic and root units against NumPy's own functions, one thread.

The field is float32 (4, 721, 1440), core 64, halo 16. Buffers are used again; NumPy normalizes and restores the field
alone, without tiles, so it does less.
"""

import numpy as np
import pytest

from gfs_sr.data.grid import Registration
from gfs_sr.data.transforms import Transform
from gfs_sr.runtime import tiling
from gfs_sr.runtime.tiling import AxisPlan, Plan

FRAMES, HEIGHT, WIDTH, CORE, HALO = 4, 721, 1440, 64, 16
SCALE, OFFSET = np.float32(0.5), np.float32(0.1)


@pytest.fixture(scope="module")
def field():
    return np.random.default_rng(0).gamma(0.4, 6, (FRAMES, 1, HEIGHT, WIDTH)).astype(np.float32)


def compiled(field, transform):
    plan = Plan(AxisPlan(FRAMES, FRAMES, 0, 0), AxisPlan(HEIGHT, CORE, HALO, HALO), AxisPlan(WIDTH, CORE, HALO, HALO))
    tiles = range(plan.spatial_tiles)
    gathered = np.zeros((len(tiles), FRAMES, 1, CORE + 2 * HALO, CORE + 2 * HALO), np.float32)
    out = np.zeros_like(field)
    numbers = {"transform": np.array([transform.code], np.uint8), "offset": np.array([OFFSET]), "threads": 1}
    flip = np.zeros(1, bool)
    low, high = np.zeros(1, np.float32), np.full(1, np.inf, np.float32)

    def round_trip():
        tiling.gather(field, 0, plan, 0, tiles, scale=np.array([SCALE]), flip=flip, out=gathered, **numbers)
        tiling.scatter(
            cores, plan, 0, tiles, scale=np.array([1 / SCALE]), low=low, high=high, scale_factor=1, time_factor=1,
            registration=Registration.NODE, out=out, **numbers,
        )  # fmt: skip

    cores = np.zeros((len(tiles), FRAMES, 1, CORE, CORE), np.float32)
    round_trip()
    cores[...] = gathered[..., HALO:-HALO, HALO:-HALO]
    return round_trip, out


def numpy_functions(field, transform):
    out = np.zeros_like(field)

    def round_trip():
        match transform:
            case Transform.LINEAR:
                out[...] = (field - OFFSET) * SCALE / SCALE + OFFSET
            case Transform.LOG10_1P:
                bent = (np.log10(1 + field) - OFFSET) * SCALE
                out[...] = 10 ** (bent / SCALE + OFFSET) - 1
            case Transform.SQRT:
                bent = (np.sqrt(field) - OFFSET) * SCALE
                out[...] = np.square(bent / SCALE + OFFSET)

    return round_trip, out


@pytest.mark.benchmark(group="units")
@pytest.mark.parametrize("transform", list(Transform))
@pytest.mark.parametrize("implementation", ["NumPy", "compiled"])
def bench_units(benchmark, field, implementation, transform):
    run, out = (compiled if implementation == "compiled" else numpy_functions)(field, transform)
    benchmark.pedantic(run, rounds=10, warmup_rounds=1)
    benchmark.extra_info.update(
        case=f"{transform} (4,721,1440) core 64 halo 16", implementation=implementation, reference="NumPy",
        cells=field.size,
    )  # fmt: skip
    np.testing.assert_allclose(out, field, rtol=2e-4, atol=1e-4)
