"""Packs real files into one training set: `python -m gfs_sr.training.pack -c TABLE.yaml --folder DIR -o OUT.npz`."""

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gfs_sr.atomic import write_text
from gfs_sr.data.derive import wind_speed
from gfs_sr.data.sources import open_tensors
from gfs_sr.data.sources.tensor_record import TensorRecord
from gfs_sr.errors import GfsSrError, MissingFile, MissingVariable, UsageError
from gfs_sr.training.field_set import FieldSet, write_packed

_BYTES_AT_ONCE = 2**20


class Source(BaseModel):
    """One row of the table: files of one producer that show one region or day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fold: str  # sources of one fold are left out together
    producer: str
    licence: str
    files: tuple[str, ...]  # below the data folder; patterns are allowed
    variables: tuple[str, ...]  # patterns of our names, after `rename`
    rename: dict[str, str] = {}  # names that the readers give -> ours, where they cannot know
    offset: dict[str, float] = {}  # added to a variable, where a file's units are wrong
    series: bool = False  # too small or too masked for space: only its series in time are used


class Table(BaseModel):
    """All sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[Source, ...]


def read_table(path: Path) -> tuple[Source, ...]:
    """The sources of a table.

    Raises:
        MissingFile: no such file.
        UsageError: no table of sources, or a name that occurs twice.
    """
    if not path.is_file():
        raise MissingFile(f"no table {path}", "--config", "give a table such as configs/default-data.yaml")
    try:
        sources = Table.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).sources
    except (yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"is no table of sources: {error}", str(path), "see configs/default-data.yaml") from error
    names = [source.name for source in sources]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"sources named twice: {', '.join(doubled)}", str(path), "give each its own name")
    return sources


def read(source: Source, folder: Path) -> list[FieldSet]:
    """The fields of one source, a set per grid and run of times.

    Raises:
        MissingFile: a pattern that matches nothing.
        MissingVariable: a pattern of variables that matches nothing.
    """
    paths: list[Path] = []
    for pattern in source.files:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not found:
            raise MissingFile(f"no file {pattern}", f"source {source.name}, folder {folder}", "mend the table's path")
        paths += found
    by_place: dict[tuple[object, ...], dict[str, list[TensorRecord]]] = {}
    for record in open_tensors(paths):
        name = source.rename.get(record.variable, record.variable)
        if _is_wanted(name, source) or ("wspd" in source.variables and name in ("u10", "v10")):
            axes = [None if axis is None else axis.tobytes() for axis in (record.lat, record.lon)]
            key = (record.values.shape[1:], record.valid_times.tobytes(), *axes)
            by_place.setdefault(key, {}).setdefault(name, []).append(record)
    provenance = {
        "producer": source.producer,
        "licence": source.licence,
        "fold": source.fold,
        "files": "; ".join(f"{path.relative_to(folder)} sha256:{digest(path)}" for path in paths),
    }
    sets = [_join(source, number, group, provenance) for number, group in enumerate(by_place.values())]
    held = {name for each in sets for name in each.variables}
    for pattern in source.variables:
        if not any(fnmatchcase(name, pattern) for name in held):
            raise MissingVariable(
                f"nothing matches {pattern!r}", f"source {source.name}", f"choose from: {', '.join(sorted(held))}"
            )
    return sets


def _is_wanted(name: str, source: Source) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in source.variables)


def _join(source: Source, number: int, group: dict[str, list[TensorRecord]], provenance: dict[str, str]) -> FieldSet:
    """Records on one grid at the same times; several of one variable (members, versions) become unrelated frames."""
    fields = {
        name: np.concatenate([record.values + np.float32(source.offset.get(name, 0.0)) for record in records])
        for name, records in group.items()
    }
    if "wspd" in source.variables and "wspd" not in fields and {"u10", "v10"} <= set(fields):
        fields["wspd"] = wind_speed(fields["u10"], fields["v10"])
    first = next(iter(group.values()))[0]
    count = max(values.shape[0] for values in fields.values())
    kept = {
        name: values
        for name, values in fields.items()
        if values.shape[0] == count and np.isfinite(values).any() and _is_wanted(name, source)
    }
    return FieldSet(
        name=f"{source.name}-{number}",
        source=source.name,
        variables=tuple(kept),
        values=np.stack(list(kept.values())) if kept else np.empty((0, count, *first.values.shape[1:]), np.float32),
        times=np.tile(first.valid_times, count // first.values.shape[0]),
        lat=first.lat,
        lon=first.lon,
        series=source.series,
        provenance=provenance,
    )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    total = sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BYTES_AT_ONCE):
            total.update(block)
    return total.hexdigest()


def pack(sources: Sequence[Source], folder: Path, output: Path) -> str:
    """Read every source, write one file, and beside it as JSON what it is made of; the digest of its content."""
    sets = [each for source in sources for each in read(source, folder) if each.variables]
    total = write_packed(sets, output)
    facts = {
        "digest": total,
        "bytes": output.stat().st_size,
        "sets": [
            {"name": each.name, "variables": each.variables, "frames, rows, columns": each.shape, **each.provenance}
            for each in sets
        ],
    }
    write_text(output.with_suffix(".json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return total


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m gfs_sr.training.pack", description="Pack a training set.")
    parser.add_argument("-c", "--config", type=Path, required=True, help="table of sources, YAML")
    parser.add_argument("--folder", type=Path, default=Path(), help="what the table's paths are below")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the packed set, .npz")
    parser.add_argument("--only", nargs="+", default=None, help="names of sources; default all")
    asked = parser.parse_args(argv)
    try:
        sources = read_table(asked.config)
        if asked.only is not None:
            unknown = set(asked.only) - {source.name for source in sources}
            if unknown:
                raise UsageError(f"no source {', '.join(sorted(unknown))}", "--only", f"see {asked.config}")
            sources = tuple(source for source in sources if source.name in asked.only)
        total = pack(sources, asked.folder, asked.output)
    except GfsSrError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{asked.output}: {asked.output.stat().st_size} bytes, digest {total}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
