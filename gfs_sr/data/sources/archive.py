"""A folder of daily files, one forecast each."""

import re
from pathlib import Path

import numpy as np

from gfs_sr.errors import MissingFile, UnreadableFile, UnsortedTimes

DATE = re.compile(r"(\d{4})[-_]?(\d{2})[-_]?(\d{2})")


def open_archive(folder: Path | str, pattern: str = "*.nc") -> list[tuple[np.datetime64, Path]]:
    """(date, file) of every daily file of a folder and the folders in it, by date; each is opened when it is needed.

    Raises:
        MissingFile: no such folder, or no such file in it.
        UnreadableFile: a file name without a date.
        UnsortedTimes: two files of one date.
    """
    root = Path(folder)
    files = sorted(root.rglob(pattern)) if root.is_dir() else []
    if not files:
        raise MissingFile(f"no {pattern} file", str(root), "name the folder of the daily files")
    days: dict[np.datetime64, Path] = {}
    for path in files:
        day = _date(path)
        if day in days:
            raise UnsortedTimes(f"two files are of {day}", f"{days[day]}; {path}", "keep one of them")
        days[day] = path
    return sorted(days.items())


def _date(path: Path) -> np.datetime64:
    for match in DATE.finditer(path.name):
        try:
            return np.datetime64("-".join(match.groups()), "D")
        except ValueError:
            continue
    raise UnreadableFile("the file name holds no date", str(path), "name daily files like gfs_20240131.nc")
