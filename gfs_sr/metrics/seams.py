"""Seams: are steps across borders of tiles or coarse cells larger than elsewhere?

Steps are absolute differences of neighboring cells along the axis that crosses the border. Truth has its own steps
there, so the share is held against the truth's: 1 is no seam.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, ratio
from gfs_sr.metrics.scene import Borders, Frame, Need, Scene, stacked

GROUP = "seams and joins"


def step_sums(frame: Frame, borders: Borders) -> FloatArray:
    """(12,): per axis, across borders and then elsewhere, weighted steps of forecast and truth, and their weight."""
    found = []
    for axis, first in ((0, borders.rows), (1, borders.cols)):
        fields = np.moveaxis(frame.fields, axis + 1, 1)
        truth, w = np.moveaxis(frame.truth, axis, 0), np.moveaxis(frame.weights, axis, 0)
        weight = np.minimum(w[1:], w[:-1])  # 0 beside a missing cell
        sizes = (np.abs(np.diff(fields, axis=1)).mean(axis=0), np.abs(np.diff(truth, axis=0)))
        p, y = (np.where(weight > 0, size * weight, 0.0).sum(axis=1) for size in sizes)
        across = _crossing(first, truth.shape[0])
        for chosen in (across, ~across):
            found += [p[chosen].sum(), y[chosen].sum(), weight[chosen].sum()]
    return np.array(found)


def step_ratio(sums: FloatArray) -> FloatArray:
    """Sums (..., 12) -> mean step across borders over that elsewhere, over the truth's; mean over the axes."""
    parts = sums.reshape(*sums.shape[:-1], 2, 2, 3)
    across, elsewhere = parts[..., 0, :], parts[..., 1, :]
    share = ratio(across[..., :2], elsewhere[..., :2])
    ratios = ratio(share[..., 0], share[..., 1])
    weight = np.where(np.isfinite(ratios), across[..., 2], 0.0)
    return ratio((np.where(weight > 0, ratios, 0.0) * weight).sum(axis=-1), weight.sum(axis=-1))


def _crossing(first: Sequence[int], length: int) -> npt.NDArray[np.bool_]:
    """(length - 1,): true where the step from one line to the next crosses a border."""
    across = np.zeros(max(length - 1, 0), bool)
    across[[line - 1 for line in first if 0 < line < length]] = True
    return across


def _tile_sums(scene: Scene) -> FloatArray:
    borders = scene.borders
    assert borders is not None  # Need.BORDERS was checked
    return stacked([step_sums(frame, borders) for frame in scene.frames()])


def _block_sums(scene: Scene) -> FloatArray:
    assert scene.coarse is not None  # Need.COARSE was checked
    s = scene.coarse.how.scale_factor
    borders = Borders(
        tuple(range(scene.coarse.first_row % s, scene.shape[1], s)),
        tuple(range(scene.coarse.first_col % s, scene.shape[2], s)),
    )
    return stacked([step_sums(frame, borders) for frame in scene.frames()])


METRICS: tuple[Metric, ...] = (
    Metric(
        "seam ratio", GROUP, Statistic("seams", _tile_sums, frozenset({Need.BORDERS})), step_ratio, "one",
        "Steps across borders of tiles over steps elsewhere, relative to the truth's: above 1 tiles show.",
    ),
    Metric(
        "block ratio", GROUP, Statistic("blocks", _block_sums, frozenset({Need.COARSE})), step_ratio, "one",
        "Steps across borders of coarse cells over steps elsewhere, relative to the truth's: above 1 the coarse grid "
        "shows.",
    ),
)  # fmt: skip
