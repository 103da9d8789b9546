"""The cells and frames that are scored, in indices of the fine field."""

from dataclasses import dataclass

import numpy as np

from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.variables import TimeKind
from gfs_sr.evaluation.cases import Case
from gfs_sr.evaluation.records import ALL, EXTRAPOLATED, INTERPOLATED


@dataclass(frozen=True, eq=False)
class Window:
    """From the first to the last coarse point, and the frames both truth and model have."""

    frames: tuple[int, ...]  # of the truth
    interpolated: int  # of the frames, those up to the last coarse one
    rows: slice
    cols: slice
    grid: Grid  # of the cells
    weights: FloatArray  # (rows, 1) area of a cell

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.shape

    @property
    def cells(self) -> tuple[slice, slice]:
        """Index of a fine field (..., H, W)."""
        return self.rows, self.cols

    def lead_classes(self) -> dict[str, slice]:
        """Which frames are of which class; classes without a frame are left out."""
        classes = {INTERPOLATED: slice(0, self.interpolated)}
        if len(self.frames) > self.interpolated:
            classes[EXTRAPOLATED] = slice(self.interpolated, len(self.frames))
            classes[ALL] = slice(0, len(self.frames))
        return classes

    def chunks(self, multiple: int, budget_cells: int) -> list[slice]:
        """Runs of frames of at most about `budget_cells` cells, whole coarse intervals of `multiple` frames each."""
        size = max(1, budget_cells // max(1, multiple * self.shape[0] * self.shape[1])) * multiple
        return [slice(at, min(at + size, len(self.frames))) for at in range(0, len(self.frames), size)]


def hull(case: Case, scale_factor: int, time_factor: int, frames: tuple[int, ...], area_weighted: bool) -> Window:
    """The window of a case: under CELL it ends in the middle of the outermost cells; all of a periodic axis."""
    s = scale_factor
    height, width = case.coarse.grid.shape
    fine_height, fine_width = case.truth.grid.shape
    # fine cells from the first coarse point on: those of a CELL hang half a coarse cell before it
    before = 0 if case.registration is Registration.NODE else s // 2
    after = 1 if case.registration is Registration.NODE else s - s // 2
    rows = slice(before, min(s * (height - 1) + after, fine_height)) if height > 1 else slice(0, fine_height)
    cols = slice(before, min(s * (width - 1) + after, fine_width)) if width > 1 else slice(0, fine_width)
    if case.coarse.grid.is_periodic:
        cols = slice(0, min(s * width, fine_width))
    last = time_factor * (len(case.coarse.times) - 1) if case.kind is TimeKind.INSTANT else max(frames)
    weights = case.truth.grid.weights()[rows, None] if area_weighted else np.ones((rows.stop - rows.start, 1))
    return Window(
        frames=frames,
        interpolated=sum(frame <= last for frame in frames),
        rows=rows,
        cols=cols,
        grid=Grid(case.truth.grid.lat[rows], case.truth.grid.lon[cols]),
        weights=weights,
    )
