"""Prepared stores: fine and coarse fields in model units, written once and found again by what they depend on.

The folder's name is a digest of the source files' bytes, the protocol, sigma, the variables and the statistics.
Whatever changes gives another name, so that nothing stale is ever read.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gfs_sr.atomic import whole, write_text
from gfs_sr.data.coarsen import coarsen_everywhere
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.scalers import Units
from gfs_sr.data.sources.blocks import BlockFile
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.data.zarr_writes import settled

Block = npt.NDArray[np.float32]
FORMAT: Final = 1  # raised when what is stored changes its meaning
FACTS: Final = "prepared.json"
CHUNK: Final = (24, 96, 96)  # frames, rows, columns: 0.9 MB
SLAB_BYTES: Final = 2**25  # of one variable's frames at once while writing
_BYTES_AT_ONCE: Final = 2**20


@dataclass(frozen=True)
class Preparation:
    """What is stored, beside the source's own bytes."""

    registration: Registration
    scale_factor: int
    sigma: float  # of the Gaussian, fine cells
    units: Mapping[str, Units] = field(default_factory=dict)  # of variables; what has none stays physical

    def describe(self, variables: tuple[str, ...]) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "registration": str(self.registration),
            "scale_factor": self.scale_factor,
            "sigma": self.sigma if self.registration is Registration.NODE else None,
            "variables": list(variables),
            "units": {name: json.loads(self.units[name].to_json()) for name in variables if name in self.units},
        }


@dataclass(frozen=True, eq=False)
class PreparedFile:
    """A prepared store: what a `BlockFile` gives, in model units, and the coarse fields beside it."""

    path: Path
    variables: tuple[str, ...]
    grid: Grid
    times: TimeArray
    units: Mapping[str, Units]
    how: Mapping[str, Any]
    chunks: tuple[int, int, int]
    _opened: dict[int, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path) -> "PreparedFile":
        """A store that `prepare` wrote."""
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        with np.load(path / "axes.npz", allow_pickle=False) as axes:
            grid, times = Grid(axes["lat"], axes["lon"]), axes["times"].view("datetime64[ns]")
        how = facts["preparation"]
        units = {name: Units.from_json(json.dumps(each)) for name, each in how["units"].items()}
        return cls(path, tuple(how["variables"]), grid, times, units, how, tuple(facts["chunks"]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        return self.times.size, *self.grid.shape

    @property
    def source(self) -> str:
        """For messages."""
        return self.path.name

    def coarse_is(self, registration: Registration, scale_factor: int, sigma: float) -> bool:
        """Whether the stored coarse fields are those of this protocol."""
        wanted = sigma if registration is Registration.NODE else None
        return (str(registration), scale_factor, wanted) == (
            self.how["registration"], self.how["scale_factor"], self.how["sigma"])  # fmt: skip

    def read(self, variable: str, frames: slice, rows: slice, columns: slice) -> Block:
        """(t, h, w) of the fine fields, model units."""
        return self._read(f"fine/{variable}", frames, rows, columns)

    def read_coarse(self, variable: str, frames: slice, rows: slice, columns: slice) -> Block:
        """(t, h, w) of the coarse cells that start at these fine ones, model units."""
        return self._read(f"coarse/{variable}", frames, rows, columns)

    def _read(self, name: str, frames: slice, rows: slice, columns: slice) -> Block:
        here = os.getpid()
        if here not in self._opened:
            import zarr

            self._opened.clear()
            self._opened[here] = zarr.open_group(str(self.path / "fields.zarr"), mode="r")
        block: Block = np.asarray(self._opened[here][name][frames, rows, columns], np.float32)
        return block

    def __getstate__(self) -> dict[str, object]:
        """Without what is open."""
        return {**self.__dict__, "_opened": {}}


def prepare(file: BlockFile, how: Preparation, folder: Path) -> PreparedFile:
    """The prepared store of a file: found in `folder`, or written there by the first of several processes that ask.

    A store appears whole or not at all; one that was killed leaves a `.partial` folder that the next run removes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    preparation = how.describe(file.variables)
    digests = {path.name: Digests(folder).of(path) for path in file.paths}
    text = json.dumps({"format": FORMAT, "files": sorted(digests.items()), "preparation": preparation}, sort_keys=True)
    key = sha256(text.encode()).hexdigest()
    target = folder / key[:32]
    if not (target / FACTS).is_file():
        with _locked(folder / f"{target.name}.lock"):
            if not (target / FACTS).is_file():  # another process may have been faster
                with whole(target) as partial:  # the lock's holder is the only one that writes
                    _write(file, how, {"key": key, "files": digests, "preparation": preparation}, partial)
    return PreparedFile.open(target)


class Digests:
    """SHA-256 of files, computed again only where size or time of change differ; kept in the cache's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "digests.json"

    def of(self, path: Path) -> str:
        """Of a file, or of all files of a Zarr store with their names."""
        parts = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        stamps = [(str(each.relative_to(path)), each.stat().st_size, each.stat().st_mtime_ns) for each in parts]
        stamp = sha256(json.dumps([str(path.resolve()), stamps]).encode()).hexdigest()
        if stamp not in self._known():
            with _locked(self._path.with_suffix(".lock")):
                known = self._known()  # another process may have been faster
                if stamp not in known:
                    write_text(self._path, json.dumps(known | {stamp: _digest(path, parts)}))
        return self._known()[stamp]

    def _known(self) -> dict[str, str]:
        known: dict[str, str] = {}
        if self._path.is_file():
            known = json.loads(self._path.read_text(encoding="utf-8"))
        return known


def _digest(path: Path, parts: list[Path]) -> str:
    total = sha256()
    for each in parts:
        total.update(str(each.relative_to(path)).encode() + b"\0")
        with each.open("rb") as stream:
            while block := stream.read(_BYTES_AT_ONCE):
                total.update(block)
    return total.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the system lets go when it dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@settled()
def _write(file: BlockFile, how: Preparation, facts: dict[str, Any], folder: Path) -> None:
    import zarr

    folder.mkdir()
    frames, rows, columns = file.shape
    chunks = tuple(min(chunk, length) for chunk, length in zip(CHUNK, file.shape, strict=True))
    group = zarr.create_group(str(folder / "fields.zarr"))
    slab = max(1, SLAB_BYTES // (4 * rows * columns))
    slab = max(chunks[0], slab // chunks[0] * chunks[0]) if slab >= chunks[0] else slab
    for name in file.variables:
        arrays = {
            kind: group.create_array(f"{kind}/{name}", shape=file.shape, chunks=chunks, dtype="float32")
            for kind in ("fine", "coarse")
        }
        for first in range(0, frames, slab):
            part = slice(first, min(first + slab, frames))
            fine = file.read(name, part, slice(0, rows), slice(0, columns))
            coarse = _coarse_of(fine, how, file.grid)
            units = how.units.get(name)
            arrays["fine"][part] = fine if units is None else units.apply(fine).astype(np.float32)
            arrays["coarse"][part, : coarse.shape[1], : coarse.shape[2]] = (
                coarse if units is None else units.apply(coarse).astype(np.float32)
            )
    np.savez(folder / "axes.npz", lat=file.grid.lat, lon=file.grid.lon,
             times=file.times.astype("datetime64[ns]").astype(np.int64))  # fmt: skip
    (folder / FACTS).write_text(json.dumps(facts | {"chunks": list(chunks)}, indent=1), encoding="utf-8")


def _coarse_of(fine: Block, how: Preparation, grid: Grid) -> Block:
    filled = fine
    if not np.isfinite(fine).all():
        filled = np.nan_to_num(fill_nearest(fine, grid.is_periodic)[0])
    return coarsen_everywhere(filled, how.registration, how.scale_factor, grid.lat, grid.is_periodic, how.sigma)
