"""The thermodynamic equation against calculus, and against a model's own vertical motion."""

import math

import numpy as np
import pytest
import torch

from gfs_sr.data.sources import open_tensors
from gfs_sr.models import column_physics as physics

LEVELS = (100_000.0, 92_500.0, 85_000.0, 70_000.0, 50_000.0)
A = physics.EARTH_RADIUS


def positions(north, south, west, spacing, columns=9, dtype=torch.float64):
    lat = torch.arange(north, south - 1e-9, -spacing, dtype=dtype).deg2rad()
    lon = (west + spacing * torch.arange(columns, dtype=dtype)).deg2rad()
    return torch.meshgrid(lat, lon, indexing="ij")


def pressure(dtype=torch.float64):
    return torch.tensor(LEVELS, dtype=dtype)[:, None, None]


def tendency(temperature, u, v, omega, lat, lon):
    p = pressure(temperature.dtype)
    slopes = physics.pressure_slopes(LEVELS)
    return physics.tendency(temperature, u, v, omega, physics.metric_of(lat, lon), slopes, p)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize("north", [50.0, 2.0, 89.25, -60.0], ids=str)
def test_s002_2_the_tendency_of_a_linear_field_equals_the_formula(north, dtype, tolerance):
    """T linear in longitude, latitude and pressure: centred differences have no error of their own."""
    lat, lon = positions(north, north - 4, 176.0, 0.5, columns=17, dtype=dtype)  # across the date line
    lon_told = torch.where(lon > math.pi, lon - 2 * math.pi, lon)
    along, up, down = 40.0, -60.0, 8e-4  # K/rad, K/rad, K/Pa
    p = pressure(dtype)
    temperature = 260 + along * (lon - lon.mean()) + up * (lat - lat.mean()) + down * (p - 80_000.0)
    u, v, omega = (torch.full_like(temperature, value) for value in (12.0, -7.0, 0.4))
    got = tendency(temperature, u, v, omega, lat, lon_told)
    advection = -(12.0 * along / (A * lat.cos()) + -7.0 * up / A).expand_as(temperature)
    sigma = physics.KAPPA * temperature / p - down
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(got.advection[inner], advection[inner], rtol=tolerance, atol=tolerance * 1e-4)
    torch.testing.assert_close(got.vertical, 0.4 * sigma, rtol=tolerance, atol=tolerance * 1e-4)
    total = (advection + 0.4 * sigma)[inner]
    torch.testing.assert_close(got.total[inner], total, rtol=tolerance, atol=tolerance * 1e-4)


def test_s002_2_solid_body_rotation_carries_a_field_around_the_axis():
    """u = U cos(lat): dT/dt = -(U/a) dT/dlon everywhere, with an error that falls with the square of the spacing."""
    errors = []
    for spacing in (2.0, 1.0):
        lat, lon = positions(80.0, -80.0, 0.0, spacing, columns=round(60 / spacing))
        temperature = (280 + 15 * lat.cos() * (2 * lon).sin()).expand(len(LEVELS), *lat.shape)
        u = 30.0 * lat.cos().expand_as(temperature)
        got = tendency(temperature, u, torch.zeros_like(u), torch.zeros_like(u), lat, lon)
        exact = -(30.0 / A) * 15 * lat.cos() * 2 * (2 * lon).cos()
        errors.append(float((got.advection - exact)[..., 1:-1, 1:-1].abs().max()))
    assert errors[0] < 2e-3 * 30.0 / A * 30
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("rows", ["north to south", "south to north"])
def test_the_way_the_rows_run_changes_nothing(rows):
    lat, lon = positions(60.0, 50.0, 5.0, 0.5)
    temperature = 280 - 30 * lat.sin().square() + 4 * lon.cos()
    step = 1 if rows == "north to south" else -1
    turned = (lat.flip(0), lon.flip(0), temperature.flip(0)) if step < 0 else (lat, lon, temperature)
    _, north = physics.gradient(turned[2], physics.metric_of(*turned[:2]))
    north = north.flip(0) if step < 0 else north
    exact = -60 * lat.sin() * lat.cos() / A
    torch.testing.assert_close(north[1:-1], exact[1:-1], rtol=1e-3, atol=1e-10)


def test_rows_repeated_beyond_an_edge_change_nothing_inside():
    """The halo of a tile at a pole or a region's end repeats both fields and positions."""
    lat, lon = positions(60.0, 50.0, 5.0, 0.5)
    field = lat.sin() * lon.cos()
    again = torch.cat([lat[:1], lat[:1], lat])
    longer = physics.gradient(
        torch.cat([field[:1], field[:1], field]), physics.metric_of(again, lon[:1].expand_as(again))
    )
    plain = physics.gradient(field, physics.metric_of(lat, lon))
    for wide, own in zip(longer, plain, strict=True):
        assert torch.isfinite(wide).all()
        torch.testing.assert_close(wide[2:], own)


def test_s002_3_a_dry_adiabatic_column_is_neutral_and_descent_along_it_keeps_its_potential_temperature():
    """T = theta (p/p_0)^kappa: sigma is 0, and -kappa omega T/p + omega dT/dp vanishes with it; second order."""
    worst = []
    for steps in (9, 17):
        levels = torch.linspace(100_000.0, 60_000.0, steps, dtype=torch.float64)
        p = levels[:, None, None]
        temperature = 300 * (p / 100_000.0) ** physics.KAPPA
        sigma = physics.stability(temperature, physics.pressure_slopes(levels.tolist()), p)
        worst.append(float(sigma[1:-1].abs().max()))
    assert worst[0] < 1e-2 * physics.KAPPA * 300 / 100_000.0  # of the terms that cancel
    assert worst[0] / worst[1] == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(("lapse", "sign"), [(-1.0, 1), (0.0, 1), (1.3, -1)], ids=["inversion", "even", "overturns"])
def test_s002_3_the_sign_of_stability_tells_inversions_from_overturning_air(lapse, sign):
    """T falls with height by `lapse` times the adiabatic rate."""
    p = pressure()
    temperature = 290 * (p / 100_000.0) ** (lapse * physics.KAPPA)
    sigma = physics.stability(temperature, physics.pressure_slopes(LEVELS), p)
    assert (sign * sigma > 0).all()


def test_slopes_over_pressure_are_exact_for_quadratics_on_uneven_levels():
    p = pressure()
    field = 3e-9 * p**2 - 2e-4 * p + 5
    slope = physics.on_levels(physics.pressure_slopes(LEVELS), field)
    torch.testing.assert_close(slope, 6e-9 * p - 2e-4)
    assert not physics.pressure_slopes(LEVELS[:1]).any()


@pytest.mark.parametrize("levels", [(50_000.0, 85_000.0), (85_000.0, 85_000.0), (), (1000.0, -5.0)], ids=str)
def test_levels_have_falling_pressures(levels):
    with pytest.raises(ValueError, match="falling"):
        physics.pressure_slopes(levels)


def test_a_tilted_solid_body_rotation_has_no_divergence_and_no_vertical_motion():
    """The wind of a turning sphere, its axis tilted by 40 degrees: u and v both vary, their divergence is 0."""
    tilt, worst = math.radians(40), []
    for spacing in (1.0, 0.5):
        lat, lon = positions(75.0, 30.0, 10.0, spacing, columns=round(30 / spacing))
        lon = 2 * lon  # with square cells the errors of both slopes cancel
        u = 20 * (lat.cos() * math.cos(tilt) + lat.sin() * lon.cos() * math.sin(tilt))
        v = -20 * lon.sin() * math.sin(tilt)
        size = (20 / A) * math.sin(tilt)
        found = physics.divergence(u, v, physics.metric_of(lat, lon))
        worst.append(float(found[1:-1, 1:-1].abs().max() / size))
    assert worst[1] < 1e-3
    assert worst[0] / worst[1] == pytest.approx(4, rel=0.1)
    columns = [each.expand(len(LEVELS), *each.shape) for each in (u, v)]
    omega = physics.vertical_motion(*columns, physics.metric_of(lat, lon), physics.downward_integrals(LEVELS))
    assert float(omega[:, 1:-1, 1:-1].abs().max()) < 1e-3 * size * (LEVELS[0] - LEVELS[-1])


def test_air_that_converges_below_rises():
    """v cos(lat) = K a sin(lat) has divergence K at every level: omega = K (p_1 - p)."""
    lat, lon = positions(60.0, 40.0, 0.0, 0.25)
    K = -1e-5
    v = (K * A * lat.sin() / lat.cos()).expand(len(LEVELS), *lat.shape)
    integrals = physics.downward_integrals(LEVELS)
    omega = physics.vertical_motion(torch.zeros_like(v), v, physics.metric_of(lat, lon), integrals)
    exact = K * (LEVELS[0] - pressure())
    torch.testing.assert_close(omega[:, 1:-1, 1:-1], exact.expand_as(omega)[:, 1:-1, 1:-1], rtol=1e-4, atol=1e-9)


def test_distances_on_a_real_projected_grid_are_its_spacing_by_the_map_factor(shared_data):
    """AROME-Arctic: 2.5 km on the map, a cone that touches the sphere of GRIB 1 at 77.5° (Snyder 1987, eq. 15-4)."""
    files = sorted((shared_data / "pressure" / "arome_arctic_20180710").glob("*.grib"))[:1]
    (record,) = open_tensors(files, ["t@850"])
    metric = physics.metric_of(*(torch.from_numpy(np.deg2rad(axis)) for axis in (record.lat, record.lon)))
    radius, touching, lat = 6_367_470.0, np.deg2rad(77.5), np.deg2rad(record.lat)
    slope = np.tan(np.pi / 4 + touching / 2) / np.tan(np.pi / 4 + lat / 2)
    factor = np.cos(touching) / np.cos(lat) * slope ** np.sin(touching)
    inner = (slice(1, -1), slice(1, -1))
    for found in (metric.east, -metric.north):
        np.testing.assert_allclose(found.numpy()[inner] * radius / A, (2500.0 / factor)[inner], rtol=2e-5)


def test_vertical_motion_by_continuity_resembles_a_models_own(shared_data):
    """GFS over Poland: where omega is given, what the wind's divergence gives must go up and down with it."""
    path = shared_data / "grib" / "gfs_0p25_poland_all_20200829_06z_f000.grib2"
    levels = [1000, 975, 950, 925, 900, 850, 800, 750, 700]
    names = [f"{letter}@{level}" for letter in "uvw" for level in levels]
    found = {record.variable: record for record in open_tensors([path], names)}
    columns = {letter: torch.from_numpy(np.stack([found[f"{letter}@{level}"].values[0] for level in levels])).double()
               for letter in "uvw"}  # fmt: skip
    record = found["u@850"]
    lat, lon = (torch.from_numpy(axis).deg2rad() for axis in np.meshgrid(record.lat, record.lon, indexing="ij"))
    integrals = physics.downward_integrals([100.0 * level for level in levels])
    omega = physics.vertical_motion(columns["u"], columns["v"], physics.metric_of(lat, lon), integrals)
    at = levels.index(850)
    pair = torch.stack([omega[at, 2:-2, 2:-2].flatten(), columns["w"][at, 2:-2, 2:-2].flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.6
