import numpy as np
import pytest

from gfs_sr.data.solar import cos_solar_zenith, equation_of_time, solar_components, sun_position


@pytest.mark.parametrize(
    ("instant", "degrees"),  # instants of equinox and solstice: US Naval Observatory
    [("2024-03-20T03:06", 0.0), ("2024-06-20T20:51", 23.437), ("2024-09-22T12:44", 0.0), ("2024-12-21T09:20", -23.437)],
)
def test_the_declination_is_that_of_equinox_and_solstice(instant, degrees):
    assert np.rad2deg(sun_position([instant])[0][0]) == pytest.approx(degrees, abs=0.01)


@pytest.mark.parametrize(
    ("day", "minutes"),  # extremes and zeros of the equation of time in 2023 at 12 UT, Astronomical Almanac
    [("2023-02-11T12", -14.21), ("2023-05-14T12", 3.65), ("2023-07-26T12", -6.54), ("2023-11-03T12", 16.46)],
)
def test_the_equation_of_time_is_the_almanacs(day, minutes):
    assert equation_of_time([day])[0] == pytest.approx(minutes, abs=0.05)


def test_the_sun_is_overhead_at_noon_on_the_tropic():
    noon = np.datetime64("2024-06-20T12:00", "s") - round(60 * equation_of_time(["2024-06-20T12"])[0])
    assert cos_solar_zenith([noon], [23.437], [0.0])[0, 0, 0] == pytest.approx(1.0, abs=1e-6)


def test_the_sun_stands_on_the_horizon_of_the_pole_at_the_equinox():
    assert cos_solar_zenith(["2024-03-20T03:06"], [90.0], [0.0, 123.0]) == pytest.approx(0.0, abs=2e-4)


def test_an_hour_later_the_sun_is_15_degrees_further_west():
    now = cos_solar_zenith(["2024-03-20T03"], [0.0], [15.0])
    assert cos_solar_zenith(["2024-03-20T04"], [0.0], [0.0]) == pytest.approx(now, abs=1e-4)


def test_the_components_add_up_and_their_shift_is_another_hour():
    lat, lon = [51.0, -20.0, 89.0], [0.0, 100.0, 359.0, 720.25]
    parts = solar_components(["2023-08-01T05"], lat, lon)
    np.testing.assert_allclose(parts[:, 0] + parts[:, 1], cos_solar_zenith(["2023-08-01T05"], lat, lon), atol=1e-14)
    angle = np.deg2rad(30)
    later = parts[:, 0] + parts[:, 1] * np.cos(angle) - parts[:, 2] * np.sin(angle)
    np.testing.assert_allclose(later, cos_solar_zenith(["2023-08-01T07"], lat, lon), atol=1e-3)


def test_a_longitude_and_its_alias_have_one_sun():
    sun = cos_solar_zenith(["2023-08-01T05"], [10.0], [-30.0, 330.0, 690.0])
    np.testing.assert_allclose(sun, sun[0, 0, 0], atol=1e-12)


def test_fields_of_coordinates_give_what_axes_give():
    lat, lon = np.array([51.0, 20.0]), np.array([3.0, 4.0, 5.0])
    times = np.array(["2023-08-01T05", "2023-08-01T06"], "datetime64[ns]")
    fields = np.meshgrid(lat, lon, indexing="ij")
    np.testing.assert_array_equal(solar_components(times, *fields), solar_components(times, lat, lon))
