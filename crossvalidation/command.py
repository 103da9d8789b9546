"""How every command here ends: its CSV, and its table beside it and on the screen, or one error and its exit code."""

import csv
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from gfs_sr.atomic import whole, write_text
from gfs_sr.errors import GfsSrError


def tabled(score: Callable[[], str], output: Path) -> int:
    """Score, then write the table that comes of it beside `output`, as Markdown; the exit code."""
    try:
        table = score()
        write_text(output.with_suffix(".md"), table)
    except GfsSrError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(table)
    return 0


def write_csv(kind: type[Any], lines: Iterable[Any], path: Path, *derived: str) -> None:
    """One row for each line.

    Args:
        kind: dataclass of the lines: its fields are the columns.
        lines: of that kind.
        path: in a folder that is made where it is not there.
        derived: properties of a line that are columns too, behind the others.
    """
    names = [*(each.name for each in fields(kind)), *derived]
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(line, name) for name in names] for line in lines)
