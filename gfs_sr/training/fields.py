"""What training draws its samples from: fine fields on one grid at one run of times, in memory or not."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Scaling
from gfs_sr.data.chunk_cache import Ranges
from gfs_sr.data.coarsen import coarsen_everywhere, footprint
from gfs_sr.data.grid import Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.terrain import terrain, terrain_at
from gfs_sr.errors import UsageError

Field = npt.NDArray[np.float32]
Coordinates = npt.NDArray[np.float64]
Index = npt.NDArray[np.integer]
How = tuple[Registration, int, float]  # scale factor, sigma of the Gaussian in fine cells
Read = Callable[[Sequence[int], Index, Index, Index], Field]
MANY = 1_000_000  # values that stand for all of a variable
NO_UNITS: Mapping[str, Scaling] = {}


def taken(values: Field, *indices: Sequence[int] | Index) -> Field:
    """`values[numpy.ix_(*indices)]`, read-only; even runs are taken as slices, which is several times faster."""
    runs = [_run(np.asarray(index)) for index in indices]
    picked = values[tuple(slice(None) if run is None else run for run in runs)]
    for axis, (index, run) in enumerate(zip(indices, runs, strict=True)):
        if run is None:
            picked = picked.take(np.asarray(index), axis=axis)
    picked.flags.writeable = False
    return picked


def _run(index: Index) -> slice | None:
    """The slice of an index that rises or falls evenly; None for another."""
    if index.size == 1:
        return slice(int(index[0]), int(index[0]) + 1)
    steps = np.diff(index)
    if index.size == 0 or steps[0] == 0 or (steps != steps[0]).any() or index.min() < 0:
        return None
    step = int(steps[0])
    stop = int(index[-1]) + step
    return slice(int(index[0]), stop if stop >= 0 else None, step)


def without_gaps(values: npt.NDArray[np.floating]) -> Field:
    """(..., H, W) with the nearest valid value in place of each missing one, and 0 where a field has none."""
    if np.isfinite(values).all():
        return np.asarray(values, np.float32)
    filled: Field = np.nan_to_num(fill_nearest(values)[0]).astype(np.float32)
    return filled


class Fields(ABC):
    """Variables on one grid at one run of times."""

    in_memory: ClassVar[bool] = True
    name: str
    source: str
    variables: tuple[str, ...]
    times: npt.NDArray[np.datetime64]  # (T,)
    lat: Coordinates | None  # (H,) or (H, W)
    lon: Coordinates | None
    series: bool  # good for series in time alone
    provenance: Mapping[str, str]
    _statics: dict[str, Field]
    # model units that `read` and its sisters give a variable in; the others are in canonical ones
    units: Mapping[str, Scaling] = NO_UNITS

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""

    @abstractmethod
    def read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """(C, t, h, w) of these cells in any order; canonical units or `units`, NaN where missing."""

    @abstractmethod
    def read_filled(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """The same without gaps: missing cells have the value of the nearest valid one that was at hand."""

    @abstractmethod
    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """(C, t, h, w): values of the coarse cells that start at these fine rows and columns."""

    @abstractmethod
    def part(self, frames: range, rows: range | None = None, columns: range | None = None) -> "Fields":
        """Some frames of it, and some rows and columns: nothing beyond them is seen from there."""

    @abstractmethod
    def slabs(self, channel: int) -> Iterator[Field]:
        """All values of one variable, canonical units, a bounded number at a time."""

    @abstractmethod
    def thinned(self, channel: int, most: int) -> Field:
        """About `most` values of one variable from all over it, canonical units."""

    def for_network(self, contract: Contract) -> "Fields":
        """These fields as a network with this promise takes them.

        Raises:
            UsageError: the network has fine cells of its own, and these have no coarse ones beside them.
        """
        if contract.target_grid is not None:
            raise UsageError(
                "a network with a target_grid learns from fine and coarse fields of two sources",
                f"source {self.source}", "write them with gfs-sr build-dataset, and give built: true",
            )  # fmt: skip
        return self

    def weighted(
        self, how: How, read: Read, channels: Sequence[int], frames: Index, rows: Index, columns: Index
    ) -> Field:
        """(C, t, h, w) of coarse cells, made of what `read` gives around each and of no more."""
        registration, s, sigma = how
        height, width = self.shape[1:]
        area = None
        if self.lat is not None and self.lat.ndim == 1:
            area = np.maximum(np.cos(np.deg2rad(self.lat)), 1e-6)
        south, by_row = footprint(registration, rows, s, height, sigma=sigma, area=area)
        east, by_column = footprint(registration, columns, s, width, sigma=sigma, periodic=self.is_periodic)
        whole = self._in_physical(read(channels, frames, south, east), channels)
        made = by_row @ without_gaps(whole).astype(np.float64) @ by_column.T
        coarse: Field = self._in_units(made, channels).astype(np.float32)
        return coarse

    def _in_physical(self, values: Field, channels: Sequence[int]) -> npt.NDArray[np.floating]:
        """What is averaged is physical: the mean of logarithms is another thing."""
        layers = [self.units.get(self.variables[channel]) for channel in channels]
        if all(each is None for each in layers):
            return values
        return np.stack([x if each is None else each.denormalize(x) for x, each in zip(values, layers, strict=True)])

    def _in_units(self, values: npt.NDArray[np.floating], channels: Sequence[int]) -> npt.NDArray[np.floating]:
        layers = [self.units.get(self.variables[channel]) for channel in channels]
        if all(each is None for each in layers):
            return values
        return np.stack([x if each is None else each.normalize(x) for x, each in zip(values, layers, strict=True)])

    def mean_and_sd(self, channel: int) -> tuple[float, float]:
        """Of one variable, canonical units; 1 for the spread of a constant."""
        values = self.thinned(channel, MANY)
        return float(np.nanmean(values)), float(np.nanstd(values)) or 1.0

    @property
    def phase(self) -> tuple[int, int] | None:
        """Fine row and column at which the first coarse cell starts, where coarse fields were given and not made."""
        return None

    def blocks(self, least: tuple[int, int, int]) -> Sequence[Ranges] | None:
        """Parts of at least `least` frames, rows and columns that are cheap to read together; None: no part is."""
        return None

    @property
    def interval_hours(self) -> float:
        """Between frames; 0 where they are no even series."""
        steps = np.diff(self.times)
        if not steps.size or steps.min() != steps.max() or steps[0] <= np.timedelta64(0, "ns"):
            return 0.0
        return float(steps[0] / np.timedelta64(1, "h"))

    @property
    def is_periodic(self) -> bool:
        """True where the columns go once around the globe."""
        if self.lon is None or self.lon.ndim != 1 or self.lon.size < 2:
            return False
        return bool(abs(self.lon.size * (self.lon[1] - self.lon[0]) - 360.0) < 0.05 * (self.lon[1] - self.lon[0]))

    def positions(self) -> tuple[Coordinates, Coordinates] | None:
        """Latitude and longitude (H, W) of every cell."""
        if self.lat is None or self.lon is None:
            return None
        if self.lat.ndim == 2:
            return self.lat, self.lon
        lat, lon = np.meshgrid(self.lat, self.lon, indexing="ij", copy=False)  # views: every sample asks
        return lat, lon

    def static(self, name: str) -> Field:
        """(H, W) terrain or land of the fine cells, made once; zeros where the grid is unknown."""
        if name not in self._statics:
            made = self._on_earth()
            self._statics |= {key: x for key, x in made.items() if key not in self._statics}
            self._statics.setdefault(name, np.zeros(self.shape[1:], np.float32))
        return self._statics[name]

    def _on_earth(self) -> dict[str, Field]:
        """From the map; nothing where the grid is unknown."""
        if self.lat is None or self.lon is None:
            return {}
        if self.lat.ndim == 1 and min(self.lat.size, self.lon.size) > 1:  # as where it is served, and the faster way
            spacing = [float(np.ptp(axis)) / (axis.size - 1) for axis in (self.lat, self.lon)]
            made = terrain(self.lat, self.lon, (spacing[0], spacing[1]))
        else:
            positions = self.positions()
            assert positions is not None  # both axes are known
            made = terrain_at(*positions)
        return {name: field.astype(np.float32) for name, field in made.items()}

    def coarse_static(self, name: str, registration: Registration, scale_factor: int) -> Field:
        """The coarse value of it for a coarse cell that starts at each fine one, made once."""
        key = f"coarse {registration} {scale_factor} {name}"
        if key not in self._statics:
            self._statics[key] = coarsen_everywhere(
                self.static(name), registration, scale_factor, self.lat, self.is_periodic
            )
        return self._statics[key]

    def statics(self, names: Sequence[str]) -> Field:
        """(K, H, W) of the fine cells."""
        return np.stack([self.static(name) for name in names])

    def take_statics(self, given: Mapping[str, Field]) -> None:
        """Use these fields (H, W) in place of the map's."""
        self._statics.update(given)

    def _statics_of(self, rows: range, columns: range) -> dict[str, Field]:
        """Those of a part, as far as they were given or made and lie on fine cells."""
        whole = self.shape[1:]
        kept = {name: field for name, field in self._statics.items() if field.shape == whole and " " not in name}
        return {name: field[rows.start : rows.stop, columns.start : columns.stop] for name, field in kept.items()}
