"""Whole files past the page cache, on file systems that allow it and on one that does not."""

import errno
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from gfs_sr.runtime import file_writers
from gfs_sr.runtime.file_writers import ALIGNMENT, DIRECT, FileWriters, aligned, write_file

SIZES = [0, 1, ALIGNMENT - 1, ALIGNMENT, ALIGNMENT + 1, 5 * ALIGNMENT + 123]
IN_MEMORY = Path("/dev/shm")


def content_of(size):
    return os.urandom(size)


def write(path, content):
    room = aligned(len(content))
    room[: len(content)] = np.frombuffer(content, np.uint8)
    write_file(path, room, len(content))


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    """A file system in memory has no page cache to go past, and old kernels refuse it there."""
    if request.param == "disk":
        yield tmp_path
        return
    if not os.access(IN_MEMORY, os.W_OK):
        pytest.skip("no file system in memory")
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as made:
        yield Path(made)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_holds_its_content_and_no_byte_more(folder, size):
    content = content_of(size)
    write(folder / "x", content)
    assert (folder / "x").read_bytes() == content


@pytest.mark.parametrize("cut", [0, 1, 16, ALIGNMENT])
def test_parts_follow_each_other(folder, cut):
    content = content_of(2 * ALIGNMENT + 77)
    files = FileWriters()
    files.submit(folder / "x", content[:cut], memoryview(content)[cut:]).result()
    files.close()
    assert (folder / "x").read_bytes() == content


@pytest.mark.parametrize("size", SIZES)
def test_memory_for_a_disk_is_aligned_and_long_enough(size):
    room = aligned(size)
    assert room.ctypes.data % ALIGNMENT == 0
    assert room.size % ALIGNMENT == 0
    assert room.size >= size


@pytest.mark.skipif(not DIRECT, reason="this system has no way past the page cache")
def test_where_the_file_system_refuses_the_cache_is_taken(tmp_path, monkeypatch):
    opened, opening = [], os.open

    def refuse(path, flags, *rest, **named):
        if flags & DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        opened.append(path)
        return opening(path, flags, *rest, **named)

    monkeypatch.setattr(file_writers.os, "open", refuse)
    write(tmp_path / "x", b"fine")
    assert opened == [tmp_path / "x"]
    assert (tmp_path / "x").read_bytes() == b"fine"


def test_another_refusal_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "absent" / "x", b"fine")


def test_what_a_disk_takes_in_parts_is_whole(tmp_path, monkeypatch):
    os_write, parts = os.write, []

    def some(handle, content):
        parts.append(len(content))
        return os_write(handle, content[:ALIGNMENT])

    monkeypatch.setattr(file_writers.os, "write", some)
    content = content_of(3 * ALIGNMENT + 5)
    write(tmp_path / "x", content)
    assert len(parts) == 4
    assert (tmp_path / "x").read_bytes() == content


def test_files_of_any_lengths_are_each_whole(folder):
    contents = {str(number): content_of(size) for number, size in enumerate([*SIZES, *SIZES[::-1]] * 3)}
    files = FileWriters()
    done = [files.submit(folder / name, content) for name, content in contents.items()]
    files.close()
    files.close()
    assert all(each.exception() is None for each in done)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


def test_a_failure_is_in_its_future_and_stops_no_other(tmp_path):
    files = FileWriters()
    (tmp_path / "file").touch()
    lost = [files.submit(tmp_path / "file" / str(k), b"x") for k in range(10)]  # more than may be on their way
    kept = files.submit(tmp_path / "x", b"fine")
    files.close()
    assert all(isinstance(each.exception(), OSError) for each in lost)
    assert kept.exception() is None
    assert (tmp_path / "x").read_bytes() == b"fine"


def test_a_slow_disk_makes_the_caller_wait(tmp_path, monkeypatch):
    gate, given = threading.Event(), []
    monkeypatch.setattr(file_writers, "write_file", lambda path, room, size: gate.wait(20))
    files = FileWriters()

    def feed():
        for number in range(20):
            files.submit(tmp_path / str(number), b"x")
            given.append(number)

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(0.3)
    assert feeder.is_alive()
    assert len(given) == file_writers.THREADS + file_writers.WAITING
    gate.set()
    feeder.join(20)
    files.close()
    assert len(given) == 20
