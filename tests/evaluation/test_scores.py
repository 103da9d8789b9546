"""Every number, where it goes, and what it is of."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES, HEADLINE
from gfs_sr.errors import UsageError
from gfs_sr.evaluation import view
from gfs_sr.evaluation.detail import edges_of
from gfs_sr.evaluation.evaluate import Settings, evaluate
from gfs_sr.evaluation.gallery.scales import share_above
from gfs_sr.evaluation.prediction import ArrayPrediction
from gfs_sr.evaluation.records import Distribution
from gfs_sr.evaluation.shown import sweep
from gfs_sr.evaluation.subject import Subject, interpolating
from gfs_sr.metrics import registry
from gfs_sr.metrics.scene import Need
from tests.evaluation.test_evaluate import write_fine

NODE = Registration.NODE


def ensemble(paths, members=4, spread=0.5, name="made up", tile=None):
    """A stochastic model: the truth of the file with noise of its own for every member."""
    files = [xr.open_dataset(path).load() for path in paths]

    def predict(coarse):
        generator = np.random.Generator(np.random.PCG64(11))
        opened = next(file for file in files if file["time"].to_numpy()[0] == coarse.times.reference_time)
        first = int((coarse.times.valid_times[0] - opened["time"].to_numpy()[0]) / np.timedelta64(3600, "s"))
        truth = np.stack([opened[variable].to_numpy() for variable in coarse.variables], axis=1)[first:]
        truth = truth if len(coarse.times) > 1 else truth[:1]
        values = truth + spread * generator.normal(size=(members, *truth.shape)).astype(np.float32)
        return ArrayPrediction(values, tile)

    return Subject(name, predict, 6, 6, NODE)


@pytest.fixture(scope="module")
def wind_file(tmp_path_factory):
    return write_fine(tmp_path_factory.mktemp("wind") / "wind.nc", frames=14, variables=("u10", "v10"))


@pytest.fixture(scope="module")
def stochastic(wind_file):
    return evaluate(ensemble([wind_file]), Settings((wind_file,)))


def values_of(evaluation, **wanted):
    return {
        (score.metric, score.scale): score.value
        for score in evaluation.scores()
        if all(getattr(score, name) == value for name, value in wanted.items())
    }


def test_x_7_every_metric_of_the_registry_that_the_inputs_allow_is_scored(stochastic):
    table = registry.metrics_of("u10")
    computed = set(stochastic.cases[0].details["joint", "u10"].metrics["made up"])
    # no tiles were used, wind does not come in objects, and the field holds no block of 64 cells
    assert set(table) - computed == {
        name
        for name, metric in table.items()
        if metric.needs & {Need.BORDERS, Need.AMOUNT} or (metric.statistic.pool and metric.statistic.pool.size == 64)
    }
    titles = {score.metric for score in stochastic.scores() if score.is_model and score.variable == "u10"}
    assert titles >= {table[name].title or name for name in computed if "event ratio" not in name}


def test_members_are_scored_as_a_distribution_and_their_mean_as_a_forecast(wind_file, stochastic):
    with xr.open_dataset(wind_file) as opened:
        truth = opened["u10"].to_numpy().astype(np.float64)
        lat = np.deg2rad(opened["latitude"].to_numpy())
    area = np.sin(lat + np.deg2rad(0.125)) - np.sin(lat - np.deg2rad(0.125))
    found = values_of(
        stochastic, method="made up", task="joint", variable="u10", lead_class="interpolated", region="all"
    )
    generator = np.random.Generator(np.random.PCG64(11))
    noise = 0.5 * generator.normal(size=(4, 14, 2, 31, 37)).astype(np.float32)[:, :13, 0]
    error = noise.mean(axis=0)
    assert found["RMSE", "1"] == pytest.approx(
        np.sqrt(np.average((error**2).mean(axis=(0, 2)), weights=area)), rel=1e-4
    )
    pairs = np.abs(noise[:, None] - noise[None]).sum(axis=(0, 1)) / (2 * 4 * 3)
    crps = np.abs(noise).mean(axis=0) - pairs  # of members about the truth, 0 here
    assert found["CRPS", "1"] == pytest.approx(np.average(crps.mean(axis=(0, 2)), weights=area), rel=1e-4)
    assert truth.shape == (14, 31, 37)
    (ranks,) = [each for each in stochastic.ranks() if each.task == "joint" and each.label == "all values"][:1]
    assert ranks.counts.shape == (5,)
    (spread, *_) = stochastic.spread_skill()
    assert spread.spread.shape == spread.lead_hours.shape
    fields = next(each for each in stochastic.fields if each.task == "joint")
    assert fields.members["made up"].shape[0] == 4
    np.testing.assert_allclose(fields.methods["made up"], fields.members["made up"].mean(axis=0), atol=1e-6)


def test_a_vector_is_scored_once_with_both_components(stochastic):
    vectors = [score for score in stochastic.scores() if score.metric == "vector RMSE" and score.is_model]
    assert {score.variable for score in vectors} == {"u10"}
    by_name = {
        variable: values_of(
            stochastic, method="made up", task="joint", variable=variable, lead_class="interpolated", region="all"
        )
        for variable in ("u10", "v10")
    }
    both = np.hypot(by_name["u10"]["RMSE", "1"], by_name["v10"]["RMSE", "1"])
    assert by_name["u10"]["vector RMSE", "1"] == pytest.approx(both, rel=1e-6)


def test_scores_do_not_depend_on_how_many_frames_are_worked_on_at_a_time(wind_file, stochastic, monkeypatch):
    monkeypatch.setattr(view, "CHUNK_CELLS", 1)  # one coarse interval
    monkeypatch.setattr(view, "TRUTH_BYTES", 0)  # and the truth is read again and again
    chunked = evaluate(ensemble([wind_file]), Settings((wind_file,)))
    assert len(chunked.scores()) == len(stochastic.scores())
    for one, other in zip(chunked.scores(), stochastic.scores(), strict=True):
        assert (one.method, one.metric, one.region) == (other.method, other.metric, other.region)
        np.testing.assert_allclose(
            [one.value, one.ci_low, one.ci_high], [other.value, other.ci_low, other.ci_high], rtol=1e-9, atol=1e-12
        )


def test_a_model_that_was_tiled_has_its_seams_measured(tmp_path):
    path = write_fine(tmp_path / "fine.nc", variables=("t2m",))
    with xr.open_dataset(path) as opened:
        truth = opened["t2m"].to_numpy()[:, None]
    steps = 20.0 * (np.arange(37) >= 18)  # K, at the border of the second tile

    def predict(coarse):
        frames = truth if len(coarse.times) > 1 else truth[:1]
        return ArrayPrediction(frames + steps.astype(np.float32), (12, 18))

    settings = Settings((path,), tasks=("joint",), metrics=("seam ratio",), by_terrain=False)
    seamed = evaluate(Subject("seamed", predict, 6, 6, NODE), settings)
    whole = evaluate(ensemble([path], members=1, spread=0.0, name="whole", tile=(12, 18)), settings)
    assert values_of(seamed, method="seamed", lead_class="all")["seam ratio", "1"] > 1.5
    assert values_of(whole, method="whole", lead_class="all")["seam ratio", "1"] == pytest.approx(1)


def test_several_models_are_ranked_and_share_the_baselines(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    subjects = [
        interpolating("nearest/hold", 6, 6, NODE),
        ensemble([path], 1, 0.1, "good"),
        ensemble([path], 1, 0.3, "fair"),
    ]
    evaluation = evaluate(subjects, Settings((path,), metrics=()))
    assert evaluation.models == ("good", "fair", "model nearest/hold")
    assert evaluation.model == "good"
    lines = [line for line in evaluation.lines() if line.task == "joint" and line.lead_class == "interpolated"]
    assert [line.model for line in lines] == list(evaluation.models)
    assert len({(line.best_plain, line.rmse_plain) for line in lines}) == 1
    assert [line.skill_plain for line in lines] == sorted((line.skill_plain for line in lines), reverse=True)
    assert len(evaluation.verdict()) == 6
    assert len(evaluation.table().splitlines()) == 6 + 2 + 3 * 4


def test_models_of_different_tasks_are_refused(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    subjects = [interpolating("bicubic/linear", 6, 6, NODE), interpolating("bicubic/linear", 3, 6, NODE)]
    with pytest.raises(UsageError, match="different tasks"):
        evaluate(subjects, Settings((path,)))


@pytest.mark.parametrize("first", [1, 6])
def test_models_that_refine_time_differently_are_ranked_in_space(tmp_path, first):
    path = write_fine(tmp_path / "fine.nc", variables=("t2m",))
    subjects = [interpolating("bicubic/linear", 6, r, NODE) for r in (first, 7 - first)]
    subjects[1] = replace(subjects[1], name="other")
    evaluation = evaluate(subjects, Settings((path,), metrics=("RMSE",), by_terrain=False))
    assert {line.task for line in evaluation.lines()} == {"space"}
    skills = [line.skill_plain for line in evaluation.lines()]
    assert len(evaluation.models) == 2 == len(skills)
    assert skills[0] == pytest.approx(skills[1])  # the same interpolation in space


def test_unknown_metrics_and_empty_sharpenings_are_refused(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    with pytest.raises(UsageError, match="unknown metric 'RSME'"):
        evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), metrics=("RSME",)))
    with pytest.raises(UsageError, match="sharpens nothing"):
        evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), sharpening=0.0))


def test_the_csv_and_the_json_hold_every_score(tmp_path, stochastic):
    stochastic.write_csv(tmp_path / "metrics.csv")
    stochastic.write_json(tmp_path / "metrics.json")
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:10] == [
        "model", "variable", "metric", "baseline", "region", "lead_class", "scale", "value", "ci_low", "ci_high",
    ]  # fmt: skip
    assert len(rows) == len(stochastic.scores())
    skills = [
        row
        for row in rows
        if row["metric"] == "skill" and row["lead_class"] == "interpolated" and row["variable"] == "u10"
        and row["region"] == "all"
    ]  # fmt: skip
    assert len(skills) == 2 * len(BASELINES) + 2 * 4
    assert {row["scale"] for row in rows} >= {"1", "4", "16"}
    leads = {f"{hour} h" for hour in range(14)}
    assert {row["lead_class"] for row in rows} == {"interpolated", "extrapolated", "all"} | leads
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["protocol"] == "B"
    assert found["lines"][0]["best_plain"] in HEADLINE
    assert len(found["scores"]) == len(rows)
    assert found["overall"][0]["variables"] == 2


def test_curves_follow_the_lead_time(wind_file, stochastic):
    curves = [curve for curve in stochastic.curves() if curve.region == "all" and curve.variable == "u10"]
    joint = {curve.method: curve for curve in curves if curve.task == "joint"}
    assert set(joint) == {"made up", *BASELINES, *(f"sharpened {name}" for name in BASELINES)}
    assert joint["made up"].lead_hours.tolist() == list(range(14))
    # between coarse frames interpolation in time adds its error
    assert joint["bicubic/linear"].rmse[9] > joint["bicubic/linear"].rmse[[6, 12]].max()


def test_rain_is_counted_where_only_one_of_both_has_it_and_where_none():
    truth = np.array([[[0.0, 0.05, 0.5, 2.0]]])
    forecast = np.array(
        [[[[-0.01, 0.3, 0.0, 9.0]]]]
    )  # interpolated rain may be negative; 9 lies beyond the truth's range
    edges, log = edges_of("tp", 0.0, 2.0)
    view = SimpleNamespace(window=SimpleNamespace(weights=np.ones((1, 4))), chunks=[slice(0, 1)])
    counts, *_ = sweep(SimpleNamespace(view=view, truth=lambda _: truth), lambda _: forecast, np.array(edges))
    assert log
    assert counts.sum() == 4
    assert (counts[0].sum(), counts[:, 0].sum(), counts[0, 0], counts[-1, -1]) == (2, 2, 1, 0)
    assert counts[:, -1].sum() == 1  # the forecast that goes too far
    found = Distribution("space", "tp", np.array(edges), True, {"truth": counts.sum(axis=1)})
    assert share_above(found, 0.1) == pytest.approx(0.5)
    assert share_above(found, 1.0) == pytest.approx(0.25)


def test_what_the_report_draws_is_there(stochastic):
    (density, *_) = stochastic.densities()
    (distribution, *_) = stochastic.distributions()
    assert density.counts.sum() == pytest.approx(distribution.counts["truth"].sum())
    (spectrum, *_) = stochastic.spectra()
    assert set(spectrum.power) >= {"truth", "made up"}
    assert {each.metric for each in stochastic.frame_scores()} >= {"PSNR", "SSIM", "MAE", "RMSE", "correlation"}
    (means, *_) = stochastic.domain_means()
    assert means.members["made up"].shape == (4, 14)
    (maps, *_) = stochastic.cell_maps
    assert maps.maps["made up"]["RMSE"].shape == (31, 37)
    (fractions, *_) = stochastic.fractions()
    assert fractions.fss["made up"].shape == (len(fractions.thresholds), len(fractions.scales_cells))
    (reliability, *_) = stochastic.reliability()
    assert reliability.kind == "members"
    fields = stochastic.fields[0]
    assert fields.truth.shape == fields.methods["made up"].shape == (14, 31, 37)
    assert fields.lead_hours[fields.shown_frame] % 6 == 3


def test_long_sums_are_kept_by_interval_and_lose_no_frame(stochastic):
    detail = stochastic.cases[0].details["joint", "u10"]
    rows = detail.rows["made up", "all"]["histogram"]
    assert not rows.by_frame
    assert rows.values.shape[0] == len(set(detail.units)) == 3
    contest = stochastic.cases[0].contests["joint", "u10"]
    # truth and forecast fill one histogram each
    assert rows.values.sum() == pytest.approx(2 * contest.frames["made up"][:, 0].sum())


@pytest.mark.parametrize(("variable", "expected"), [("t2m", [0] * 7 + [1] * 6 + [2] * 1), ("tp", [0] * 6 + [1] * 6)])
def test_frames_are_drawn_by_the_coarse_interval_that_they_belong_to(variable, expected):
    from gfs_sr.data.coarsen import Coarsening
    from gfs_sr.evaluation.cases import make_case
    from gfs_sr.evaluation.evaluate import evaluate_cases
    from tests import fields

    values = np.abs(fields.waves(14 if variable == "t2m" else 13, 31, 37)) + (280 if variable == "t2m" else 0)
    case = make_case(fields.forecast(values, (variable,)), [], Coarsening(NODE, 6, 6), None)
    settings = Settings((), tasks=("joint",), metrics=(), by_terrain=False)
    evaluation = evaluate_cases(interpolating("bicubic/linear", 6, 6, NODE), [case], settings)
    assert evaluation.contests("joint", variable)[0].units.tolist() == expected


def test_of_ten_forecasts_and_more_whole_forecasts_are_drawn(tmp_path):
    paths = tuple(write_fine(tmp_path / f"{day:02}.nc", frames=1, seed=day, start=f"2021-03-{day:02}T00")
                  for day in range(1, 11))  # fmt: skip
    settings = Settings(paths, metrics=("SSIM",), by_terrain=False)
    evaluation = evaluate(interpolating("bilinear/linear", 6, 6, NODE), settings)
    (score,) = [each for each in evaluation.scores() if each.metric == "SSIM" and each.is_model]
    assert score.forecasts == 10
    assert score.ci_low < score.value < score.ci_high
    line = evaluation.lines()[0]
    assert line.skill_sharpened_ci[0] < line.skill_sharpened < line.skill_sharpened_ci[1]
