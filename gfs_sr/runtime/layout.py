"""Where the blocks of a job lie, which tiles they need, and the buffers they pass through."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.grid import AxisWindow
from gfs_sr.data.variables import variable_ids
from gfs_sr.runtime.backends.base import Array, Backend, Started
from gfs_sr.runtime.backends.shapes import input_shapes, output_shape
from gfs_sr.runtime.request import Job
from gfs_sr.runtime.sink import FlagField, FloatField
from gfs_sr.runtime.tiling import Plan

Empty = Callable[[tuple[int, ...], npt.DTypeLike], Array]  # makes zeroed memory


@dataclass(frozen=True)
class Region:
    """The part of the output that one block fills."""

    first_frame: int  # of the output
    frames: int
    first_row: int  # of the output, north to south
    rows: int
    columns: int
    fine_frame: int  # the first frame in the model's fine index space
    fine_row: int


@dataclass(frozen=True, eq=False)
class BlockBuffer:
    """Memory for one block's values and flags, as large as the largest block."""

    values: npt.NDArray[np.float32]  # flat
    flags: npt.NDArray[np.uint8]  # flat
    channels: int

    def views(self, region: Region) -> tuple[FloatField, FlagField]:
        """((T, C, h, W), (T, h, W)) contiguous arrays at the buffer's start."""
        shape = (region.frames, self.channels, region.rows, region.columns)
        flag_shape = (region.frames, region.rows, region.columns)
        values = self.values[: int(np.prod(shape))].reshape(shape)
        return values, self.flags[: int(np.prod(flag_shape))].reshape(flag_shape)


@dataclass(frozen=True, eq=False)
class Layout:
    """The blocks of a job under a plan, `batch` tiles and `channels_at_once` variables at a time."""

    job: Job
    plan: Plan
    batch: int
    channels_at_once: int  # divides the number of inputs

    @property
    def contract(self) -> Contract:
        """What the model promises."""
        return self.job.contract

    @property
    def frames(self) -> AxisWindow:
        """The fine frames that are written."""
        return AxisWindow(0, self.job.model_frames)

    @cached_property
    def time_tiles(self) -> range:
        """Time tiles that hold a written frame."""
        return _tiles(self.frames, self.contract.time_factor * self.plan.time.core)

    @cached_property
    def bands(self) -> range:
        """Rows of tiles that hold a written fine row."""
        return _tiles(self.job.horizontal.rows, self.contract.scale_factor * self.plan.lat.core)

    @cached_property
    def columns(self) -> range:
        """Columns of tiles that hold a written fine column."""
        return _tiles(self.job.horizontal.columns, self.contract.scale_factor * self.plan.lon.core)

    def batches(self, band: int) -> list[range]:
        """Spatial tile indices of a band, `batch` at a time."""
        first = band * self.plan.lon.tiles
        start, stop = first + self.columns.start, first + self.columns.stop
        return [range(at, min(at + self.batch, stop)) for at in range(start, stop, self.batch)]

    def region(self, time_tile: int, band: int) -> Region:
        """What the block at (time_tile, band) fills."""
        horizontal = self.job.horizontal
        frames = _overlap(self.frames, time_tile, self.contract.time_factor * self.plan.time.core)
        rows = _overlap(horizontal.rows, band, self.contract.scale_factor * self.plan.lat.core)
        return Region(
            first_frame=frames.start - self.frames.start,
            frames=frames.size,
            first_row=rows.start - horizontal.rows.start,
            rows=rows.size,
            columns=horizontal.columns.size,
            fine_frame=frames.start,
            fine_row=rows.start,
        )

    @cached_property
    def block_shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns) of the largest block."""
        horizontal = self.job.horizontal
        frames = min(self.contract.time_factor * self.plan.time.core, self.frames.size)
        rows = min(self.contract.scale_factor * self.plan.lat.core, horizontal.rows.size)
        return frames, rows, horizontal.columns.size

    @cached_property
    def groups(self) -> tuple[slice, ...]:
        """The variables that go through the engine together."""
        return tuple(
            slice(first, first + self.channels_at_once)
            for first in range(0, len(self.job.inputs), self.channels_at_once)
        )

    @cached_property
    def core(self) -> tuple[int, int, int, int, int]:
        """(B, T, C, H, W) of a batch's cores."""
        channels = len(self.job.inputs)
        return self.batch, self.plan.time.core, channels, self.plan.lat.core, self.plan.lon.core

    def empty_inputs(self, empty: Empty = np.zeros) -> dict[str, Array]:
        """Buffers for the graph's inputs of one batch, made by `empty`; `variable` is filled here for good."""
        batch, frames, _, rows, columns = self.core
        shapes = input_shapes(self.contract, (batch, frames, self.channels_at_once, rows, columns))
        buffers: dict[str, Array] = {
            name: empty(shape, np.float32) for name, shape in shapes.items() if name != "variable"
        }
        # a group's variables lie together, so that the engine takes them as they are
        buffers["coarse"] = empty((len(self.groups), *shapes["coarse"]), np.float32)
        if "variable" in shapes:
            buffers["variable"] = np.asarray(variable_ids(self.job.inputs), np.int64).reshape(len(self.groups), -1)
        if "hours" in buffers and self.job.slots is not None:
            buffers["hours"][:] = self.job.slots.hours
        return buffers

    def inputs(self, buffers: dict[str, Array], count: int, group: int = 0) -> dict[str, Array]:
        """The first `count` tiles of one group of variables, in the graph's order."""
        inputs: dict[str, Array] = {}
        for name in self.contract.graph_inputs():
            if name == "variable":
                inputs[name] = buffers[name][group]
            else:
                inputs[name] = buffers[name][group, :count] if name == "coarse" else buffers[name][:count]
        return inputs

    def infer(self, backend: Backend, buffers: dict[str, Array], count: int, fine: FloatField) -> None:
        """Run the first `count` tiles through the engine, group by group, into `fine`, written channels only."""
        for started in self.start(backend, buffers, count, fine):
            started.done()

    def start(self, backend: Backend, buffers: dict[str, Array], count: int, fine: FloatField) -> list[Started]:
        """As `infer`, but what an engine computes beside the host may be still on its way."""
        started = []
        for index, group in enumerate(self.groups):
            inputs = self.inputs(buffers, count, index)
            into = fine[:count, :, group] if len(self.groups) > 1 else fine[:count]
            if self._writes_all_channels:
                started.append(backend.start(inputs, into))
            else:
                # the engine may overwrite its result at the next call
                np.copyto(into, self.written_channels(backend.infer(inputs)["fine"]))
        return started

    def empty_fine(self, empty: Empty = np.zeros) -> FloatField:
        """A buffer for the fine tiles of one batch, written channels only."""
        batch, frames, _, rows, columns = output_shape(self.contract, self.core)
        return empty((batch, frames, len(self.job.outputs), rows, columns), np.float32)

    @property
    def _writes_all_channels(self) -> bool:
        everything = tuple(range(len(self.contract.outputs)))
        return self.contract.any_subset or self.job.output_channels == everything

    def written_channels(self, fine: FloatField) -> FloatField:
        """Of the model's output channels (B, T, C_out, h, w), those that are written."""
        return fine if self._writes_all_channels else fine[:, :, list(self.job.output_channels)]

    def empty_block(self) -> BlockBuffer:
        """A buffer for one block."""
        cells = int(np.prod(self.block_shape))
        channels = len(self.job.outputs)
        return BlockBuffer(np.zeros(cells * channels, np.float32), np.zeros(cells, np.uint8), channels)


def _tiles(window: AxisWindow, fine_core: int) -> range:
    return range(window.start // fine_core, -(-(window.start + window.size) // fine_core))


def _overlap(window: AxisWindow, tile: int, fine_core: int) -> AxisWindow:
    start = max(window.start, tile * fine_core)
    return AxisWindow(start, min(window.start + window.size, (tile + 1) * fine_core) - start)
