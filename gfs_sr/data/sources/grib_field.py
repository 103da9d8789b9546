"""One field of a GRIB file: what its header says, and its values when they are asked for."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import eccodes
import numpy as np
import numpy.typing as npt

from gfs_sr.data.sources.grib_message import damaged, message_spans, split_fields
from gfs_sr.data.sources.orientation import Orientation
from gfs_sr.errors import UnsupportedGrid

MISSING = 9.96921e36  # handed to ecCodes as the value of a missing point; no field of weather holds it
STEP_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "D": 86400 * 10**9, "": 3600 * 10**9}
STEP_RANGE = re.compile(r"(-?\d+)([smhD]?)(?:-(\d+)([smhD]?))?")


@dataclass(frozen=True)
class GribField:
    """Where a field lies, and what its header says."""

    path: Path
    offset: int
    size: int
    part: int  # index within a message of several fields
    short_name: str
    type_of_level: str
    level: float
    step_type: str  # instant, accum, avg, max, min, …
    reference_time: np.datetime64  # NaT where the header's date is none
    start: np.timedelta64  # since the reference time; equal to `end` for an instant
    end: np.timedelta64
    units: str
    member: int | None
    edition: int
    grid_type: str
    grid_digest: str

    @property
    def valid_time(self) -> np.datetime64:
        """When the field holds, or its interval ends."""
        return self.reference_time + self.end

    @property
    def label(self) -> str:
        """For messages: short name, level, and kind of statistics."""
        kind = "" if self.step_type == "instant" else f" {self.step_type}"
        return f"{self.short_name} ({self.type_of_level} {self.level:g}{kind})"


def read_headers(path: Path) -> Iterator[GribField]:
    """The header of every field of a file.

    Raises:
        UnreadableFile: a message is truncated or damaged.
    """
    with path.open("rb") as file:
        for number, (offset, size) in enumerate(message_spans(path), 1):
            file.seek(offset)
            message = file.read(size)
            try:
                for part, field in enumerate(split_fields(message)):
                    with _handle(field) as handle:
                        yield _header(handle, path, offset, size, part)
            except (eccodes.CodesInternalError, ValueError, IndexError) as error:
                raise damaged(path, f"message {number}, at byte {offset}: {error}") from error


def read_grid_values(field: GribField) -> npt.NDArray[np.float64]:
    """(H, W) as the message orders its rows and columns, in the message's units, NaN where missing.

    Raises:
        UnreadableFile: the values cannot be decoded.
    """
    with _open(field) as handle:
        rows, columns = _shape(handle)
        eccodes.codes_set(handle, "missingValue", MISSING)
        values = np.asarray(eccodes.codes_get_values(handle), np.float64)
        by_columns = bool(eccodes.codes_get(handle, "jPointsAreConsecutive"))
        alternating = bool(eccodes.codes_get(handle, "alternativeRowScanning"))
    if values.size != rows * columns:
        raise damaged(field.path, f"{field.label} has {values.size} values for {rows} x {columns} points")
    scans = values.reshape((columns, rows) if by_columns else (rows, columns))
    if alternating:
        scans[1::2] = scans[1::2, ::-1].copy()
    in_rows = scans.T if by_columns else scans
    return np.where(in_rows == MISSING, np.nan, in_rows)


def read_orientation(field: GribField) -> Orientation:
    """The grid of a field.

    Raises:
        UnsupportedGrid: anything but a regular latitude-longitude grid.
    """
    where = f"{field.path}, {field.label}"
    if field.grid_type != "regular_ll":
        raise UnsupportedGrid(
            f"the grid is {field.grid_type}; only regular latitude-longitude grids can be upscaled",
            where,
            "interpolate to a regular latitude-longitude grid first, for example with `cdo remapbil`",
        )
    with _open(field) as handle:
        get: Callable[[str], float] = lambda key: float(eccodes.codes_get_double(handle, key))  # noqa: E731
        columns, rows = int(get("Ni")), int(get("Nj"))
        west, east = get("longitudeOfFirstGridPointInDegrees"), get("longitudeOfLastGridPointInDegrees")
        first, last = get("latitudeOfFirstGridPointInDegrees"), get("latitudeOfLastGridPointInDegrees")
        leftward = bool(get("iScansNegatively"))
    # the ends are trusted, not the increments: those are rounded, and in some files wrong
    turn = -360.0 if leftward else 360.0
    if columns > 1 and (east - west) * turn <= 0:
        east += turn
    return Orientation.from_axes(np.linspace(first, last, rows), np.linspace(west, east, columns), where)


def read_coordinates(field: GribField) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Latitude and longitude of every point, (H, W) each, as the message orders its rows and columns.

    Raises:
        UnreadableFile: the grid cannot be worked out.
    """
    with _open(field) as handle:
        shape = _shape(handle)
        lat, lon = (np.asarray(eccodes.codes_get_array(handle, key), np.float64) for key in ("latitudes", "longitudes"))
        return lat.reshape(shape), lon.reshape(shape)


def parse_step_range(text: str) -> tuple[np.timedelta64, np.timedelta64]:
    """(start, end) of `6`, `0-12`, `15m` or `0m-15m`; hours where no unit is said.

    Raises:
        ValueError: another form.
    """
    match = STEP_RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"step range {text!r}")
    first, unit, last, last_unit = match.groups()
    start = np.timedelta64(int(first) * STEP_NS[unit], "ns")
    return start, start if last is None else np.timedelta64(int(last) * STEP_NS[last_unit], "ns")


@contextmanager
def _handle(message: bytes) -> Iterator[int]:
    handle = eccodes.codes_new_from_message(message)
    try:
        yield handle
    finally:
        eccodes.codes_release(handle)


@contextmanager
def _open(field: GribField) -> Iterator[int]:
    with field.path.open("rb") as file:
        file.seek(field.offset)
        message = file.read(field.size)
    try:
        with _handle(list(split_fields(message))[field.part]) as handle:
            yield handle
    except (eccodes.CodesInternalError, ValueError, IndexError) as error:
        raise damaged(field.path, f"{field.label}: {error}") from error


def _shape(handle: int) -> tuple[int, int]:
    rows, columns = ("Ny", "Nx") if eccodes.codes_is_defined(handle, "Ny") else ("Nj", "Ni")
    return int(eccodes.codes_get(handle, rows)), int(eccodes.codes_get(handle, columns))


def _header(handle: int, path: Path, offset: int, size: int, part: int) -> GribField:
    def text(key: str, default: str = "unknown") -> str:
        return str(eccodes.codes_get_string(handle, key)) if eccodes.codes_is_defined(handle, key) else default

    start, end = parse_step_range(text("stepRange", "0"))
    member = text("number", "") or text("perturbationNumber", "")
    return GribField(
        path=path,
        offset=offset,
        size=size,
        part=part,
        short_name=text("shortName"),
        type_of_level=text("typeOfLevel"),
        level=float(eccodes.codes_get_double(handle, "level")) if eccodes.codes_is_defined(handle, "level") else 0.0,
        step_type=text("stepType", "instant"),
        reference_time=_reference_time(text("dataDate", ""), text("dataTime", "0")),
        start=start,
        end=end,
        units=text("units"),
        member=int(member) if member.lstrip("-").isdigit() else None,
        edition=int(text("edition", "0")),
        grid_type=text("gridType"),
        grid_digest=text("md5GridSection", text("md5Section3", "")),
    )


def _reference_time(date: str, time: str) -> np.datetime64:
    clock = time.zfill(4)
    try:
        if len(date) != 8:
            raise ValueError(date)
        return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock[:2]}:{clock[2:4]}", "ns")
    except ValueError:
        return np.datetime64("NaT", "ns")  # static fields may carry nonsense here
