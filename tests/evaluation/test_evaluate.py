import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES, HEADLINE
from gfs_sr.data.resampling import Closure
from gfs_sr.data.sharpening import FITTED, sharpen
from gfs_sr.errors import MissingFile, RegistrationMismatch, UsageError
from gfs_sr.evaluation.baselines import rivals, space_rivals
from gfs_sr.evaluation.cases import group_files
from gfs_sr.evaluation.evaluate import Settings, evaluate
from gfs_sr.evaluation.result import percent
from gfs_sr.evaluation.subject import Subject, interpolating
from tests import fields

NODE, CELL = Registration.NODE, Registration.CELL
SAMPLE = Path(__file__).resolve().parents[2] / "gfs_sr" / "demo" / "sample"
ARPEGE = SAMPLE / "arpege_2m_NW_20180501000000.grib"


def write_fine(path, frames=15, height=31, width=37, seed=0, variables=("t2m",), start="2021-03-01T00"):
    """A smooth hourly forecast: 15 frames leave two after the last coarse one of every sixth."""
    dims = ("time", "latitude", "longitude")
    units = {"t2m": "K", "d2m": "K", "msl": "Pa", "u10": "m s-1", "v10": "m s-1"}
    base = {"t2m": (285, 3), "d2m": (275, 3), "msl": (101000, 400), "u10": (3, 2), "v10": (-1, 2)}
    xr.Dataset(
        {
            name: (
                dims,
                base[name][0] + base[name][1] * fields.waves(frames, height, width, seed + k).astype(np.float32),
                {"units": units[name]},
            )
            for k, name in enumerate(variables)
        },
        coords={
            "time": np.datetime64(start, "ns") + np.arange(frames) * np.timedelta64(3600, "s"),
            "latitude": ("latitude", 50 - 0.25 * np.arange(height), {"units": "degrees_north"}),
            "longitude": ("longitude", 5 + 0.25 * np.arange(width), {"units": "degrees_east"}),
        },
    ).to_netcdf(path)
    return path


@pytest.fixture
def fine_file(tmp_path):
    return write_fine(tmp_path / "fine.nc")


def oracle(path, scale_factor=6, time_factor=6, registration=NODE):
    """A subject that knows the truth."""
    with xr.open_dataset(path) as truth:
        values = truth["t2m"].to_numpy()[:, None]
        first = truth["time"].to_numpy()[0]

    def predict(coarse: Forecast):
        start = int((coarse.times.valid_times[0] - first) / np.timedelta64(3600, "s"))
        return values[start:] if len(coarse.times) > 1 else values[start : start + 1]

    return Subject("oracle", predict, scale_factor, time_factor, registration)


def by_key(evaluation, task="joint"):
    return {(line.variable, line.lead_class): line for line in evaluation.lines() if line.task == task}


@pytest.mark.parametrize("registration", list(Registration))
def test_s000_19_perfect_prediction_has_skill_one_on_interpolated_and_extrapolated_leads_apart(tmp_path, registration):
    path = write_fine(tmp_path / "fine.nc")
    evaluation = evaluate(oracle(path, registration=registration), Settings((path,), metrics=()))
    lines = by_key(evaluation)
    assert set(lines) == {("t2m", "interpolated"), ("t2m", "extrapolated"), ("t2m", "all")}
    for line in lines.values():
        assert line.rmse == 0
        assert line.skill_plain == line.skill_sharpened == 1
        assert line.best_plain in HEADLINE
        assert line.best_sharpened.removeprefix("sharpened ") in HEADLINE
    assert by_key(evaluation, "space")["t2m", "interpolated"].skill_plain == 1


def test_s000_19_scores_equal_a_plain_computation_over_the_hull(fine_file):
    subject = interpolating("bicubic/linear", 6, 6, NODE)
    evaluation = evaluate(subject, Settings((fine_file,), metrics=()))
    with xr.open_dataset(fine_file) as opened:
        truth = opened["t2m"].to_numpy().astype(np.float64)
        lat = np.deg2rad(opened["latitude"].to_numpy())
    from gfs_sr.data.coarsen import gauss_decimate

    coarse = gauss_decimate(truth[::6], 3.0, 6).astype(np.float32)
    area = np.sin(lat + np.deg2rad(0.125)) - np.sin(lat - np.deg2rad(0.125))
    fine = BASELINES["bicubic/linear"](coarse, 6, 6, NODE)[:13, :31, :37].astype(np.float32)
    error = fine - truth[:13]
    expected = np.sqrt(np.average((error**2).mean(axis=(0, 2)), weights=area[:31]))
    assert by_key(evaluation)["t2m", "interpolated"].rmse == pytest.approx(expected, rel=1e-6)
    sharp = sharpen(coarse, FITTED[NODE], NODE)
    candidates = [BASELINES["bicubic/linear"](sharp, 6, 6, NODE, closure=c)[:13, :31, :37] for c in Closure]
    best = min(np.sqrt(np.average(((f - truth[:13]) ** 2).mean(axis=(0, 2)), weights=area)) for f in candidates)
    found = evaluation.rmse()["joint", "t2m", "interpolated"]["sharpened bicubic/linear"]
    assert found == pytest.approx(best, rel=1e-6)


def test_s000_19_every_baseline_is_scored_plain_and_sharpened(fine_file):
    evaluation = evaluate(oracle(fine_file), Settings((fine_file,), metrics=()))
    joint = evaluation.rmse()["joint", "t2m", "interpolated"]
    assert set(joint) == {"oracle", *BASELINES, *(f"sharpened {name}" for name in BASELINES)}
    assert set(evaluation.rmse()["space", "t2m", "interpolated"]) == {"oracle", *(r.name for r in space_rivals(0.125))}
    assert evaluation.headline["joint"] == tuple(r.name for r in rivals(0.125) if r.headline)


def test_an_interpolation_never_beats_the_best_one(fine_file):
    evaluation = evaluate(interpolating("bilinear/linear", 6, 6, NODE), Settings((fine_file,), metrics=()))
    line = by_key(evaluation)["t2m", "interpolated"]
    assert line.skill_plain <= 1e-9
    assert line.skill_sharpened < 0
    assert "does not beat the best plain interpolation (skill" in evaluation.verdict()[0]


def test_files_of_one_run_with_other_variables_are_one_forecast(tmp_path):
    one = write_fine(tmp_path / "a.nc")
    other = write_fine(tmp_path / "b.nc", variables=("d2m",))
    elsewhere = write_fine(tmp_path / "c.nc", height=25)
    assert group_files([one, other, elsewhere]) == [[one, other], [elsewhere]]
    assert group_files([tmp_path]) == [[one, other], [elsewhere]]
    with pytest.raises(MissingFile):
        group_files([tmp_path / "absent.nc"])


def test_squared_errors_are_averaged_over_the_forecasts(tmp_path):
    paths = tuple(write_fine(tmp_path / f"{k}.nc", seed=k) for k in range(2))
    subject = interpolating("bicubic/linear", 6, 6, NODE)
    both = evaluate(subject, Settings(paths, tasks=("space",), metrics=())).rmse()["space", "t2m", "interpolated"]
    each = [
        evaluate(subject, Settings((p,), tasks=("space",), metrics=())).rmse()["space", "t2m", "interpolated"]
        for p in paths
    ]
    for name, value in both.items():
        assert value == pytest.approx(np.sqrt(np.mean([scores[name] ** 2 for scores in each])))


def test_a_single_frame_is_scored_in_space_alone(tmp_path):
    path = write_fine(tmp_path / "one.nc", frames=1)
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), metrics=()))
    assert {line.task for line in evaluation.lines()} == {"space"}


def test_a_real_day_ranks_interpolations_as_they_are_known_to_rank():
    if not ARPEGE.exists():
        pytest.skip("needs the bundled sample gfs_sr/demo/sample")
    settings = Settings((ARPEGE,), variables=("t2m",), tasks=("space",), metrics=())
    found = evaluate(interpolating("nearest/hold", 6, 6, NODE), settings).rmse()["space", "t2m", "interpolated"]
    order = ["nearest", "bilinear", "bicubic", "sharpened bicubic"]
    assert sorted(order, key=found.__getitem__, reverse=True) == order
    assert found["bicubic"] == pytest.approx(0.67, abs=0.03)  # K


def test_masked_truth_is_left_out(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    with xr.open_dataset(path) as opened:
        holed = opened.load()
    holed["t2m"][:, 4:9, 5:12] = np.nan
    holed.to_netcdf(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), metrics=()))
    assert np.isfinite(by_key(evaluation)["t2m", "interpolated"].rmse)


def test_unknown_protocols_and_cell_models_under_protocol_a_are_refused(fine_file):
    with pytest.raises(UsageError, match="unknown protocol 'C'"):
        evaluate(oracle(fine_file), Settings((fine_file,), protocol="C"))
    with pytest.raises(RegistrationMismatch):
        evaluate(replace(oracle(fine_file), registration=CELL), Settings((fine_file,), protocol="A"))


@pytest.mark.parametrize(("value", "text"), [(0.1234, "+12.3%"), (-0.2, "−20.0%"), (-1e-6, "0.0%"), (np.nan, "–")])
def test_skills_are_written_as_a_reader_writes_them(value, text):
    assert percent(value) == text


def test_under_cell_the_hull_ends_in_the_middle_of_the_outermost_cells(fine_file):
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, Registration.CELL), Settings((fine_file,), metrics=()))
    with xr.open_dataset(fine_file) as opened:
        truth = opened["t2m"].to_numpy().astype(np.float64)
        lat = opened["latitude"].to_numpy()
    from gfs_sr.data.coarsen import block_mean

    rows, cols = (6 * (size // 6) for size in truth.shape[1:])
    edges = np.deg2rad(np.stack([lat + 0.125, lat - 0.125]))
    area = np.sin(edges[0]) - np.sin(edges[1])
    coarse = block_mean(truth[::6], 6, area, crop=True).astype(np.float32)
    fine = BASELINES["bicubic/linear"](coarse, 6, 6, Registration.CELL)[:13, 3 : rows - 3, 3 : cols - 3]
    error = fine.astype(np.float32) - truth[:13, 3 : rows - 3, 3 : cols - 3]
    expected = np.sqrt(np.average((error**2).mean(axis=(0, 2)), weights=area[3 : rows - 3]))
    assert by_key(evaluation)["t2m", "interpolated"].rmse == pytest.approx(expected, rel=1e-4)


def test_a_model_is_given_all_that_it_needs_and_scored_on_what_was_asked_for(tmp_path):
    path = write_fine(tmp_path / "wind.nc", variables=("u10", "v10"))
    seen = []

    def predict(coarse):
        seen.append(coarse.variables)
        speed = coarse.load()[:, [coarse.variables.index("wspd")]]
        return BASELINES["bicubic/linear"](speed, 6, 6 if len(coarse.times) > 1 else 1, NODE).astype(np.float32)

    # of three inputs it gives the speed alone, which the file does not hold but implies
    subject = Subject("speed", predict, 6, 6, NODE, variables=("wspd",), needs=("u10", "v10", "wspd"))
    evaluation = evaluate(subject, Settings((path,), metrics=(), by_terrain=False))
    assert {variable for _, variable in evaluation.tasks()} == {"wspd"}
    assert set(seen) == {("wspd", "u10", "v10")}
    line = by_key(evaluation)["wspd", "interpolated"]
    assert line.rmse == pytest.approx(evaluation.rmse()["joint", "wspd", "interpolated"]["bicubic/linear"], rel=0.2)
    assert evaluation.cases[0].left_out == (
        "u10: not among the model's variables",
        "v10: not among the model's variables",
    )


def test_a_model_of_time_alone_has_no_task_in_space(tmp_path):
    path = write_fine(tmp_path / "fine.nc", frames=7)
    evaluation = evaluate(interpolating("bilinear/linear", 1, 3, NODE), Settings((path,)))
    assert {task for task, _ in evaluation.tasks()} == {"joint"}  # a frame that passes through restores nothing
