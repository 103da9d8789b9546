"""Prepared stores: found by what they depend on, whole or absent, whoever writes them."""

import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.coarsen import block_mean, coarsen_everywhere, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.data.prepared import FACTS, Digests, Preparation, PreparedFile, prepare
from gfs_sr.data.scalers import make_scaler
from gfs_sr.data.sources.blocks import open_blocks
from tests.data.test_blocks import dataset

NODE, CELL = Registration.NODE, Registration.CELL


@pytest.fixture
def fine_file(tmp_path):
    dataset(frames=30, rows=24, columns=30).to_netcdf(tmp_path / "fine.nc")
    return tmp_path / "fine.nc"


def preparation(values, registration=NODE, sigma=3.0, scaler="z"):
    return Preparation(registration, 6, sigma, {"t2m": make_scaler(scaler).fit([values])})


def stores(folder):
    return {path.parent.name for path in folder.glob(f"*/{FACTS}")}


@pytest.mark.parametrize("registration", [NODE, CELL])
def test_a_prepared_store_holds_fine_and_coarse_fields_in_model_units(tmp_path, fine_file, registration):
    (file,) = open_blocks([fine_file], ["t2m", "u10"])
    whole = {name: file.read(name, slice(0, 30), slice(0, 24), slice(0, 30)) for name in file.variables}
    how = preparation(whole["t2m"], registration)
    made = prepare(file, how, tmp_path / "cache")
    assert (made.variables, made.shape) == (file.variables, file.shape)
    assert_array_equal(made.grid.lat, file.grid.lat)
    assert_array_equal(made.times, file.times)
    part = (slice(3, 9), slice(2, 12), slice(5, 15))
    units = how.units["t2m"]
    assert_allclose(made.read("t2m", *part), units.apply(whole["t2m"][part]), rtol=1e-6, atol=1e-6)
    assert_array_equal(made.read("u10", *part), whole["u10"][part])  # without a scaler: as it is
    coarse = coarsen_everywhere(whole["t2m"], registration, 6, file.grid.lat)
    assert_allclose(made.read_coarse("t2m", *part), units.apply(coarse[part]), rtol=1e-5, atol=1e-6)
    every_sixth = made.read_coarse("u10", slice(0, 1), slice(0, 24), slice(0, 30))[0, ::6, ::6]
    plain = whole["u10"][0]
    expected = gauss_decimate(plain, 3.0, 6) if registration is NODE else block_mean(
        plain, 6, np.cos(np.deg2rad(file.grid.lat)))  # fmt: skip
    assert_allclose(every_sixth, expected, rtol=1e-5, atol=1e-6)


def test_s000_26_changed_statistics_sigma_or_variables_are_prepared_anew_and_never_reused(tmp_path, fine_file):
    cache = tmp_path / "cache"
    (file,) = open_blocks([fine_file], ["t2m"])
    values = file.read("t2m", slice(0, 30), slice(0, 24), slice(0, 30))
    first = preparation(values)
    made = prepare(file, first, cache)
    written = (made.path / FACTS).stat().st_mtime_ns
    assert stores(cache) == {made.path.name}
    again = prepare(open_blocks([fine_file], ["t2m"])[0], first, cache)
    assert again.path == made.path
    assert (again.path / FACTS).stat().st_mtime_ns == written  # found, not written
    seen = {made.path.name}
    part = (slice(0, 2), slice(6, 12), slice(6, 12))
    changes = {
        "statistics": (file, preparation(values + 1.0)),
        "scaler": (file, preparation(values, scaler="min_max")),
        "sigma": (file, preparation(values, sigma=2.5)),
        "registration": (file, preparation(values, registration=CELL)),
        "factor": (file, Preparation(NODE, 5, 3.0, first.units)),
        "variables": (open_blocks([fine_file], ["t2m", "u10"])[0], first),
    }
    for what, (source, how) in changes.items():
        other = prepare(source, how, cache)
        assert other.path.name not in seen, what
        seen.add(other.path.name)
        if what in {"statistics", "scaler"}:
            expected = how.units["t2m"].apply(values[part])
            assert_allclose(other.read("t2m", *part), expected, rtol=1e-6, atol=1e-6)
            assert np.abs(other.read("t2m", *part) - made.read("t2m", *part)).max() > 1e-3
        if what == "sigma":
            assert np.abs(other.read_coarse("t2m", *part) - made.read_coarse("t2m", *part)).max() > 1e-4
            assert other.coarse_is(NODE, 6, 2.5)
            assert not other.coarse_is(NODE, 6, 3.0)
    assert stores(cache) == seen


def test_s000_26_a_changed_source_is_prepared_anew(tmp_path, fine_file):
    (file,) = open_blocks([fine_file], ["t2m"])
    values = file.read("t2m", slice(0, 30), slice(0, 24), slice(0, 30))
    how = preparation(values)
    made = prepare(file, how, tmp_path / "cache")
    changed = dataset(frames=30, rows=24, columns=30)
    changed["t2m"][4, 5, 6] += 1.0
    fine_file.unlink()
    changed.to_netcdf(fine_file)
    other = prepare(open_blocks([fine_file], ["t2m"])[0], how, tmp_path / "cache")
    assert other.path != made.path
    cell = (slice(4, 5), slice(5, 6), slice(6, 7))
    units = how.units["t2m"]
    difference = units.invert(other.read("t2m", *cell)) - units.invert(made.read("t2m", *cell))
    assert_allclose(difference, 1.0, rtol=1e-3)
    fine_file.touch()  # the same bytes at another time are the same source
    assert prepare(open_blocks([fine_file], ["t2m"])[0], how, tmp_path / "cache").path == other.path


def test_digests_are_of_content_and_of_names_in_a_store(tmp_path):
    store = tmp_path / "a.zarr"
    (store / "t").mkdir(parents=True)
    (store / "t" / "0").write_bytes(b"one")
    first = Digests(tmp_path).of(store)
    assert Digests(tmp_path).of(store) == first
    (store / "t" / "0").rename(store / "t" / "1")
    assert Digests(tmp_path).of(store) != first
    (tmp_path / "x").write_bytes(b"same")
    (tmp_path / "y").write_bytes(b"same")
    assert Digests(tmp_path).of(tmp_path / "x") == Digests(tmp_path).of(tmp_path / "y")


def prepare_and_report(path, cache, queue):
    (file,) = open_blocks([path], ["t2m"])
    values = file.read("t2m", slice(0, 30), slice(0, 24), slice(0, 30))
    made = prepare(file, preparation(values), cache)
    queue.put((made.path.name, (made.path / FACTS).stat().st_mtime_ns, float(made.read(
        "t2m", slice(1, 2), slice(2, 3), slice(3, 4))[0, 0, 0])))  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_several_processes_share_one_store(tmp_path, fine_file):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [
        context.Process(target=prepare_and_report, args=(fine_file, tmp_path / "cache", queue)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    found = {queue.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1  # one name, written once, one value
    assert len(stores(tmp_path / "cache")) == 1
    assert not list((tmp_path / "cache").glob("*.partial"))


def write_slowly(path, cache):
    import gfs_sr.data.prepared as prepared

    original = prepared._coarse_of
    prepared._coarse_of = lambda *arguments: (time.sleep(60), original(*arguments))[1]
    (file,) = open_blocks([path], ["t2m"])
    values = file.read("t2m", slice(0, 30), slice(0, 24), slice(0, 30))
    prepare(file, preparation(values), cache)


def test_a_writer_that_is_killed_leaves_nothing_that_is_taken_for_a_store(tmp_path, fine_file):
    cache = tmp_path / "cache"
    worker = multiprocessing.get_context("spawn").Process(target=write_slowly, args=(fine_file, cache))
    worker.start()
    end = time.monotonic() + 60
    while not any(each.is_dir() for each in cache.glob("*.partial")) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert list(cache.glob("*.partial"))
    assert not stores(cache)
    (file,) = open_blocks([fine_file], ["t2m"])
    values = file.read("t2m", slice(0, 30), slice(0, 24), slice(0, 30))
    made = prepare(file, preparation(values), cache)  # the lock went with the dead
    assert not list(cache.glob("*.partial"))
    reopened = PreparedFile.open(made.path)
    assert_array_equal(reopened.read("t2m", slice(0, 3), slice(0, 3), slice(0, 3)),
                       made.read("t2m", slice(0, 3), slice(0, 3), slice(0, 3)))  # fmt: skip
    facts = json.loads((made.path / FACTS).read_text())
    assert len(facts["key"]) == 64
    assert made.path.name == facts["key"][:32]
