"""Fields with less detail than they have, as a model of lower effective resolution would have them."""

from collections.abc import Iterator, Sequence

import numpy as np

from gfs_sr.data.grid import Registration
from gfs_sr.training.fields import Coordinates, Field, Fields, How, Index


class SmoothedFields(Fields):
    """Another set, blurred by a Gaussian where it is read: nothing is computed that no sample asks for."""

    def __init__(self, sharp: Fields, sigma: float) -> None:
        """Blur all variables of `sharp` by `sigma` fine cells; terrain and land stay as they are."""
        self.sharp, self.sigma = sharp, sigma
        self.name, self.source, self.variables = sharp.name, sharp.source, sharp.variables
        self.times, self.series, self.provenance = sharp.times, sharp.series, sharp.provenance
        self.lat: Coordinates | None = sharp.lat
        self.lon: Coordinates | None = sharp.lon
        self._statics = sharp._statics  # made once for both
        self.units = sharp.units

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        return self.sharp.shape

    def read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        values = self.read_filled(channels, frames, rows, columns)
        values[np.isnan(self.sharp.read(channels, frames, rows, columns))] = np.nan
        return values

    def read_filled(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        blur = (Registration.NODE, 1, self.sigma)
        return self.sharp.weighted(blur, self.sharp.read_filled, channels, frames, rows, columns)

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        return self.sharp.weighted(how, self.read_filled, channels, frames, rows, columns)

    def part(self, frames: range, rows: range | None = None, columns: range | None = None) -> "SmoothedFields":
        """See `Fields`."""
        return SmoothedFields(self.sharp.part(frames, rows, columns), self.sigma)

    def slabs(self, channel: int) -> Iterator[Field]:
        """See `Fields`; frame by frame."""
        frames, rows, columns = (np.arange(length) for length in self.shape)
        for frame in frames:
            yield self.read([channel], np.array([frame]), rows, columns)[0, 0]

    def thinned(self, channel: int, most: int) -> Field:
        """See `Fields`; of the sharp ones, so that both are in the same units."""
        return self.sharp.thinned(channel, most)

    def mean_and_sd(self, channel: int) -> tuple[float, float]:
        """See `thinned`."""
        return self.sharp.mean_and_sd(channel)
