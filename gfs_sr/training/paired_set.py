"""Real pairs: fine fields of one source, coarse fields of another, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.pairing import align, common_frames
from gfs_sr.errors import RegistrationMismatch, ShapeMismatch
from gfs_sr.training.field_set import FieldSet, SourceConfig, provenance_of
from gfs_sr.training.fields import Field, Fields, How, Index


@dataclass(eq=False)
class PairedSet(FieldSet):
    """Fine fields whose first coarse cell starts at their first cell."""

    given: Field = field(kw_only=True)  # (C, T, h, w) without gaps
    scale_factor: int = field(kw_only=True)
    registration: Registration = field(kw_only=True)

    @classmethod
    def of(cls, fine: Forecast, coarse: Forecast, config: SourceConfig, number: int) -> "PairedSet":
        """The part that both cover, at the times that both have.

        Raises:
            ShapeMismatch: factors that are no whole numbers, or regions that share nothing.
            RegistrationMismatch: coarse points that lie neither on fine points nor as cells do.
            GapInLeadTimes: no common time.
            MissingVariable: the coarse source lacks a variable.
        """
        where = f"{coarse.source}; {fine.source}"
        frames = common_frames(coarse, fine)
        # where s is odd points and cells coincide, and the files may say which they mean
        lie = align(coarse.grid, fine.grid, registration=coarse.registration or fine.registration, where=where)
        rows, columns = (slice(axis.fine.start, axis.fine.stop) for axis in (lie.rows, lie.columns))
        below = [slice(axis.coarse.start, axis.coarse.stop) for axis in (lie.rows, lie.columns)]
        values = np.stack([fine.frame(k)[:, rows, columns] for k in frames.fine], axis=1)
        chosen = coarse.select(fine.variables)
        seen = np.stack([chosen.frame(k)[:, below[0], below[1]] for k in frames.coarse], axis=1)
        return cls(
            name=f"{config.name}-{number}",
            source=config.name,
            variables=fine.variables,
            values=values,
            times=fine.times.valid_times[list(frames.fine)],
            lat=fine.grid.lat[rows],
            lon=fine.grid.lon[columns],
            series=config.series,
            provenance=provenance_of(config),
            given=np.nan_to_num(fill_nearest(seen)[0]).astype(np.float32),
            scale_factor=lie.scale_factor,
            registration=lie.registration,
        )

    @property
    def phase(self) -> tuple[int, int]:
        """See `Fields`."""
        return 0, 0

    def for_network(self, contract: Contract) -> Fields:
        """See `Fields`.

        Raises:
            ShapeMismatch: another factor.
            RegistrationMismatch: another registration.
        """
        self.check(contract.registration, contract.scale_factor)
        return super().for_network(contract)

    def check(self, registration: Registration, scale_factor: int) -> None:
        """Refuse a network that these pairs are not for.

        Raises:
            ShapeMismatch: another factor.
            RegistrationMismatch: another registration.
        """
        if scale_factor != self.scale_factor:
            raise ShapeMismatch(
                f"a coarse cell is {self.scale_factor} fine cells wide, not {scale_factor}",
                f"source {self.source}",
                f"train a network of scale factor {self.scale_factor}, or leave the source out",
            )
        if registration is not self.registration:
            raise RegistrationMismatch(
                f"the pairs are registered by {self.registration}, the network by {registration}",
                f"source {self.source}",
                f"train a network of registration {self.registration}",
            )

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; as they were given, of whatever sigma they are."""
        self.check(how[0], how[1])
        s = self.scale_factor
        picked: Field = self.given[np.ix_(np.asarray(channels), frames, rows // s, columns // s)]
        return picked

    def part(self, frames: range, rows: range | None = None, columns: range | None = None) -> "PairedSet":
        """See `Fields`; whole coarse cells alone are kept."""
        s = self.scale_factor
        cells = []
        for part, length in ((rows, self.shape[1]), (columns, self.shape[2])):
            part = part or range(length)
            first = -(-part.start // s)
            stop = part.stop // s if part.stop < length else -(-length // s)
            cells.append(range(first, max(first, stop)))
        fine = [range(s * each.start, min(s * each.stop, n)) for each, n in zip(cells, self.shape[1:], strict=True)]
        kept = super().part(frames, fine[0], fine[1])
        assert isinstance(kept, PairedSet)  # `replace` keeps the class
        kept.given = self.given[
            :, frames.start : frames.stop, cells[0].start : cells[0].stop, cells[1].start : cells[1].stop
        ]
        return kept
