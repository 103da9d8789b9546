"""Which engine is fastest here: measured once per machine, artifact and versions, then read from the user's cache."""

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from gfs_sr import __version__
from gfs_sr.atomic import write_bytes
from gfs_sr.contract import Contract
from gfs_sr.data.variables import variable_ids
from gfs_sr.errors import BackendError, DiskFailed, OutputExists
from gfs_sr.runtime.artifact import DENOISER, MODEL, Artifact
from gfs_sr.runtime.backends.base import TOLERANCE_SD, Array
from gfs_sr.runtime.backends.registry import make_backend
from gfs_sr.runtime.backends.signature import signature_of

# where nothing is measured; torch is never taken unasked: it starts slowly
ORDER: Final = ("onnxruntime", "openvino", "openvino-winograd")
MEASURE: Final = "GFS_SR_MEASURE"  # environment: `off` takes the first of ORDER that can run the artifact
CACHE: Final = "GFS_SR_CACHE"  # environment: folder of what was measured
MOST_SECONDS: Final = 2.0  # all engines together; a model too slow for that is not measured
ASSUMED_FLOPS: Final = 5e10  # per second, of a small machine: decides only whether a measurement would be short
HALO_FRAMES: Final = 1.5  # what the halo in time adds to the work of one frame, roughly
CORES: Final = (48, 32, 16)  # coarse cells of the measured tile's side, the largest that is quick enough
REPEATS: Final = 3
CLEARLY: Final = 0.95  # of the other's time


class Timing(BaseModel):
    """One engine on the measured tile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    seconds: float | None  # None: it did not run, or gave another field
    remark: str = ""


class Choice(BaseModel):
    """The engine that `auto` stands for, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    reason: str
    timings: tuple[Timing, ...] = ()


def choose_engine(artifact: Artifact, threads: int | None = None) -> Choice:
    """The fastest installed engine for `artifact`, by a stored measurement, or by one made now and stored.

    Two machines with the same engines may choose differently, and so may differ in the last bits of their output:
    name a backend, or set GFS_SR_MEASURE=off, where that matters.
    """
    able = candidates(artifact)
    if len(able) == 1:
        return Choice(backend=able[0], reason="the only engine installed that runs this artifact")
    if os.environ.get(MEASURE, "").lower() == "off":
        return Choice(backend=able[0], reason=f"first of {', '.join(able)}: {MEASURE} is off")
    core = _quick_core(artifact)
    if core is None:
        return Choice(backend=able[0], reason=f"first of {', '.join(able)}: measuring this model would take too long")
    path = cache_folder() / "engines" / f"{_key(artifact, able, threads)}.json"
    stored = _read(path)
    if stored is not None:
        return stored
    choice = _decide(measure(artifact, able, core, threads), able)
    _write(path, choice)
    return choice


def candidates(artifact: Artifact) -> tuple[str, ...]:
    """Engines of `ORDER` that are installed and have the artifact's precision; the plain install's where none is."""
    names = [name for name in ORDER if find_spec(_package(name)) is not None]
    if artifact.contract.precision != "fp32":
        names = [name for name in names if name != "openvino-winograd"]
    if artifact.contract.precision == "bf16":
        names = [name for name in names if name != "onnxruntime"]  # it has no bf16 convolution on CPUs
    return tuple(names) or ORDER[:1]


def measure(
    artifact: Artifact, names: Sequence[str], core: tuple[int, int, int, int, int], threads: int | None = None
) -> tuple[Timing, ...]:
    """Every engine's best time on one tile; one that gives another field than the first is ruled out."""
    inputs = smooth_inputs(artifact.contract, core)
    timings: list[Timing] = []
    reference: Array | None = None
    for name in names:
        try:
            with make_backend(name, artifact, threads=threads, role=_measured_role(artifact.contract)) as backend:
                fine = np.array(backend.infer(inputs)["fine"])
                seconds = [_timed(backend.infer, inputs) for _ in range(REPEATS)]
        except BackendError as error:
            timings.append(Timing(backend=name, seconds=None, remark=error.what))
            continue
        if reference is None:
            reference = fine
        strays = float(np.abs(fine - reference).max())
        if not strays <= TOLERANCE_SD[artifact.contract.precision]:
            timings.append(Timing(backend=name, seconds=None, remark=f"strays by {strays:.2g} sd from {names[0]}"))
        else:
            timings.append(Timing(backend=name, seconds=round(min(seconds), 5)))
    return tuple(timings)


def smooth_inputs(
    contract: Contract, core: tuple[int, int, int, int, int], role: str | None = None
) -> dict[str, Array]:
    """Waves of one standard deviation for every graph input of a tile with that core, (B, T, C, H, W).

    `role` names the graph; None is the one that takes the time.
    """
    inputs: dict[str, Array] = {}
    for name, shape in signature_of(contract, role or _measured_role(contract)).input_shapes(core).items():
        if name == "variable":
            inputs[name] = np.array(variable_ids(contract.inputs[: shape[0]]), np.int64)
            continue
        if name == "sigma":
            inputs[name] = np.ones(shape, np.float32)
            continue
        if name == "fraction":
            inputs[name] = np.ascontiguousarray(np.broadcast_to(np.arange(shape[2]) / shape[2], shape), np.float32)
            continue
        if name == "hours":
            inputs[name] = np.full(shape, contract.interval_hours[0], np.float32)
            continue
        axes = np.ogrid[tuple(slice(0, size) for size in shape)]
        phase = 0.3 * axes[1] + 1.1 * axes[2] + 0.15 * axes[3] + 0.1 * axes[4]
        inputs[name] = np.ascontiguousarray(np.broadcast_to(np.sin(phase), shape), np.float32)
    return inputs


def _measured_role(contract: Contract) -> str:
    """The graph that takes the time."""
    return MODEL if contract.denoising is None else DENOISER


def _timed(infer: object, inputs: dict[str, Array]) -> float:
    start = time.perf_counter()
    infer(inputs)  # type: ignore[operator]
    return time.perf_counter() - start


def _quick_core(artifact: Artifact) -> tuple[int, int, int, int, int] | None:
    """(B, T, C, H, W) of the largest tile that all engines together run within `MOST_SECONDS`; None: none is small."""
    contract, runs = artifact.contract, 1
    halo = contract.halo
    if contract.denoising is not None:  # its cost is that of a whole sampling
        halo, runs = contract.denoising.halo, contract.denoising.sampling.evaluations
    if halo == "global":
        return None
    refined = contract.scale_factor**2 * contract.time_factor / runs
    channels = 1 if contract.any_subset else len(contract.inputs)
    for side in CORES:
        padded = (side + halo.north + halo.south) * (side + halo.west + halo.east)
        flops = artifact.manifest.flops_per_fine_cell * channels / 5 * refined * padded * HALO_FRAMES
        if flops * (REPEATS + 1) * len(ORDER) / ASSUMED_FLOPS <= MOST_SECONDS:
            return (1, 1, channels, side, side)
    return None


def _decide(timings: Sequence[Timing], able: Sequence[str]) -> Choice:
    ran = [each for each in timings if each.seconds is not None]
    shown = ", ".join(
        f"{each.backend} {each.remark}" if each.seconds is None else f"{each.backend} {1e3 * each.seconds:.0f} ms"
        for each in timings
    )
    if not ran:
        return Choice(backend=able[0], reason=f"none could be measured: {shown}", timings=tuple(timings))
    best = ran[0]  # in ORDER: what is ahead by less than the noise does not count
    for each in ran[1:]:
        if (each.seconds or 0.0) < CLEARLY * (best.seconds or 0.0):
            best = each
    return Choice(backend=best.backend, reason=f"fastest on one tile: {shown}", timings=tuple(timings))


def _key(artifact: Artifact, names: Sequence[str], threads: int | None) -> str:
    facts = [artifact.sha256, __version__, processor(), str(os.cpu_count()), str(threads)]
    for name in names:
        try:
            facts.append(f"{name} {version(_package(name))}")
        except PackageNotFoundError:  # installed by other means than a package
            facts.append(name)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


def _package(engine: str) -> str:
    """What has to be installed for it."""
    return engine.partition("-")[0]


def processor() -> str:
    """The processor's model, as its system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cache_folder() -> Path:
    """Where what was measured or built on this machine is kept."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gfs-sr"


def _read(path: Path) -> Choice | None:
    try:
        return Choice.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # not measured yet, or by another version
        return None


def _write(path: Path, choice: Choice) -> None:
    """Whole or not at all; a folder that cannot be written only means that the next run measures again."""
    with suppress(OSError, DiskFailed, OutputExists):
        write_bytes(path, choice.model_dump_json(indent=1).encode() + b"\n", shared=True)
