"""The random inputs of a job: drawn tile by tile from the keyed noise, halo and all."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import NoiseGrid, NoiseInput
from gfs_sr.data.grid import Boundary
from gfs_sr.data.statics import fine_cells
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.layout import Layout
from gfs_sr.runtime.noise import Microdegrees, NoiseKey, fill_channels, microdegrees
from gfs_sr.runtime.predictors import fine_times, gather_plain
from gfs_sr.runtime.tiling import AxisPlan

Indices = npt.NDArray[np.intp]
NOWHERE = np.zeros(1, np.int32)  # where numbers belong to no cell


class NoiseFields:
    """Fills the noise inputs of a batch. A cell of the halo gets the numbers of the cell that it stands for."""

    def __init__(self, layout: Layout, seed: int, threads: int) -> None:
        contract, plan = layout.contract, layout.plan
        self._inputs, self._seed, self._threads = contract.noise, seed, threads
        self._scale_factor, self._time_factor = contract.scale_factor, contract.time_factor
        if not self._inputs:
            return
        coarse = layout.job.horizontal.coarse
        times = layout.job.forecast.times.valid_times
        self._times = {False: times, True: fine_times(times, contract.time_factor, contract.interval_hours)}
        self._time_plan = plan.time
        self._plan = replace(plan, time=AxisPlan(1, 1, 0, 0, Boundary.EDGE))
        self._coarse = microdegrees(coarse.lat, coarse.lon)
        self._fine = microdegrees(*fine_cells(coarse, contract.scale_factor, contract.registration))
        rows, columns = coarse.shape
        # the gather itself says which cell each cell of a tile stands for; float32 holds whole numbers up to 2²⁴
        place = np.meshgrid(np.arange(rows, dtype=np.float32), np.arange(columns, dtype=np.float32), indexing="ij")
        self._places = np.ascontiguousarray(np.stack(place))

    def fill(self, time_tile: int, tiles: range, buffers: Mapping[str, Array], member: int) -> None:
        """The noise of one member for one batch."""
        if not self._inputs:
            return
        places = self._places_of(tiles)
        for noise in self._inputs:
            out = buffers[noise.graph_input]
            is_fine = noise.grid is not NoiseGrid.COARSE
            for frame, time in enumerate(self._frames(time_tile, is_fine)):
                word = NoiseKey(self._seed, member, noise.name, time).word
                for index, place in enumerate(places):
                    self._fill(out[index, frame], noise, word, place)

    def _fill(self, out: Array, noise: NoiseInput, word: int, place: tuple[Indices, Indices]) -> None:
        """(channels, h, w) of one frame of one tile."""
        if noise.grid is NoiseGrid.SHARED:
            fill_channels(out.reshape(-1, 1), word, NOWHERE, NOWHERE, noise.distribution, self._threads)
            return
        rows, columns = place
        if noise.grid is NoiseGrid.COARSE:
            lat, lon = self._coarse
            self._draw(out.reshape(out.shape[0], -1), noise, word, lat[rows], lon[columns])
            return
        s = self._scale_factor
        lat, lon = self._fine
        drawn = np.empty((noise.channels, rows.size), np.float32)
        blocks = out.reshape(noise.channels, s * s, rows.size)
        for y in range(s):
            for x in range(s):
                self._draw(drawn, noise, word, lat[s * rows + y], lon[s * columns + x])
                blocks[:, s * y + x] = drawn

    def _draw(self, out: Array, noise: NoiseInput, word: int, lat: Microdegrees, lon: Microdegrees) -> None:
        fill_channels(out, word, lat, lon, noise.distribution, self._threads)

    def _places_of(self, tiles: range) -> list[tuple[Indices, Indices]]:
        """(rows, columns) of the coarse cells of each tile, flat."""
        _, height, width = self._plan.tile_shape
        found = np.empty((len(tiles), 1, 2, height, width), np.float32)
        gather_plain([self._places], 0, self._plan, 0, tiles, found, 2, self._threads)
        whole = found.astype(np.intp).reshape(len(tiles), 2, -1)
        return [(each[0], each[1]) for each in whole]

    def _frames(self, time_tile: int, is_fine: bool) -> npt.NDArray[np.datetime64]:
        """Valid times of the frames of a tile with its halo; beyond the ends the last one's."""
        axis, r = self._time_plan, self._time_factor if is_fine else 1
        first = r * (time_tile * axis.core - axis.before)
        times = self._times[is_fine]
        index = np.clip(first + np.arange(r * axis.extent), 0, times.size - 1)
        chosen: npt.NDArray[np.datetime64] = times[index]
        return chosen
