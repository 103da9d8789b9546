"""Formats told by content, never by name."""

from enum import StrEnum
from pathlib import Path

from gfs_sr.errors import MissingFile, UnreadableFile

GTS_HEADER_BYTES = 64  # a bulletin's heading may stand before the first GRIB message
ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")


class Format(StrEnum):
    """What the readers can read."""

    GRIB = "grib"
    NETCDF = "netcdf"
    ZARR = "zarr"


def sniff(path: Path) -> Format:
    """The format of a file or folder.

    Raises:
        MissingFile: nothing there.
        UnreadableFile: none of the formats.
    """
    if not path.exists():
        raise MissingFile("the file does not exist", str(path), "check the path")
    if path.is_dir():
        if any((path / mark).exists() for mark in ZARR_MARKS):
            return Format.ZARR
        raise UnreadableFile(
            "a folder that is no Zarr store", str(path), "name the files in it; a folder of daily files is an archive"
        )
    with path.open("rb") as file:
        head = file.read(GTS_HEADER_BYTES)
    if head[:3] == b"CDF" or head[:8] == b"\x89HDF\r\n\x1a\n":
        return Format.NETCDF
    if b"GRIB" in head:
        return Format.GRIB
    empty = "the file is empty" if not head else "the file is neither GRIB nor NetCDF"
    raise UnreadableFile(empty, str(path), "give GRIB 1 or 2, NetCDF 3 or 4, or a Zarr store; fetch the file again")
