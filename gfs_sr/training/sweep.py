"""`gfs-sr sweep -c CONFIG.yaml`: trainings of a product of settings, each a `gfs-sr train` in its own process."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from gfs_sr.atomic import write_text
from gfs_sr.errors import DiskFailed, Interrupted, MissingFile, TrainingFailed, UsageError
from gfs_sr.sweep import Line, Result, Run, Sweep
from gfs_sr.training.main import SUMMARY, known_keys, usage_error

LOG: Final = "train.log"
_OWN: Final = ("sweep", "sweep_name", "output")
_FLOAT: Final = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # floats of YAML 1.2, which PyYAML takes for words


@dataclass
class Asked:
    """What a command line asks for."""

    lists: dict[str, list[Any]] = field(default_factory=dict)
    name: str | None = None
    output: Path = Path("runs/sweep")
    configs: list[dict[str, Any]] = field(default_factory=list)  # without our own keys
    others: list[str] = field(default_factory=list)  # handed on to every run


def main(argv: Sequence[str]) -> list[Line]:
    """Carry out a sweep; what became of every run.

    Raises:
        UsageError: no lists, an unknown key, or a name that cannot be made.
        OutputExists: the output folder holds another sweep.
        Interrupted: stopped by Ctrl-C; the same command goes on.
        TrainingFailed: some run failed; the table says which and why.
    """
    asked = parse(argv)
    sweep = Sweep(asked.lists, asked.output, asked.name, json.dumps([asked.configs, asked.others], default=str))
    bases = []
    for number, config in enumerate(asked.configs):
        bases.append(asked.output / f"base-{number}.yaml")
        write_text(bases[-1], yaml.safe_dump(config, sort_keys=False))
    lines = sweep.carry_out(lambda run, handle: train(run, bases, asked.others, handle), best="skill")
    failed = [line for line in lines if line.state.startswith("failed")]
    if failed:
        raise TrainingFailed(
            f"{len(failed)} of {len(lines)} runs failed, such as {failed[0].run.name}: {failed[0].state}",
            str(asked.output / "summary.md"),
            f"see {LOG} in its folder; the same command tries it again",
        )
    return lines


def parse(argv: Sequence[str]) -> Asked:
    """The command line, and the files it names.

    Raises:
        MissingFile: a configuration that is not there.
        UsageError: no lists, or a key that no training knows.
    """
    asked, arguments = Asked(), list(argv)
    while arguments:
        word, given, value = arguments.pop(0).partition("=")
        name = word.lstrip("-")
        ours = word in ("-c", "--config") or (word.startswith("--") and name.partition(".")[0] in _OWN)
        if not ours:
            asked.others.append(word + given + value)
            continue
        if not given:
            if not arguments:
                raise UsageError(f"{word} has no value", "gfs-sr sweep", f"give one, as in {word} VALUE")
            value = arguments.pop(0)
        if word in ("-c", "--config"):
            _read(Path(value), asked)
        else:
            _set(asked, name, value if name != "sweep" and name in _OWN else _yaml(value, word))
    if not asked.lists:
        raise UsageError("nothing to sweep", "gfs-sr sweep", "give lists, as in --sweep.model.optimizer.lr=[1e-3,3e-4]")
    known = known_keys()
    open_ended = [key for key in known if not any(each.startswith(key + ".") for each in known)]  # mappings of any keys
    for key in asked.lists:
        if key not in known and not any(key.startswith(each + ".") for each in open_ended):
            raise usage_error(f'Key "{key}" is not expected')
    return asked


def _read(path: Path, asked: Asked) -> None:
    if not path.is_file():
        raise MissingFile(f"no configuration {path}", "-c", "mend the path")
    config = _yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(config, dict):
        raise UsageError("is no mapping of keys", str(path), "see configs/")
    for key in _OWN:
        if key in config:
            _set(asked, key, config.pop(key))
    asked.configs.append(config)


def _set(asked: Asked, name: str, value: Any) -> None:
    if name == "output":
        asked.output = Path(value)
    elif name == "sweep_name":
        asked.name = str(value)
    elif name == "sweep":
        asked.lists |= _flat(value)
    else:
        asked.lists |= _flat(value, name.partition(".")[2])


def _flat(value: Any, prefix: str = "") -> dict[str, list[Any]]:
    if isinstance(value, dict):
        parts = (_flat(each, f"{prefix}.{key}" if prefix else str(key)) for key, each in value.items())
        return {key: each for part in parts for key, each in part.items()}
    return {prefix: _numbers(value)}


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and _FLOAT.fullmatch(value) else value


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"is no YAML: {' '.join(str(error).split())}", where, "mend it") from error


def train(run: Run, bases: Sequence[Path], others: Sequence[str], handle: int) -> Result:
    """One training in a process of its own, gone on with where an earlier one was killed.

    Raises:
        TrainingFailed: it failed; the message is its own.
        DiskFailed: the disk is full or broken; another training would fail as well.
        Interrupted: it was stopped.
    """
    command = [sys.executable, "-m", "gfs_sr.cli", "train"]
    command += [word for path in bases for word in ("-c", str(path))]
    command += [*others, *(f"--{key}={_word(value)}" for key, value in run.settings.items())]
    command += [f"--output={run.folder}", "--ckpt_path=last"]
    with (run.folder / LOG).open("a", encoding="utf-8") as log:
        # it holds the run's lock for itself: if this process is killed, it goes on and nobody starts it twice
        ended = subprocess.run(command, stdout=log, stderr=log, pass_fds=[handle], check=False)
    if ended.returncode == Interrupted.exit_code:
        raise Interrupted("a training was stopped", str(run.folder), "give the same command again")
    if ended.returncode == DiskFailed.exit_code:
        mend = "free space on its disk, then give the same command again"
        raise DiskFailed(_last_error(run.folder / LOG, ended.returncode), str(run.folder), mend)
    if ended.returncode:
        raise TrainingFailed(_last_error(run.folder / LOG, ended.returncode), str(run.folder), f"see {LOG}")
    summary: Mapping[str, Any] = json.loads((run.folder / SUMMARY).read_text(encoding="utf-8"))
    best = summary["best"]
    return {
        "skill": best if best is not None and math.isfinite(best) else None,
        "steps": summary["steps"],
        "seconds": summary["seconds"],
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _last_error(log: Path, code: int) -> str:
    errors = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else f"it ended with {code}"
