"""Fine fields and coarse ones of any grid, in memory: what networks with fine cells of their own learn from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.built_file import PREFIX, BuiltSet
from gfs_sr.data.grid import Grid
from gfs_sr.data.regrid import Method, index_units, regrid
from gfs_sr.errors import MissingVariable, ShapeMismatch, UsageError
from gfs_sr.runtime.target_grid import method_of
from gfs_sr.training.field_set import SourceConfig, provenance_of
from gfs_sr.training.fields import Coordinates, Field, Fields, How, Index, taken, without_gaps

SAME_SPACING = 1e-3  # of a fine cell


@dataclass(eq=False)
class FixedGridSet(Fields):
    """A data set that `gfs-sr build-dataset` wrote; coarse fields are brought to fine cells where a sample reads them.

    A variable may be fine, coarse or both: `read` gives fine ones, `read_coarse` coarse ones. Statistics of a variable
    are those of its fine field, where it has one.
    """

    name: str
    source: str
    fine: tuple[str, ...]  # variables of `values`
    values: Field  # (C, T, H, W), canonical units, NaN where missing
    times: npt.NDArray[np.datetime64]  # (T,)
    lat: Coordinates
    lon: Coordinates
    coarse: tuple[str, ...]  # variables of `given`
    given: Field  # (K, T, h, w), canonical units, without gaps
    coarse_grid: Grid
    method: Method | None = None  # that brings it to fine cells; None: no network has asked for it yet
    series: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    _statics: dict[str, Field] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, built: BuiltSet, config: SourceConfig, number: int) -> "FixedGridSet":
        """All of a file, or those of its variables that the source names.

        Raises:
            MissingVariable: no fine or no coarse field is among them.
        """
        parts = []
        for forecast in (built.fine, built.coarse):
            names = [name for name in forecast.variables if config.variables is None or name in config.variables]
            if not names:
                raise MissingVariable(
                    f"none of {', '.join(config.variables or ())} is among {', '.join(forecast.variables)}",
                    f"source {config.name}, {forecast.source}", "name fine and coarse variables, or leave them out",
                )  # fmt: skip
            parts.append(forecast.select(names))
        fine, coarse = parts
        return cls(
            name=f"{config.name}-{number}",
            source=config.name,
            fine=fine.variables,
            values=np.moveaxis(fine.load(), 1, 0),
            times=fine.times.valid_times,
            lat=fine.grid.lat,
            lon=fine.grid.lon,
            coarse=coarse.variables,
            given=without_gaps(np.moveaxis(coarse.load(), 1, 0)),
            coarse_grid=coarse.grid,
            series=config.series,
            provenance=provenance_of(config),
            _statics={name: plane for name, plane in built.statics.items() if not name.startswith(PREFIX)},
        )

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """Fine ones, then those that are coarse alone."""
        return (*self.fine, *(name for name in self.coarse if name not in self.fine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        frames, rows, columns = self.values.shape[1:]
        return frames, rows, columns

    @property
    def phase(self) -> tuple[int, int]:
        """See `Fields`."""
        return 0, 0

    def for_network(self, contract: Contract) -> "FixedGridSet":
        """See `Fields`; coarse fields are then brought to fine cells as they are where the network is served.

        Raises:
            UsageError: a network without fine cells of its own.
            ShapeMismatch: its cells have another size.
            MissingVariable: an input is not among the coarse fields, or an output not among the fine ones.
        """
        own = contract.target_grid
        if own is None:
            raise UsageError(
                "the coarse grid of the source is of any spacing, and the network is one of whole factors",
                f"source {self.source}", "give model.network.target_grid and scale_factor: 1",
            )  # fmt: skip
        spacing = Grid(np.array(own.lat), np.array(own.lon)).spacing_deg
        mine = Grid(self.lat, self.lon).spacing_deg
        if max(abs(a / b - 1) for a, b in zip(spacing, mine, strict=True)) > SAME_SPACING:
            raise ShapeMismatch(
                f"fine cells are {mine[0]:g} by {mine[1]:g} degrees, those of the network {spacing[0]:g} by "
                f"{spacing[1]:g}",
                f"source {self.source}", "give a target_grid of the same spacing",
            )  # fmt: skip
        for kind, wanted, there in (("coarse", contract.inputs, self.coarse), ("fine", contract.outputs, self.fine)):
            missing = [name for name in wanted if name not in there]
            if missing:
                raise MissingVariable(
                    f"no {kind} {', '.join(missing)} among {', '.join(there)}", f"source {self.source}",
                    "build the data set with them, or train another network",
                )  # fmt: skip
        return replace(self, method=method_of(contract))

    def read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; variables that are coarse alone are missing everywhere."""
        fine = [channel for channel in channels if channel < len(self.fine)]
        if len(fine) == len(channels):
            return taken(self.values, channels, frames, rows, columns)
        values = np.full((len(channels), frames.size, rows.size, columns.size), np.nan, np.float32)
        for place, channel in enumerate(channels):
            if channel in fine:
                values[place] = taken(self.values, [channel], frames, rows, columns)[0]
        return values

    def read_filled(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        return without_gaps(self.read(channels, frames, rows, columns))

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; on fine cells, as the network has them there."""
        assert self.method is not None  # `for_network` comes before samples
        names = np.array([self.coarse.index(self.variables[channel]) for channel in channels])
        south, east = int(rows.min()), int(columns.min())
        target = Grid(self.lat[south : int(rows.max()) + 1], self.lon[east : int(columns.max()) + 1])
        there = regrid(self.given[np.ix_(names, frames)], self.coarse_grid, target, self.method, self.source)
        picked: Field = there[:, :, (rows - south)[:, None], columns - east].astype(np.float32)
        return picked

    def part(self, frames: range, rows: range | None = None, columns: range | None = None) -> "FixedGridSet":
        """See `Fields`; of the coarse cells, those between which its fine cells lie."""
        rows, columns = rows or range(self.shape[1]), columns or range(self.shape[2])
        cut = slice(frames.start, frames.stop), slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        fine = Grid(self.lat[cut[1]], self.lon[cut[2]])
        around = []
        for units, size in zip(index_units(self.coarse_grid, fine), self.coarse_grid.shape, strict=True):
            first, last = (int(np.clip(end, 0, size - 1)) for end in (np.floor(units.min()), np.ceil(units.max())))
            around.append(slice(first, last + 1))
        return replace(
            self,
            values=self.values[:, cut[0], cut[1], cut[2]],
            times=self.times[cut[0]],
            lat=fine.lat,
            lon=fine.lon,
            given=self.given[:, cut[0], around[0], around[1]],
            coarse_grid=Grid(self.coarse_grid.lat[around[0]], self.coarse_grid.lon[around[1]]),
            _statics=self._statics_of(rows, columns),
        )

    def slabs(self, channel: int) -> Iterator[Field]:
        """See `Fields`; frame by frame."""
        yield from self._values_of(channel)

    def thinned(self, channel: int, most: int) -> Field:
        """See `Fields`."""
        values = self._values_of(channel)
        few: Field = values.ravel()[:: max(1, values.size // most)]
        return few

    def _values_of(self, channel: int) -> Field:
        """(T, H, W) or (T, h, w)."""
        name = self.variables[channel]
        values: Field = self.values[channel] if name in self.fine else self.given[self.coarse.index(name)]
        return values
