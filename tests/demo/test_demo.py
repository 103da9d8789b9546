"""The demo: real samples in, a CF file, a picture and a table out."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfs_sr import cli, demo
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.demo.demo import ARPEGE, GFS, run_demo, typical_frame
from gfs_sr.demo.scores import score
from gfs_sr.runtime.upscaler import FineForecast

SAMPLE = Path(demo.__file__).parent / "sample"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder, "interpolation-node", "onnxruntime")


def test_it_leaves_fine_files_and_a_picture(made):
    folder, _ = made
    assert {path.name for path in folder.iterdir()} == {"fine.nc", "gfs_fine.nc", "comparison.png"}
    with xr.open_dataset(folder / "fine.nc") as fine:
        assert fine.sizes["time"] == 25
        assert (fine.sizes["latitude"], fine.sizes["longitude"]) == (55, 79)
    with xr.open_dataset(folder / "gfs_fine.nc") as fine:
        assert fine.sizes["time"] == 1
        assert (fine.sizes["latitude"], fine.sizes["longitude"]) == (193, 289)
    header = (folder / "comparison.png").read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert int.from_bytes(header[16:20], "big") > 1000


def test_it_has_a_skill_row_per_variable_and_none_for_the_analysis(made):
    _, report = made
    assert [row.variable for row in report.rows] == ["t2m", "d2m", "r2", "u10", "v10", "wspd", "msl"]
    assert {run.frames for run in report.runs} == {25, 1}
    text = report.text()
    assert all(f"\n{row.variable}" in text for row in report.rows)
    # the model is a plain interpolation, so the best of six cannot be worse
    assert max(row.skill_plain for row in report.rows) <= 1e-3


def test_the_maps_show_the_median_gain_between_coarse_frames():
    truth = np.zeros((7, 2, 3))
    baseline = np.ones((7, 2, 3))
    model = np.array([0.0, 0.9, 0.1, 0.2, 0.8, 0.5, 0.0])[:, None, None] * baseline  # frames 0 and 6 are coarse ones
    assert typical_frame(model, baseline, truth, np.ones((2, 1)), 6) == 5
    assert typical_frame(model, baseline, truth, np.ones((2, 1)), 1) == 3


def test_a_perfect_model_has_skill_one():
    sample = SAMPLE
    truth = open_forecast(sample / f"{ARPEGE[0]}_NW_20180501000000.grib", ("t2m",))
    coarse = coarsen(truth, Coarsening(Registration.NODE))
    values = truth.load()[:, :, :55, :79]
    grid = coarse.grid.refine(6, Registration.NODE)[0]
    perfect = FineForecast(values[None], ("t2m",), grid, truth.times, None)
    (row,) = score(perfect, values, coarse.load(), {"t2m": "K"}, 6, 6, Registration.NODE)
    assert (row.rmse, row.skill_plain, row.skill_sharpened) == (0, 1, 1)


def test_the_samples_are_the_producers_files():
    sample = SAMPLE
    assert (sample / GFS).read_bytes()[:4] == b"GRIB"
    notice = (sample / "NOTICE.md").read_text()
    assert "Météo-France" in notice
    assert "Etalab Open Licence 2.0" in notice
    assert "public domain" in notice


def test_the_command_prints_one_object(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gfs-sr", "demo", "-o", str(tmp_path), "--model", "interpolation-node", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert np.isfinite([row["skill_sharpened"] for row in report["rows"]]).all()
