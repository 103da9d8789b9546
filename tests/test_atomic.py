"""Whole or not at all, whatever happens on the way; and what is the disk's is told as the disk's."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gfs_sr import atomic
from gfs_sr.atomic import made, on_disk, publish, remove, whole, whole_files, write_bytes, write_text
from gfs_sr.errors import DiskFailed, OutputExists, UsageError, disk_failure
from tests.disks import fill, names_below, small_disk

KINDS = ["file", "folder"]


def fill_in(place: Path, kind: str, text: str) -> None:
    if kind == "folder":
        (place / "below").mkdir(parents=True)
        place = place / "below" / "part"
    place.write_text(text)


def content(place: Path) -> str:
    return (place / "below" / "part" if place.is_dir() else place).read_text()


def fail_in(path: Path, error: BaseException, kind: str = "file") -> None:
    with whole(path) as partial:
        fill_in(partial, kind, "half")
        raise error


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_appears_when_it_is_whole(tmp_path, kind):
    target = tmp_path / "new" / "out"
    with whole(target) as partial:
        fill_in(partial, kind, "new")
        assert not target.exists()
        assert partial == tmp_path / "new" / "out.partial"
    assert content(target) == "new"
    assert names_below(tmp_path / "new")[0] == "out"
    assert not partial.exists()


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "where the system cannot"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stood_there_is_replaced(tmp_path, monkeypatch, kind, exchange):
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange_at_once", lambda one, other: False)
    target = tmp_path / "out"
    fill_in(target, kind, "old")
    (tmp_path / "out.replaced").write_text("left by a kill between two renames")
    with whole(target) as partial:
        fill_in(partial, kind, "new")
        assert content(target) == "old"
    assert content(target) == "new"
    remove(tmp_path / "out.replaced")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_folder_takes_the_place_of_a_file_but_no_file_that_of_a_folder(tmp_path):
    (tmp_path / "out").write_text("old")
    with whole(tmp_path / "out") as partial:
        fill_in(partial, "folder", "new")
    assert content(tmp_path / "out") == "new"
    with pytest.raises(IsADirectoryError), whole(tmp_path / "out") as partial:
        partial.write_text("newer")
    assert content(tmp_path / "out") == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_a_reader_never_finds_a_folder_gone_while_it_is_replaced(tmp_path):
    target, partial = tmp_path / "out", tmp_path / "out.partial"
    fill_in(target, "folder", "old")
    fill_in(partial, "folder", "new")
    if not atomic._exchange_at_once(target, partial):
        pytest.skip("the temporary folder's file system has no exchange")
    ended = threading.Event()

    def replace_often() -> None:
        for _ in range(200):
            remove(partial)
            fill_in(partial, "folder", "new")
            publish(partial, target)
        ended.set()

    writer = threading.Thread(target=replace_often)
    writer.start()
    gone = 0
    while not ended.is_set():
        gone += not target.is_dir()
    writer.join()
    assert gone == 0


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), UsageError("a", "b", "c")], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_block_leaves_everything_as_it_was(tmp_path, kind, error):
    fill_in(tmp_path / "out", kind, "old")
    with pytest.raises(type(error)) as raised:
        fail_in(tmp_path / "out", error, kind)
    assert raised.value is error
    assert content(tmp_path / "out") == "old"
    with pytest.raises(type(error)):
        fail_in(tmp_path / "new" / "folder" / "out", error, kind)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("left", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_run_left_is_cleared(tmp_path, left, kind):
    maker = "partial.write_text('half')" if left == "file" else "partial.mkdir(); (partial / 'half').touch()"
    code = f"""
import os, signal
from pathlib import Path
from gfs_sr.atomic import whole
with whole(Path({str(tmp_path / "out")!r})) as partial:
    {maker}
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    assert [each.name for each in tmp_path.iterdir()] == ["out.partial"]
    with whole(tmp_path / "out") as partial:
        fill_in(partial, kind, "new")
    assert content(tmp_path / "out") == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_several_may_write_one_file_at_once(tmp_path):
    target = tmp_path / "out"
    with whole(target, shared=True) as one, whole(target, shared=True) as other:
        assert one != other
        other.write_text("first")
        one.write_text("last")
    assert target.read_text() == "last"
    assert list(tmp_path.iterdir()) == [target]


def test_text_and_bytes_are_written_whole(tmp_path):
    write_text(tmp_path / "a" / "text", "Größe\n")
    write_bytes(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "a" / "text").read_bytes() == b"Gr\xc3\xb6\xc3\x9fe\n"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_files_move_into_a_folder_that_holds_others_the_named_one_last(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    write_text(folder / "notes.txt", "the user's")
    write_text(folder / "figures" / "own.png", "the user's")
    write_text(folder / "index.html", "old")
    moved, replace = [], Path.replace

    def noted(self, target):
        moved.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    with whole_files(folder, last="index.html") as draft:
        (draft / "figures").mkdir()
        for name in ("index.html", "a.csv", "figures/map.png", "z.csv"):
            (draft / name).write_text("new")
        assert (folder / "index.html").read_text() == "old"
    assert moved[-1] == "index.html"
    assert names_below(folder) == [
        "a.csv", "figures", "figures/map.png", "figures/own.png", "index.html", "notes.txt", "z.csv"
    ]  # fmt: skip
    assert (folder / "notes.txt").read_text() == (folder / "figures/own.png").read_text() == "the user's"
    assert (folder / "index.html").read_text() == "new"


def half_a_report(folder: Path) -> None:
    with whole_files(folder, last="index.html") as draft:
        (draft / "index.html").write_text("half")
        raise RuntimeError("a bug")


def test_files_that_fail_leave_a_folder_as_it_was(tmp_path):
    write_text(tmp_path / "report" / "index.html", "old")
    for folder in (tmp_path / "report", tmp_path / "new" / "report"):
        with pytest.raises(RuntimeError, match="a bug"):
            half_a_report(folder)
    assert names_below(tmp_path) == ["report", "report/index.html"]
    assert (tmp_path / "report" / "index.html").read_text() == "old"


def test_a_folder_made_for_nothing_is_removed_and_any_other_stays(tmp_path):
    with pytest.raises(RuntimeError), made(tmp_path / "a" / "b"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError), made(tmp_path / "a" / "b"):
        raise RuntimeError
    assert names_below(tmp_path) == ["a"]
    with made(tmp_path / "c"):
        pass
    assert (tmp_path / "c").is_dir()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG])
def test_an_error_of_the_disk_is_told_with_the_place_and_what_is_free(tmp_path, code):
    with pytest.raises(DiskFailed) as told:
        fail_in(tmp_path / "out", OSError(code, os.strerror(code)))
    assert os.strerror(code) in told.value.what
    assert "MiB free" in told.value.what
    assert told.value.where == f"output {tmp_path / 'out'}"
    assert str(tmp_path) in told.value.mend
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_disk_is_found_behind_a_librarys_own(tmp_path):
    foreign = RuntimeError("write failed")
    foreign.__cause__ = KeyError("a")
    foreign.__cause__.__context__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFailed, match="No space left on device"):
        fail_in(tmp_path / "out", foreign)


def test_an_error_of_another_file_is_not_told_as_the_outputs(tmp_path):
    with pytest.raises(PermissionError):
        fail_in(tmp_path / "out", PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "input.nc")))
    with pytest.raises(DiskFailed):
        fail_in(tmp_path / "out", PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "out.partial/a")))


def test_errors_that_say_nothing_are_the_disks_where_they_are_named_or_nothing_is_free(tmp_path, monkeypatch):
    with pytest.raises(DiskFailed, match="HDF error"), on_disk(tmp_path / "out.nc", atomic.OF_NETCDF):
        raise RuntimeError("NetCDF: HDF error")
    with pytest.raises(RuntimeError), on_disk(tmp_path / "out.nc"):
        raise RuntimeError("NetCDF: HDF error")
    monkeypatch.setattr(atomic, "free_near", lambda place: (place, 4096))
    with pytest.raises(DiskFailed, match="HDF error"), on_disk(tmp_path / "out.nc"):
        raise RuntimeError("NetCDF: HDF error")
    with pytest.raises(UsageError), on_disk(tmp_path / "out.nc"):
        raise UsageError("a", "b", "c")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_made_is_told(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(DiskFailed, match="Permission denied") as told:
        write_text(tmp_path / "locked" / "new" / "out", "text")
    assert "allow writing" in told.value.mend


def test_a_failure_without_a_file_blames_no_file():
    told = disk_failure(OSError(errno.ENOSPC, "No space left on device"))
    assert told is not None
    assert str(Path.cwd()) not in str(told)


def test_a_full_disk_keeps_what_stood_there(tmp_path):
    with small_disk(tmp_path / "disk", 200) as disk:
        write_text(disk / "out", "old")
        fill(disk, 8192)
        with pytest.raises(DiskFailed, match=r"No space left on device \(0.0 MiB free\)"):
            write_bytes(disk / "out", bytes(100_000))
        with pytest.raises(DiskFailed, match=r"no reason \(0.0 MiB free\)"):
            fail_in(disk / "store", RuntimeError("no reason"), "folder")
        assert (disk / "out").read_text() == "old"
        assert names_below(disk) == ["filler", "out"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(OutputExists, match="is no folder"), made(folder):
            pass
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("leads", [True, False], ids=["to a folder", "nowhere"])
def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path, leads):
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    if leads:
        fill_in(elsewhere, "folder", "old")
    target.symlink_to(elsewhere)
    with whole(target) as partial:
        fill_in(partial, "folder", "new")
    assert not target.is_symlink()
    assert content(target) == "new"
    assert not leads or content(elsewhere) == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out"][not leads :]


def test_what_stood_there_comes_back_if_the_second_of_two_renames_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange_at_once", lambda one, other: False)
    target = tmp_path / "out"
    fill_in(target, "folder", "old")
    rename = Path.rename

    def fails(self, to):
        if self.name == "out.partial":
            raise OSError(errno.EIO, "broken")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(DiskFailed), whole(target) as partial:
        fill_in(partial, "folder", "new")
    assert content(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_input_whose_name_begins_as_the_output_s_is_not_the_output(tmp_path):
    with pytest.raises(PermissionError), on_disk(tmp_path / "fine"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "fine_in.nc"))
    with pytest.raises(DiskFailed), on_disk(tmp_path / "fine"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "fine.partial" / "zarr.json"))
