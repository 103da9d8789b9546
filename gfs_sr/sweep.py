"""Sweeps: lists of settings become a product of runs, each carried out once, whatever is killed in between."""

import csv
import fcntl
import io
import json
import os
import re
import string
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Final

from gfs_sr.atomic import write_text
from gfs_sr.errors import DiskFailed, GfsSrError, Interrupted, OutputExists, UsageError

Result = Mapping[str, str | int | float | bool | None]
SETTINGS, FINISHED, LOCK = "settings.json", "finished.json", ".lock"  # in a run's folder
WAIT_SECONDS: Final = 1.0  # between two looks at runs that another process carries out


@dataclass(frozen=True)
class Run:
    """One of a product: its settings by dotted key, and its folder, whose name tells them."""

    settings: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name


@dataclass(frozen=True)
class Line:
    """What became of a run."""

    run: Run
    state: str  # finished, open, or failed and why
    result: Result


class Sweep:
    """A product of lists, carried out in a folder of its own.

    Args:
        lists: values by dotted key; the last key varies fastest.
        folder: what the runs' folders are made in.
        name: format string of a run's folder over the keys, whole or their last part, as in `lr{lr:.0e}-{model.name}`;
            None joins `key=value` of all.
        base: what all runs share and their results follow from; a sweep of another base has another folder.

    Raises:
        UsageError: no values for a key, a name that cannot be made, or one that two runs would have.
    """

    def __init__(
        self, lists: Mapping[str, Sequence[Any]], folder: Path, name: str | None = None, base: str = ""
    ) -> None:
        self.lists, self.folder, self.base = lists, folder, sha256(base.encode()).hexdigest()
        for key, values in lists.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise UsageError(f"{key} has no list of values: {values!r}", "sweep", f"give one, as in {key}: [1, 2]")
        combined = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
        names = [folder_name(name, settings) for settings in combined]
        for each in names:
            if names.count(each) > 1:
                raise UsageError(
                    f"{names.count(each)} runs would be named {each!r}",
                    "sweep_name",
                    "name every key of several values",
                )
        self.runs = tuple(Run(settings, folder / each) for each, settings in zip(names, combined, strict=True))

    def carry_out(self, work: Callable[[Run, int], Result], best: str, more_is_better: bool = True) -> list[Line]:
        """Do what is not done yet; `summary.csv` and `summary.md` say after every run how far it is.

        A run that fails does not stop the others, unless the disk failed it; the same call tries it again. Several
        processes may carry out one sweep: each takes runs that no other has.

        Args:
            work: carries out a run in its folder, taking up there what a killed one left; gives its figures. It is
                handed an open file too: the run counts as under way as long as any process holds that.
            best: the figure to compare runs by.
            more_is_better: whether it should rise.

        Raises:
            OutputExists: the folder holds a run of that name with other settings or another base.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / LOCK, wait=True):
            for run in self.runs:
                self._claim(run)
        failed: dict[Path, str] = {}
        waiting = list(self.runs)
        while waiting:
            busy = []
            for run in waiting:
                if (run.folder / FINISHED).is_file():
                    continue
                with _locked(run.folder / LOCK) as handle:
                    if handle is None:
                        busy.append(run)
                    elif not (run.folder / FINISHED).is_file():
                        try:
                            write_text(run.folder / FINISHED, json.dumps(dict(work(run, handle)), indent=1) + "\n")
                        except (Interrupted, DiskFailed):
                            raise
                        except GfsSrError as error:
                            failed[run.folder] = f"failed: {error.what}"
                self._summarize(failed, best, more_is_better)
            waiting = busy
            if waiting:
                time.sleep(WAIT_SECONDS)
        return self._summarize(failed, best, more_is_better)

    def _claim(self, run: Run) -> None:
        facts = json.dumps({"settings": dict(run.settings), "base": self.base}, indent=1, sort_keys=True) + "\n"
        path = run.folder / SETTINGS
        if path.is_file() and path.read_text(encoding="utf-8") != facts:
            raise OutputExists(
                f"{run.folder} is a run of another sweep", "output", "give another folder, or remove this one"
            )
        if not path.is_file():
            write_text(path, facts)

    def _summarize(self, failed: Mapping[Path, str], best: str, more_is_better: bool) -> list[Line]:
        lines = []
        for run in self.runs:
            finished = run.folder / FINISHED
            result = json.loads(finished.read_text(encoding="utf-8")) if finished.is_file() else {}
            state = "finished" if finished.is_file() else failed.get(run.folder, "open")
            lines.append(Line(run, state, result))
        with _locked(self.folder / LOCK, wait=True):
            write_text(self.folder / "summary.csv", as_csv(lines))
            write_text(self.folder / "summary.md", as_markdown(lines, best, more_is_better))
        return lines


def folder_name(form: str | None, settings: Mapping[str, Any]) -> str:
    """A run's name: `form` with the values of `settings` in it, fit for a file system.

    Raises:
        UsageError: `form` names what is no setting, or formats a value as what it is not.
    """
    short = short_keys(settings)
    if form is None:
        text = ",".join(f"{short[key]}={value}" for key, value in settings.items())
    else:
        known = {**{short[key]: value for key, value in settings.items()}, **settings}
        try:
            text = _Named().vformat(form, (), known)
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"no name can be made of {form!r}: {error}", "sweep_name", f"name settings, of: {', '.join(known)}"
            ) from error
    return re.sub(r"[^\w.,=+-]+", "-", text).strip("-.") or "run"


def short_keys(settings: Mapping[str, Any]) -> dict[str, str]:
    """Key -> its last part, or all of it where another ends alike."""
    last = [key.rpartition(".")[2] for key in settings]
    return {key: part if last.count(part) == 1 else key for key, part in zip(settings, last, strict=True)}


class _Named(string.Formatter):
    """Takes a dotted field for the key that it is."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name


@contextmanager
def _locked(path: Path, wait: bool = False) -> Iterator[int | None]:
    """An open file that is this process's and its children's alone; None where another has it and nobody waits."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield handle
    finally:
        os.close(handle)


def as_csv(lines: Sequence[Line]) -> str:
    """A row per run: its name, settings, state and figures."""
    _, keys, figures = _columns(lines)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *keys, "state", *figures])
    for line in lines:
        settings = [line.run.settings[key] for key in keys]
        writer.writerow([line.run.name, *settings, line.state, *(line.result.get(name, "") for name in figures)])
    return text.getvalue()


def as_markdown(lines: Sequence[Line], best: str, more_is_better: bool = True) -> str:
    """The same as a table to read; the best run stands out."""
    short, keys, figures = _columns(lines)
    sign = 1 if more_is_better else -1
    scores = [sign * float(score) for line in lines if (score := line.result.get(best)) is not None]
    rows = [[short[key] for key in keys] + ["state", *figures]]
    rows.append(["---"] * len(rows[0]))
    for line in lines:
        cells = [_shown(line.run.settings[key]) for key in keys] + [line.state]
        cells += [_shown(line.result.get(name, "")) for name in figures]
        score = line.result.get(best)
        if score is not None and sign * float(score) == max(scores):
            cells = [f"**{cell}**" if cell else cell for cell in cells]
        rows.append(cells)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def _columns(lines: Sequence[Line]) -> tuple[dict[str, str], list[str], list[str]]:
    keys = list(lines[0].run.settings)
    figures = list(dict.fromkeys(name for line in lines for name in line.result))
    return short_keys(lines[0].run.settings), keys, figures


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
