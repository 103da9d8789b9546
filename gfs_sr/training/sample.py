"""The validation sample that a checkpoint carries: a few real coarse frames of every variable of the model."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gfs_sr.data.coarsen import SIGMA, block_mean, gauss_decimate
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import lookup
from gfs_sr.models.checkpoint import Sample
from gfs_sr.models.model import Model
from gfs_sr.training.fields import Fields

FRAMES: Final = 3
CELLS: Final = 20
_HOUR: Final = np.timedelta64(3600 * 10**9, "ns")


def validation_sample(held_out: Sequence[Fields], others: Sequence[Fields], model: Model) -> Sample:
    """Coarse frames of the series with most of the model's variables, a held-out one if it can be.

    What it lacks comes from other sets: values are real in every variable, and where they come from another place
    `source` says so. Variables that no set holds are taken as their typical value.
    """
    facts = model.facts
    regular = [each for each in (*held_out, *others) if each.lat is not None and each.lat.ndim == 1] or [*held_out]

    def merit(fields: Fields) -> tuple[bool, int, bool]:
        moves = fields.interval_hours > 0 and fields.shape[0] > (FRAMES - 1) * facts.time_factor
        return moves, len(set(fields.variables) & set(model.inputs)), fields in held_out

    first = max(regular, key=merit)
    coarse, rows, columns = _coarse(first, model.inputs, model)
    fields: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = dict(coarse)
    borrowed = []
    for name in model.inputs:
        for other in (*held_out, *others):
            if name not in fields and name in other.variables:
                found, _, _ = _coarse(other, (name,), model)
                fields[name] = _fitted(found[name], (FRAMES, rows, columns))
                borrowed.append(f"{name} of {other.source}")
        if name not in fields:
            fields[name] = np.full((FRAMES, rows, columns), lookup(name).typical[0], np.float32)
            borrowed.append(f"{name} typical")
    grid = _grid(first, facts.scale_factor, facts.registration, rows, columns)
    start = first.times[0]
    step = np.timedelta64(round((first.interval_hours or 1.0) * facts.time_factor * 3600), "s")
    times = TimeAxis(start, start + step * np.arange(FRAMES))
    source = first.source + (f" ({', '.join(borrowed)})" if borrowed else "")
    return Sample(model.inputs, np.stack([fields[name] for name in model.inputs], axis=1), grid, times, source)


def _coarse(
    fields: Fields, names: Sequence[str], model: Model
) -> tuple[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], int, int]:
    s, r = model.facts.scale_factor, model.facts.time_factor
    frames = [min(r * k, fields.shape[0] - 1) for k in range(FRAMES)]
    bound = model.source_grid  # a network with weights for every cell takes all of them
    most = (CELLS, CELLS) if bound is None else (len(bound.lat), len(bound.lon))
    extent = [min(count, size // s) * s for count, size in zip(most, fields.shape[1:], strict=True)]
    found = {}
    for channel, name in enumerate(fields.variables):
        if name in names:
            fine = np.nan_to_num(
                fields.read([channel], np.array(frames), np.arange(extent[0]), np.arange(extent[1]))[0],
                nan=lookup(name).typical[0],
            )
            if name in fields.units:
                fine = fields.units[name].denormalize(fine)
            if model.facts.registration is Registration.NODE:
                coarse = gauss_decimate(fine, SIGMA, s)
            else:
                coarse = block_mean(fine, s)
            found[name] = coarse.astype(np.float32)
    return found, extent[0] // s, extent[1] // s


def _fitted(
    field: np.ndarray[tuple[int, ...], np.dtype[np.float32]], shape: tuple[int, int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Cut, or continued by its edge."""
    for axis, size in enumerate(shape):
        field = np.take(field, np.minimum(np.arange(size), field.shape[axis] - 1), axis=axis)
    return field


def _grid(fields: Fields, scale_factor: int, registration: Registration, rows: int, columns: int) -> Grid:
    shift = 0.0 if registration is Registration.NODE else (scale_factor - 1) / 2
    axes = []
    for axis, count, start, step in ((fields.lat, rows, 60.0, -0.25), (fields.lon, columns, 0.0, 0.25)):
        if axis is not None and axis.ndim == 1 and axis.size > 1:
            start, step = float(axis[0]), float(axis[1] - axis[0])
        axes.append(start + step * (scale_factor * np.arange(count, dtype=np.float64) + shift))
    return Grid(axes[0], axes[1])
