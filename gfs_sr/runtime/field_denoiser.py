"""A denoiser over all tiles of a field, and the noise of its cells: on the host, or where the engine computes.

A sampler's fields may stay on a device from its first noise to the member: no evaluation then copies anything between
host and device. The host's way is the reference.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfs_sr.runtime.backends.base import Array, Backend, DeviceFields
from gfs_sr.runtime.canvas import FineTiles
from gfs_sr.runtime.noise import Microdegrees, NoiseKey, normals
from gfs_sr.runtime.pipeline import Timings
from gfs_sr.runtime.sink import FloatField


@dataclass(frozen=True, eq=False)
class Asked:
    """What members of some variables are asked of."""

    engine: Backend  # of the graph `denoiser`, active
    tiles: FineTiles
    condition: FloatField  # (T, K, H, W)
    names: tuple[str, ...]
    variable: Array | None  # ids, of a shared denoiser
    cells: tuple[Microdegrees, Microdegrees]  # rows and columns of the field
    times: Sequence[np.datetime64]  # of its frames
    seed: int
    threads: int
    timings: Timings

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)."""
        frames, _, rows, columns = self.condition.shape
        return frames, len(self.names), rows, columns


class FieldDenoiser(ABC):
    """Fields are (T, C, H, W), of whatever kind; arithmetic works on them."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._results: list[Any] = []  # two: a solver may look back by one step

    @abstractmethod
    def noise(self, member: int, number: int) -> Any:
        """Standard normals of a draw of the sampler."""

    @abstractmethod
    def denoise(self, noisy: Any, sigma: float, told: bool) -> Any:
        """Z and noise -> the z that is expected; valid until the call after next.

        Args:
            noisy: of level sigma.
            sigma: noise level.
            told: whether the denoiser is told its conditions.
        """

    @abstractmethod
    def fetch(self, field: Any) -> FloatField:
        """A field on the host."""

    def _next_result(self) -> Any:
        self._results.reverse()
        return self._results[0]


class HostDenoiser(FieldDenoiser):
    """Tiles are gathered on the host and handed to the engine one by one."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        tiles = asked.tiles
        self._inputs: dict[str, Array] = {
            "noisy": tiles.buffer(len(asked.names)),
            "condition": tiles.buffer(asked.condition.shape[1]),
            "sigma": np.empty(1, np.float32),
        }
        if asked.variable is not None:
            self._inputs["variable"] = asked.variable
        self._untold = self._inputs | {"condition": np.zeros_like(self._inputs["condition"])}
        self._results = [np.empty(asked.shape, np.float32) for _ in range(2)]

    def noise(self, member: int, number: int) -> FloatField:
        """See `FieldDenoiser`."""
        asked = self.asked
        with asked.timings.measure("gather"):
            return normals(asked.seed, member, asked.names, asked.times, *asked.cells, number, asked.threads)

    def denoise(self, noisy: FloatField, sigma: float, told: bool) -> FloatField:
        """See `FieldDenoiser`."""
        tiles, timings = self.asked.tiles, self.asked.timings
        result: FloatField = self._next_result()
        self._inputs["sigma"][:] = sigma
        noisy = np.ascontiguousarray(noisy, np.float32)
        for tile in tiles:
            with timings.measure("gather"):
                tiles.gather(noisy, tile, self._inputs["noisy"])
                if told:
                    tiles.gather(self.asked.condition, tile, self._inputs["condition"])
            with timings.measure("infer"):
                fine = self.asked.engine.infer(self._inputs if told else self._untold)["fine"][0]
            tiles.put(fine, tile, result)
        return result

    def fetch(self, field: FloatField) -> FloatField:
        """See `FieldDenoiser`."""
        return field


class DeviceDenoiser(FieldDenoiser):
    """All fields lie where the engine computes: what goes there goes when this is made, what comes back is the member.

    The noise is the host's to the last bit; the rest is as exact as the device's sums and products.
    """

    def __init__(self, asked: Asked, fields: DeviceFields) -> None:
        super().__init__(asked)
        self._fields = fields
        self._condition = fields.put(asked.condition)
        self._untold: Any = None
        self._variable = None if asked.variable is None else fields.put(asked.variable)
        self._cells = [fields.put(each) for each in asked.cells]
        self._windows = [[fields.put(each) for each in asked.tiles.window(tile)] for tile in asked.tiles]
        self._blends = [
            [fields.put(each) for each in asked.tiles.blend(tile)] if asked.tiles.shares is not None else None
            for tile in asked.tiles
        ]
        self._results = [fields.full(asked.shape, 0.0) for _ in range(2)]

    def noise(self, member: int, number: int) -> Any:
        """See `FieldDenoiser`."""
        asked, field = self.asked, self._fields.full(self.asked.shape, 0.0)
        lat, lon = self._cells
        with asked.timings.measure("gather"):
            for frame, time in enumerate(asked.times):
                for channel, name in enumerate(asked.names):
                    word = NoiseKey(asked.seed, member, name, time).word
                    field[frame, channel] = self._fields.normals(word, lat, lon, number)
        return field

    def denoise(self, noisy: Any, sigma: float, told: bool) -> Any:
        """See `FieldDenoiser`."""
        tiles, timings = self.asked.tiles, self.asked.timings
        result = self._next_result()
        level = self._fields.full((1,), sigma)
        for tile, window, blend in zip(tiles, self._windows, self._blends, strict=True):
            with timings.measure("gather"):
                inputs = {"noisy": _cut(noisy, window), "condition": self._told(window, told), "sigma": level}
                if self._variable is not None:
                    inputs["variable"] = self._variable
            with timings.measure("infer"):
                fine = self._fields.infer(inputs)[0]
            if blend is None:
                tiles.put(fine, tile, result)
                continue
            if tile == 0:
                result[...] = 0
            rows, columns, own_rows, own_columns, share = blend
            result[:, :, rows[:, None], columns] += fine[:, :, own_rows[:, None], own_columns] * share
        return result

    def fetch(self, field: Any) -> FloatField:
        """See `FieldDenoiser`; the host waits here."""
        with self.asked.timings.measure("infer"):
            return self._fields.fetch(field)

    def _told(self, window: Sequence[Any], told: bool) -> Any:
        if told:
            return _cut(self._condition, window)
        if self._untold is None:
            self._untold = self._fields.full(tuple(_cut(self._condition, window).shape), 0.0)
        return self._untold


def _cut(field: Any, window: Sequence[Any]) -> Any:
    frames, rows, columns = window
    return field[frames][:, :, rows[:, None], columns][None]


def denoiser_of(asked: Asked) -> FieldDenoiser:
    """On the device, if the engine has one where fields can stay."""
    fields = asked.engine.fields()
    return HostDenoiser(asked) if fields is None else DeviceDenoiser(asked, fields)
