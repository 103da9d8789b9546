"""Members of rain against what needs no members: scores where they are known, and rivals that are no straw men."""

import csv

import numpy as np
import pytest
import xarray as xr

from crossvalidation.precipitation import (
    Case,
    best_dressed,
    best_interpolation,
    dressed_rain,
    lines_of,
    main,
    score,
)
from export.publication import publish
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import UsageError
from gfs_sr.runtime.upscaler import Upscaler
from tests.crossvalidation.test_samplers import EDM, TRUTH
from tests.export.checkpoints import make_checkpoint
from tests.runtime.test_drawing import of_rain

S = 4


def case_of(truth):
    rows, columns = (length // S for length in truth.shape[1:])
    coarse = truth.reshape(-1, rows, S, columns, S).mean(axis=(2, 4))
    return Case(truth, coarse.astype(np.float32), np.ones(truth.shape[1]), S)


def showers(frames=2, rows=32, columns=48, seed=0):
    """Rain of a logarithmic normal law in a third of the cells, those of one side of the field."""
    rng = np.random.default_rng(seed)
    amounts = np.exp(rng.standard_normal((frames, rows, columns)))
    amounts[:, :, columns // 3 :] = 0
    return amounts.astype(np.float32)


def test_shares_and_amounts_are_counted():
    truth = np.zeros((2, 16, 32), np.float32)
    truth[:, :8, :16] = 2.0  # a quarter of the cells
    truth[:, :8, 16:] = 0.5
    line = next(iter(lines_of("truth", True, truth[None], case_of(truth))))
    assert (line.wet, line.heavy, line.zeros, line.mean) == (0.5, 0.25, 0.5, 0.625)
    assert (line.p99, line.least, line.crps, line.ralsd) == (2.0, 0.0, 0.0, 0.0)


def test_one_field_is_scored_by_its_error_and_an_ensemble_by_its_fair_crps():
    truth = np.zeros((1, 16, 16), np.float32)
    fields = np.stack([truth + 1, truth + 3])
    one = next(iter(lines_of("one", False, fields[:1], case_of(truth))))
    both = next(iter(lines_of("both", False, fields, case_of(truth))))
    assert (one.crps, one.members) == (1.0, 1)
    assert both.crps == pytest.approx(2.0 - 1.0)  # mean error less half the mean difference of two that differ by 2
    assert both.energy == pytest.approx(1.0)
    assert both.spread == pytest.approx(np.sqrt(2.0 / (4.0 * 2 / 3)))  # variance 2; squared error 4, of 2 members


def test_members_of_the_truths_own_law_spread_as_much_as_they_err():
    members = np.stack([showers(4, 96, 144, seed) for seed in range(1, 9)])
    line = next(iter(lines_of("members", False, members, case_of(showers(4, 96, 144)))))
    assert line.spread == pytest.approx(1, abs=0.06)
    assert line.wet == pytest.approx(1 / 3, abs=0.01)
    assert line.stray == 0


def test_kept_amounts_are_those_of_every_coarse_cell_and_dry_ones_stay_dry():
    truth = showers()
    case = case_of(truth)
    kept = case.kept(np.stack([truth[:, ::-1] + 0.01, np.zeros_like(truth)]))
    means = kept.reshape(2, 2, 8, S, 12, S).mean(axis=(3, 5))
    np.testing.assert_allclose(means, np.broadcast_to(case.coarse, means.shape), rtol=1e-6)
    assert not kept[:, case.dry].any()
    stray = next(iter(lines_of("all", False, truth[None] + 0.01, case))).stray
    assert stray == 1


def test_the_noise_of_the_rival_has_the_size_of_the_error_and_makes_no_rain_of_nothing():
    rng = np.random.default_rng(3)
    truth = showers(rows=64, columns=96)
    noisy = 10 ** (np.log10(1 + truth) + 0.1 * rng.standard_normal(truth.shape)) - 1
    field = np.where(truth > 0, np.maximum(noisy, 0), 0)
    dressed = best_dressed(field, truth, 8, seed=4)
    wet = field > 0.3  # where no member is cut at 0
    assert np.log10(1 + dressed[:, wet]).std(axis=0, ddof=1).mean() == pytest.approx(0.1, rel=0.15)
    assert not dressed[:, field == 0].any()
    assert dressed.min() == 0
    np.testing.assert_allclose(dressed_rain(field, 0.0, 2, 1)[0], field, rtol=1e-6, atol=1e-12)


def test_the_interpolation_with_the_least_error_is_taken():
    blocks = np.kron(np.arange(12.0).reshape(1, 3, 4), np.ones((S, S)))
    name, field = best_interpolation(case_of(blocks))
    assert name == "nearest"
    np.testing.assert_allclose(field[0], blocks)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    checkpoint = of_rain(make_checkpoint({**EDM, "variables": ["tp"]}, spread=0.1))
    return publish(checkpoint, tmp_path_factory.mktemp("rain") / "edm").artifact.path


@pytest.fixture
def rain(tmp_path):
    amounts = showers(rows=33, columns=49)
    amounts[0, 20, 40] = -1e-3  # as rounded differences of amounts since the start may be
    hours = np.datetime64("2024-03-01T00", "ns") + np.arange(2) * np.timedelta64(1, "h")
    path = tmp_path / "rain.nc"
    xr.Dataset(
        {"tp": (("time", "lat", "lon"), amounts, {"units": "kg m-2"})},
        coords={
            "time": hours,
            "lat": ("lat", 50 - 0.1 * np.arange(33), {"units": "degrees_north"}),
            "lon": ("lon", 0.1 * np.arange(49), {"units": "degrees_east"}),
        },
        attrs={"gfs_sr_registration": "cell"},
    ).to_netcdf(path)
    return path


def test_the_command_scores_members_and_rivals_as_they_come_and_with_amounts_kept(model, rain, tmp_path):
    target = tmp_path / "rain.csv"
    given = [str(rain), "--model", str(model), "--members", "2", "--threads", "1", "-o", str(target)]
    assert main(given) == 0
    with target.open() as file:
        rows = [row for row in csv.DictReader(file) if row["pool"] == "1"]
    interpolation = rows[2]["forecast"]
    names = ["members", interpolation, "mean", "dressed mean"]
    assert [row["forecast"] for row in rows] == ["truth", *names, *names]
    assert [row["conserved"] for row in rows] == ["True"] + 4 * ["False"] + 4 * ["True"]
    assert all(float(row["least"]) >= 0 for row in rows)
    for row in rows[5:]:
        assert float(row["stray"]) == 0
        assert float(row["mean"]) == pytest.approx(float(rows[0]["mean"]), rel=1e-4)


def test_a_model_that_draws_no_rain_is_refused(model, rain, tmp_path):
    fine = open_forecast([rain], ["tp"])
    with Upscaler.open(model, threads=1) as upscaler, pytest.raises(UsageError, match="two members"):
        score(fine, upscaler, 1, 0)
    other = publish(make_checkpoint(EDM, spread=0.1), tmp_path / "other").artifact.path
    with Upscaler.open(other, threads=1) as upscaler, pytest.raises(UsageError, match="draws no tp"):
        score(open_forecast([TRUTH], ["t2m"]), upscaler, 2, 0)
