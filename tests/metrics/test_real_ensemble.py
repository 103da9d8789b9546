"""Twelve members of MOGREPS-UK and the UK radar: fields with the ties, gaps and tails that noise does not have."""

import numpy as np
import properscoring
import pytest
import scipy.stats
import xarray as xr

from gfs_sr.metrics import registry
from gfs_sr.metrics.scene import Scene
from tests.metrics.scenes import scene


@pytest.fixture
def wind(shared_data):
    frames = []
    for date in ("20170602", "20170603"):
        path = shared_data / "series" / "mogreps_uk_2km" / f"{date}_ws10_12members.nc"
        with xr.open_dataset(path, decode_timedelta=False) as file:
            frames.append(file["wind_speed"].values)
    return np.stack(frames, axis=1)  # (12, 2, 200, 200)


@pytest.fixture
def rain(shared_data):
    frames = []
    for time in ("1530", "1545", "1600"):
        path = shared_data / "series" / "uk_radar_15min" / f"20181103{time}.nc"
        with xr.open_dataset(path, decode_timedelta=False) as file:
            rate = file["lwe_precipitation_rate"].values
            # the file does not declare its fill value; m s-1 -> kg m-2 in 15 minutes
            frames.append(np.where(rate < 1, rate, np.nan) * 900e3)
    return np.stack(frames)


def of_members(wind, truth):
    members = np.delete(wind, truth, axis=0)
    return Scene(members, wind[truth], None, 20.0, variable="wspd", seed=truth)


def test_crps_of_real_members_agrees_with_properscoring(wind):
    found = registry.score(["CRPS of the members"], of_members(wind, 0))["CRPS of the members"]
    expected = properscoring.crps_ensemble(wind[0].astype(float), wind[1:].astype(float), axis=0).mean()
    assert found == pytest.approx(expected, abs=1e-6)


def test_every_member_in_turn_as_the_truth_makes_a_calibrated_ensemble(wind):
    names = ["rank flatness", "ranged rank flatness", "spread-skill ratio", "RALSD"]
    sums: dict[str, np.ndarray] = {}
    for truth in range(12):
        for key, rows in registry.tally(names, of_members(wind, truth)).items():
            sums[key] = sums.get(key, 0.0) + rows.sum(axis=0)
    found = registry.values(names, sums, "wspd")
    # over all choices of the truth, each cell gives every rank once and the spread is the error of the mean
    assert scipy.stats.chisquare(sums["ranks"]).pvalue > 1e-3
    assert found["rank flatness"] < 0.02
    assert found["ranged rank flatness"] < 0.05
    assert found["spread-skill ratio"] == pytest.approx(1, abs=1e-6)
    assert found["RALSD"] < 2


def test_the_mean_of_the_members_is_closer_in_rmse_and_farther_in_texture(wind):
    names = ["RMSE", "RALSD", "Wasserstein distance", "FSS >= 5.5 @ 8 cells", "q99.9 error"]
    alone = registry.score(names, Scene(wind[1], wind[0], None, 20.0, variable="wspd"))
    mean = registry.score(names, Scene(wind[1:].mean(axis=0), wind[0], None, 20.0, variable="wspd"))
    assert mean["RMSE"] < alone["RMSE"]
    assert mean["RALSD"] > 2 * alone["RALSD"]


def test_every_metric_of_real_rain_is_finite_or_lacks_events(rain):
    moved = np.roll(rain, 6, axis=2)
    where = scene(moved, rain, variable="tp", data_range=registry.percentile_range(rain))
    found = registry.score(registry.available(where), where)
    assert not np.isinf(list(found.values())).any()
    for name in (
        "SAL sum",
        "FSS >= 0.5 @ 8 cells",
        "RALSD",
        "distribution bias",
        "rank correlation",
        "CRPS of histograms",
    ):
        assert np.isfinite(found[name]), name
    assert found["FSS >= 0.5 @ 1 cells"] < found["FSS >= 0.5 @ 32 cells"]
    assert abs(found["SAL amplitude"]) < 0.1
    assert found["Wasserstein distance"] < found["MAE"]
