"""NetCDF-3 and NetCDF-4 files."""

import warnings
from pathlib import Path

import xarray as xr

from gfs_sr.data.sources.dataset import read_dataset
from gfs_sr.data.sources.netcdf3_size import expected_size
from gfs_sr.data.sources.series import Source
from gfs_sr.errors import UnreadableFile


def read_netcdf(path: Path, findings: list[str]) -> Source:
    """What a NetCDF file offers.

    Raises:
        UnreadableFile: truncated or damaged.
    """
    return read_dataset(open_netcdf(path), str(path), findings)


def open_netcdf(path: Path) -> xr.Dataset:
    """The dataset in a file, values unread.

    Raises:
        UnreadableFile: truncated or damaged.
    """
    mend = "fetch the file again: it is cut off or damaged"
    try:
        promised, actual = expected_size(path), path.stat().st_size
        if promised is not None and actual < promised:
            raise UnreadableFile(f"{actual} bytes of the {promised} that its header promises", str(path), mend)
        with warnings.catch_warnings():
            # a fill value of another type than the packed integers cannot occur in them
            warnings.simplefilter("ignore", xr.SerializationWarning)
            return xr.open_dataset(path, engine="netcdf4", decode_timedelta=True)
    except (OSError, EOFError, RuntimeError, KeyError) as error:
        raise UnreadableFile(f"not readable as NetCDF ({error})", str(path), mend) from error
    except ValueError as error:
        raise UnreadableFile(f"its times cannot be decoded ({error})", str(path), "mend the time units") from error
