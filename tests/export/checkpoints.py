"""Small checkpoints: untrained networks with a smooth, made-up validation sample."""

from pathlib import Path

import numpy as np
import torch

from gfs_sr import models
from gfs_sr.contract import Skill
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import lookup
from gfs_sr.models.checkpoint import Checkpoint, Sample, save_checkpoint


def make_sample(variables: tuple[str, ...], size: tuple[int, int, int] = (3, 7, 9)) -> Sample:
    """Waves of each variable's typical mean and spread."""
    frames, rows, columns = size
    t, y, x = np.meshgrid(np.arange(frames), np.arange(rows), np.arange(columns), indexing="ij")
    fields = []
    for turn, name in enumerate(variables):
        mean, sd = lookup(name).typical
        fields.append(mean + sd * np.sin(0.9 * x + turn) * np.cos(0.7 * y - 0.5 * t))
    start = np.datetime64("2024-06-01T00", "ns")
    times = TimeAxis.from_times(start, start + np.arange(frames) * np.timedelta64(6, "h"), "sample")
    grid = Grid.from_axes(50 - 1.5 * np.arange(rows), 5 + 1.5 * np.arange(columns), "sample")
    return Sample(variables, np.stack(fields, 1).astype(np.float32), grid, times)


def make_checkpoint(config: dict[str, object], *, spread: float = 0.0, skill: tuple[Skill, ...] = ()) -> Checkpoint:
    """Of `models.build(config)`; `spread` shakes all weights, so that the residual is not zero."""
    torch.manual_seed(11)
    model = models.build(config)
    if spread:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += spread * torch.randn_like(parameter)
    contract = model.make_contract(name="small")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return Checkpoint(model.config, contract, state, make_sample(contract.inputs), skill, {"data": "waves"})


def write_checkpoint(path: Path, config: dict[str, object], *, spread: float = 0.0) -> Path:
    """The same, saved."""
    save_checkpoint(make_checkpoint(config, spread=spread), path)
    return path
