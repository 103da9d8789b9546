"""What a sample tells a network beside the fields: terrain, the sun, season and place; and what its cells count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Scaling
from gfs_sr.data.calendar import SEASONS, season_of
from gfs_sr.data.grid import Registration
from gfs_sr.data.solar import solar_components
from gfs_sr.data.statics import static_blocks
from gfs_sr.errors import UsageError
from gfs_sr.training.fields import Fields
from gfs_sr.training.windows import AxisWindow, TimeWindow, View

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Window:
    """Where a sample lies on its fields."""

    fields: Fields
    view: View
    lat_axis: AxisWindow
    lon_axis: AxisWindow

    @property
    def cells(self) -> tuple[int, int]:
        """Coarse rows and columns, with their context."""
        return self.lat_axis.cells, self.lon_axis.cells

    def statics(
        self, names: Sequence[str], scaling: Mapping[str, Scaling], registration: Registration, scale_factor: int,
        is_coarse: bool, told: bool,
    ) -> dict[str, Array]:  # fmt: skip
        """`static_coarse` (1, K, h, w) and `static_fine` (1, K·s², h, w), by the standard deviations of `scaling`.

        Args:
            names: K of them.
            scaling: theirs.
            registration: of the coarse cells.
            scale_factor: s.
            is_coarse: the cells of the fields are the coarse ones, as in a series.
            told: zeros where not.
        """
        s, view = scale_factor, self.view
        if not told:
            return {
                "static_coarse": np.zeros((1, len(names), *self.cells), np.float32),
                "static_fine": np.zeros((1, len(names) * s * s, *self.cells), np.float32),
            }
        coarse, fine = [], []
        for name in names:
            plane = view.of(self.fields.static(name))
            means = plane if is_coarse else view.of(self.fields.coarse_static(name, registration, s))
            coarse.append(means[self.lat_axis.coarse[:, None], self.lon_axis.coarse])
            rows, columns = (
                np.minimum(axis.coarse[:, None] + np.arange(s), length - 1).ravel()
                for axis, length in zip((self.lat_axis, self.lon_axis), plane.shape, strict=True)
            )
            fine.append(plane[rows[:, None], columns])
        sd = np.array([scaling[name].sd for name in names], np.float32)[:, None, None]
        return {
            "static_coarse": (np.stack(coarse) / sd)[None].astype(np.float32),
            "static_fine": static_blocks(np.stack(fine) / sd, s)[None],
        }

    def sun(self, times: TimeWindow, told: bool) -> dict[str, Array]:
        """Its height and side at the coarse frames and at the fine ones; zeros where not `told` or unknown."""
        positions = self.fields.positions()
        coarse, fine = self.fields.times[times.coarse], times.moments(self.fields.times)
        if positions is None or not told:
            return {
                "predictor_coarse": np.zeros((coarse.size, 3, *self.cells), np.float32),
                "predictor_coarse_fine_time": np.zeros((fine.size, 3, *self.cells), np.float32),
            }
        axes = self.lat_axis, self.lon_axis
        rows, columns = (np.clip(np.rint(axis.center), 0, None).astype(np.intp) for axis in axes)
        seen = [self.view.of(each) for each in positions]
        rows, columns = np.minimum(rows, seen[0].shape[0] - 1), np.minimum(columns, seen[0].shape[1] - 1)
        lat, lon = (each[rows[:, None], columns] for each in seen)
        return {
            "predictor_coarse": solar_components(coarse, lat, lon).astype(np.float32),
            "predictor_coarse_fine_time": solar_components(fine, lat, lon).astype(np.float32),
        }

    def season(self, times: TimeWindow) -> Array:
        """(T + context, 4, h, w): 1 for the season of each coarse frame, 0 for the others."""
        maps = np.zeros((times.coarse.size, len(SEASONS), *self.cells), np.float32)
        for frame, moment in enumerate(self.fields.times[times.coarse]):
            maps[frame, season_of(moment)] = 1.0
        return maps

    def place(self, times: TimeWindow) -> Array:
        """(T + context, 2, h, w): latitude and longitude of the coarse cells, radians.

        Raises:
            UsageError: the grid of the fields is unknown.
        """
        positions = self.fields.positions()
        if positions is None:
            raise UsageError(
                "the network asks where cells lie, and the file does not say",
                f"source {self.fields.source}", "leave it out",
            )  # fmt: skip
        lat, lon = (self.view.of(each) for each in positions)
        ends = []
        for towards in (np.floor, np.ceil):  # a coarse cell's middle may lie between two fine ones
            rows, columns = (
                np.clip(towards(axis.center), 0, size - 1).astype(np.intp)
                for axis, size in zip((self.lat_axis, self.lon_axis), lat.shape, strict=True)
            )
            ends.append((lat[rows[:, None], columns], lon[rows[:, None], columns]))
        (south, west), (north, east) = ends
        around = (east - west + 180.0) % 360.0 - 180.0  # across the date line
        place = np.deg2rad(np.stack([(south + north) / 2, west + around / 2])).astype(np.float32)
        return np.broadcast_to(place, (times.coarse.size, *place.shape))

    def area(self) -> Array:
        """(1, 1, h, w): cosine of the latitude of the core's fine cells; ones where the grid is unknown."""
        positions = self.fields.positions()
        if positions is None:
            return np.ones((1, 1, self.lat_axis.fine.size, self.lon_axis.fine.size), np.float32)
        lat = self.view.of(positions[0])[self.lat_axis.fine[:, None], self.lon_axis.fine]
        cells: Array = np.maximum(np.cos(np.deg2rad(lat)), 0.0)[None, None].astype(np.float32)
        return cells
