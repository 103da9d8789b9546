"""Disks that take no more: a small one in memory, and a limit on the length of files that needs no rights."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TIMEOUT = 240  # seconds
UNLIMITED = resource.RLIM_INFINITY


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A folder that is a disk of its own; the test is skipped where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs rights that are not given here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, left: int) -> None:
    """All but `left` bytes of the disk, by a file `filler`."""
    (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - left))


def command(module: str, *arguments: object, most_bytes: int = UNLIMITED) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS…` to its end, in a process that may write no file longer than `most_bytes`."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )  # fmt: skip


def names_below(folder: Path) -> list[str]:
    """Of all files and folders."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))
