"""Members that `gfs-sr upscale` wrote, scored beside the truth by `gfs-sr evaluate`: no model runs any more."""

import csv
import json
from importlib.resources import files

import numpy as np
import pytest
import scores.probability
import xarray as xr
from typer.testing import CliRunner

from export.publication import publish
from gfs_sr.cli.app import app
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.main import main
from tests.training.runs import arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
    "ignore:.*WORSE than:gfs_sr.errors.NegativeSkillWarning",  # a moment of training
)

TRUTH = files("gfs_sr.demo") / "sample" / "arpege_2m_NW_20180501000000.grib"
MEMBERS = 4
EDM = """
training: diffusion
model:
  name: tiny
  network: {family: edm, variables: [t2m], scale_factor: 4, time_factor: 1, registration: cell, width: 8,
    multipliers: [1], blocks: 1, factors: [], patch_size: 2, dropout: 0.0, attention: none, normalization: cell,
    schedule: {n: 6, sigma_min: 0.05, sigma_max: 10.0}}
  optimizer: {lr: 4.0e-3, schedule: constant}
data:
  sources: [{name: arpege, files: ["arpege_2m*.grib"], variables: [t2m]}]
  streams: {whole: {kind: space, batch: 4, patch: 8}}
  validation_stream: {kind: space, batch: 2, patch: 8}
"""


def run(*given):
    told = CliRunner().invoke(app, [*map(str, given), "--json"])
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Folder with `fine.nc` and `report/`: trained for a moment, drawn from the coarsened sample, and scored."""
    folder = tmp_path_factory.mktemp("members")
    publish(load_checkpoint(main(arguments(folder, EDM, steps=30, epochs=1))), folder / "tiny")
    run("coarsen", TRUTH, "-o", folder / "coarse.nc", "--registration=cell", "--scale-factor=4", "--time-factor=1",
        "--crop", "--variables=t2m")  # fmt: skip
    run("upscale", folder / "coarse.nc", "-o", folder / "fine.nc", "--model", folder / "tiny", "--members", MEMBERS,
        "--seed=1")  # fmt: skip
    run("evaluate", "--data", TRUTH, "--forecast", folder / "fine.nc", "-o", folder / "report")
    return folder


@pytest.fixture(scope="module")
def rows(report):
    """(metric, scale) -> the rows of the members over all cells."""
    found = {}
    with (report / "report" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["model"], row["region"], row["lead_class"]) == ("tiny", "all", "interpolated"):
                found.setdefault((row["metric"], row["scale"]), []).append(row)
    return found


def test_every_score_of_an_ensemble_is_in_the_table(rows):
    wanted = [("CRPS", pool) for pool in ("1", "4", "16", "max 4", "max 16")]
    wanted += [("energy score", "1"), ("spread", "1"), ("spread-skill ratio", "1"), ("RMSE of the mean", "1")]
    wanted += [("rank flatness", "1"), ("calibration bias", "1"), ("calibration error", "1"), ("RALSD", "1")]
    wanted += [("CRPS of spectra", "1"), ("FSS highest 10%", "8 cells")]
    assert set(wanted) <= set(rows)
    assert any(metric == "event ratio" for metric, _ in rows)
    for name in wanted:
        assert all(np.isfinite(float(row["value"])) for row in rows[name]), name


def test_fair_crps_and_spread_of_the_file_are_those_of_independent_programs(report, rows):
    with xr.open_dataset(report / "fine.nc") as fine, xr.open_dataset(
        TRUTH, engine="cfgrib", backend_kwargs={"filter_by_keys": {"shortName": "2t"}, "indexpath": ""}
    ) as grib:  # fmt: skip
        # scored from the first to the last coarse point, which lies in the middle of four fine cells
        members = fine["t2m"].isel(latitude=slice(2, -2), longitude=slice(2, -2)).load()
        axes = ("latitude", "longitude")
        here = grib["t2m"].sel({name: members[name] for name in axes}, method="nearest", tolerance=1e-3)
        truth = members.isel(realization=0, drop=True).copy(data=here.transpose("step", *axes).to_numpy())
    weights = np.cos(np.deg2rad(members["latitude"]))
    fair = scores.probability.crps_for_ensemble(members, truth, "realization", method="fair", preserve_dims="all")
    assert float(rows["CRPS", "1"][0]["value"]) == pytest.approx(float(fair.weighted(weights).mean()), rel=1e-3)
    spread = np.sqrt(members.var("realization", ddof=1).weighted(weights).mean() * (MEMBERS + 1) / MEMBERS)
    error = np.sqrt(((members.mean("realization") - truth) ** 2).weighted(weights).mean())
    assert float(rows["spread", "1"][0]["value"]) == pytest.approx(float(spread), rel=1e-3)
    assert float(rows["spread-skill ratio", "1"][0]["value"]) == pytest.approx(float(spread / error), rel=1e-3)


def test_the_page_shows_ranks_spread_spectra_and_samples(report):
    drawn = {path.stem for path in (report / "report" / "figures").iterdir()}
    assert {"ranks_t2m_1", "spread_t2m_1", "samples_t2m", "spectra_t2m", "fss_t2m", "bias_t2m"} <= drawn
    html = (report / "report" / "index.html").read_text()
    assert f"members {MEMBERS}" in html
    assert "no members" not in html


def test_samplers_are_compared_in_one_report_by_what_they_cost(report):
    ways = ["--sampler=integrator=euler", "--sampler=integrator=heun", "--schedule=n=2", "--schedule=n=5"]
    told = run("evaluate", "--data", TRUTH, "--model", report / "tiny", "--members=3", "--variables=t2m", "--hours=0,3",
               "--no-terrain", "--backend=onnxruntime", "-o", report / "sweep", *ways)  # fmt: skip
    costs = {model: facts["evaluations"] for model, facts in told["model_facts"].items()}
    assert costs == {
        "tiny, euler, n=2": "2 a member", "tiny, euler, n=5": "5 a member",
        "tiny, heun, n=2": "3 a member", "tiny, heun, n=5": "9 a member",
    }  # fmt: skip
    assert (report / "sweep" / "figures" / "cost_t2m.png").is_file()
    with (report / "sweep" / "metrics.csv").open() as file:
        crps = {
            row["model"]: float(row["value"])
            for row in csv.DictReader(file)
            if (row["metric"], row["scale"], row["lead_class"]) == ("CRPS", "1", "interpolated")
            and row["model"] in costs
        }
    assert set(crps) == set(costs)
    assert len(set(crps.values())) == 4
    best = min(crps, key=crps.get)
    assert f"{best} scores best" in (report / "sweep" / "index.html").read_text()


def test_a_sampler_is_refused_where_no_model_draws_by_one(tmp_path):
    told = CliRunner().invoke(
        app, ["evaluate", "--data", str(TRUTH), "--sampler=integrator=euler", "-o", str(tmp_path / "report"), "--json"]
    )
    assert isinstance(told.exception, SystemExit)
    assert told.exception.code == 2
    assert "none of the models draws by a sampler" in json.loads(told.stdout)["error"]["what"]
