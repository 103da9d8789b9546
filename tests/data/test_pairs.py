"""Pairs: coarse by protocol or of another source, everything laid together by coordinates."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.calendar import SEASONS, season_of, season_one_hot
from gfs_sr.data.coarsen import SpaceReduction, block_mean, gauss_decimate
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.interpolation import upsample_space
from gfs_sr.data.pairing import align, common_frames
from gfs_sr.data.pairs import PairConfig, Pairs
from gfs_sr.data.patches import PatchSampler
from gfs_sr.data.regrid import regrid
from gfs_sr.data.scalers import make_scaler
from gfs_sr.data.sources import open_forecast, open_statics
from gfs_sr.errors import GapInLeadTimes, RegistrationMismatch, ShapeMismatch
from tests import fields


def forecast_on(grid, function, frames=3, variables=("t2m",), start="2021-03-01T00"):
    """A field that is a function of (frame, lat, lon)."""
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    values = np.stack([np.stack([function(n, lat, lon) + 5 * c for c in range(len(variables))]) for n in range(frames)])
    return Forecast.from_arrays(
        values.astype(np.float32), variables, grid, fields.times(frames, start=start), source="analytic.nc"
    )


FINE = Grid(50 - 0.25 * np.arange(40), 5 + 0.25 * np.arange(60))
RANDOM = np.random.default_rng(3).normal(size=(3, 40, 60)) * 5 + 280


def noise(n, lat, lon):
    return RANDOM[n]


def test_s003_05_implicit_pairs_are_exact_block_means():
    pairs = Pairs(forecast_on(FINE, noise), PairConfig(scale_factor=5))
    assert (pairs.registration, len(pairs)) == (Registration.CELL, 3)
    sample = pairs.sample(1)
    assert (sample.coarse.shape, sample.fine.shape) == ((1, 1, 8, 12), (1, 1, 40, 60))
    areas = np.cos(np.deg2rad(FINE.lat)).reshape(8, 5, 1, 1)
    truth = RANDOM[1].astype(np.float32).astype(np.float64)
    blocks = (truth.reshape(8, 5, 12, 5) * areas).sum(axis=(1, 3)) / (5 * areas.sum(axis=(1, 3)))
    assert_allclose(sample.coarse[0, 0], blocks, rtol=1e-6)
    assert_allclose(pairs.coarse_grid.lat, FINE.lat.reshape(8, 5).mean(1))


def test_s003_05_explicit_pairs_of_a_wrong_factor_are_refused():
    fine = forecast_on(FINE, noise)
    coarse = forecast_on(Grid(49.625 - 1.0 * np.arange(10), 5.375 + 1.0 * np.arange(15)), lambda n, lat, lon: 280 + lat)
    assert Pairs(fine, PairConfig(scale_factor=4), coarse=coarse).registration is Registration.CELL
    with pytest.raises(ShapeMismatch, match="a coarse cell is 4 fine cells wide, not 5"):
        Pairs(fine, PairConfig(scale_factor=5), coarse=coarse)
    with pytest.raises(RegistrationMismatch, match="by cell"):
        Pairs(fine, PairConfig(scale_factor=4, registration=Registration.NODE), coarse=coarse)


def test_alignment_is_told_by_coordinates():
    node = Grid(51 - 1.0 * np.arange(12), 3.5 + 1.0 * np.arange(9))  # begins before the fine grid, ends before its end
    found = align(node, FINE)
    assert (found.scale_factor, found.registration) == (4, Registration.NODE)
    assert (found.rows.coarse, found.columns.coarse) == (range(1, 11), range(2, 9))
    assert (found.rows.fine, found.columns.fine) == (range(0, 40), range(2, 30))
    assert_allclose(node.lon[found.columns.coarse[0]], FINE.lon[found.columns.fine[0]])
    turned = Grid(FINE.lat, FINE.lon + 360)
    assert align(node, turned) == found
    for shift in (0.1, 0.3):
        with pytest.raises(RegistrationMismatch, match="neither by node nor by cell"):
            align(Grid(node.lat + shift * 0.25, node.lon), FINE)
    with pytest.raises(ShapeMismatch, match="no whole number"):
        align(Grid(50 - 0.6 * np.arange(9), 5 + 0.6 * np.arange(9)), FINE)
    with pytest.raises(ShapeMismatch, match="share no cell"):
        align(Grid(80 - 1.0 * np.arange(5), node.lon), FINE)
    odd = Grid(50 - 0.75 * np.arange(9), 5 + 0.75 * np.arange(9))
    with pytest.raises(RegistrationMismatch, match="say node or cell"):
        align(odd, FINE)
    assert align(odd, FINE, registration=Registration.NODE).rows.fine == range(0, 27)


def test_real_pairs_of_arpege_and_arome_lie_node_on_node(shared_data):
    folder = shared_data / "series" / "meteonet_nw"
    coarse, fine = (
        open_forecast(folder / f"{model}_P_sea_level_NW_20180501000000.grib") for model in ("arpege", "arome")
    )
    statics = open_statics(folder / "NW_masks.grib", ["orog", "lsm"])
    pairs = Pairs(fine, PairConfig(scale_factor=4, patch=64), coarse=coarse, statics=statics)
    assert (pairs.registration, len(pairs)) == (Registration.NODE, 25)
    assert pairs.coarse_channels == ("msl", "coarse_orog", "coarse_lsm")
    sample = pairs.sample(7)
    assert sample.coarse.shape == (1, 3, 16, 16)
    row, column = sample.patch.fine_origin(4)
    assert_array_equal(sample.fine[0, 0], fine.frame(7)[0, row : row + 64, column : column + 64])
    assert_array_equal(
        sample.coarse[0, 0], coarse.frame(7)[0, row // 4 : row // 4 + 16, column // 4 : column // 4 + 16]
    )
    # two models of one day: where they lie node on node the differences scatter less than a cell beside
    whole = Pairs(fine, PairConfig(scale_factor=4), coarse=coarse).sample(0)
    ours, theirs = whole.fine[0, 0, ::4, ::4].astype(np.float64), whole.coarse[0, 0].astype(np.float64)
    scatter = [(ours[k : k + 50, :70] - theirs[:50, :70]).std() for k in range(3)]
    assert scatter[0] < 30  # Pa
    assert scatter[0] < scatter[1] < scatter[2]
    with pytest.raises(ShapeMismatch, match="4 fine cells wide, not 6"):
        Pairs(fine, PairConfig(scale_factor=6), coarse=coarse)


def bump(n, lat, lon):
    """A hill that moves half a degree a frame."""
    return 280 + 30 * np.exp(-((lat - 45) ** 2 + (lon - 11 - 0.5 * n) ** 2) / 2)


def centre(field, grid):
    """Centre of mass of what stands out, degrees."""
    weight = np.clip(field.astype(np.float64) - 280, 0, None)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    return (weight * lat).sum() / weight.sum(), (weight * lon).sum() / weight.sum()


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("patch", [None, 20])
def test_s003_06_predictors_of_any_resolution_are_aligned_by_coordinates(window, patch):
    wide = {"north": 54.0, "west": 1.0}
    grids = [
        Grid(wide["north"] - 0.2 * np.arange(80), wide["west"] + 0.2 * np.arange(110)),  # finer than the truth
        Grid(53.6 - 0.8 * np.arange(20), 1.3 + 0.8 * np.arange(28)),  # between fine and coarse
        Grid(58.0 - 2.0 * np.arange(15), -3.0 + 2.0 * np.arange(20)),  # coarser than coarse
    ]
    names = [("t@850",), ("t@700", "t@500"), ("t@250",)]
    predictors = [forecast_on(grid, bump, 5, name) for grid, name in zip(grids, names, strict=True)]
    statics = ({"orog": np.hypot(*np.meshgrid(FINE.lat, FINE.lon, indexing="ij")), "lsm": RANDOM[0] > 280}, FINE)
    config = PairConfig(scale_factor=5, patch=patch, window=window, season=True)
    pairs = Pairs(forecast_on(FINE, bump, 3, ("t2m",)), config, predictors=predictors, statics=statics)
    per_sample = 1 + 4 + (2 if window == 1 else 0)
    side = (8, 12) if patch is None else (4, 4)
    sample = pairs.sample(1)
    assert len(pairs) == 4 - window
    assert sample.coarse.shape == (window, per_sample, *side)
    assert sample.static_fine.shape == (1, 2 + 4, 5 * side[0], 5 * side[1])
    assert pairs.static_channels == ("orog", "lsm", *SEASONS)
    assert len(pairs.coarse_channels) == per_sample
    assert_array_equal(sample.static_fine[0, 2:, 0, 0], [0, 1, 0, 0])
    if patch is None:
        for k, frame in enumerate(sample.frames):
            truth = 45.0, 11 + 0.5 * frame
            for channel in (0, *range(per_sample - 4, per_sample)):
                offset = 5 if pairs.coarse_channels[channel] == "t@500" else 0
                found = centre(sample.coarse[k, channel] - offset, pairs.coarse_grid)
                assert_allclose(found, truth, atol=0.05)  # a shift by one coarse cell would be 1.25 degrees


def test_before_the_network_coarse_inputs_may_be_brought_to_fine_cells():
    fine = forecast_on(FINE, noise)
    plain, upsampled = (
        Pairs(fine, PairConfig(scale_factor=5, patch=20, pre_upsampled=method)) for method in (None, "bicubic")
    )
    whole = Pairs(fine, PairConfig(scale_factor=5, pre_upsampled="bicubic")).sample(2)
    expected = upsample_space(Pairs(fine, PairConfig(scale_factor=5)).sample(2).coarse, 5, Registration.CELL, "bicubic")
    assert_allclose(whole.coarse, expected, rtol=1e-6)
    for epoch in range(8):  # patches at the rim too
        sample = upsampled.sample(2, epoch)
        assert sample.patch == plain.sample(2, epoch).patch
        row, column = sample.patch.fine_origin(5)
        assert_allclose(sample.coarse, whole.coarse[..., row : row + 20, column : column + 20], rtol=1e-6)


@pytest.mark.parametrize("method", list(SpaceReduction))
def test_every_protocol_makes_pairs_of_a_ramp(method):
    # means, blurs and interpolations all keep a plane, away from the rim
    def plane(n, lat, lon):
        return 250 + (50 - lat) + 2 * (lon - 5)

    pairs = Pairs(forecast_on(FINE, plane), PairConfig(scale_factor=4, method=method))
    lat, lon = np.meshgrid(pairs.coarse_grid.lat, pairs.coarse_grid.lon, indexing="ij")
    inner = (slice(4, -4), slice(4, -4))
    tolerance = 0.4 if method is SpaceReduction.NEAREST else 2e-3  # half a fine cell; cos φ weights
    assert_allclose(pairs.sample(0).coarse[0, 0][inner], plane(0, lat, lon)[inner], atol=tolerance)


def test_units_are_applied_after_coarsening():
    log = make_scaler("log").fit([RANDOM])
    rain = Forecast.from_arrays(
        np.random.default_rng(5).gamma(0.3, 5, (2, 1, 40, 60)).astype(np.float32), ("tp",), FINE, fields.times(2)
    )
    plain = Pairs(rain, PairConfig(scale_factor=5)).sample(1)
    coarse, fine = (np.log10(1 + x.astype(np.float64)) / 2 for x in (plain.coarse, plain.fine))
    bent = Pairs(rain, PairConfig(scale_factor=5), units={"tp": log}).sample(1)
    assert_allclose(bent.coarse, coarse, rtol=1e-6)
    assert_allclose(bent.fine, fine, rtol=1e-6, atol=1e-15)


def test_s003_07_the_patch_sampler_reaches_every_origin_and_the_last():
    sampler = PatchSampler((7, 5), 3, 4)
    drawn = {(patch.row, patch.col) for patch in (sampler.draw(0, index) for index in range(2000))}
    assert drawn == {(row, col) for row in range(5) for col in range(3)}
    assert {sampler.draw(1, index) for index in range(20)} != {sampler.draw(2, index) for index in range(20)}
    assert sampler.draw(3, 17) == PatchSampler((7, 5), 3, 4).draw(3, 17)


def test_s003_07_a_patch_may_be_the_field():
    assert {PatchSampler((6, 6), 6, 4).draw(0, index) for index in range(9)} == {PatchSampler((6, 6), 6, 4).centered()}
    square = Grid(FINE.lat, FINE.lon[:40])
    pairs = Pairs(forecast_on(square, lambda n, lat, lon: RANDOM[n, :, :40]), PairConfig(scale_factor=4, patch=40))
    assert_array_equal(pairs.sample(1).fine[0, 0], RANDOM[1, :, :40].astype(np.float32))
    with pytest.raises(ShapeMismatch, match="does not fit"):
        Pairs(forecast_on(FINE, noise), PairConfig(scale_factor=4, patch=44))
    with pytest.raises(ShapeMismatch, match="no multiple of 4"):
        Pairs(forecast_on(FINE, noise), PairConfig(scale_factor=4, patch=10))
    with pytest.raises(ShapeMismatch, match="no multiple of 7"):
        Pairs(forecast_on(FINE, noise), PairConfig(scale_factor=7))


def test_repeat_draws_several_patches_of_each_sample():
    pairs = Pairs(forecast_on(FINE, noise), PairConfig(scale_factor=5, patch=10, repeat=6))
    assert len(pairs) == 18
    samples = [pairs.sample(index) for index in range(6)]
    assert {each.frames for each in samples} == {range(0, 1)}
    assert len({each.patch for each in samples}) > 2


MONTHS = ["DJF", "DJF", "MAM", "MAM", "MAM", "JJA", "JJA", "JJA", "SON", "SON", "SON", "DJF"]


def test_s003_18_the_season_is_that_of_the_month_also_at_its_ends():
    for month, season in enumerate(MONTHS, 1):
        assert SEASONS[season_of(np.datetime64(f"2020-{month:02d}-15T06"))] == season
    for moment, season in (("2021-02-28T23:59", 0), ("2020-02-29T23", 0), ("2021-03-01T00", 1), ("1969-12-31", 0)):
        assert season_of(np.datetime64(moment)) == season
    across = np.array(["2021-02-27", "2021-02-28", "2021-03-01", "2021-03-02", "2021-03-03"], "datetime64[ns]")
    assert_array_equal(season_one_hot(across), [0, 1, 0, 0])  # the centre frame is in March
    assert_array_equal(season_one_hot(across[:4]), [1, 0, 0, 0])  # of two in the middle, the earlier


def test_frames_without_a_partner_are_left_out():
    fine, late = forecast_on(FINE, noise), forecast_on(FINE, noise, start="2021-03-01T02")
    assert common_frames(late, fine).fine == (2,)
    with pytest.raises(GapInLeadTimes, match="share no valid time"):
        common_frames(forecast_on(FINE, noise, start="2022-03-01T02"), fine)
    with pytest.raises(GapInLeadTimes, match="no frame for 2021-03-01T00:00"):
        Pairs(fine, PairConfig(scale_factor=5), predictors=[late])
    with pytest.raises(GapInLeadTimes, match="a window of 9 frames in 3"):
        Pairs(fine, PairConfig(scale_factor=5, window=9))


def test_regridding_refuses_a_source_that_does_not_cover():
    with pytest.raises(ShapeMismatch, match="do not cover the latitudes"):
        regrid(RANDOM[0], FINE, Grid(FINE.lat + 3, FINE.lon))
    with pytest.raises(ShapeMismatch, match="do not cover the longitudes"):
        regrid(RANDOM[0], FINE, Grid(FINE.lat, FINE.lon + 3))
    turned = regrid(RANDOM[0], FINE, Grid(FINE.lat, FINE.lon - 360), "nearest")
    assert_array_equal(turned, RANDOM[0])


def test_the_protocols_differ_as_they_should():
    fine = forecast_on(FINE, noise)
    found = {m: Pairs(fine, PairConfig(scale_factor=4, method=m)).sample(0).coarse[0, 0] for m in SpaceReduction}
    truth = RANDOM[0].astype(np.float32)
    assert_allclose(found[SpaceReduction.GAUSS_DECIMATE], gauss_decimate(truth, 3.0, 4), rtol=1e-6)
    assert_allclose(found[SpaceReduction.BLOCK_MEAN], block_mean(truth, 4, FINE.weights()), rtol=1e-6)
    assert_array_equal(found[SpaceReduction.NEAREST], truth[2::4, 2::4])  # halfway: the southern and eastern one
    middle = (truth[1::4, 1::4] + truth[2::4, 1::4] + truth[1::4, 2::4] + truth[2::4, 2::4]) / 4
    assert_allclose(found[SpaceReduction.BILINEAR], middle, rtol=1e-6)
    keys = np.array([-1 / 16, 9 / 16, 9 / 16, -1 / 16])  # Keys' kernel halfway
    rows = sum(w * truth[k::4].astype(np.float64) for k, w in enumerate(keys))
    assert_allclose(found[SpaceReduction.BICUBIC], sum(w * rows[:, k::4] for k, w in enumerate(keys)), rtol=1e-6)
