"""The checkpoint's validation sample as graph inputs: real fields, the sun of their own place and time."""

import numpy as np
import numpy.typing as npt

from export.parity import Batch
from gfs_sr.contract import Contract, Halo, NoiseDistribution, NoiseInput, PredictorGrid
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import variable_ids
from gfs_sr.errors import CheckpointInvalid
from gfs_sr.models.checkpoint import Sample
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.backends.shapes import halo_of, input_shapes
from gfs_sr.runtime.predictors import predictor_fields
from gfs_sr.runtime.statics import static_inputs

FloatArray = npt.NDArray[np.float64]


def sample_batches(sample: Sample, contract: Contract) -> list[Batch]:
    """Inputs of three shapes, cut from the sample; beyond its edges it is continued as the runtime would.

    Three, all variables in one of them. Where frames are drawn together, every step of a sampler takes along all frames
    that one can see: there the shapes are smaller and take turns, by pairs of variables.

    Raises:
        CheckpointInvalid: the sample lacks a variable of the model.
    """
    absent = [name for name in contract.inputs if name not in sample.variables]
    if absent:
        raise CheckpointInvalid(
            f"the validation sample has no {', '.join(absent)}", contract.name, "train again with this version"
        )
    frames, _, rows, columns = sample.values.shape
    names = contract.inputs
    small = names[-1:] if contract.any_subset else names
    if contract.source_grid is not None:  # its weights fit no part of it
        return [_batch(sample, contract, names, (count, frames - count, rows, columns)) for count in (1, 2)]
    if contract.denoising is not None and contract.denoising.temporal and isinstance(contract.denoising.halo, Halo):
        sizes = [
            (1, frames, (rows + 1) // 2, (columns + 1) // 2),
            (2, 1, 1, max(1, columns // 4)),
            (1, max(1, frames - 1), max(1, rows // 3), max(1, columns // 3)),
        ]
        groups = [names[k : k + 2] for k in range(0, len(names), 2)] if contract.any_subset else [names]
        return [
            _batch(sample, contract, groups[k % len(groups)], sizes[k % len(sizes)])
            for k in range(max(len(groups), len(sizes)))
        ]
    return [
        _batch(sample, contract, names, (1, frames, rows, columns)),
        _batch(sample, contract, names, (2, max(1, frames - 1), (rows + 1) // 2, (2 * columns + 2) // 3)),
        _batch(sample, contract, small, (3, 1, max(1, rows // 3), max(1, columns // 2))),
    ]


def _batch(sample: Sample, contract: Contract, names: tuple[str, ...], size: tuple[int, int, int, int]) -> Batch:
    count, *core = size
    windows = [_window(sample, contract, names, (core[0], core[1], core[2]), turn, count) for turn in range(count)]
    inputs: dict[str, Array] = {}
    for name in contract.graph_inputs():
        if name.startswith("noise_"):
            continue
        if name == "variable":
            inputs[name] = np.array(variable_ids(names), np.int64)
        else:
            inputs[name] = np.ascontiguousarray(np.stack([window[name] for window in windows]), np.float32)
    expected = input_shapes(contract, (count, core[0], len(names), core[1], core[2]))
    for noise in contract.noise:
        inputs[noise.graph_input] = _random(noise, expected[noise.graph_input])
    assert {name: array.shape for name, array in inputs.items()} == expected  # ours alone: the sample was checked
    return Batch(inputs, names if contract.any_subset else contract.outputs)


def _random(noise: NoiseInput, shape: tuple[int, ...]) -> Array:
    """Any numbers of its distribution, the same at every export."""
    rng = np.random.default_rng(0)
    is_uniform = noise.distribution is NoiseDistribution.UNIFORM
    numbers: Array = (rng.random if is_uniform else rng.standard_normal)(shape, np.float32)
    return numbers


def _window(
    sample: Sample,
    contract: Contract,
    names: tuple[str, ...],
    core: tuple[int, int, int],
    turn: int,
    turns: int,
) -> dict[str, FloatArray]:
    """The `turn`-th of `turns` windows spread from the sample's north-west to its south-east corner."""
    halo, s, r = halo_of(contract), contract.scale_factor, contract.time_factor
    sizes = (sample.values.shape[0], *sample.values.shape[2:])
    starts = [(size - part) * turn // max(1, turns - 1) for size, part in zip(sizes, core, strict=True)]
    sides = ((halo.before, halo.after), (halo.north, halo.south), (halo.west, halo.east))
    padded = [
        np.arange(start - before, start + part + after)
        for start, part, (before, after) in zip(starts, core, sides, strict=True)
    ]
    inside = [np.clip(index, 0, size - 1) for index, size in zip(padded, sizes, strict=True)]
    channels = [list(sample.variables).index(name) for name in names]
    fields = np.asarray(sample.values, np.float64)[:, channels]
    coarse = fields[np.ix_(inside[0], np.arange(len(names)), inside[1], inside[2])]
    offset = 0.0 if contract.registration is Registration.NODE else (s - 1) / 2
    fine_rows = starts[1] + (np.arange(s * core[1]) - offset) / s
    fine_columns = starts[2] + (np.arange(s * core[2]) - offset) / s
    fine_frames = starts[0] + np.arange(r * core[0]) / r
    positions = {
        PredictorGrid.COARSE: padded,
        PredictorGrid.COARSE_FINE_TIME: [fine_frames, padded[1], padded[2]],
        PredictorGrid.FINE: [fine_frames, fine_rows, fine_columns],
    }
    normalized = [contract.normalization[name].normalize(coarse[:, k]) for k, name in enumerate(names)]
    window = {"coarse": np.nan_to_num(np.stack(normalized, axis=1))}
    for grid, (times, lats, lons) in positions.items():
        places = _at(_hours(sample.times.valid_times), times), _at(sample.grid.lat, lats), _at(sample.grid.lon, lons)
        if contract.predictors_on(grid):
            stamps = sample.times.valid_times[0] + (places[0] * 3.6e12).astype("timedelta64[ns]")
            window[f"predictor_{grid}"] = predictor_fields(contract.predictors_on(grid), stamps, *places[1:])
    if contract.any_time:
        window["fraction"] = np.broadcast_to(np.arange(r) / r, (core[0], r))
        window["hours"] = np.full((), sample.times.step_hours or contract.interval_hours[0])
    given = ({name: np.asarray(each) for name, each in sample.statics.items()}, sample.grid) if sample.statics else None
    for name, field in static_inputs(contract, sample.grid, given).items():
        window[name] = np.nan_to_num(field[np.ix_(np.arange(field.shape[0]), inside[1], inside[2])])[None]
    return window


def _hours(times: npt.NDArray[np.datetime64]) -> FloatArray:
    hours: FloatArray = (times - times[0]) / np.timedelta64(1, "h")
    return hours


def _at(axis: npt.NDArray[np.float64], positions: npt.NDArray[np.float64] | npt.NDArray[np.intp]) -> FloatArray:
    """The axis at fractional indices, continued evenly beyond its ends."""
    step = (axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0
    values: FloatArray = axis[0] + step * np.asarray(positions, np.float64)
    return values
