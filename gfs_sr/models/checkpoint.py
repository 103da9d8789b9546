"""Checkpoints: config, contract, weights, a validation sample and what was measured; read without running anything."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor

from gfs_sr import models
from gfs_sr.atomic import whole
from gfs_sr.contract import Contract, Skill
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import CheckpointInvalid, FormatTooNew, MissingFile, UsageError
from gfs_sr.models.model import Model

FORMAT: Final = 1
KEY: Final = "gfs_sr"  # under it in every file, Lightning's own too
SAMPLE_LIMIT_BYTES: Final = 2**20
_NOT_OURS: Final = "give a checkpoint that gfs-sr train left"


@dataclass(frozen=True, eq=False)
class Sample:
    """A few real coarse frames, on which an export is compared with the network."""

    variables: tuple[str, ...]
    values: npt.NDArray[np.float32]  # (T, C, H, W), canonical units
    grid: Grid
    times: TimeAxis
    source: str = ""  # where the frames come from
    statics: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)  # (H, W) on `grid`, canonical units

    def __post_init__(self) -> None:
        if self.nbytes > SAMPLE_LIMIT_BYTES:
            raise ValueError(f"a validation sample may hold {SAMPLE_LIMIT_BYTES} bytes, this one has {self.nbytes}")
        if self.values.shape != (len(self.times), len(self.variables), *self.grid.shape):
            raise ValueError(f"sample of shape {self.values.shape} does not fit its coordinates")

    @property
    def nbytes(self) -> int:
        """Of all its arrays."""
        return self.values.nbytes + sum(each.nbytes for each in self.statics.values())


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What training leaves and export takes."""

    config: dict[str, Any]  # what `models.build` takes
    contract: Contract
    state_dict: dict[str, Tensor]  # averaged weights, where training averaged them
    sample: Sample
    skill: tuple[Skill, ...] = ()
    provenance: dict[str, str] = field(default_factory=dict)  # training data, seed, versions, commit

    def model(self) -> Model:
        """The network with its weights, ready to evaluate.

        Raises:
            CheckpointInvalid: weights that are not this configuration's.
        """
        model = models.build(self.config)
        _load_weights(model, self.state_dict, "checkpoint in memory")
        return model.eval()


def pack(checkpoint: Checkpoint) -> dict[str, Any]:
    """Plain containers and tensors: all that `weights_only` reads."""
    sample = checkpoint.sample
    return {
        "format": FORMAT,
        "config": checkpoint.config,
        "contract": checkpoint.contract.model_dump_json(),
        "state_dict": {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.state_dict.items()},
        "sample": {
            "variables": list(sample.variables),
            "values": torch.from_numpy(np.array(sample.values, np.float32)),
            "lat": torch.from_numpy(np.array(sample.grid.lat, np.float64)),
            "lon": torch.from_numpy(np.array(sample.grid.lon, np.float64)),
            "reference_time": int(sample.times.reference_time.astype("datetime64[ns]").astype(np.int64)),
            "valid_times": torch.from_numpy(sample.times.valid_times.astype("datetime64[ns]").astype(np.int64)),
            "source": sample.source,
            "statics": {name: torch.from_numpy(np.array(each, np.float32)) for name, each in sample.statics.items()},
        },
        "skill": [line.model_dump() for line in checkpoint.skill],
        # plain str: torch's own version is a subclass that `weights_only` refuses to read back
        "provenance": {str(name): f"{value}" for name, value in checkpoint.provenance.items()},
    }


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` whole or not at all."""
    with whole(path) as partial, partial.open("wb") as file:  # whose errors say their reason
        torch.save({KEY: pack(checkpoint)}, file)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of ours, or one that Lightning wrote of our module; nothing in it is executed.

    Raises:
        MissingFile: no such file.
        CheckpointInvalid: truncated, damaged, or not one of ours.
        FormatTooNew: written by a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no checkpoint {path}", "--ckpt", _NOT_OURS)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointInvalid(f"cannot be read as weights: {reason}", str(path), _NOT_OURS) from error
    if not isinstance(stored, dict) or not isinstance(stored.get(KEY), dict):
        raise CheckpointInvalid("is a checkpoint of something else", str(path), _NOT_OURS)
    return _unpack(stored[KEY], str(path))


def _unpack(packed: Mapping[str, Any], where: str) -> Checkpoint:
    if packed.get("format", 0) > FORMAT:
        raise FormatTooNew(
            f"checkpoint format {packed['format']}, this version reads up to {FORMAT}", where, "install a later gfs-sr"
        )
    try:
        sample = packed["sample"]
        checkpoint = Checkpoint(
            config=packed["config"],
            contract=Contract.model_validate_json(packed["contract"]),
            state_dict=packed["state_dict"],
            sample=Sample(
                variables=tuple(sample["variables"]),
                values=sample["values"].numpy(),
                grid=Grid(sample["lat"].numpy(), sample["lon"].numpy()),
                times=TimeAxis(
                    np.datetime64(sample["reference_time"], "ns"), sample["valid_times"].numpy().view("datetime64[ns]")
                ),
                source=sample["source"],
                statics={name: each.numpy() for name, each in sample["statics"].items()},
            ),
            skill=tuple(Skill.model_validate(line) for line in packed["skill"]),
            provenance=packed["provenance"],
        )
        model = models.build(checkpoint.config)
    except (KeyError, TypeError, AttributeError, ValueError, ValidationError, UsageError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointInvalid(f"is incomplete: {type(error).__name__}: {reason}", where, _NOT_OURS) from error
    _load_weights(model, checkpoint.state_dict, where)
    return checkpoint


def _load_weights(model: Model, state_dict: Mapping[str, Tensor], where: str) -> None:
    try:
        model.load_state_dict(state_dict)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointInvalid(
            f"its weights are not its configuration's: {lines[1] if len(lines) > 1 else lines[0]}", where, _NOT_OURS
        ) from error
    for name, tensor in state_dict.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointInvalid(f"weight {name} holds values that are not finite", where, "train again")
