"""Members that were drawn before a run was stopped, so that its repetition draws the others alone."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from gfs_sr.atomic import write_bytes, write_text
from gfs_sr.errors import UsageError
from gfs_sr.runtime.request import Job
from gfs_sr.runtime.sink import FileSink, FloatField, Sink
from gfs_sr.runtime.stages import Window
from gfs_sr.runtime.statics import Statics
from gfs_sr.runtime.tiling import Plan

FACTS: Final = "run.json"
DIGEST, SIZE = hashlib.sha256().digest_size, 4 * 8  # bytes of a digest, of a field's four lengths


class MemberStore:
    """A folder beside the output, one file for each window and member, each there whole or not at all.

    Args:
        output: where the forecast goes; the folder is `OUTPUT.members`.
        facts: all that a member follows from, besides the frames of its window; a folder of other facts is emptied.
    """

    def __init__(self, output: Path, facts: Mapping[str, str]) -> None:
        self.folder = output.with_name(output.name + ".members")
        text = json.dumps(dict(facts), indent=1, sort_keys=True) + "\n"
        known = self.folder / FACTS
        if self.folder.is_dir() and not (known.is_file() and known.read_text(encoding="utf-8") == text):
            shutil.rmtree(self.folder)
        if not known.is_file():
            write_text(known, text)

    def load(self, window: Window, member: int) -> FloatField | None:
        """What was saved; None where nothing was, it was of other frames, or what is there has other bytes."""
        path = self._path(window, member)
        if not path.is_file():
            return None
        stored = path.read_bytes()
        digest, body = stored[:DIGEST], stored[DIGEST:]
        if hashlib.sha256(body).digest() != digest or body[:DIGEST] != _made_of(window):
            return None
        size = np.frombuffer(body[DIGEST : DIGEST + SIZE], np.int64)
        return np.frombuffer(body[DIGEST + SIZE :], np.float32).reshape(size).copy()

    def save(self, window: Window, member: int, field: FloatField) -> None:
        """Keep (T, C, H, W).

        Raises:
            DiskFailed: the disk is full or broken.
        """
        size = np.array(field.shape, np.int64).tobytes()
        body = _made_of(window) + size + np.ascontiguousarray(field).tobytes()
        write_bytes(self._path(window, member), hashlib.sha256(body).digest() + body)

    def remove(self) -> None:
        """The forecast is published: nothing is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, window: Window, member: int) -> Path:
        return self.folder / f"{window.time_tile:06d}-{member:04d}.field"


def open_store(sink: Sink, job: Job, model_sha256: str, steps: Plan, statics: Statics | None) -> MemberStore:
    """The store of a run: a repetition takes it up where model, input, sampling, seed and tiles are the same.

    The frames of the input are compared window by window, as the run reads them.

    Raises:
        UsageError: a sink without a path.
    """
    if not isinstance(sink, FileSink):
        raise UsageError("only a forecast that goes to a file is resumed", "--resume", "give an output file")
    assert job.sampling is not None  # `prepare` has settled it
    grid, digest = job.horizontal.coarse, hashlib.sha256()
    for axis in (grid.lat, grid.lon, job.forecast.times.valid_times.astype("datetime64[ns]").astype(np.int64)):
        digest.update(np.ascontiguousarray(axis).tobytes())
    facts = {
        "model": model_sha256,
        "places and times": digest.hexdigest(),
        "statics": "" if statics is None else statics.digest(),
        "variables": ", ".join(job.inputs),
        "sampling": job.sampling.model_dump_json(),
        "seed": str(job.seed),
        "tiles": f"{steps.lat.core} by {steps.lon.core}",
    }
    return MemberStore(sink.path, facts)


def _made_of(window: Window) -> bytes:
    digest = hashlib.sha256()
    for frame in window.frames:
        digest.update(np.ascontiguousarray(frame.values).tobytes())
    return digest.digest()
