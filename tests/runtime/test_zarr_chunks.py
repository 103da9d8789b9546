"""Chunks put together from regions in any order, each written once by one thread."""

import threading
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BloscShuffle

from gfs_sr.runtime import file_writers
from gfs_sr.runtime.chunk_encoder import ChunkEncoder
from gfs_sr.runtime.zarr_chunks import ChunkedArray, ChunkWriters

SHAPE, CHUNKS = (13, 9, 14), (6, 4, 5)


def make_store(path, shape=SHAPE, chunks=CHUNKS, fill=np.nan, dtype="f4"):
    codec = BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.bitshuffle)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    flat = {"name": "default", "separator": "."}
    array = group.create_array(
        "x", shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, compressors=codec, chunk_key_encoding=flat
    )
    return ChunkedArray(path / "x", array.metadata.encode_chunk_key, shape, chunks, dtype, fill)


def writers(array, count=3):
    return ChunkWriters({"x": array}, ChunkEncoder(5), count)


class Watched(ChunkEncoder):
    """Tells of each chunk before it is compressed."""

    def __init__(self, before):
        super().__init__(5)
        self._before = before

    def take(self, chunk):
        pack = super().take(chunk)

        def told():
            self._before()
            return pack()

        return told


def read(path):
    return zarr.open_group(path, mode="r")["x"][...]


def regions(cuts):
    """All boxes between the cuts of each axis."""
    edges = [sorted({0, size, *(cut % size for cut in axis)}) for size, axis in zip(SHAPE, cuts, strict=True)]
    spans = [[slice(a, b) for a, b in pairwise(axis)] for axis in edges]
    return [(t, y, x) for t in spans[0] for y in spans[1] for x in spans[2]]


@settings(max_examples=25, deadline=None)
@given(cuts=st.tuples(*[st.lists(st.integers(0, 100), max_size=4)] * 3), order=st.randoms(use_true_random=False))
def test_any_cut_in_any_order_gives_the_field(tmp_path_factory, cuts, order):
    path = tmp_path_factory.mktemp("store")
    values = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    boxes = regions(cuts)
    order.shuffle(boxes)
    pool = writers(make_store(path))
    for box in boxes:
        part = values[box].copy()
        pool.put("x", [each.start for each in box], part)
        part[...] = -1  # the caller's again
    pool.finish()
    np.testing.assert_array_equal(read(path), values)


def test_no_chunk_is_written_twice_and_writers_work_side_by_side(tmp_path, monkeypatch):
    array = make_store(tmp_path, (40, 40, 40), (10, 10, 10))
    written, threads, together = Counter(), [], threading.Barrier(3, timeout=20)
    write_file = file_writers.write_file

    def counted(path, room, size):
        written[str(path)] += 1
        return write_file(path, room, size)

    def arrive():
        threads.append(threading.get_ident())
        if len(threads) <= 3:
            together.wait()  # passes only if three writers are here at once

    monkeypatch.setattr(file_writers, "write_file", counted)
    values = np.random.default_rng(4).normal(size=(40, 40, 40)).astype(np.float32)
    pool = ChunkWriters({"x": array}, Watched(arrive), 3)
    for row in range(0, 40, 5):  # half a chunk at a time
        pool.put("x", (0, row, 0), values[:, row : row + 5])
    pool.finish()
    assert set(written.values()) == {1}
    assert len(written) == 64
    assert len(set(threads)) == 3
    np.testing.assert_array_equal(read(tmp_path), values)


@pytest.mark.parametrize("slow_part", ["codec", "disk"])
def test_few_chunks_are_held_however_slow_codec_or_disk_are(tmp_path, monkeypatch, slow_part):
    array = make_store(tmp_path, (40, 40, 40), (10, 10, 10))
    gate, begun, compressed = threading.Event(), threading.Semaphore(0), []
    write_file = file_writers.write_file

    def wait():
        begun.release()
        assert gate.wait(20)

    def compress():
        compressed.append(1)
        if slow_part == "codec":
            wait()

    def write(path, room, size):
        if slow_part == "disk":
            wait()
        write_file(path, room, size)

    monkeypatch.setattr(file_writers, "write_file", write)
    made = []
    empty = np.empty
    monkeypatch.setattr(np, "empty", lambda *args, **options: made.append(args) or empty(*args, **options))
    pool = ChunkWriters({"x": array}, Watched(compress), 2)
    feeder = threading.Thread(target=pool.put, args=("x", (0, 0, 0), np.ones((40, 40, 40), np.float32)))
    feeder.start()
    assert begun.acquire(timeout=20)
    assert begun.acquire(timeout=20)
    feeder.join(0.3)
    assert feeder.is_alive()  # it waits
    assert sum(args[0] == 1000 for args in made) <= 2  # memory of two writers
    assert len(compressed) <= 2 + file_writers.THREADS + file_writers.WAITING
    gate.set()
    feeder.join(20)
    pool.finish()
    assert sum(args[0] == 1000 for args in made) <= 2  # and it was used again
    assert (read(tmp_path) == 1).all()


def test_a_writer_s_error_reaches_the_caller_and_stops_the_rest(tmp_path, monkeypatch):
    array = make_store(tmp_path, (40, 40, 40), (10, 10, 10))

    def full(path, room, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_writers, "write_file", full)
    pool = writers(array, 2)
    with pytest.raises(OSError, match="No space left"):
        pool.put("x", (0, 0, 0), np.ones((40, 40, 40), np.float32))
    pool.stop()
    pool.stop()


def test_an_error_of_the_last_chunk_surfaces_at_the_end(tmp_path, monkeypatch):
    array = make_store(tmp_path)

    def gone(path, room, size):
        raise OSError("gone")

    monkeypatch.setattr(file_writers, "write_file", gone)
    pool = writers(array)
    pool.put("x", (0, 0, 0), np.ones((6, 4, 5), np.float32))
    with pytest.raises(OSError, match="gone"):
        pool.finish()


@pytest.mark.parametrize(("fill", "dtype"), [(np.nan, "f4"), (0, "u1")])
def test_chunks_of_fill_values_alone_are_left_out_and_read_back(tmp_path, fill, dtype):
    array = make_store(tmp_path, fill=fill, dtype=dtype)
    values = np.full(SHAPE, fill, dtype)
    values[12, 8, 13] = 3
    pool = writers(array)
    pool.put("x", (0, 0, 0), values)
    pool.finish()
    assert len(list((tmp_path / "x").glob("c.*"))) == 1
    np.testing.assert_array_equal(read(tmp_path), values)


def test_what_was_only_given_in_part_is_written_in_part(tmp_path):
    pool = writers(make_store(tmp_path))
    pool.put("x", (0, 0, 0), np.ones((3, 9, 14), np.float32))
    pool.finish()
    found = read(tmp_path)
    assert (found[:3] == 1).all()
    assert np.isnan(found[3:]).all()


def test_a_region_belongs_to_the_caller_again_as_soon_as_it_is_given(tmp_path):
    """Whole chunks are fetched by the writers: `put` waits for that, and for no more."""
    array = make_store(tmp_path, (30, 20, 20), (10, 10, 10))
    pool = writers(array)
    values = np.empty((10, 20, 20), np.float32)
    for number in range(3):
        values[...] = np.arange(values.size).reshape(values.shape) + number
        pool.put("x", (10 * number, 0, 0), values)
        values[...] = -1
    pool.finish()
    stored = zarr.open_array(tmp_path / "x", mode="r")[...]
    expected = np.arange(values.size).reshape(values.shape)
    np.testing.assert_array_equal(stored, np.concatenate([expected + number for number in range(3)]))
