"""Fields between frames, by networks and by interpolation: what restoration rates are made of."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from gfs_sr.data.resampling import Closure
from gfs_sr.data.solar import solar_components
from gfs_sr.data.time_interpolation import TIME
from gfs_sr.data.variables import variable_ids
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import Checkpoint
from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.receptive_field import Reach
from gfs_sr.models.time_model import TimeModel
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.units import in_model_units, scaling_for

Values = npt.NDArray[Any]
Method = Callable[[FieldSet, int], Values]
"""A field set and r, every r-th frame of which is looked at -> (C, T, H, W) at all frames from the first of these to
the last, canonical units; NaN for variables that the method does not know."""

INTERPOLATIONS: Final = ("linear", "catmull_rom", "natural_spline", "pchip", "optical_flow")
FRAMES_AT_ONCE: Final = 8  # intervals that go through a network together


def coarse_frames(fields: FieldSet, r: int) -> npt.NDArray[np.intp]:
    """Indices of the frames that a method is given: every r-th."""
    return np.arange((fields.shape[0] - 1) // r + 1) * r


def interpolation(name: str) -> Method:
    """A registered interpolation in time."""

    def method(fields: FieldSet, r: int) -> Values:
        frames = coarse_frames(fields, r)
        filled = fields.filled()[:, frames]
        return np.stack([TIME[name](each, r, Closure.EDGE, fields.is_periodic)[: frames[-1] + 1] for each in filled])

    return method


def network(checkpoint: Checkpoint) -> Method:
    """A network of time, told of the sun and the ground where it asks for them.

    Raises:
        UsageError: the checkpoint is of no such network.
    """
    model = checkpoint.model()
    if not isinstance(model, TimeModel):
        raise UsageError(f"{model.family} makes no frames at any time", "--ckpt", "give a network of time")

    def method(fields: FieldSet, r: int) -> Values:
        known = [name for name in model.facts.variables if name in fields.variables]
        if not model.any_subset and len(known) < len(model.facts.variables):
            raise UsageError(f"{fields.source} lacks variables of {model.family}", "--sources", "give other sources")
        channels = [fields.variables.index(name) for name in known]
        frames = coarse_frames(fields, r)
        made = np.full((len(fields.variables), frames[-1] + 1, *fields.shape[1:]), np.nan, np.float32)
        for group in [[channel] for channel in channels] if model.any_subset else [channels]:
            made[group] = _predicted(model, checkpoint, fields, r, group)
        return made

    return method


def seen_flows(checkpoint: Checkpoint, fields: FieldSet, r: int, variable: str) -> Values | None:
    """Where a network of time sees a variable go from each frame that it is given to the next.

    Args:
        checkpoint: of the network.
        fields: at all times.
        r: every r-th of them is given.
        variable: that the network knows.

    Returns:
        (intervals, 2, H, W) cells southward and eastward; None of a network that moves nothing.
    """
    model = checkpoint.model()
    assert isinstance(model, TimeModel)  # `network` has looked
    known = [variable] if model.any_subset else list(model.facts.variables)
    channels = [fields.variables.index(name) for name in known]
    made = []
    for first, last, part in _parts(model, checkpoint, fields, r, channels):
        with torch.inference_mode():
            flows = model.flows(**model.inputs_of(part))
        if flows is None:
            return None
        one_way = flows.shape[2] == 1  # all variables together
        made.append(flows[0, : last - first, 0 if one_way else known.index(variable)].numpy())
    return np.concatenate(made)


def _predicted(model: TimeModel, checkpoint: Checkpoint, fields: FieldSet, r: int, channels: list[int]) -> Values:
    """(len(channels), T, H, W)."""
    scales = [scaling_for(checkpoint.contract.normalization, fields, channel) for channel in channels]
    made = []
    for first, last, part in _parts(model, checkpoint, fields, r, channels):
        with torch.inference_mode():
            made.append(model(**model.inputs_of(part))[0, : r * (last - first)])
    coarse = _in_units(checkpoint, fields, r, channels)
    fine = torch.cat([*made, coarse[0, -1:]]).numpy()
    return np.stack([scale.denormalize(fine[:, index]) for index, scale in enumerate(scales)])


def _in_units(checkpoint: Checkpoint, fields: FieldSet, r: int, channels: list[int]) -> torch.Tensor:
    """(1, T, len(channels), H, W): the frames that are given."""
    scales = [scaling_for(checkpoint.contract.normalization, fields, channel) for channel in channels]
    known = fields.filled()[channels][:, coarse_frames(fields, r)].swapaxes(0, 1)
    return torch.from_numpy(in_model_units(known, scales, np.ones(len(channels)), [None] * len(channels)))[None]


def _parts(
    model: TimeModel, checkpoint: Checkpoint, fields: FieldSet, r: int, channels: list[int]
) -> Iterator[tuple[int, int, dict[str, torch.Tensor]]]:
    """First interval, one beyond the last, and their inputs."""
    frames = coarse_frames(fields, r)
    scaling = checkpoint.contract.normalization
    coarse = _in_units(checkpoint, fields, r, channels)
    reach = model.reach
    margin = reach if isinstance(reach, Reach) else Reach()
    space = replace(margin, before=0, after=0)
    padded = pad_edges(coarse, Reach(before=margin.before, after=max(margin.after - 1, 0)) + space)
    inputs = {
        "fraction": torch.arange(r)[None, None] / r,
        "hours": torch.tensor([fields.interval_hours * r], dtype=torch.float32),
        "variable": torch.tensor(variable_ids([fields.variables[channel] for channel in channels])),
    }
    if model.statics_coarse:
        sd = np.array([scaling[name].sd for name in model.statics_coarse])[:, None, None]
        ground = (fields.statics(model.statics_coarse) / sd).astype(np.float32)
        inputs["static_coarse"] = pad_edges(torch.from_numpy(ground)[None, None], space)
    intervals = frames.size - 1
    for first in range(0, intervals, FRAMES_AT_ONCE):
        last = min(first + FRAMES_AT_ONCE, intervals)
        context = margin.before + margin.after if isinstance(reach, Reach) else 1
        part = inputs | {"coarse": padded[:, first : last + context]}
        part |= _sun(model, fields, r, range(first, last), margin)
        yield first, last, part


def _sun(model: TimeModel, fields: FieldSet, r: int, intervals: range, margin: Reach) -> dict[str, torch.Tensor]:
    """Predictors of some intervals, with the network's context; none where it takes none or no place is known."""
    positions = fields.positions()
    if not model.predictors or positions is None:
        return {}
    frames = coarse_frames(fields, r)
    around = np.clip(np.arange(intervals.start - margin.before, intervals.stop + margin.after), 0, frames.size - 1)
    between = (frames[intervals.start : intervals.stop, None] + np.arange(r)).ravel()
    space = replace(margin, before=0, after=0)
    times = {"predictor_coarse": frames[around], "predictor_coarse_fine_time": between}
    return {
        name: pad_edges(
            torch.from_numpy(solar_components(fields.times[index], *positions).astype(np.float32))[None], space
        )
        for name, index in times.items()
    }
