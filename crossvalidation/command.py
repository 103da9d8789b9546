"""How every command here ends: its table beside the CSV and on the screen, or one error and its exit code."""

import sys
from collections.abc import Callable
from pathlib import Path

from gfs_sr.errors import GfsSrError


def tabled(score: Callable[[], str], output: Path) -> int:
    """Score, then write the table that comes of it beside `output`, as Markdown; the exit code."""
    try:
        table = score()
    except GfsSrError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    sys.stdout.write(table)
    return 0
