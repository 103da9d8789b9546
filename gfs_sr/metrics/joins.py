"""Joins in time: does the forecast jump or bend where coarse frames are?

The step into frame n is a join where n is a coarse frame, n = r·k: models make the frames between two coarse ones
together, so what does not fit together shows there. A bend at n is |x(n+1) - 2 x(n) + x(n-1)|; interpolation that is
linear in time bends at coarse frames only. Both are held against the same of the truth, whose day may have the coarse
rhythm.
A chunk of frames knows no step into its first frame.
"""

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Metric, Statistic, ratio
from gfs_sr.metrics.scene import Frame, Need, Scene

GROUP = "seams and joins"


def join_ratio(sums: FloatArray) -> FloatArray:
    """Sums (..., 4), of forecast and truth at coarse frames and then elsewhere -> ratio of ratios."""
    share = ratio(ratio(sums[..., 0:2], sums[..., 4:5]), ratio(sums[..., 2:4], sums[..., 5:6]))
    return ratio(share[..., 0], share[..., 1])


def _sums(scene: Scene, order: int) -> FloatArray:
    """(T, 6): row n has the difference of `order` that ends at frame n, or whose middle is frame n."""
    assert scene.time_factor is not None  # Need.TIME_FACTOR was checked
    rows = np.zeros((len(scene), 6))
    recent: list[Frame] = []
    for index, frame in enumerate(scene.frames()):
        recent = [*recent[-order:], frame]
        if len(recent) <= order:
            continue
        weight = np.minimum.reduce([part.weights for part in recent])
        used = weight > 0
        p = np.abs(np.diff(np.stack([part.fields[:, used] for part in recent]), order, axis=0)[0]).mean(axis=0)
        y = np.abs(np.diff(np.stack([part.truth[used] for part in recent]), order, axis=0)[0])
        at = index - order // 2  # a bend belongs to its middle frame
        place = 0 if (scene.first_frame + at) % scene.time_factor == 0 else 2
        rows[at, place : place + 2] = _dot(weight[used], p), _dot(weight[used], y)
        rows[at, 4 + place // 2] = weight.sum()
    return rows


def _dot(weight: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float:
    return float(weight @ values)


_NEEDS = frozenset({Need.TIME_FACTOR, Need.FRAMES})

METRICS: tuple[Metric, ...] = (
    Metric(
        "join ratio", GROUP, Statistic("joins", lambda scene: _sums(scene, 1), _NEEDS), join_ratio, "one",
        "Steps in time into coarse frames over other steps, relative to the truth's: above 1 joins show.",
    ),
    Metric(
        "bend ratio", GROUP, Statistic("bends", lambda scene: _sums(scene, 2), _NEEDS), join_ratio, "one",
        "Bends in time at coarse frames over other bends, relative to the truth's; linear interpolation has no others.",
    ),
)  # fmt: skip
