"""What a metric may look at: one variable on the cells and frames that are scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import Coarsening
from gfs_sr.data.grid import FloatArray, Grid
from gfs_sr.metrics.ranges import ranges_of

Values = npt.NDArray[Any]


class Need(StrEnum):
    """What a metric asks of a scene beyond prediction and truth."""

    MEMBERS = "members"  # an ensemble of at least two
    GRID = "grid"  # latitudes and longitudes: lengths in km
    FRAMES = "frames"  # at least two frames
    PARTNER = "partner"  # the other component of a vector
    REFERENCE = "reference"  # an estimate to be better than
    COARSE = "coarse"  # the coarse field that was refined
    SCALE_FACTOR = "scale factor"  # fine cells per coarse cell
    TIME_FACTOR = "time factor"  # fine frames per coarse frame, more than one
    BORDERS = "borders"  # where tiles meet
    RANGES = "ranges"  # a variable with thresholds and ranges of its own
    AMOUNT = "amount"  # a variable that is zero or more and comes in objects, such as precipitation


@dataclass(frozen=True, eq=False)
class Coarse:
    """The coarse field, and where it lies on the scene."""

    values: Values  # (Tc, Hc, Wc), units of the truth
    how: Coarsening  # what makes coarse from fine
    first_row: int = 0  # row of the scene that is fine row 0 of coarse row 0; below 0 where the scene starts later
    first_col: int = 0
    first_frame: int = 0


@dataclass(frozen=True)
class Borders:
    """Where the cores of tiles meet: rows and columns of the scene that are the first of a tile."""

    rows: tuple[int, ...] = ()
    cols: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame, in float64. Cells that miss in truth or any member are NaN in all fields and weigh nothing."""

    fields: FloatArray  # (M, H, W), M = 1 for a single forecast
    truth: FloatArray  # (H, W)
    weights: FloatArray  # (H, W)
    valid: npt.NDArray[np.bool_]  # (H, W)
    number: int  # of the frame in the whole forecast

    @property
    def prediction(self) -> FloatArray:
        """(H, W): the forecast, or the mean of the ensemble."""
        mean: FloatArray = self.fields[0] if len(self.fields) == 1 else self.fields.mean(axis=0)
        return mean


@dataclass(frozen=True, eq=False)
class Scene:
    """One variable of one forecast. Arrays are read a frame at a time, so those of Dask and Zarr serve as well."""

    prediction: Values  # (T, H, W), or (M, T, H, W) for an ensemble
    truth: Values  # (T, H, W), same units
    weights: Values | None  # broadcasts to (H, W), such as (H, 1) area weights; None weighs all cells alike
    data_range: float  # R of PSNR and SSIM, same units
    border: Literal["valid", "zero"] = "valid"  # of SSIM
    variable: str | None = None  # canonical name: brings thresholds, ranges and bins
    grid: Grid | None = None  # of the (H, W) cells
    scale_factor: int | None = None
    time_factor: int | None = None
    partner: "Scene | None" = None  # the other component of a vector, same shapes
    reference: Values | None = None  # (T, H, W): what the restoration rate is relative to
    coarse: Coarse | None = None
    borders: Borders | None = None
    first_frame: int = 0  # number of frame 0 in the whole forecast: keeps seeds and coarse times right in a chunk
    seed: int = 0  # of ties in rank histograms

    @property
    def is_ensemble(self) -> bool:
        """True for two members or more."""
        return self.prediction.ndim == 4 and self.prediction.shape[0] > 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        frames, height, width = self.truth.shape
        return frames, height, width

    def __len__(self) -> int:
        return int(self.truth.shape[0])

    def frame(self, index: int) -> Frame:
        """Frame `index` of the scene."""
        fields = np.array(
            self.prediction[:, index] if self.prediction.ndim == 4 else self.prediction[index][None], np.float64
        )
        truth = np.array(self.truth[index], np.float64)
        valid = np.isfinite(truth) & np.isfinite(fields).all(axis=0)
        if not valid.all():
            truth[~valid] = np.nan
            fields[:, ~valid] = np.nan
        weights = np.ones(truth.shape) if self.weights is None else np.broadcast_to(self.weights, truth.shape)
        return Frame(fields, truth, np.where(valid, weights, 0.0), valid, self.first_frame + index)

    def frames(self) -> Iterator[Frame]:
        """One after the other."""
        return (self.frame(index) for index in range(len(self)))

    @property
    def has(self) -> frozenset[Need]:
        """What metrics may ask of this scene."""
        row = ranges_of(self.variable) if self.variable else None
        found = {
            Need.MEMBERS: self.is_ensemble,
            Need.GRID: self.grid is not None,
            Need.FRAMES: len(self) > 1,
            Need.PARTNER: self.partner is not None,
            Need.REFERENCE: self.reference is not None,
            Need.COARSE: self.coarse is not None,
            Need.SCALE_FACTOR: self.scale_factor is not None,
            Need.TIME_FACTOR: self.time_factor is not None and self.time_factor > 1,
            Need.BORDERS: self.borders is not None and bool(self.borders.rows or self.borders.cols),
            Need.RANGES: row is not None,
            Need.AMOUNT: row is not None and row.amount,
        }
        return frozenset(need for need, given in found.items() if given)


def stacked(rows: Sequence[npt.ArrayLike]) -> FloatArray:
    """Sums of each frame, one under the other: (T, K)."""
    table: FloatArray = np.stack([np.atleast_1d(np.asarray(row, np.float64)) for row in rows])
    return table
