"""How a command ends: its report for people or machines, its error in one block, its exit code; the progress bar."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

import typer

from gfs_sr.errors import DiskFailed, GfsSrError, Interrupted, disk_failure


class Described(Protocol):
    """A report that knows its JSON."""

    def as_dict(self) -> Mapping[str, Any]: ...  # noqa: D102


Report = TypeVar("Report", bound=Described | Mapping[str, Any] | list[dict[str, Any]])


def finish(work: Callable[[], Report], show: Callable[[Report], None], *, json_output: bool, debug: bool) -> None:
    """Call `work` and print its report; turn errors into one block on stderr, or JSON on stdout, and an exit code."""
    try:
        report = work()
        with _printed():
            if json_output:
                print_json(report if isinstance(report, Mapping | list) else report.as_dict())
            else:
                show(report)
    except GfsSrError as error:
        if debug:
            traceback.print_exc()
        fail(error, as_json=json_output)
    except KeyboardInterrupt:
        fail(Interrupted("stopped by the user", "gfs-sr", "run the command again"), as_json=json_output)
    except (typer.Exit, SystemExit):
        raise
    except Exception as error:
        fail_otherwise(error, as_json=json_output, debug=debug)


def fail(error: GfsSrError, *, as_json: bool) -> None:
    """End with an error of ours."""
    if as_json:
        _print_error(type(error).__name__, error.what, error.where, error.mend, error.exit_code)
    else:
        with suppress(OSError):  # whoever cannot read it still gets the exit code
            print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def fail_otherwise(error: Exception, *, as_json: bool, debug: bool) -> None:
    """End with an error that no part of ours foresaw: of the disk, or else a bug."""
    if debug:
        traceback.print_exception(error)
    failed = disk_failure(error)
    if failed is not None:
        fail(failed, as_json=as_json)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    mend = "this is a bug: run again with --debug and report what it shows"
    if as_json:
        _print_error(type(error).__name__, what, "gfs-sr", mend, 1)
    elif not debug:
        with suppress(OSError):
            print(f"error: {what} ({mend})", file=sys.stderr)
    sys.exit(1)


def _print_error(kind: str, what: str, where: str, mend: str, exit_code: int) -> None:
    with _printed():
        print_json({"error": {"class": kind, "what": what, "where": where, "mend": mend, "exit_code": exit_code}})


@contextmanager
def _printed() -> Iterator[None]:
    """What is printed in this block is out, or the command ends here; without a word where its reader has left."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what waits to be printed
        if isinstance(error, BrokenPipeError):  # as `head` does
            sys.exit(1)
        mend = "free space where the output goes, or print it elsewhere"
        fail(DiskFailed(f"the report could not be printed: {error.strerror}", "standard output", mend), as_json=False)


def print_json(value: Any) -> None:
    """One object on stdout."""
    print(json.dumps(value, default=str, allow_nan=False))


def print_tree(value: Mapping[str, Any], indent: int = 0) -> None:
    """A nested report, a line a fact; what is empty is left out."""
    for key, entry in value.items():
        if _is_empty(entry):
            continue
        if isinstance(entry, dict):
            print(f"{'  ' * indent}{key}:")
            print_tree(entry, indent + 1)
        elif isinstance(entry, list | tuple) and entry and isinstance(entry[0], dict):
            print(f"{'  ' * indent}{key}:")
            for item in entry:
                print(f"{'  ' * (indent + 1)}- " + ", ".join(f"{name} {each}" for name, each in item.items()))
        else:
            shown = ", ".join(map(str, entry)) if isinstance(entry, list | tuple) else entry
            print(f"{'  ' * indent}{key}: {shown}")


def _is_empty(entry: object) -> bool:
    if isinstance(entry, dict):
        return all(_is_empty(each) for each in entry.values())
    return isinstance(entry, list | tuple) and not entry


@contextmanager
def progress_bar(shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and time left on stderr; None where nobody looks."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("upscaling"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("upscaling", total=None, rate="")

        def advance(done: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            bar.update(task, completed=done, total=total, rate=f"{done / elapsed / 1e6:.2f} M cells/s")

        yield advance
