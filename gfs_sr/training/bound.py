"""Networks with weights for every cell: samples must be their whole grid, as it is."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import FixedGrid
from gfs_sr.data.grid import Registration
from gfs_sr.errors import UsageError
from gfs_sr.models.model import ModelConfig
from gfs_sr.training.fields import Fields
from gfs_sr.training.samples import StreamConfig

TOLERANCE = 1e-4  # degrees
Axis = npt.NDArray[np.float64]


def check_bound(
    grid: FixedGrid, facts: ModelConfig, name: str, stream: StreamConfig, sets: Sequence[Fields], augment: bool
) -> None:
    """Whether every sample of a stream lies on `grid`.

    Raises:
        UsageError: patches of another size or place, or samples that are mirrored.
    """
    where = f"data.streams.{name}"
    wanted = (len(grid.lat), len(grid.lon))
    if (stream.patch, stream.columns) != wanted:
        raise UsageError(
            f"patches of {stream.patch} by {stream.columns} cells for weights of {wanted[0]} by {wanted[1]}",
            where,
            f"give patch: {wanted[0]} and patch_columns: {wanted[1]}",
        )
    if augment:
        raise UsageError("mirrored samples would lie on other weights", where, "give data.augment: false")
    for fields in sets:
        for axis, bound in ((fields.lat, grid.lat), (fields.lon, grid.lon)):
            found = _coarse_axis(axis, facts.scale_factor, facts.registration)
            if found is None or found.size != len(bound) or np.abs(found - np.array(bound)).max() > TOLERANCE:
                raise UsageError(
                    f"{fields.source} is not on the grid of the network's weights, which begins at "
                    f"{grid.lat[0]:g} N, {grid.lon[0]:g} E",
                    where,
                    "give model.network.localcon_grid as north, west, spacing, rows, columns of the coarse cells",
                )


def _coarse_axis(axis: object, scale_factor: int, registration: Registration) -> Axis | None:
    """Of a fine axis from its first cell on; None where there is none."""
    if not isinstance(axis, np.ndarray) or axis.ndim != 1:
        return None
    if registration is Registration.NODE:
        return np.asarray(axis[::scale_factor], np.float64)
    count = axis.size // scale_factor
    means: Axis = np.asarray(axis[: count * scale_factor], np.float64).reshape(count, scale_factor).mean(axis=1)
    return means
