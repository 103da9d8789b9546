"""Zarr stores, format 2 and 3."""

from pathlib import Path

import xarray as xr

from gfs_sr.data.sources.dataset import read_dataset
from gfs_sr.data.sources.series import Source
from gfs_sr.errors import UnreadableFile


def read_zarr(path: Path, findings: list[str]) -> Source:
    """What a Zarr store offers; chunks that are absent read as missing.

    Raises:
        UnreadableFile: damaged.
    """
    return read_dataset(open_zarr(path), str(path), findings)


def open_zarr(path: Path) -> xr.Dataset:
    """The dataset in a store, values unread.

    Raises:
        UnreadableFile: damaged.
    """
    consolidated = (path / ".zmetadata").exists()
    try:
        return xr.open_dataset(path, engine="zarr", consolidated=consolidated, decode_timedelta=True)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UnreadableFile(
            f"not readable as Zarr ({error})", str(path), "copy the store again: it is cut off or damaged"
        ) from error
