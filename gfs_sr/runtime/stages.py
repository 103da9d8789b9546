"""What the stages of the pipeline do to one window, batch or block: plain functions of what they are given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.variables import lookup
from gfs_sr.runtime import tiling
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.cf import Quality
from gfs_sr.runtime.ends import mirror_ends
from gfs_sr.runtime.envelope import Envelope
from gfs_sr.runtime.layout import BlockBuffer, Layout
from gfs_sr.runtime.noise_fields import NoiseFields
from gfs_sr.runtime.predictors import PredictorFields
from gfs_sr.runtime.sink import FloatField
from gfs_sr.runtime.statics import Statics

MaskField = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CoarseFrame:
    """One frame as it was read, its masked cells filled from the nearest valid ones."""

    values: FloatField  # (C, H, W), canonical units
    mask: MaskField | None  # (C, H, W), 1 where nothing was given; None where all was
    inside_envelope: bool
    quality: MaskField | None = None  # (H, W), flags that it came with


@dataclass(frozen=True, eq=False)
class Window:
    """The coarse frames that one time tile can see."""

    time_tile: int
    first_frame: int
    frames: tuple[CoarseFrame, ...]


@dataclass(frozen=True, eq=False)
class Normalization:
    """Per channel: model units are (g(x) - mean) / sd."""

    mean: npt.NDArray[np.float32]
    sd: npt.NDArray[np.float32]
    transform: tiling.Codes  # which g

    @classmethod
    def of(cls, contract: Contract, names: Sequence[str]) -> "Normalization":
        """The contract's figures for `names`, in their order."""
        rows = [contract.normalization[name] for name in names]
        return cls(
            np.array([row.mean for row in rows], np.float32),
            np.array([row.sd for row in rows], np.float32),
            np.array([row.transform.code for row in rows], np.uint8),
        )


class Stages:
    """The work on one job, stage by stage; holds the ring of coarse frames and nothing else that changes."""

    def __init__(self, layout: Layout, statics: Statics | None = None, threads: int = 0) -> None:
        self.layout = layout
        self._job = job = layout.job
        self._threads = threads
        self._envelope = Envelope(job.contract, job.inputs)
        self._predictors = PredictorFields(layout)
        self._statics = statics
        self._noise = NoiseFields(layout, job.seed, threads)
        self._input = Normalization.of(job.contract, job.inputs)
        self._inverse_sd = (1 / self._input.sd.astype(np.float64)).astype(np.float32)
        self._output = Normalization.of(job.contract, job.outputs)
        self._flip = np.array([lookup(name).vector_partner is not None for name in job.inputs])
        bounds = np.array([lookup(name).bounds for name in job.outputs], np.float32)
        self._low, self._high = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
        self._bucket = np.full(len(job.outputs), job.bucket_step is not None)
        # of each written channel, the input channel whose mask it takes
        self._mask_channels = [job.inputs.index(name) if name in job.inputs else None for name in job.outputs]

    @property
    def warnings(self) -> list[str]:
        """What was noticed on the way."""
        return self._envelope.warnings()

    # read

    def windows(self) -> Iterator[Window]:
        """Windows in time order; each coarse frame is read once and dropped when no later tile sees it."""
        plan = self.layout.plan.time
        ring: dict[int, CoarseFrame] = {}
        for tile in self.layout.time_tiles:
            first = max(0, tile * plan.core - plan.before)
            stop = min(plan.length, tile * plan.core + plan.core + plan.after)
            for index in [index for index in ring if index < first]:
                del ring[index]
            for index in range(first, stop):
                if index not in ring:
                    quality = self._job.forecast.quality
                    ring[index] = self.coarse_frame(
                        self._job.forecast.frame(index), None if quality is None else quality(index)
                    )
            yield Window(tile, first, tuple(ring[index] for index in range(first, stop)))

    def coarse_frame(self, values: FloatField, quality: MaskField | None = None) -> CoarseFrame:
        """A frame (C, H, W) as the reader gives it -> filled, with its mask, turned to where the window starts."""
        inside = self._envelope.holds(values)
        roll, (rows, columns) = self._job.horizontal.roll, self._job.horizontal.part
        if roll:
            values = np.roll(values, -roll, axis=-1)
            quality = None if quality is None else np.roll(quality, -roll, axis=-1)
        filled, mask = tiling.fill_nearest(values, self._job.forecast.grid.is_periodic)
        filled, mask = np.ascontiguousarray(filled[..., rows, columns]), np.ascontiguousarray(mask[..., rows, columns])
        quality = None if quality is None else quality[..., rows, columns]
        return CoarseFrame(filled, mask if mask.any() else None, inside, quality)

    # gather

    def fields(self, window: Window) -> Mapping[str, list[FloatField]]:
        """Computed predictors of a window, one list of (P, H, W) frames per graph input."""
        return self._predictors.of(window.time_tile, window.first_frame, len(window.frames))

    def gather(
        self,
        window: Window,
        fields: Mapping[str, list[FloatField]],
        tiles: range,
        buffers: Mapping[str, Array],
        member: int = 0,
    ) -> None:
        """Fill the input buffers of one batch."""
        plan, count = self.layout.plan, len(tiles)
        for group, out in zip(self.layout.groups, buffers["coarse"], strict=True):
            tiling.gather(
                [frame.values[group] for frame in window.frames],
                window.first_frame,
                plan,
                window.time_tile,
                tiles,
                transform=self._input.transform[group],
                offset=self._input.mean[group],
                scale=self._inverse_sd[group],
                flip=self._flip[group],
                out=out[:count],
                threads=self._threads,
            )
            if self._job.contract.mirrored_ends:
                mirror_ends(out[:count], plan, tiles)
        self._predictors.gather(fields, window.first_frame, window.time_tile, tiles, buffers, self._threads)
        if self._statics is not None:
            self._statics.gather(tiles, buffers, self._threads)
        self._noise.fill(window.time_tile, tiles, buffers, member)
        if "fraction" in buffers and self._job.slots is not None:
            fractions, first = self._job.slots.fractions, window.time_tile * plan.time.core
            rows = np.minimum(np.arange(first, first + plan.time.core), len(fractions) - 1)
            buffers["fraction"][:count] = fractions[rows]

    # scatter

    def scatter(self, fine: FloatField, window: Window, band: int, tiles: range, block: BlockBuffer) -> None:
        """Put the cores of one batch of fine tiles into their block, in physical units and bounds, masked again."""
        job = self._job
        region = self.layout.region(window.time_tile, band)
        values, _ = block.views(region)
        tiling.scatter(
            fine,
            self.layout.plan,
            window.time_tile,
            tiles,
            scale_factor=job.contract.scale_factor,
            time_factor=job.contract.time_factor,
            transform=self._output.transform,
            offset=self._output.mean,
            scale=self._output.sd,
            low=self._low,
            high=self._high,
            mask=self._masks(window),
            mask_first_frame=window.first_frame,
            bucket=self._bucket,
            registration=job.contract.registration,
            out=values,
            origin=(region.fine_frame, region.fine_row, job.horizontal.columns.start),
            threads=self._threads,
        )

    def _masks(self, window: Window) -> list[MaskField] | None:
        """Masks of the written channels for each frame of a window; None where nothing is masked."""
        if all(frame.mask is None for frame in window.frames):
            return None
        shape = window.frames[0].values.shape
        masks = []
        for frame in window.frames:
            mask = np.zeros(shape, np.uint8) if frame.mask is None else frame.mask
            everything = mask.max(axis=0)
            masks.append(
                np.stack([everything if channel is None else mask[channel] for channel in self._mask_channels])
            )
        return masks

    def keep_frames(self, window: Window, band: int, block: BlockBuffer) -> None:
        """Put the frames of the input where they stand in the output, as they were read, to the last bit."""
        job = self._job
        if job.slots is None or not job.contract.keeps_frames:
            return
        region = self.layout.region(window.time_tile, band)
        values, _ = block.views(region)
        rows = slice(region.fine_row, region.fine_row + region.rows)
        columns = slice(job.horizontal.columns.start, job.horizontal.columns.start + region.columns)
        for index in np.flatnonzero(job.slots.is_frame[region.fine_frame : region.fine_frame + region.frames]):
            frame = window.frames[(region.fine_frame + index) // job.slots.count - window.first_frame]
            for channel, name in enumerate(job.outputs):
                given = job.inputs.index(name)
                np.copyto(values[index, channel], frame.values[given, rows, columns])
                if frame.mask is not None:
                    values[index, channel][frame.mask[given, rows, columns] != 0] = np.nan

    def flag(self, window: Window, band: int, block: BlockBuffer) -> None:
        """Set the quality bits of one block: by frame, by row and by column."""
        job = self._job
        region = self.layout.region(window.time_tile, band)
        r = job.contract.time_factor
        frames = region.fine_frame + np.arange(region.frames)
        by_frame = np.zeros(frames.size, np.uint8)
        if not job.trained_interval:
            by_frame |= np.uint8(Quality.UNTRAINED_COARSE_INTERVAL)
        by_frame[frames >= job.model_frames - job.extrapolated_frames] |= np.uint8(Quality.EXTRAPOLATED_IN_TIME)
        inside = np.array([frame.inside_envelope for frame in window.frames])
        # a fine frame lies between two coarse ones, and is as doubtful as either
        earlier = np.clip(frames // r - window.first_frame, 0, inside.size - 1)
        later = np.clip(-(-frames // r) - window.first_frame, 0, inside.size - 1)
        by_frame[~(inside[earlier] & inside[later])] |= np.uint8(Quality.OUTSIDE_TRAINING_ENVELOPE)
        rows = job.horizontal.outside_rows[region.first_row : region.first_row + region.rows]
        flags = block.views(region)[1]
        beyond = np.uint8(Quality.EXTRAPOLATED_IN_SPACE)
        np.bitwise_or(by_frame[:, None, None], beyond * rows[None, :, None], out=flags)
        np.bitwise_or(flags, beyond * job.horizontal.outside_columns, out=flags)
        if window.frames[0].quality is not None:
            s, height, width = job.contract.scale_factor, *job.horizontal.coarse.shape
            row = np.minimum((region.fine_row + np.arange(region.rows)) // s, height - 1)
            column = np.minimum((job.horizontal.columns.start + np.arange(region.columns)) // s, width - 1)
            given = np.stack([np.asarray(frame.quality)[np.ix_(row, column)] for frame in window.frames])
            np.bitwise_or(flags, given[earlier] | given[later], out=flags)
