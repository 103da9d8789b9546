"""Optical flow: how far patterns move between two frames, and the frames between them.

A window's displacement is that which makes the two frames, each moved half of it towards the other, agree best in
least squares: Lucas & Kanade 1981 (IJCAI 7), in the symmetric form, from the coarsest level of a pyramid to the finest
(Bouguet 2000). Nothing is drawn by chance.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.resampling import keys_weights

WINDOW = 3.0  # cells, sigma of the Gaussian window
LEAST_CELLS = 8  # of an axis; smaller fields have no motion to speak of, and the pyramid ends there
ITERATIONS = 4  # per level
LONGEST_STEP = 1.0  # cells per iteration: the linearization holds no farther
RIDGE = 0.05  # of the mean squared gradient: where there is no texture the motion of coarser levels stays
# Share of the squared change that motion must explain: below the first it is not followed at all, above the second
# entirely. What changes in place (the day's course of temperature) is explained by half by some motion or other.
LEAST_EXPLAINED, WELL_EXPLAINED = 0.7, 0.95


def frames_at(frames: npt.NDArray[Any], units: FloatArray, periodic: bool = False) -> FloatArray:
    """Frames moved along the flow between their neighbors.

    Args:
        frames: (T, ..., H, W); each (H, W) of the axes between is a series of its own. NaN stays NaN.
        units: (N,) where, in frames; before the first and after the last one the end is held.
        periodic: the last column is the first one's neighbor.

    Returns:
        (N, ..., H, W). Where motion explains little of the change, or comes from outside, it is linear in time.
    """
    values = np.asarray(frames, np.float64)
    inside = np.clip(units, 0, values.shape[0] - 1)
    before = np.minimum(np.floor(inside).astype(np.int64), max(values.shape[0] - 2, 0))
    theta = inside - before
    after = np.minimum(before + 1, values.shape[0] - 1)
    share = theta.reshape(-1, *[1] * (values.ndim - 1))
    result: FloatArray = (1 - share) * values[before] + share * values[after]
    if min(values.shape[-2:]) < LEAST_CELLS:
        return result
    filled, _ = fill_nearest(values, periodic)
    for index in np.ndindex(values.shape[1:-2]):
        for start in np.unique(before[(theta > 0) & (theta < 1)]):
            first, second = filled[(start, *index)], filled[(start + 1, *index)]
            if not (np.isfinite(first).all() and np.isfinite(second).all()):
                continue  # a field without any valid cell
            flow = displacement(first, second, periodic)
            trust = _trust(first, second, flow, periodic)
            for number in np.flatnonzero((before == start) & (theta > 0) & (theta < 1)):
                moved = _between(first, second, flow, float(theta[number]), periodic)
                linear = (1 - theta[number]) * first + theta[number] * second
                # added to what stands there, so that a missing cell stays missing
                result[(number, *index)] += trust * (moved - linear)
    return result


def displacement(first: FloatArray, second: FloatArray, periodic: bool = False) -> FloatArray:
    """(2, H, W): cells to the south and to the east that patterns move from `first` to `second`, both (H, W)."""
    pyramid = [(first, second)]
    while min(pyramid[-1][0].shape) >= 2 * LEAST_CELLS and not (periodic and pyramid[-1][0].shape[1] % 2):
        pyramid.append(tuple(_smooth(each, 1.0, periodic)[::2, ::2] for each in pyramid[-1]))  # type: ignore[arg-type]
    flow = np.zeros((2, *pyramid[-1][0].shape))
    for level, (one, other) in enumerate(reversed(pyramid)):
        if level:
            rows, cols = np.indices(one.shape) / 2.0
            flow = 2 * np.stack([sample(each, rows, cols, periodic) for each in flow])
        for _ in range(ITERATIONS):
            flow = flow + _increment(one, other, flow, periodic)
    return flow


def _increment(first: FloatArray, second: FloatArray, flow: FloatArray, periodic: bool) -> FloatArray:
    early, late = _moved(first, second, flow, 0.5, periodic)
    south, east = _gradient((early + late) / 2, periodic)
    change = late - early
    ss, ee, se, sc, ec = (
        _smooth(product, WINDOW, periodic)
        for product in (south * south, east * east, south * east, south * change, east * change)
    )
    ridge = RIDGE * float((south**2 + east**2).mean()) + np.finfo(np.float64).tiny
    determinant = (ss + ridge) * (ee + ridge) - se**2
    step = -np.stack([(ee + ridge) * sc - se * ec, (ss + ridge) * ec - se * sc]) / determinant
    step *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.hypot(*step), 1e-12))
    smoothed: FloatArray = np.stack([_smooth(part, 1.0, periodic) for part in step])
    return smoothed


def _moved(
    first: FloatArray, second: FloatArray, flow: FloatArray, theta: float, periodic: bool
) -> tuple[FloatArray, FloatArray]:
    """Both frames as they would look at `theta` of the way."""
    rows, cols = np.indices(first.shape).astype(np.float64)
    early = sample(first, rows - theta * flow[0], cols - theta * flow[1], periodic)
    late = sample(second, rows + (1 - theta) * flow[0], cols + (1 - theta) * flow[1], periodic)
    return early, late


def _between(first: FloatArray, second: FloatArray, flow: FloatArray, theta: float, periodic: bool) -> FloatArray:
    early, late = _moved(first, second, flow, theta, periodic)
    return (1 - theta) * early + theta * late


def _trust(first: FloatArray, second: FloatArray, flow: FloatArray, periodic: bool) -> FloatArray:
    """(H, W) 0 … 1: how much of the change the motion explains, nothing where it reaches outside the field."""
    early, late = _moved(first, second, flow, 0.5, periodic)
    still = _smooth((second - first) ** 2, WINDOW, periodic)
    left = _smooth((late - early) ** 2, WINDOW, periodic)
    explained = 1 - np.divide(left, still, out=np.ones_like(left), where=still > 1e-12 * (still.max() + 1e-300))
    rows, cols = np.indices(first.shape).astype(np.float64)
    outside = np.zeros(first.shape)
    for axis, (at, size) in enumerate(zip((rows, cols), first.shape, strict=True)):
        if axis == 0 or not periodic:
            reach = np.abs(flow[axis])
            outside += np.maximum(reach - at, 0) + np.maximum(at + reach - (size - 1), 0)
    believed = np.clip((explained - LEAST_EXPLAINED) / (WELL_EXPLAINED - LEAST_EXPLAINED), 0, 1)
    trust: FloatArray = believed * np.clip(1 - outside, 0, 1)
    return trust


def sample(field: FloatArray, rows: FloatArray, cols: FloatArray, periodic: bool = False) -> FloatArray:
    """Keys' cubic values of `field` (H, W) at any positions, those outside at the rim; same shape as `rows`."""
    margin = 2
    height, width = field.shape
    # continued by its slope, so that a ramp stays one up to the rim
    padded = np.pad(field, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    across = (0, 0), (margin, margin)
    padded = np.pad(padded, across, mode="wrap") if periodic else np.pad(padded, across, "reflect", reflect_type="odd")
    row = np.clip(rows, 0, height - 1).ravel()
    col = (np.mod(cols, width) if periodic else np.clip(cols, 0, width - 1)).ravel()
    row_base, col_base = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
    row_weights, col_weights = keys_weights(row - row_base), keys_weights(col - col_base)
    total = np.zeros(row.size)
    for down in range(4):
        for right in range(4):
            taken = padded[row_base + margin - 1 + down, np.minimum(col_base + margin - 1 + right, width + 3)]
            total += row_weights[:, down] * col_weights[:, right] * taken
    return total.reshape(rows.shape)


def _gradient(field: FloatArray, periodic: bool) -> tuple[FloatArray, FloatArray]:
    south = np.gradient(field, axis=0)
    if periodic:
        return south, (np.roll(field, -1, axis=1) - np.roll(field, 1, axis=1)) / 2
    return south, np.gradient(field, axis=1)


def _smooth(field: FloatArray, sigma: float, periodic: bool) -> FloatArray:
    """Gaussian mean, truncated at three sigma; edges replicated."""
    radius = int(3 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis, mode in ((0, "edge"), (1, "wrap" if periodic else "edge")):
        width = [(0, 0), (0, 0)]
        width[axis] = (radius, radius)
        padded = np.pad(field, width, mode=mode)  # type: ignore[call-overload]
        windows = np.lib.stride_tricks.sliding_window_view(padded, weights.size, axis=axis)
        field = windows @ weights
    return field
