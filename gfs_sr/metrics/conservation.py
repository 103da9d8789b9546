"""Conservation: does coarsening the fine field give back the coarse one?

The fine field is coarsened as the coarse one was made: area-weighted block means under `cell`, blur and every s-th
point under `node`; in time single frames, or sums and means over buckets. Only coarse cells count whose fine cells all
lie in the scene, and only buckets with all their frames; a bucket's row is that of its last frame.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import TimeReduction, block_mean, gauss_decimate, gaussian_weights
from gfs_sr.data.grid import FloatArray, Registration
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.metrics.metric import Metric, Statistic, ratio
from gfs_sr.metrics.scene import Coarse, Need, Scene

Indices = npt.NDArray[np.int64]


def coarse_residuals(scene: Scene, coarse: Coarse) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """(row, residual (M, h, w), weight (h, w)) of each coarse frame that the scene holds whole.

    The residual is the coarsened forecast minus the coarse field, in its units; `row` is the frame that completes it.
    """
    how = coarse.how
    _, height, width = scene.shape
    reach = gaussian_weights(how.sigma).size // 2 if how.registration is Registration.NODE else 0
    after = reach + 1 if how.registration is Registration.NODE else how.scale_factor
    rows = _inside(height, coarse.values.shape[-2], coarse.first_row, how.scale_factor, reach, after)
    cols = _inside(width, coarse.values.shape[-1], coarse.first_col, how.scale_factor, reach, after)
    if not rows.size or not cols.size:
        return
    at = coarse.first_row + how.scale_factor * rows, coarse.first_col + how.scale_factor * cols
    area = np.ones((height, width)) if scene.weights is None else np.broadcast_to(scene.weights, (height, width))
    weight = _coarsened(area, at, scene, coarse)
    adds = scene.variable is not None and lookup(scene.variable).time_kind is TimeKind.ACCUMULATED
    for number, frames in _buckets(scene, coarse):
        total = np.sum([scene.frame(index).fields for index in frames], axis=0)
        made = _coarsened(total if adds else total / len(frames), at, scene, coarse)
        yield frames[-1], made - np.asarray(coarse.values[number], np.float64)[np.ix_(rows, cols)], weight


def _inside(length: int, coarse: int, offset: int, s: int, before: int, after: int) -> Indices:
    """Coarse cells whose fine cells, from `before` a cell's first one to `after` it, lie on the axis."""
    cells = np.arange(coarse)
    first = offset + s * cells
    return cells[(first >= before) & (first + after <= length)]


def _coarsened(fine: npt.NDArray[np.float64], at: tuple[Indices, Indices], scene: Scene, coarse: Coarse) -> FloatArray:
    s = coarse.how.scale_factor
    rows, cols = at
    if coarse.how.registration is Registration.NODE:
        return gauss_decimate(fine, coarse.how.sigma, 1)[..., rows[:, None], cols]
    used = slice(rows[0], rows[-1] + s)
    weights = None if scene.grid is None else scene.grid.weights()[used]
    return block_mean(fine[..., used, cols[0] : cols[-1] + s], s, weights)


def _buckets(scene: Scene, coarse: Coarse) -> Iterator[tuple[int, range]]:
    """(coarse frame, rows of the scene that make it), where the scene has them all."""
    r, how = coarse.how.time_factor, coarse.how.time
    trailing = (
        how is TimeReduction.EVERY
        and scene.variable is not None
        and lookup(scene.variable).time_kind in (TimeKind.ACCUMULATED, TimeKind.AVERAGED)
    )
    for number in range(coarse.values.shape[0]):
        first = coarse.first_frame + r * number
        if trailing:
            frames = range(first - r + 1, first + 1)
        else:
            frames = range(first, first + (1 if how is TimeReduction.EVERY else r))
        if frames[0] >= 0 and frames[-1] < len(scene):
            yield number, frames


def _sums(scene: Scene) -> FloatArray:
    assert scene.coarse is not None  # Need.COARSE was checked
    sums = np.zeros((len(scene), 3))
    for row, residual, weight in coarse_residuals(scene, scene.coarse):
        valid = np.isfinite(residual).all(axis=0)
        w, off = weight[valid], residual[:, valid]
        sums[row] += (w @ (off**2).mean(axis=0), w @ off.mean(axis=0), w.sum())
    return sums


RESIDUALS = Statistic("coarse residuals", _sums, frozenset({Need.COARSE}))

METRICS: tuple[Metric, ...] = (
    Metric(
        "conservation error", "conservation", RESIDUALS,
        lambda sums: np.sqrt(ratio(sums[..., 0], sums[..., 2])), "lower",
        "Root of the mean squared difference between the coarsened forecast and the coarse field it came from.", "{u}",
    ),
    Metric(
        "conservation bias", "conservation", RESIDUALS, lambda sums: ratio(sums[..., 1], sums[..., 2]), "zero",
        "Mean of the coarsened forecast minus the coarse field: what was added or lost.", "{u}",
    ),
)  # fmt: skip
