"""Where the sun stands: what every fine point and time knows without any forecast."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_J2000 = np.datetime64("2000-01-01T12:00", "ns")
_DAY = np.timedelta64(86400 * 10**9, "ns")


def sun_position(times: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Declination and Greenwich hour angle of the sun.

    Args:
        times: (T,) valid times, datetime64, UTC.

    Returns:
        (declination, hour angle), each (T,), radians; the hour angle is 0 at true noon on the prime meridian.

    Source: Michalsky 1988 (Solar Energy 40), after the Astronomical Almanac; within 0.01 degrees from 1950 to 2050.
    """
    days = (np.atleast_1d(np.asarray(times, "datetime64[ns]")) - _J2000) / _DAY
    mean_longitude = 280.460 + 0.9856474 * days
    anomaly = np.deg2rad(357.528 + 0.9856003 * days)
    ecliptic = np.deg2rad(mean_longitude + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.deg2rad(23.439 - 4e-7 * days)
    ascension = np.arctan2(np.cos(obliquity) * np.sin(ecliptic), np.cos(ecliptic))
    declination = np.arcsin(np.sin(obliquity) * np.sin(ecliptic))
    universal_hours = np.mod(days + 0.5, 1.0) * 24
    sidereal = np.deg2rad(15 * (6.697375 + 0.0657098242 * days + universal_hours))
    hour_angle = np.mod(sidereal - ascension + np.pi, 2 * np.pi) - np.pi
    return declination, hour_angle


def equation_of_time(times: npt.ArrayLike) -> FloatArray:
    """(T,) true minus mean solar time, minutes."""
    stamps = np.atleast_1d(np.asarray(times, "datetime64[ns]"))
    mean_angle = np.mod((stamps - _J2000) / _DAY, 1.0) * 2 * np.pi  # 0 at 12 UTC
    difference = np.mod(sun_position(stamps)[1] - mean_angle + np.pi, 2 * np.pi) - np.pi
    minutes: FloatArray = difference * 1440 / (2 * np.pi)
    return minutes


def solar_components(times: npt.ArrayLike, lat: npt.ArrayLike, lon: npt.ArrayLike) -> FloatArray:
    """The parts of the cosine of the solar zenith angle: constant over the day, in phase with noon, and 6 h after it.

    Args:
        times: (T,) valid times, UTC.
        lat: (H,) degrees, or (H, W) of a grid that is no latitude-longitude one; past 90 the meridian goes on.
        lon: (W,) degrees east, or (H, W).

    Returns:
        (T, 3, H, W): sin φ sin δ, cos φ cos δ cos h, cos φ cos δ sin h with h the local hour angle. The sum of the
        first two is the cosine of the zenith angle; with h shifted, they give the sun of any other hour.
    """
    declination, hour_angle, phi, meridian = _angles(times, lat, lon)
    local = hour_angle + meridian
    height = np.cos(declination) * np.cos(phi)
    parts = (np.sin(declination) * np.sin(phi), height * np.cos(local), height * np.sin(local))
    return np.stack(np.broadcast_arrays(*parts), axis=1)


def cos_solar_zenith(times: npt.ArrayLike, lat: npt.ArrayLike, lon: npt.ArrayLike) -> FloatArray:
    """(T, H, W) cosine of the solar zenith angle; arguments as of `solar_components`; below 0 at night."""
    declination, hour_angle, phi, meridian = _angles(times, lat, lon)
    day = np.cos(declination) * np.cos(phi) * np.cos(hour_angle + meridian)
    cosine: FloatArray = np.sin(declination) * np.sin(phi) + day
    return cosine


def _angles(
    times: npt.ArrayLike, lat: npt.ArrayLike, lon: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Declination and hour angle (T, 1, 1), latitude (H, 1) and longitude (1, W) or both (H, W), radians."""
    declination, hour_angle = (angle[:, None, None] for angle in sun_position(times))
    phi, meridian = np.deg2rad(np.asarray(lat, np.float64)), np.deg2rad(np.asarray(lon, np.float64))
    return declination, hour_angle, phi[:, None] if phi.ndim == 1 else phi, meridian
