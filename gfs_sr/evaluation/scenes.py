"""Chunks of a method's frames as the metrics want them, and the sums that the metrics make of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import TimeReduction
from gfs_sr.data.grid import FloatArray
from gfs_sr.data.resampling import Closure
from gfs_sr.evaluation.baselines import Rival
from gfs_sr.evaluation.cases import BUCKETS
from gfs_sr.evaluation.contest import Contest
from gfs_sr.evaluation.protocols import Protocol
from gfs_sr.evaluation.records import WHOLE
from gfs_sr.evaluation.regions import BoolArray
from gfs_sr.evaluation.view import VariableView, View
from gfs_sr.metrics import registry
from gfs_sr.metrics.ensemble import CRPS, SPREAD
from gfs_sr.metrics.moments import MOMENTS
from gfs_sr.metrics.pointwise import PSNR, VECTOR
from gfs_sr.metrics.scene import Borders, Coarse, Need, Scene

FEW_SUMS = 16  # of a statistic; larger ones are kept by coarse interval, not by frame
REFERENCE = Rival("bicubic", "linear")  # of the restoration rate

Read = Callable[[slice], FloatArray]  # chunk -> (M, t, H, W)


@dataclass(frozen=True, eq=False)
class Rows:
    """Sums of one statistic: a row per frame, or per coarse interval where a row is long."""

    values: FloatArray  # (N, K)
    by_frame: bool

    def of(self, frames: slice, units: npt.NDArray[np.int64]) -> FloatArray:
        """(n, K) rows of a class of lead time, given each frame's interval."""
        return self.values[frames] if self.by_frame else self.values[np.unique(units[frames])]


@dataclass(frozen=True, eq=False)
class Scenes:
    """Chunks of one method as the metrics want them."""

    fields: VariableView
    read: Read
    data_range: float
    protocol: Protocol
    method: str
    contest: Contest
    partner: tuple[VariableView, Read] | None = None

    def of(self, chunk: slice) -> Scene:
        """All that metrics may ask of these frames."""
        view = self.fields.view
        window, how = view.window, view.case.how
        r = view.time_factor
        scene = Scene(
            prediction=self.read(chunk),
            truth=self.fields.truth(chunk),
            weights=window.weights,
            data_range=self.data_range,
            border=self.protocol.ssim_border,
            variable=self.fields.variable,
            grid=window.grid,
            scale_factor=how.scale_factor,
            time_factor=r if r > 1 else None,
            borders=self._borders(view),
            first_frame=chunk.start,
        )
        if not view.case.is_pair:
            in_time = how.time if r > 1 else TimeReduction.EVERY
            place = (-window.rows.start, -window.cols.start, -chunk.start)
            scene = replace(scene, coarse=Coarse(self.fields.coarse, replace(how, time_factor=r, time=in_time), *place))
        if r > 1 and view.case.kind not in BUCKETS:
            scene = replace(scene, reference=self.fields.rival(REFERENCE, Closure.RAMP, chunk))
        if self.partner is not None:
            other, read = self.partner
            scene = replace(
                scene, partner=replace(scene, prediction=read(chunk), truth=other.truth(chunk), variable=other.variable)
            )
        return scene

    def _borders(self, view: View) -> Borders | None:
        prediction = view.predictions.get(self.method)
        if prediction is None or prediction.tile is None:
            return None
        lines = [
            tuple(index - cells.start for index in range(0, cells.stop, side) if cells.start < index < cells.stop)
            for side, cells in zip(prediction.tile, view.window.cells, strict=True)
        ]
        return Borders(*lines)

    def rows(self, names: Sequence[str], regions: Mapping[str, BoolArray]) -> dict[str, dict[str, Rows]]:
        """Region -> every statistic of the named metrics; in parts of the window of those that are sums over cells."""
        own = _of_regions(names, self.fields.variable)
        parts: dict[str, dict[str, list[FloatArray]]] = {}
        for chunk in self.fields.view.chunks:
            scene = self.of(chunk)
            for region, mask in regions.items():
                part = scene if region == WHOLE else _within(scene, mask)
                found = self._tally(names, chunk, part) if region == WHOLE else registry.tally(own, part)
                for key, rows in found.items():
                    parts.setdefault(region, {}).setdefault(key, []).append(rows)
        return {
            region: {key: self._kept(np.concatenate(each)) for key, each in found.items()}
            for region, found in parts.items()
        }

    def _tally(self, names: Sequence[str], chunk: slice, scene: Scene) -> dict[str, FloatArray]:
        table = registry.metrics_of(self.fields.variable)
        alone = [name for name in names if Need.FRAMES not in table[name].needs]
        together = [name for name in names if Need.FRAMES in table[name].needs]
        found = registry.tally(alone, scene)
        return found | self._with_neighbors(together, chunk) if together else found

    def _with_neighbors(self, names: Sequence[str], chunk: slice) -> dict[str, FloatArray]:
        """Statistics that look at the frames before and after."""
        count = len(self.fields.view.window.frames)
        wide = slice(max(chunk.start - 1, 0), min(chunk.stop + 1, count))
        if wide.stop - wide.start < 2:
            return {}
        inner = slice(chunk.start - wide.start, chunk.stop - wide.start)
        return {key: rows[inner] for key, rows in registry.tally(names, self.of(wide)).items()}

    def _kept(self, rows: FloatArray) -> Rows:
        if rows.shape[1] <= FEW_SUMS:
            return Rows(rows, by_frame=True)
        units = self.contest.units
        summed = np.zeros((int(units.max()) + 1, rows.shape[1]))
        np.add.at(summed, units, rows)
        return Rows(summed, by_frame=False)


def _within(scene: Scene, mask: BoolArray) -> Scene:
    """The same of some of its cells."""
    weights = np.where(mask, 1.0 if scene.weights is None else scene.weights, 0.0)
    partner = None if scene.partner is None else replace(scene.partner, weights=weights)
    return replace(scene, weights=weights, partner=partner)


def _of_regions(names: Sequence[str], variable: str) -> list[str]:
    """Of the names, those that are sums over cells: a region is a choice of cells."""
    table = registry.metrics_of(variable)
    keys = {each.key for each in (MOMENTS, PSNR, VECTOR, CRPS, SPREAD)}
    return [name for name in names if table[name].statistic.key in keys]
