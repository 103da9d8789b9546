"""Pairs of a coarse and a fine field with all that goes with them: predictors, statics, season; index in, arrays out.

Coarse fields are made from the fine ones by a stated protocol (perfect prognosis) or come from another source (model
output statistics). Everything is laid together by coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.calendar import SEASONS, season_one_hot
from gfs_sr.data.coarsen import Coarsening, SpaceReduction, coarsen_field, coarsen_grid
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.interpolation import upsample_space
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.pairing import Alignment, align, common_frames
from gfs_sr.data.patches import Patch, PatchSampler, cut_coarse, cut_fine
from gfs_sr.data.regrid import regrid
from gfs_sr.data.scalers import Units
from gfs_sr.errors import GapInLeadTimes, ShapeMismatch

Array = npt.NDArray[np.float32]
Static = tuple[Mapping[str, npt.NDArray[Any]], Grid]  # fields (H, W) by name, and where they lie
CONTEXT = 4  # coarse cells that the widest interpolation reads beyond a patch


@dataclass(frozen=True)
class PairConfig:
    """What a sample is made of."""

    scale_factor: int = 5
    method: SpaceReduction = SpaceReduction.BLOCK_MEAN  # of perfect prognosis
    registration: Registration | None = None  # of another source's coarse fields; None: what their coordinates say
    patch: int | None = None  # fine cells of a side; None is the whole domain
    repeat: int = 1  # patches drawn of each sample
    window: int = 1  # consecutive frames of a sample
    season: bool = False  # four maps beside the statics
    pre_upsampled: str | None = None  # interpolation that brings coarse inputs to fine cells before the network
    crop: bool = False  # drop fine cells that fill no coarse one
    seed: int = 42


@dataclass(frozen=True, eq=False)
class PairSample:
    """One sample, float32; names of the channels are those of `Pairs`."""

    coarse: Array  # (T, C + K + P, h, w); on fine cells where pre-upsampled
    fine: Array  # (T, C, s·h, s·w)
    mask: npt.NDArray[np.bool_]  # of `fine`, true where it is valid
    static_fine: Array  # (1, K + seasons, s·h, s·w)
    patch: Patch
    frames: range  # of the fine forecast's common frames


class Pairs:
    """Samples of one fine forecast; reads the frames that a sample needs, when it is asked for."""

    def __init__(
        self,
        fine: Forecast,
        config: PairConfig,
        *,
        coarse: Forecast | None = None,
        predictors: Sequence[Forecast] = (),
        statics: Static | None = None,
        units: Mapping[str, Units] | None = None,
    ) -> None:
        """Lay the sources together.

        Args:
            fine: the truth.
            config: what a sample is made of.
            coarse: of another source; made from `fine` where None.
            predictors: further fields on any regular grid, at the same times.
            statics: static fields on any regular grid that covers the fine one; `coarse` holds their means where a
                sample has one frame.
            units: scalers by variable, fitted before; what has none stays in physical units.

        Raises:
            ShapeMismatch: factor, patch and shapes do not go together, or a grid does not cover the other.
            RegistrationMismatch: coarse points lie otherwise than the registration says.
            GapInLeadTimes: sources without a common time, or fewer frames than the window.
        """
        self.config, self.units = config, dict(units or {})
        self.variables = fine.variables
        self._fine, self._coarse, self._predictors = fine, coarse, tuple(predictors)
        s = config.scale_factor
        self._how = Coarsening(
            registration=Registration.NODE if config.method is SpaceReduction.GAUSS_DECIMATE else Registration.CELL,
            scale_factor=s, method=config.method, crop=config.crop,
        )  # fmt: skip
        self.alignment: Alignment | None = None
        if coarse is None:
            self.registration = self._how.registration
            rows, columns = fine.grid.shape
            coarse_grid = coarsen_grid(fine.grid, s, self.registration)
            if self.registration is Registration.CELL:
                if (rows % s or columns % s) and not config.crop:
                    raise ShapeMismatch(
                        f"{rows} by {columns} fine cells are no multiple of {s}", fine.source, "crop the fields first"
                    )
                rows, columns = rows // s * s, columns // s * s
            self.frames = np.arange(len(fine.times))
            self._coarse_frames = self.frames
        else:
            self._coarse = coarse.select(self.variables)
            found = align(coarse.grid, fine.grid, s, config.registration, f"{coarse.source}; {fine.source}")
            self.alignment, self.registration = found, found.registration
            coarse_grid = Grid(
                coarse.grid.lat[_slice(found.rows.coarse)], coarse.grid.lon[_slice(found.columns.coarse)]
            )
            rows, columns = len(found.rows.fine), len(found.columns.fine)
            pairs = common_frames(coarse, fine)
            self.frames, self._coarse_frames = np.array(pairs.fine), np.array(pairs.coarse)
        self.coarse_grid = coarse_grid
        first = (0, 0) if self.alignment is None else (self.alignment.rows.fine[0], self.alignment.columns.fine[0])
        self._window = (slice(first[0], first[0] + rows), slice(first[1], first[1] + columns))
        self.fine_grid = Grid(fine.grid.lat[self._window[0]], fine.grid.lon[self._window[1]])
        if config.window > self.frames.size:
            raise GapInLeadTimes(
                f"a window of {config.window} frames in {self.frames.size}", fine.source, "take a shorter window"
            )
        self._predictor_frames = [self._at_our_times(each) for each in predictors]
        self._statics(statics)
        self._sampler = self._make_sampler()

    @property
    def coarse_channels(self) -> tuple[str, ...]:
        """Names along the channels of `coarse`."""
        statics = tuple(f"coarse_{name}" for name in self.static_names) if self.config.window == 1 else ()
        return (*self.variables, *statics, *(name for each in self._predictors for name in each.variables))

    @property
    def static_channels(self) -> tuple[str, ...]:
        """Names along the channels of `static_fine`."""
        return (*self.static_names, *(SEASONS if self.config.season else ()))

    def __len__(self) -> int:
        """Samples of one epoch: every window of frames, `repeat` patches of each."""
        return int(self.frames.size - self.config.window + 1) * self.config.repeat

    def sample(self, index: int, epoch: int = 0) -> PairSample:
        """The same for the same seed, epoch and index, whatever was drawn before."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        first = index // self.config.repeat
        patch = self._sampler.draw(epoch, index)
        frames = range(first, first + self.config.window)
        fine = np.stack([self._fine_frame(k) for k in frames])
        coarse = np.stack([self._coarse_frame(k, fine[k - first]) for k in frames])
        s = self.config.scale_factor
        cut = cut_fine(fine, patch, s)
        static = cut_fine(self._static_fine, patch, s)
        if self.config.season:
            times = self._fine.times.valid_times[self.frames[frames.start : frames.stop]]
            maps = np.broadcast_to(season_one_hot(times)[:, None, None], (len(SEASONS), *cut.shape[-2:]))
            static = np.concatenate([static, maps])
        return PairSample(
            coarse=self._cut_coarse(coarse, patch, cut.shape[-2:]).astype(np.float32),
            fine=self._normalized(cut, self.variables).astype(np.float32),
            mask=np.isfinite(cut),
            static_fine=static[None].astype(np.float32),
            patch=patch,
            frames=frames,
        )

    def _make_sampler(self) -> PatchSampler:
        s, patch = self.config.scale_factor, self.config.patch
        shape = self.coarse_grid.shape
        if patch is None:
            # the whole domain is one patch, of whatever shape
            return _WholeDomain(shape, min(shape), s, None, self.config.seed)
        if patch % s:
            raise ShapeMismatch(
                f"a patch of {patch} fine cells is no multiple of {s}", "patch", f"take {patch // s * s}"
            )
        return PatchSampler(shape, patch // s, s, self.fine_grid.shape, self.config.seed)

    def _fine_frame(self, index: int) -> npt.NDArray[np.float64]:
        frame = self._fine.frame(int(self.frames[index]))
        return frame[:, self._window[0], self._window[1]].astype(np.float64)

    def _coarse_frame(self, index: int, fine: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(C + K + P, H, W), normalized; the predictors at the same time, the statics where they belong."""
        if self.alignment is None or self._coarse is None:
            layers = [coarsen_field(x, name, self._how, self.fine_grid) for x, name in zip(
                fine, self.variables, strict=True)]  # fmt: skip
            coarse = np.stack(layers)
        else:
            frame = self._coarse.frame(int(self._coarse_frames[index]))
            rows, columns = self.alignment.rows.coarse, self.alignment.columns.coarse
            coarse = frame[:, _slice(rows), _slice(columns)].astype(np.float64)
        parts = [self._normalized(coarse, self.variables)]
        if self.config.window == 1 and self.static_names:
            parts.append(self._static_coarse)
        for forecast, frames in zip(self._predictors, self._predictor_frames, strict=True):
            there = regrid(forecast.frame(int(frames[index])), forecast.grid, self.coarse_grid, where=forecast.source)
            parts.append(self._normalized(there, forecast.variables))
        return np.concatenate(parts)

    def _cut_coarse(
        self, coarse: npt.NDArray[Any], patch: Patch, fine_shape: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        is_whole = isinstance(self._sampler, _WholeDomain)
        if self.config.pre_upsampled is None:
            return coarse if is_whole else cut_coarse(coarse, patch)
        s, method = self.config.scale_factor, self.config.pre_upsampled
        wide = coarse if is_whole else cut_coarse(coarse, patch, CONTEXT)
        fine = upsample_space(wide, s, self.registration, method)
        if is_whole:
            return fine[..., : fine_shape[0], : fine_shape[1]]
        rim = s * CONTEXT
        return fine[..., rim : rim + fine_shape[0], rim : rim + fine_shape[1]]

    def _normalized(self, fields: npt.NDArray[Any], names: Sequence[str]) -> npt.NDArray[np.float64]:
        layers = [
            self.units[name].apply(fields[..., k, :, :]) if name in self.units else fields[..., k, :, :]
            for k, name in enumerate(names)
        ]
        return np.stack(layers, axis=-3)

    def _statics(self, statics: Static | None) -> None:
        fields, grid = statics if statics is not None else ({}, self.fine_grid)
        self.static_names = tuple(fields)
        fine = [regrid(fields[name], grid, self.fine_grid, _gentle(name, grid, self.fine_grid), "statics")
                for name in fields]  # fmt: skip
        coarse = [regrid(fields[name], grid, self.coarse_grid, where="statics") for name in fields]
        empty = (np.zeros((0, *self.fine_grid.shape)), np.zeros((0, *self.coarse_grid.shape)))
        self._static_fine = self._normalized(np.stack(fine), self.static_names) if fine else empty[0]
        self._static_coarse = (
            self._normalized(fill_nearest(np.stack(coarse))[0], self.static_names) if fine else empty[1]
        )

    def _at_our_times(self, forecast: Forecast) -> npt.NDArray[np.int64]:
        ours = self._fine.times.valid_times[self.frames]
        places = np.searchsorted(forecast.times.valid_times, ours)
        found = np.minimum(places, len(forecast.times) - 1)
        absent = ours[forecast.times.valid_times[found] != ours]
        if absent.size:
            raise GapInLeadTimes(
                f"the predictors have no frame for {np.datetime_as_string(absent[0], 'm')}", forecast.source,
                "give predictors at the times of the fine fields",
            )  # fmt: skip
        return found.astype(np.int64)


@dataclass(frozen=True)
class _WholeDomain(PatchSampler):
    """The one patch that is the field, which need not be square."""

    def draw(self, epoch: int, index: int) -> Patch:
        return Patch(0, 0, max(self.coarse_shape))


def _gentle(name: str, source: Grid, target: Grid) -> Any:
    """Masks and the like stay what they are where nothing is averaged."""
    return "nearest" if name == "lsm" and source.spacing_deg[0] >= target.spacing_deg[0] * 0.99 else "auto"


def _slice(indices: range) -> slice:
    return slice(indices.start, indices.stop)
