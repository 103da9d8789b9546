"""Small GRIB files with known values, written by ecCodes itself."""

from dataclasses import dataclass
from pathlib import Path

import eccodes
import numpy as np

LAT = np.array([50.0, 49.0, 48.0])
LON = np.array([10.0, 11.0, 12.0, 13.0])


@dataclass(frozen=True)
class Message:
    """One GRIB2 message; the values are (H, W) north to south, west to east."""

    values: np.ndarray
    short_name: str = "2t"
    start: int = 0
    end: int = 0
    step_type: str = "instant"
    date: int = 20240101
    hour: int = 0
    lat: tuple[float, float] = (50.0, 48.0)  # first and last row as scanned
    lon: tuple[float, float] = (10.0, 13.0)
    minutes: bool = False
    missing: float | None = None
    number: int | None = None


def encode(message: Message) -> bytes:
    """The message's bytes."""
    handle = eccodes.codes_grib_new_from_samples("GRIB2")
    rows, columns = message.values.shape
    south_up = message.lat[0] < message.lat[1]
    scanned = message.values[::-1] if south_up else message.values
    settings = {
        "Ni": columns,
        "Nj": rows,
        "jScansPositively": int(south_up),
        "latitudeOfFirstGridPointInDegrees": message.lat[0],
        "latitudeOfLastGridPointInDegrees": message.lat[1],
        "longitudeOfFirstGridPointInDegrees": message.lon[0] % 360,
        "longitudeOfLastGridPointInDegrees": message.lon[1] % 360,
        "iDirectionIncrementInDegrees": 1.0,
        "jDirectionIncrementInDegrees": 1.0,
        "dataDate": message.date,
        "dataTime": message.hour * 100,
    }
    if message.number is not None:
        settings |= {"productDefinitionTemplateNumber": 1, "number": message.number}
    if message.step_type != "instant":
        settings |= {"productDefinitionTemplateNumber": 8, "stepType": message.step_type}
    settings["shortName"] = message.short_name
    if message.step_type != "instant":
        settings["stepRange"] = f"{message.start}-{message.end}"
    elif message.minutes:
        settings |= {"indicatorOfUnitOfTimeRange": 0, "forecastTime": message.end}
    else:
        settings |= {"indicatorOfUnitOfTimeRange": 1, "forecastTime": message.end}
    for key, value in settings.items():
        eccodes.codes_set(handle, key, value)
    if message.missing is not None:
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", message.missing)
    eccodes.codes_set(handle, "bitsPerValue", 24)
    eccodes.codes_set_values(handle, np.ascontiguousarray(scanned, np.float64).ravel())
    data = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return data


def write(path: Path, *messages: Message) -> Path:
    """A file of these messages."""
    path.write_bytes(b"".join(encode(message) for message in messages))
    return path


def temperature(offset: float = 0.0) -> np.ndarray:
    """(3, 4) kelvins that differ in every cell."""
    return 280.0 + offset + np.arange(12.0).reshape(3, 4)
