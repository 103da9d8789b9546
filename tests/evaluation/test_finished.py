"""Finished forecasts, scored from their files."""

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.coarse_file import write
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import GapInLeadTimes, MissingFile, ShapeMismatch, UsageError
from gfs_sr.evaluation.evaluate import Settings, evaluate, evaluate_finished
from gfs_sr.evaluation.subject import Subject
from gfs_sr.runtime.netcdf_sink import NetCDFSink
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from tests.evaluation.test_evaluate import write_fine
from tests.interpolating_artifact import make_interpolation_artifact

HOW = Coarsening(Registration.NODE, 6, 6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Truth, coarse input, the finished forecast of it, and the model."""
    folder = tmp_path_factory.mktemp("finished")
    truth = write_fine(folder / "truth.nc")
    coarse = coarsen(open_forecast([truth]), HOW)
    write(coarse, HOW, folder / "coarse.nc")
    artifact = make_interpolation_artifact(folder / "artifact")
    with Upscaler.open(artifact) as upscaler:
        given = open_forecast([folder / "coarse.nc"])
        upscaler.run(given, NetCDFSink(folder / "fine.nc"), Request(tile=2))
        of_model = evaluate(
            Subject.of(upscaler), Settings((truth,), tasks=("joint",), metrics=("RMSE", "SSIM"), by_terrain=False)
        )
    return folder, of_model


def settings(folder, **changes):
    given = {"data": (folder / "truth.nc",), "forecast": folder / "fine.nc", "metrics": ("RMSE", "SSIM")}
    return Settings(**(given | {"by_terrain": False} | changes))


def test_a_finished_forecast_scores_as_its_model_does(made):
    folder, of_model = made
    found = evaluate_finished(settings(folder))
    assert found.model == "test-interpolation"
    by_model, by_file = (
        {(score.method, score.metric, score.baseline): score.value for score in each.scores()
         if score.lead_class == "interpolated"}
        for each in (of_model, found)
    )  # fmt: skip
    assert by_file.keys() == by_model.keys()
    for key, value in by_model.items():
        assert by_file[key] == pytest.approx(value, rel=1e-5), key
    assert found.cases[0].details["joint", "t2m"].rows.keys() >= {("test-interpolation", "all")}


def test_the_coarse_input_may_be_given_and_changes_nothing(made):
    folder, _ = made
    plain, given = (
        evaluate_finished(settings(folder, coarse=coarse, metrics=())).lines()[0]
        for coarse in ((), (folder / "coarse.nc",))
    )
    assert given.rmse == pytest.approx(plain.rmse, rel=1e-9)
    assert given.rmse_plain == pytest.approx(plain.rmse_plain, rel=1e-5)


def test_members_of_a_file_are_members_of_the_score(made, tmp_path):
    folder, _ = made
    generator = np.random.Generator(np.random.PCG64(1))
    with xr.open_dataset(folder / "fine.nc") as one:
        noise = xr.DataArray(generator.normal(size=(3, *one["t2m"].shape)), dims=("realization", *one["t2m"].dims))
        several = one.load().assign(t2m=(one["t2m"] + noise).astype("float32").assign_attrs(one["t2m"].attrs))
        several.assign_coords(realization=[0, 1, 2]).to_netcdf(tmp_path / "members.nc")
    found = evaluate_finished(settings(folder, forecast=tmp_path / "members.nc", metrics=("CRPS", "RMSE")))
    (crps,) = [
        score
        for score in found.scores()
        if (score.metric, score.scale, score.lead_class) == ("CRPS", "1", "interpolated")
    ]
    assert 0 < crps.value < found.lines()[0].rmse
    assert found.ranks() == []  # not asked for
    assert found.fields[0].members["test-interpolation"].shape[0] == 3


def test_a_part_of_the_truth_is_enough(made, tmp_path):
    folder, _ = made
    with xr.open_dataset(folder / "fine.nc") as one:
        one.isel(time=slice(2, 9), latitude=slice(3, 22)).to_netcdf(tmp_path / "part.nc")
    found = evaluate_finished(settings(folder, forecast=tmp_path / "part.nc"))
    contest = found.cases[0].contests["joint", "t2m"]
    weight = contest.frames["test-interpolation"][:, 0]
    assert (weight[:2] == 0).all()
    assert (weight[2:] > 0).all()
    assert weight[2] < contest.frames["bicubic/linear"][2, 0]
    with xr.open_dataset(folder / "fine.nc") as one, xr.open_dataset(folder / "truth.nc") as truth:
        error = (one["t2m"][2:9, 3:22].to_numpy() - truth["t2m"][2:9, 3:22, : one.sizes["longitude"]].to_numpy()) ** 2
        area = np.cos(np.deg2rad(one["latitude"][3:22].to_numpy()))
    assert found.lines()[0].rmse == pytest.approx(np.sqrt(np.average(error.mean(axis=(0, 2)), weights=area)), rel=1e-4)


def test_what_cannot_be_scored_is_refused(made, tmp_path):
    folder, _ = made
    with pytest.raises(MissingFile):
        evaluate_finished(settings(folder, forecast=folder / "absent.nc"))
    with pytest.raises(UsageError, match="protocol A scores networks"):
        evaluate_finished(settings(folder, protocol="A"))
    with xr.open_dataset(folder / "fine.nc") as one:
        loaded = one.load()
    nameless = loaded.copy()
    del nameless.attrs["gfs_sr_scale_factor"]
    nameless.to_netcdf(tmp_path / "nameless.nc")
    with pytest.raises(UsageError, match="does not say what it was made from"):
        evaluate_finished(settings(folder, forecast=tmp_path / "nameless.nc"))
    loaded.assign_coords(latitude=loaded["latitude"] + 0.1).to_netcdf(tmp_path / "shifted.nc")
    with pytest.raises(ShapeMismatch, match="are not the truth's"):
        evaluate_finished(settings(folder, forecast=tmp_path / "shifted.nc"))
    loaded.assign_coords(time=loaded["time"] + np.timedelta64(30, "m")).to_netcdf(tmp_path / "late.nc")
    with pytest.raises(GapInLeadTimes, match="are not the truth's"):
        evaluate_finished(settings(folder, forecast=tmp_path / "late.nc"))
