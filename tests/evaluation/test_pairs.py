"""Coarse forecasts that come from another model."""

from pathlib import Path

import numpy as np
import pytest

from gfs_sr.data.coarsen import Coarsening, block_mean
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import GapInLeadTimes, NothingToUpscale, RegistrationMismatch, ShapeMismatch
from gfs_sr.evaluation.cases import CaseFiles, list_cases, open_case
from gfs_sr.evaluation.evaluate import Settings, evaluate
from gfs_sr.evaluation.pairs import align
from gfs_sr.evaluation.subject import interpolating
from tests import fields

NODE, CELL = Registration.NODE, Registration.CELL


def forecast(values, north=50.0, west=5.0, spacing=0.1, first_hour=0, step_hours=1.0, variable="t2m"):
    frames, height, width = values.shape
    grid = Grid(north - spacing * np.arange(height), west + spacing * np.arange(width))
    start = np.datetime64("2021-03-01T00", "ns")
    times = start + np.timedelta64(3600, "s") * first_hour
    axis = TimeAxis(start, times + np.timedelta64(int(step_hours * 3600), "s") * np.arange(frames))
    buckets = (
        {"tp": np.timedelta64(int(step_hours * 3600), "s").astype("timedelta64[ns]")} if variable == "tp" else None
    )
    return Forecast.from_arrays(values[:, None], (variable,), grid, axis, buckets=buckets)


def coordinates(forecast):
    lat, lon = np.meshgrid(forecast.grid.lat, forecast.grid.lon, indexing="ij")
    hours = forecast.times.lead_hours[:, None, None]
    return 280 + lat + 0.5 * np.mod(lon, 360.0) + 0.25 * hours


def with_coordinates(forecast):
    """Every value says where and when it is."""
    return Forecast.from_arrays(
        coordinates(forecast)[:, None], forecast.variables, forecast.grid, forecast.times, buckets=forecast.buckets
    )


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize(("north", "west"), [(50.0, 5.0), (50.8, 4.2), (49.2, 365.8)])
def test_both_are_cut_to_what_they_share_and_fine_index_zero_belongs_to_coarse_index_zero(registration, north, west):
    offset = 0.0 if registration is NODE else 0.15  # of a coarse center from its first fine one
    fine = with_coordinates(forecast(np.zeros((9, 41, 33))))
    coarse = with_coordinates(forecast(np.zeros((9, 12, 10)), north - offset, west + offset, 0.4))
    cut, given = align(fine, coarse, Coarsening(registration, 4, 1))
    if registration is NODE:
        kept_lat, kept_lon = given.grid.lat, given.grid.lon
        np.testing.assert_allclose(cut.grid.lat[::4][: kept_lat.size], kept_lat, atol=1e-9)
        np.testing.assert_allclose(cut.grid.lon[::4][: kept_lon.size], np.mod(kept_lon, 360), atol=1e-9)
    else:
        rows, cols = (4 * size for size in given.grid.shape)
        assert cut.grid.shape == (rows, cols)
        np.testing.assert_allclose(cut.grid.lat.reshape(-1, 4).mean(axis=1), given.grid.lat, atol=1e-9)
    np.testing.assert_allclose(cut.load()[:, 0], coordinates(cut), rtol=1e-6)
    np.testing.assert_allclose(given.load()[:, 0], coordinates(given), rtol=1e-6)


def test_coarse_frames_that_come_too_often_are_thinned_and_amounts_are_summed():
    fine = with_coordinates(forecast(np.zeros((25, 9, 9))))
    coarse = with_coordinates(forecast(np.zeros((25, 3, 3)), spacing=0.4))
    cut, given = align(fine, coarse, Coarsening(NODE, 4, 6))
    assert given.times.lead_hours.tolist() == [0, 6, 12, 18, 24]
    assert cut.times.lead_hours.tolist() == list(range(25))
    rain = forecast(np.ones((24, 9, 9)), first_hour=1, variable="tp")
    hourly = forecast(np.arange(24.0)[:, None, None] + np.zeros((24, 3, 3)), spacing=0.4, first_hour=1, variable="tp")
    cut, given = align(rain, hourly, Coarsening(NODE, 4, 6))
    assert given.times.lead_hours.tolist() == [6, 12, 18, 24]
    assert given.load()[:, 0, 0, 0].tolist() == [15, 51, 87, 123]  # sums of 0 … 5, 6 … 11, …
    assert cut.times.lead_hours.tolist() == list(range(1, 25))


def test_the_truth_begins_with_the_first_coarse_frame_it_has():
    fine = with_coordinates(forecast(np.zeros((20, 9, 9)), first_hour=2))
    coarse = with_coordinates(forecast(np.zeros((9, 3, 3)), spacing=0.4, step_hours=3))
    cut, given = align(fine, coarse, Coarsening(NODE, 4, 3))
    assert given.times.lead_hours.tolist() == [3, 6, 9, 12, 15, 18, 21]
    assert cut.times.lead_hours.tolist() == list(range(3, 22))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"spacing": 0.3}, ShapeMismatch, "not 4"),
        ({"spacing": 0.4, "north": 50.05}, RegistrationMismatch, "neither by node nor by cell"),
        ({"spacing": 0.4, "north": 10.0}, ShapeMismatch, "share no cell"),
        ({"spacing": 0.4, "first_hour": 48}, GapInLeadTimes, "times do not overlap"),
        ({"spacing": 0.4, "step_hours": 1.5}, GapInLeadTimes, "every 1.5 fine ones"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, match):
    with pytest.raises(error, match=match):
        align(forecast(np.zeros((9, 41, 33))), forecast(np.zeros((9, 11, 9)), **changes), Coarsening(NODE, 4, 1))


def test_amounts_are_coarsened_to_the_sums_of_their_intervals():
    from gfs_sr.evaluation.cases import make_case

    amounts = np.abs(fields.waves(13, 12, 12))
    truth = forecast(amounts, variable="tp")
    case = make_case(truth, [], Coarsening(CELL, 6, 6, crop=True), None)
    assert case.truth.times.lead_hours.tolist() == list(range(1, 13))
    expected = block_mean(amounts[1:].astype(np.float32).reshape(2, 6, 12, 12).sum(axis=1), 6, truth.grid.weights())
    np.testing.assert_allclose(case.coarse.load()[:, 0], expected, rtol=1e-5)


# ARPEGE 0.1 degrees and AROME 0.025 degrees, the same run
@pytest.fixture
def meteonet(shared_data):
    folder = shared_data / "series" / "meteonet_nw"
    if not folder.is_dir():
        pytest.skip("needs series/meteonet_nw among the large real files")
    return folder


def pair(folder, part):
    return folder / f"arome_{part}_NW_20180501000000.grib", folder / f"arpege_{part}_NW_20180501000000.grib"


def test_real_pairs_lie_on_each_other(meteonet):
    fine, coarse = pair(meteonet, "P_sea_level")
    case = open_case(CaseFiles((fine,), ("msl",), (coarse,)), Coarsening(NODE, 4, 1))
    assert case.truth.grid.shape == (227, 315)
    assert case.coarse.grid.shape == (57, 79)
    np.testing.assert_allclose(case.truth.grid.lat[::4], case.coarse.grid.lat, atol=1e-3)
    np.testing.assert_allclose(case.truth.grid.lon[::4], case.coarse.grid.lon, atol=1e-3)
    # two models of one producer agree on the large scale to a hectopascal or two
    difference = case.truth.frame(12)[0, ::4, ::4] - case.coarse.frame(12)[0]
    assert abs(difference.mean()) < 50
    assert difference.std() < 150


@pytest.mark.parametrize(
    ("part", "variable", "r"), [("P_sea_level", "msl", 6), ("PRECIP", "tp", 1), ("PRECIP", "tp", 6)]
)
def test_a_model_is_scored_on_real_pairs_with_the_baselines_of_its_task(meteonet, part, variable, r):
    fine, coarse = pair(meteonet, part)
    settings = Settings((fine,), coarse=(coarse,), metrics=(), by_terrain=False, statics=None)
    name = "bilinear/linear" if r > 1 else "bilinear/hold"
    evaluation = evaluate(interpolating(name, 4, r, NODE), settings)
    lines = [line for line in evaluation.lines() if line.lead_class == "interpolated"]
    (line,) = [line for line in lines if line.task == ("joint" if r > 1 else "space")]
    assert line.variable == variable
    assert -0.5 < line.skill_plain <= 1e-6
    assert line.skill_plain_ci is not None
    first = open_forecast([fine]).frame(3)[0]
    assert 0 < line.rmse < 3 * np.nanstd(first)


def test_a_run_without_its_coarse_twin_is_refused(meteonet, tmp_path):
    from tests.evaluation.test_evaluate import write_fine

    fine, _ = pair(meteonet, "P_sea_level")
    with pytest.raises(NothingToUpscale, match="no coarse forecast starts at"):
        list_cases([fine], [write_fine(tmp_path / "other.nc")])


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
    "ignore::gfs_sr.errors.NegativeSkillWarning",
)
def test_the_committed_configuration_trains_on_the_pairs_and_is_scored_where_and_when_it_saw_nothing(
    meteonet, tmp_path, monkeypatch
):
    from export.publication import publish_checkpoint
    from gfs_sr.evaluation.evaluate import run
    from gfs_sr.evaluation.regions import Box
    from gfs_sr.training.main import main

    config = Path(__file__).parents[2] / "configs" / "pairs-arpege-arome.yaml"
    monkeypatch.chdir(tmp_path)
    main(["-c", str(config), "--data.folder", str(meteonet.parents[1]), "--trainer.max_steps=50"])
    artifact = publish_checkpoint(tmp_path / "runs" / "pairs" / "pairs.ckpt", tmp_path / "pairs").artifact
    assert artifact.contract.outputs == ("msl", "tp")
    files = [pair(meteonet, part) for part in ("P_sea_level", "PRECIP")]
    evaluation = run(
        Settings(
            tuple(fine for fine, _ in files),
            models=(str(artifact.path),),
            coarse=tuple(coarse for _, coarse in files),
            statics=meteonet / "NW_masks.grib",
            hours=(13, 24),
            regions=(Box("east", 51.9, -1.0, 46.2, 2.1),),
            metrics=(),
            output=None,
        )
    )
    east = {line.variable: line for line in evaluation.lines("east")}
    assert set(east) == {"msl", "tp"}
    # the two models of the producer differ by more than any refinement can mend: about as good as interpolation
    assert abs(east["msl"].skill_plain) < 0.05
    assert east["tp"].skill_plain > -0.1
    assert all(hours.min() >= 13 for hours in (contest.lead_hours for contest in _contests(evaluation)))


def _contests(evaluation):
    return [contest for case in evaluation.cases for contest in case.contests.values()]
