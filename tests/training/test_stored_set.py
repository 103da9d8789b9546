"""Fields that stay in their files: the same samples as from memory, within a bound on what is held."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from gfs_sr.contract import Scaling
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.coarsen import TimeReduction, block_mean, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.data.prepared import Preparation, prepare
from gfs_sr.data.sources.blocks import open_blocks
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.smoothed import SmoothedFields
from gfs_sr.training.stored_set import StoredSet
from gfs_sr.training.units import units_of
from gfs_sr.training.windows import generator

S = 4
NAMES = ("t2m", "u10")
NODE, CELL = Registration.NODE, Registration.CELL
SCALING = {"t2m": Scaling(mean=280, sd=5), "u10": Scaling(mean=1, sd=3)}


def task(registration, **changes):
    facts = {
        "variables": NAMES, "scaling": SCALING | {name: Scaling(mean=0, sd=1) for name in ("orog", "lsm")},
        "registration": registration, "scale_factor": S, "time_factor": 3, "context": Reach.space(2) + Reach(1, 2),
        "one_by_one": False, "statics": (), "sun": True, "fractions_given": False,
    }  # fmt: skip
    return Task(**(facts | changes))


def write(path, values, lat, lon, chunks=(5, 16, 20)):
    times = np.datetime64("2024-01-01", "ns") + np.arange(values.shape[1]) * np.timedelta64(1, "h")
    made = xr.Dataset(
        {name: (("time", "lat", "lon"), field, {"units": units})
         for name, field, units in zip(NAMES, values, ("K", "m s-1"), strict=True)},
        coords={"time": times, "lat": ("lat", lat, {"units": "degrees_north"}),
                "lon": ("lon", lon, {"units": "degrees_east"})},
    )  # fmt: skip
    made.to_zarr(path, consolidated=False, encoding={name: {"chunks": chunks} for name in NAMES})
    return times


@pytest.fixture(scope="module", params=["region", "globe"])
def both(request, tmp_path_factory):
    """(in memory, stored) of the same fields."""
    rng = np.random.default_rng(0)
    rows, columns = (61, 70) if request.param == "region" else (46, 80)
    lat = np.linspace(50, 35, rows) if request.param == "region" else np.linspace(67.5, -67.5, rows)
    lon = 5 + 0.25 * np.arange(columns) if request.param == "region" else 4.5 * np.arange(columns)
    values = rng.standard_normal((2, 23, rows, columns)).astype(np.float32) * 4
    values[0] += 280
    path = tmp_path_factory.mktemp("stored") / "fields.zarr"
    times = write(path, values, lat, lon)
    (file,) = open_blocks([path], NAMES)
    memory = FieldSet("a", "a", NAMES, values, times, file.grid.lat, file.grid.lon)
    return memory, StoredSet.of("a", "a", file, ChunkCache(10**6))


@pytest.mark.parametrize("registration", [NODE, CELL])
@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("kind", ["space", "space_time", "time"])
def test_samples_are_those_of_the_fields_in_memory(both, registration, one_by_one, kind):
    memory, stored = both
    assert stored.is_periodic == memory.is_periodic
    assert stored.shape == memory.shape
    stream = StreamConfig(kind=kind, patch=4, intervals=2)
    here = task(registration, one_by_one=one_by_one, statics=("orog", "lsm"))
    samplers = [Sampler([each], here, stream) for each in (memory, stored)]
    for key in range(12):
        one, other = (sampler.draw(generator(7, key)) for sampler in samplers)
        assert set(one) == set(other)
        for name, array in one.items():
            # sums of 25 weights in another order, of values around 280/5
            np.testing.assert_allclose(other[name], array, rtol=1e-6, atol=2e-5, err_msg=name)
            assert array.dtype == other[name].dtype


def test_missing_cells_are_missing_in_the_truth_and_filled_in_the_coarse(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((2, 9, 40, 40)).astype(np.float32)
    values[:, :, 10:14, 20:23] = np.nan
    times = write(tmp_path / "holes.zarr", values, np.linspace(50, 40, 40), 0.25 * np.arange(40), (9, 20, 20))
    (file,) = open_blocks([tmp_path / "holes.zarr"], NAMES)
    memory = FieldSet("a", "a", NAMES, values, times, file.grid.lat, file.grid.lon)
    stored = StoredSet.of("a", "a", file, ChunkCache(10**6))
    stream = StreamConfig(kind="space", patch=8)
    samples = [Sampler([each], task(NODE), stream).draw(generator(3), augment=False) for each in (memory, stored)]
    np.testing.assert_array_equal(samples[0]["mask"], samples[1]["mask"])
    assert not samples[0]["mask"].all()
    np.testing.assert_allclose(samples[1]["coarse"], samples[0]["coarse"], atol=2e-5)


@pytest.mark.parametrize("registration", [NODE, CELL])
@pytest.mark.parametrize("scale", ["linear", "bent"])
def test_a_prepared_set_gives_the_samples_of_the_files(both, tmp_path, registration, scale):
    _, stored = both
    bent = {"t2m": Scaling(mean=2.4, sd=0.1, transform="log10_1p"), "u10": Scaling(mean=1, sd=3)}
    scaling = SCALING if scale == "linear" else bent
    made = prepare(stored.file, Preparation(registration, S, 3.0, units_of(scaling)), tmp_path)
    prepared = stored.prepared(made)
    here = task(registration, scaling=scaling)
    stream = StreamConfig(patch=4, intervals=1)
    for sets in ([stored], [prepared]):
        assert Sampler(sets, here, stream).reads_files
    for key in range(8):
        one, other = (Sampler([each], here, stream).draw(generator(5, key)) for each in (stored, prepared))
        for name, array in one.items():
            np.testing.assert_allclose(other[name], array, rtol=1e-5, atol=1e-4, err_msg=name)
    # another protocol than the store's is made of its fine fields
    wider = task(registration, scaling=scaling, sigma=2.0)
    one, other = (Sampler([each], wider, stream).draw(generator(6)) for each in (stored, prepared))
    np.testing.assert_allclose(other["coarse"], one["coarse"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("reduction", [TimeReduction.MEAN_FORWARD, TimeReduction.MEAN_TRAILING])
def test_coarse_frames_may_be_means_in_time(both, reduction):
    memory, stored = both
    stream = StreamConfig(patch=4, intervals=2)
    here = task(NODE, time=reduction, context=Reach())
    sets = [Sampler([each], here, stream).draw(generator(2), augment=False) for each in (memory, stored)]
    np.testing.assert_allclose(sets[1]["coarse"], sets[0]["coarse"], atol=2e-5)
    every = Sampler([memory], task(NODE, context=Reach()), stream).draw(generator(2), augment=False)
    smoothed = memory.coarse_everywhere(NODE, S)
    place = np.flatnonzero(np.isclose((smoothed[0, :, ::1, ::1] - 280) / 5, every["coarse"][0, 0, 0, 0]).any((1, 2)))
    first = 0 if reduction is TimeReduction.MEAN_FORWARD else -2
    cell = np.argwhere(np.isclose((smoothed[0, place[0]] - 280) / 5, every["coarse"][0, 0, 0, 0]))[0]
    frames = np.clip(place[0] + first + np.arange(3), 0, 22)
    mean = (smoothed[0, frames, cell[0], cell[1]].mean() - 280) / 5
    np.testing.assert_allclose(sets[0]["coarse"][0, 0, 0, 0], mean, atol=1e-5)


def test_samples_of_a_pool_share_their_chunks(tmp_path):
    values = np.random.default_rng(3).standard_normal((2, 40, 160, 160)).astype(np.float32)
    write(tmp_path / "wide.zarr", values, 60 - 0.1 * np.arange(160), 0.1 * np.arange(160), (40, 20, 20))
    (file,) = open_blocks([tmp_path / "wide.zarr"], NAMES)
    stream = StreamConfig(kind="space", patch=4, pool_blocks=2)
    loads = {}
    for pooled in (False, True):
        fields = StoredSet.of("a", "a", file, ChunkCache(6 * 2**20))  # of 16 MB
        sampler = Sampler([fields], task(NODE), stream)
        for step in range(6):
            pool = sampler.pool(generator(1, step)) if pooled else None
            assert pool is None or pool == sampler.pool(generator(1, step))
            for index in range(16):
                sampler.draw(generator(9, step, index), pool=pool)
            assert fields.cache.held_bytes <= fields.cache.limit_bytes
        loads[pooled] = fields.cache.loads
    assert loads[True] < loads[False] / 3


def test_samples_from_pools_reach_every_origin_and_the_last(tmp_path):
    values = np.stack([np.arange(33 * 29).reshape(1, 33, 29)] * 2).astype(np.float32) + 1  # a cell tells its place
    write(tmp_path / "small.zarr", values, 60 - 0.1 * np.arange(33), 0.1 * np.arange(29), (1, 8, 8))
    (file,) = open_blocks([tmp_path / "small.zarr"], NAMES)
    fields = StoredSet.of("a", "a", file, ChunkCache(10**6))
    plain = {name: Scaling(mean=0, sd=1) for name in NAMES}
    sampler = Sampler([fields], task(NODE, context=Reach(), scaling=plain), StreamConfig(kind="space", patch=3))
    rows, columns = set(), set()
    for step in range(40):
        pool = sampler.pool(generator(1, step))
        for index in range(16):
            first = sampler.draw(generator(2, step, index), augment=False, pool=pool)["fine"][0, 0, 0, 0]
            row, column = divmod(round(float(first)) - 1, 29)
            rows.add(row)
            columns.add(column)
    # the last window of three coarse cells has its first at 33 - 1 - 2·4, and at 29 - 1 - 2·4
    assert rows == set(range(25))
    assert columns == set(range(21))


def test_blocks_hold_every_cell_once(both):
    _, stored = both
    counted = np.zeros(stored.shape, int)
    for frames, rows, columns in stored.blocks((3, 30, 30)):
        counted[frames.start : frames.stop, rows.start : rows.stop, columns.start : columns.stop] += 1
        assert len(rows) >= 30 or rows.stop == stored.shape[1]
    assert (counted == 1).all()


def test_a_part_sees_nothing_beyond_its_ends(both):
    memory, stored = both
    cut = (range(4, 17), range(20, 44), range(8, 39))
    parts = [each.part(*cut) for each in (memory, stored)]
    assert parts[0].shape == parts[1].shape == (13, 24, 31)
    np.testing.assert_array_equal(parts[0].times, parts[1].times)
    np.testing.assert_array_equal(parts[0].lat, parts[1].lat)
    stream = StreamConfig(patch=4, intervals=1)
    for registration in (NODE, CELL):
        samples = [Sampler([each], task(registration), stream).draw(generator(4)) for each in parts]
        for name, array in samples[0].items():
            np.testing.assert_allclose(samples[1][name], array, rtol=1e-6, atol=2e-5, err_msg=name)
    again = parts[1].part(range(2, 5))
    np.testing.assert_array_equal(again.times, memory.times[6:9])
    slabs = [np.concatenate([each.ravel() for each in part.slabs(0)]) for part in parts]
    np.testing.assert_array_equal(np.sort(slabs[0]), np.sort(slabs[1]))
    assert slabs[0].size == 13 * 24 * 31


def test_less_detail_is_a_wider_gaussian(both):
    memory, stored = both
    blurred = [SmoothedFields(each, 1.5) for each in (memory, stored)]
    where = ([0], np.array([3, 4]), np.arange(20, 30), np.arange(10, 25))
    inner = np.ix_(*where[1:])
    gaussian = gauss_decimate(memory.filled()[0], 1.5, 1, memory.is_periodic)
    for each in blurred:
        np.testing.assert_allclose(each.read(*where)[0], gaussian[inner], atol=1e-4)
    coarse = [each.read_coarse((CELL, S, 3.0), *where)[0] for each in blurred]
    area = np.cos(np.deg2rad(memory.lat))
    for k, row in enumerate(where[2]):
        truth = block_mean(gaussian[3:5, row : row + S, 10 : 10 + S], S, area[row : row + S])
        np.testing.assert_allclose(coarse[0][:, k, 0], truth[:, 0, 0], atol=1e-4)
    np.testing.assert_allclose(coarse[1], coarse[0], atol=1e-4)
    twice = gauss_decimate(gaussian, 3.0, 1, memory.is_periodic)
    for each in blurred:
        np.testing.assert_allclose(each.read_coarse((NODE, S, 3.0), *where)[0], twice[inner], atol=1e-4)


def test_thinned_values_come_from_all_over(both):
    memory, stored = both
    values = stored.thinned(0, 5000)
    assert 2000 < values.size < 12000
    assert abs(np.mean(values) - np.mean(memory.values[0])) < 0.3
    assert stored.mean_and_sd(0)[0] == pytest.approx(280, abs=0.3)


MEASURE = """
import json, resource, sys, threading, time
import numpy as np
from pathlib import Path
from gfs_sr.contract import Scaling
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources.blocks import open_blocks
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.stored_set import StoredSet
from gfs_sr.training.units import fit_scalings
from gfs_sr.training.windows import generator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

path, limit = Path(sys.argv[1]), int(sys.argv[2])
scaling = {name: Scaling(mean=280, sd=5) for name in ("t2m", "orog", "lsm")}
task = Task(("t2m",), scaling, Registration.NODE, 6, 6, Reach.space(8) + Reach(1, 2), False, (), True, False)
stream = StreamConfig(patch=10, intervals=1, batch=4)
(file,) = open_blocks([path], ["t2m"])
fields = StoredSet.of("a", "a", file, ChunkCache(limit))
sampler = Sampler([fields], task, stream)
sampler.draw(generator(0), pool=sampler.pool(generator(0, 1)))  # libraries are loaded, threads started
before, peak, stop = resident(), 0, threading.Event()

def watch():
    global peak
    while not stop.is_set():
        peak = max(peak, resident())
        time.sleep(0.002)

watcher = threading.Thread(target=watch)
watcher.start()
touched = set()
for turn in range(40):
    pool = sampler.pool(generator(1, turn))
    for index in range(12):
        sample = sampler.draw(generator(2, turn, index), pool=pool)
    touched |= {(block[0].start, block[1].start, block[2].start) for _, block in pool}
fitted = fit_scalings({"t2m": "z"}, [fields])
stop.set()
watcher.join()
print(json.dumps({"growth": peak - before, "stored": 4 * int(np.prod(file.shape)), "held": fields.cache.held_bytes,
                  "blocks": len(touched), "of": len(fields.blocks((1, 60, 60))), "mean": fitted["t2m"].mean,
                  "sd": fitted["t2m"].sd}))
"""


def test_memory_is_bounded_by_the_limit_and_not_by_the_store(tmp_path):
    path, frames, rows, columns = tmp_path / "large.zarr", 144, 480, 560
    limit, slab = 32 * 2**20, 24
    rng = np.random.default_rng(0)
    totals = np.zeros(3)
    for first in range(0, frames, slab):
        values = (280 + 5 * rng.standard_normal((slab, rows, columns), dtype=np.float32)).astype(np.float32)
        totals += [values.size, values.sum(dtype=np.float64), (values.astype(np.float64) ** 2).sum()]
        times = np.datetime64("2024-01-01", "ns") + (first + np.arange(slab)) * np.timedelta64(1, "h")
        part = xr.Dataset(
            {"t2m": (("time", "lat", "lon"), values, {"units": "K"})},
            coords={"time": times, "lat": ("lat", 60 - 0.05 * np.arange(rows), {"units": "degrees_north"}),
                    "lon": ("lon", 0.05 * np.arange(columns), {"units": "degrees_east"})},
        )  # fmt: skip
        if first == 0:
            chunks = {
                "t2m": {"chunks": (12, 96, 112), "compressors": None},
                "time": {"units": "hours since 2024-01-01"},
            }
            part.to_zarr(path, consolidated=False, encoding=chunks)
        else:
            part.to_zarr(path, append_dim="time", consolidated=False)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(limit)], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout)
    assert found["stored"] > 4 * limit  # 155 MB against 33 MB
    assert found["growth"] < limit + 24 * 2**20  # the chunks held, one being decoded in float64, and a sample
    assert found["held"] <= limit
    assert found["blocks"] > 0.6 * found["of"]  # 320 draws of 300 parts meet 66 %
    mean = totals[1] / totals[0]
    assert found["mean"] == pytest.approx(mean, rel=1e-6)
    assert found["sd"] == pytest.approx(5 * np.sqrt(totals[2] / totals[0] - mean**2), rel=1e-5)
