import warnings

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data import coarse_file
from gfs_sr.data.coarsen import (
    Coarsening,
    TimeReduction,
    block_mean,
    coarsen,
    coarsen_grid,
    decimate_time,
    gauss_decimate,
)
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import ShapeMismatch
from tests import fields
from tests.cf_checker import complaints

NODE, CELL = Registration.NODE, Registration.CELL


def plain_gaussian(field, sigma):
    """By the definition, one cell at a time."""
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    height, width = field.shape
    rows = np.zeros_like(field)
    for i in range(height):
        rows[i] = sum(w * field[min(max(i + k, 0), height - 1)] for k, w in zip(offsets, weights, strict=True))
    out = np.zeros_like(field)
    for j in range(width):
        out[:, j] = sum(w * rows[:, min(max(j + k, 0), width - 1)] for k, w in zip(offsets, weights, strict=True))
    return out


@pytest.fixture(scope="module")
def seed_file(tmp_path_factory):
    """48 hourly frames on the seed system's grid, as its daily files are laid out."""
    path = tmp_path_factory.mktemp("fine") / "20210301.nc"
    values = (290 + fields.waves(48, 141, 141)).astype(np.float32)
    lead = np.arange(48)
    xr.Dataset(
        {"t2m": (("step", "latitude", "longitude"), values, {"units": "K", "standard_name": "air_temperature"})},
        coords={
            "time": np.datetime64("2021-03-01T00", "ns"),
            "step": ("step", lead * np.timedelta64(3600 * 10**9, "ns")),
            "valid_time": ("step", np.datetime64("2021-03-01T00", "ns") + lead * np.timedelta64(3600 * 10**9, "ns")),
            "latitude": ("latitude", 40 - 0.25 * np.arange(141), {"units": "degrees_north"}),
            "longitude": ("longitude", 65 + 0.25 * np.arange(141), {"units": "degrees_east"}),
        },
    ).to_netcdf(path)
    return path, values


def test_s000_02_coarsen_keeps_every_sixth_point_of_the_blurred_field(seed_file, tmp_path):
    path, values = seed_file
    how = Coarsening(NODE, 6, 6, 3.0, TimeReduction.EVERY)
    out = tmp_path / "coarse.nc"
    coarse_file.write(coarsen(open_forecast([path]), how), how, out)
    with xr.open_dataset(out) as coarse:
        assert dict(coarse["t2m"].sizes) == {"time": 8, "latitude": 24, "longitude": 24}
        assert_array_equal(coarse["latitude"], (40 - 0.25 * np.arange(141))[::6])
        assert_array_equal(coarse["longitude"], (65 + 0.25 * np.arange(141))[::6])
        hours = 6 * np.arange(8) * np.timedelta64(3600 * 10**9, "ns")
        assert_array_equal(coarse["time"], np.datetime64("2021-03-01T00", "ns") + hours)
        assert coarse.attrs["gfs_sr_registration"] == "node"
        for k in (0, 3, 7):
            expected = plain_gaussian(values[6 * k].astype(np.float64), 3.0)[::6, ::6]
            assert_allclose(coarse["t2m"][k], expected, rtol=1e-6)


def test_s000_02_coarse_file_is_read_back_with_its_registration(seed_file, tmp_path):
    path, _ = seed_file
    for registration, name in ((NODE, "a.nc"), (CELL, "b.zarr")):
        how = Coarsening(registration, crop=True)
        coarse = coarsen(open_forecast([path]), how)
        coarse_file.write(coarse, how, tmp_path / name)
        again = open_forecast([tmp_path / name])
        assert again.registration is registration
        assert again.variables == ("t2m",)
        assert_allclose(again.load(), coarse.load(), rtol=1e-6)
        assert_allclose(again.grid.lat, coarse.grid.lat)
        assert_array_equal(again.times.lead_hours, coarse.times.lead_hours)
        assert not (tmp_path / f"{name}.partial").exists()


def test_s000_02_coarse_file_passes_the_cf_checker(seed_file, tmp_path):
    pytest.importorskip("compliance_checker")
    path, _ = seed_file
    out = tmp_path / "coarse.nc"
    how = Coarsening(CELL, crop=True)
    coarse_file.write(coarsen(open_forecast([path]), how), how, out)
    assert complaints(out) == []


def test_a_real_day_keeps_its_mean_and_loses_variance(shared_data):
    day = open_forecast([shared_data / "series" / "era5_uk_t2m_hourly_20190301-20.grib"]).isel_time(slice(0, 13))
    for registration in Registration:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            coarse = coarsen(day, Coarsening(registration, crop=True))
        assert coarse.shape[0] == 3
        fine = day.load()[::6]
        assert abs(coarse.load().mean() - fine.mean()) < 0.5
        assert coarse.load().std() < fine.std()


@pytest.mark.parametrize("frames", [12, 15])
def test_s000_03_time_options_are_as_defined(frames):
    fine = fields.waves(frames, 3, 4)
    assert_array_equal(decimate_time(fine, 6, TimeReduction.EVERY), fine[::6])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        means = decimate_time(fine, 6, TimeReduction.MEAN_FORWARD)
    assert_allclose(means, [fine[0:6].mean(axis=0), fine[6:12].mean(axis=0)])
    assert [str(w.message) for w in caught] == (
        [] if frames == 12 else ["3 of 15 frames do not fill a mean of 6 and are dropped"]
    )


def test_s000_03_means_are_dated_at_their_first_or_last_frame():
    fine = fields.forecast(290 + fields.waves(13, 12, 12))
    with pytest.warns(UserWarning, match="1 of 13 frames"):
        forward = coarsen(fine, Coarsening(CELL, 6, 6, time=TimeReduction.MEAN_FORWARD))
    assert forward.times.lead_hours.tolist() == [0, 6]
    assert any("1 of 13" in warning for warning in forward.warnings)
    with pytest.warns(UserWarning, match="ends no interval"):
        trailing = coarsen(fine, Coarsening(CELL, 6, 6, time=TimeReduction.MEAN_TRAILING))
    assert trailing.times.lead_hours.tolist() == [6, 12]
    expected = block_mean(fine.load()[1:7].mean(axis=0), 6, fine.grid.weights())
    assert_allclose(trailing.frame(0), expected, rtol=1e-6)


def test_accumulations_are_summed_over_the_interval_that_ends_at_the_frame():
    rain = np.ones((13, 1, 6, 6)) * np.arange(13)[:, None, None, None]
    buckets = {"tp": np.timedelta64(3600 * 10**9, "ns")}
    fine = Forecast.from_arrays(rain, ("tp",), fields.grid(6, 6), fields.times(13), buckets=buckets)
    coarse = coarsen(fine, Coarsening(CELL, 6, 6))
    assert_allclose(coarse.frame(1), 1 + 2 + 3 + 4 + 5 + 6)
    assert_allclose(coarse.frame(2), 7 + 8 + 9 + 10 + 11 + 12)
    assert coarse.buckets["tp"] == 6 * buckets["tp"]


def test_missing_cells_carry_no_weight():
    field = np.full((24, 24), 5.0)
    field[3:9, 4:8] = np.nan
    assert_allclose(gauss_decimate(field, 2.0, 4), 5.0)
    assert_allclose(block_mean(field, 4)[0, 0], 5.0)


def test_where_nothing_is_valid_the_result_is_missing():
    field = np.full((40, 40), np.nan)
    field[0, 0] = 1.0
    decimated = gauss_decimate(field, 1.0, 10)
    assert decimated[0, 0] == pytest.approx(1.0)
    assert np.isnan(decimated[2, 2])
    assert np.isnan(block_mean(field, 10)[1, 1])


def test_block_means_weigh_by_area():
    lat = np.array([60.0, 0.0])
    field = np.array([[10.0, 10.0], [4.0, 4.0]])
    weights = np.cos(np.deg2rad(lat))
    assert_allclose(block_mean(field, 2, weights), [[(0.5 * 10 + 1.0 * 4) / 1.5]])


def test_block_means_preserve_the_integral_of_a_global_field():
    grid = Grid(89.5 - np.arange(180.0), 0.5 + np.arange(360.0))
    field = fields.waves(1, 180, 360)[0]
    coarse_weights = grid.weights().reshape(30, 6).mean(axis=1)
    coarse = block_mean(field, 6, grid.weights())
    assert_allclose((coarse * coarse_weights[:, None]).mean(), (field * grid.weights()[:, None]).mean(), rtol=1e-10)


def test_a_remainder_is_refused_unless_cropped():
    with pytest.raises(ShapeMismatch, match="141 by 138"):
        block_mean(np.zeros((141, 138)), 6)
    assert block_mean(np.zeros((141, 141)), 6, crop=True).shape == (23, 23)
    with pytest.raises(ShapeMismatch):
        coarsen(fields.forecast(np.zeros((1, 13, 12)) + 280), Coarsening(CELL))


def test_longitudes_wrap_where_the_grid_goes_around():
    field = fields.waves(1, 9, 24)[0]
    rolled = gauss_decimate(np.roll(field, 6, axis=1), 2.0, 6, periodic=True)
    assert_allclose(rolled, np.roll(gauss_decimate(field, 2.0, 6, periodic=True), 1, axis=1), atol=1e-14)


def test_coarse_coordinates_are_points_or_block_centers():
    grid = Grid(40 - 0.25 * np.arange(141), 65 + 0.25 * np.arange(141))
    node, cell = coarsen_grid(grid, 6, NODE), coarsen_grid(grid, 6, CELL)
    assert node.shape == (24, 24)
    assert node.lat[-1] == 5.5
    assert cell.shape == (23, 23)
    assert cell.lat[0] == 40 - 2.5 * 0.25


def test_lazy_reading_touches_only_the_frames_it_needs():
    touched = []

    def read(index):
        touched.append(index)
        return np.full((12, 12), 280.0, np.float32)

    fine = Forecast(("t2m",), fields.grid(12, 12), fields.times(13), (read,))
    coarsen(fine, Coarsening(NODE)).frame(1)
    assert touched == [6]


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(2, 70, 1000), (1, 3, 40_000), (1, 33_000, 2), (1, 7, 5)], ids=str)
def test_a_blur_kept_everywhere_is_the_thinned_one_at_its_points(shape, periodic):
    # blurred in stripes that the first three shapes overflow; thinned fields are summed whole
    fine = np.random.default_rng(0).standard_normal(shape)
    everywhere = gauss_decimate(fine, 1.5, 1, periodic)
    assert_allclose(everywhere[:, ::6, ::6], gauss_decimate(fine, 1.5, 6, periodic), rtol=0, atol=1e-12)
