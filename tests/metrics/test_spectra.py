import numpy as np
import pytest
from numpy.testing import assert_allclose

from gfs_sr.data.grid import EARTH_RADIUS_M, Grid
from gfs_sr.metrics import registry, spectra
from tests import fields
from tests.metrics.scenes import rain, rough, scene


def radially_averaged(field):
    """The definition on a square, by a full transform and a loop over radii below half the side."""
    size = field.shape[0]
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2 / field.size
    k = np.fft.fftfreq(size) * size
    radius = np.round(np.hypot(k[:, None], k[None]))
    return np.array([power[radius == r].mean() for r in range(1, (size + 1) // 2)])


@pytest.mark.parametrize("size", [16, 33])
def test_s004_21_spectrum_of_a_square_is_the_mean_over_integer_radii(size):
    field = rough(size, size)
    assert_allclose(spectra.radial_spectrum(field, taper=False), radially_averaged(field), rtol=1e-12)


@pytest.mark.parametrize(("shape", "spacing"), [((40, 24), (1.0, 1.3)), ((17, 30), (2.0, 0.7)), ((12, 50), (1.0, 1.0))])
def test_spectrum_of_any_grid_is_the_mean_over_rounded_wavenumbers(shape, spacing):
    field = rough(*shape)
    extent = max(shape[0] * spacing[0], shape[1] * spacing[1])
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2 / field.size
    k = np.hypot(np.fft.fftfreq(shape[0], spacing[0])[:, None], np.fft.fftfreq(shape[1], spacing[1])[None])
    radius = np.round(k * extent)
    resolved = [r for r in range(1, max(shape)) if r / extent < 1 / (2 * max(spacing)) - 1e-9]
    expected = [power[radius == r].mean() for r in resolved]
    assert_allclose(spectra.radial_spectrum(field, spacing, taper=False), expected, rtol=1e-12)


def test_a_plane_wave_has_all_its_power_at_its_wavelength():
    n, k = 64, 8
    field = np.broadcast_to(3 * np.cos(2 * np.pi * k * np.arange(n) / n), (n, n))
    power = spectra.radial_spectrum(field, (25.0, 25.0), taper=False)
    table = spectra.bins((n, n), (25.0, 25.0))
    assert table.wavelength[power.argmax()] == pytest.approx(n * 25 / k)
    assert power[k - 1] > 1e10 * np.delete(power, k - 1).max()
    # Parseval: both modes of the wave together hold the variance 9/2 times the number of cells
    modes = np.bincount(table.radius.ravel(), table.modes.ravel())[k]
    assert power[k - 1] * modes == pytest.approx(4.5 * n * n)


def test_wavelengths_are_kilometers_on_the_sphere_whatever_the_shape():
    grid = Grid(60 - 0.25 * np.arange(40), 0.5 * np.arange(120))
    spacing = spectra.spacing_km(grid)
    degree = np.pi * EARTH_RADIUS_M / 180e3
    assert spacing == pytest.approx((0.25 * degree, 0.5 * degree * np.cos(np.deg2rad(grid.lat)).mean()))
    # 6 waves along each axis in turn: the spectrum peaks at their length, though the axes differ in step and extent
    for axis, (size, step) in enumerate(zip(grid.shape, spacing, strict=True)):
        phase = 2 * np.pi * 6 * np.arange(size) / size
        field = np.broadcast_to(np.sin(phase)[:, None] if axis == 0 else np.sin(phase), grid.shape)
        wavelength = spectra.bins(grid.shape, spacing).wavelength
        peak = wavelength[spectra.radial_spectrum(field, spacing).argmax()]
        assert peak == pytest.approx(size * step / 6, rel=0.05)  # the nearest radius, and the window's leakage


def test_the_window_keeps_a_ramp_from_filling_the_spectrum():
    ramp = fields.ramp(1, 64, 64)[0]
    plain, tapered = spectra.radial_spectrum(ramp, taper=False), spectra.radial_spectrum(ramp)
    assert tapered[20] < 1e-4 * plain[20]


def test_the_window_keeps_the_power_of_noise():
    noise = rough(200, 200)
    assert spectra.radial_spectrum(noise)[20:].mean() == pytest.approx(1, rel=0.02)


def test_s004_21_ralsd_of_a_field_with_itself_is_zero():
    field = fields.waves(3, 40, 48) + 0.1 * rough(3, 40, 48)
    assert registry.score(["RALSD"], scene(field, field))["RALSD"] == 0


def test_s004_21_ralsd_of_an_amplified_field_is_its_gain_in_decibels():
    field = rough(3, 40, 48)
    assert registry.score(["RALSD"], scene(2 * field, field))["RALSD"] == pytest.approx(20 * np.log10(2), abs=1e-9)


def test_ralsd_is_that_of_its_definition():
    p, y = rough(32, 32), rough(32, 32, seed=1)
    a, b = radially_averaged(p), radially_averaged(y)
    expected = np.sqrt(np.mean((10 * np.log10(b / a)) ** 2))
    ours = spectra.ralsd(spectra.radial_spectrum(p, taper=False), spectra.radial_spectrum(y, taper=False))
    assert ours == pytest.approx(expected, abs=1e-9)


def test_ralsd_of_a_dry_forecast_is_finite_and_dry_truths_are_left_out():
    truth = rain(2, 32, 32)
    found = registry.score(["RALSD"], scene(np.zeros_like(truth), truth, variable="tp"))["RALSD"]
    assert 50 < found <= 120
    dry = scene(truth, np.zeros_like(truth), variable="tp")
    assert np.isnan(registry.score(["RALSD"], dry)["RALSD"])
    drizzle = truth * 0.019 / truth.mean(axis=(1, 2), keepdims=True)
    assert np.isnan(registry.score(["RALSD"], scene(2 * drizzle, drizzle, variable="tp"))["RALSD"])
    assert np.isfinite(registry.score(["RALSD"], scene(2 * drizzle, 1.1 * drizzle, variable="tp"))["RALSD"])


def test_crps_of_spectra_of_equal_members_is_the_mean_distance_and_zero_for_the_truth():
    truth = rough(2, 32, 32)
    louder = np.stack([2 * truth, 2 * truth])
    assert registry.score(["CRPS of spectra"], scene(louder, truth))["CRPS of spectra"] == pytest.approx(
        20 * np.log10(2), abs=1e-9
    )
    assert registry.score(["CRPS of spectra"], scene(np.stack([truth] * 3), truth))["CRPS of spectra"] == 0


def test_members_keep_their_power_where_their_mean_loses_it():
    members, truth = rough(8, 1, 48, 48), rough(1, 48, 48, seed=9)
    of_members = registry.score(["RALSD"], scene(members, truth))["RALSD"]
    of_mean = registry.score(["RALSD"], scene(members.mean(axis=0), truth))["RALSD"]
    assert of_members < 3 < of_mean  # the mean of 8 has 9 dB less


def test_power_of_members_is_averaged_before_it_is_compared():
    truth = rough(2, 32, 32)
    members = np.stack([truth, np.sqrt(7) * truth])  # (1 + 7)/2 = 4 times the power
    found = registry.score(["RALSD", "CRPS of spectra"], scene(members, truth))
    assert found["RALSD"] == pytest.approx(10 * np.log10(4), abs=1e-9)
    # CRPS of the two values 0 and a against 0: a/2 - a/4
    assert found["CRPS of spectra"] == pytest.approx(10 * np.log10(7) / 4, abs=1e-9)


def test_effective_resolution_is_where_a_cut_forecast_loses_its_power():
    n, grid = 128, fields.grid(128, 128, north=16.0)
    field = rough(n, n)
    spacing = spectra.spacing_km(grid)
    k = np.hypot(np.fft.fftfreq(n, spacing[0])[:, None], np.fft.fftfreq(n, spacing[1])[None])
    cut = np.fft.ifft2(np.fft.fft2(field) * (k < 1 / 200)).real  # nothing shorter than 200 km
    found = registry.score(["effective resolution"], scene(cut, field, grid=grid))["effective resolution"]
    assert found == pytest.approx(200, rel=0.06)
    same = registry.score(["effective resolution"], scene(field, field, grid=grid))["effective resolution"]
    assert same == pytest.approx(spectra.bins((n, n), spacing).wavelength[-1])


@pytest.mark.parametrize(("share", "resolved"), [(0.51, True), (0.49, False)])
def test_half_of_the_power_is_enough_to_resolve(share, resolved):
    n, grid = 64, fields.grid(64, 64, north=8.0)
    field = rough(n, n)
    spacing = spectra.spacing_km(grid)
    k = np.hypot(np.fft.fftfreq(n, spacing[0])[:, None], np.fft.fftfreq(n, spacing[1])[None])
    damped = np.fft.ifft2(np.fft.fft2(field) * np.where(k < 1 / 400, 1, np.sqrt(share))).real
    found = registry.score(["effective resolution"], scene(damped, field, grid=grid))["effective resolution"]
    assert (found < 100) == resolved


def test_fine_power_counts_only_what_the_coarse_field_cannot_hold():
    n = 96
    x = np.arange(n)
    long, short = np.cos(2 * np.pi * x * 2 / n), np.cos(2 * np.pi * x * 24 / n)  # 48 and 4 cells
    truth = np.broadcast_to(long + short, (n, n))
    found = registry.score(
        ["fine power ratio"], scene(np.broadcast_to(5 * long + 0.5 * short, (n, n)), truth, scale_factor=6)
    )["fine power ratio"]
    assert found == pytest.approx(0.25, rel=1e-3)


def test_curves_are_means_over_frames():
    field = rough(2, 32, 32)
    grid = fields.grid(32, 32)
    rows = registry.tally(["effective resolution"], scene(3 * field, field, grid=grid))["spectrum"]
    wavelength, truth, prediction = spectra.curves(rows.sum(axis=0))
    expected = np.mean([spectra.radial_spectrum(f, spectra.spacing_km(grid)) for f in field], axis=0)
    assert_allclose(truth, expected)
    assert_allclose(prediction, 9 * expected)
    assert (np.diff(wavelength) < 0).all()


def test_few_missing_cells_are_filled_and_many_leave_the_frame_out():
    field = rough(2, 40, 40)
    holed = field.copy()
    holed[0, :2, :5] = np.nan
    assert registry.score(["RALSD"], scene(holed, field))["RALSD"] == 0  # both are filled
    holed[1, :20] = np.nan
    rows = registry.tally(["RALSD"], scene(2 * holed, field))["spectral distance"]
    assert rows[0].any()
    assert not rows[1].any()
