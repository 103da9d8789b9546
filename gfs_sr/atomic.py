"""Files and folders that appear whole or not at all, and a failing disk told as what it is."""

import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gfs_sr.errors import NOTHING_FREE, OF_THE_MACHINE, DiskFailed, GfsSrError, OutputExists, free_near

Kinds = tuple[type[Exception], ...]
OF_NETCDF: Final[Kinds] = (OSError, RuntimeError)  # of a full disk netCDF4 says "NetCDF: HDF error" and no more

_MOST_SYNCS: Final = 16  # at a time: a journal takes those that wait together
_EXCHANGE: Final = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD: Final = -100


@contextmanager
def whole(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """`NAME.partial` beside `path`, where a file or a folder is made; as the block ends well it takes `path`'s place.

    It is on disk to the last byte before it does. A failed block leaves everything as it was; what a killed one wrote
    is removed by the next.

    Args:
        path: its folder is made where it is not there.
        shared: several processes may write `path` at once: each has a partial of its own, which a kill leaves there,
            and the last one's stays.

    Raises:
        DiskFailed: see `on_disk`.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial") if shared else partial_of(path)
    with made(path.parent), _removed_on_failure(partial), on_disk(path):
        remove(partial)
        yield partial
        publish(partial, path)


@contextmanager
def whole_files(folder: Path, last: str) -> Iterator[Path]:
    """A folder whose files move into `folder` as the block ends well, `last` after all others.

    What else lies in `folder` stays; a failed block leaves everything as it was.

    Raises:
        DiskFailed: see `on_disk`.
    """
    partial = folder / f"{folder.name}.partial"
    with made(folder), _removed_on_failure(partial), on_disk(folder, place=folder):
        remove(partial)
        partial.mkdir()
        yield partial
        flush(partial)
        files = (each for each in partial.rglob("*") if each.is_file())
        for each in sorted(files, key=lambda file: file == partial / last):
            place = folder / each.relative_to(partial)
            place.parent.mkdir(parents=True, exist_ok=True)
            each.replace(place)
        _flush(folder)
        remove(partial)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """`folder` is there; where it was not, a block that fails and leaves nothing in it leaves no folder either.

    Raises:
        OutputExists: a file is in its place, or in that of a folder above it.
        DiskFailed: it could not be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with on_disk(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise OutputExists(f"{folder} is no folder", f"output {folder}", "choose another name") from error
        yield
    except BaseException:
        with suppress(OSError):
            for each in missing:
                each.rmdir()
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write `content`, whole or not at all; `shared` as in `whole`."""
    with whole(path, shared=shared) as partial:
        partial.write_bytes(content)


@contextmanager
def on_disk(path: Path, kinds: Kinds = (), place: Path | None = None) -> Iterator[None]:
    """Whatever the disk of `path` refuses in this block ends in `DiskFailed`; all else passes.

    Args:
        path: of the output.
        kinds: errors that can be of nothing but the disk in this block. Of others an OSError says whose it is; a
            library that is not Python's may give no reason, and then a disk with nothing left is the reason.
        place: a folder on that disk; default: the one that holds `path`.

    Raises:
        DiskFailed: the disk is full or broken, or does not let us write.
    """
    try:
        yield
    except GfsSrError:
        raise
    except Exception as error:
        place = path.parent if place is None else place
        reason = _of_disk(error, path.absolute(), kinds, place)
        if reason is None:
            raise
        raise DiskFailed.of(reason, place, f"output {path}") from error


def partial_of(path: Path) -> Path:
    """Where `path` is made until it is whole."""
    return path.with_name(path.name + ".partial")


def publish(partial: Path, path: Path) -> None:
    """Flush `partial` to disk, and let it take the place of `path` in one step: of a link, not of what it leads to."""
    flush(partial)
    is_exchanged = partial.is_dir() and (path.exists() or path.is_symlink())
    if is_exchanged:
        _exchange(partial, path)
    else:
        partial.replace(path)
    _flush(path.absolute().parent)
    if is_exchanged:
        with suppress(OSError):  # the older one goes with the next writing
            remove(partial)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring a file, or a folder with all in it, to the disk itself."""
    if path.is_dir():
        with ThreadPoolExecutor(_MOST_SYNCS) as pool:
            list(pool.map(_flush, path.rglob("*")))
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _removed_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):  # of a disk that has failed before, which is told
            remove(partial)
        raise


def _of_disk(error: Exception, path: Path, kinds: Kinds, place: Path) -> Exception | None:
    """Of what an error follows from, the part that is the disk's; None where it is not the disk's."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, OSError) and each.errno in OF_THE_MACHINE:
            return each if each.filename is None or _is_of(os.fsdecode(each.filename), path) else None
        each = each.__cause__ or each.__context__
    return error if isinstance(error, kinds) or free_near(place)[1] < NOTHING_FREE else None


def _is_of(file: str, path: Path) -> bool:
    """Whether a file belongs to an output or is a folder above it: an input that fails is not told as the output."""
    found = Path(file).absolute()
    if path.is_relative_to(found):
        return True
    if not found.is_relative_to(path.parent):
        return False
    name = found.relative_to(path.parent).parts[0]
    return name == path.name or name.startswith(path.name + ".")  # what becomes it


def _exchange(one: Path, other: Path) -> None:
    """Swap a folder with what it replaces."""
    if not _exchange_at_once(one, other):
        # for a moment there is nothing at the place, but never half of something
        aside = other.with_name(other.name + ".replaced")
        remove(aside)
        other.rename(aside)
        try:
            one.rename(other)
        except BaseException:
            aside.rename(other)
            raise
        aside.rename(one)


def _exchange_at_once(one: Path, other: Path) -> bool:
    """By renameat2(2), which Python does not offer; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_EXCHANGE)) == 0)
