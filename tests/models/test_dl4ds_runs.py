"""Whole runs of the DL4DS family by the commands: a trial of a minute, pairs of another model, members on the disk."""

import json
import time

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from export.publication import publish, publish_checkpoint
from gfs_sr.cli.app import app
from gfs_sr.errors import UsageError
from gfs_sr.evaluation.evaluate import Settings, run
from gfs_sr.evaluation.gallery import maps as gallery_maps
from gfs_sr.evaluation.gallery import values as gallery_values
from gfs_sr.evaluation.plots.cells import cell_maps
from gfs_sr.evaluation.plots.violins import violins_figure
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.main import main
from tests.export.checkpoints import make_checkpoint
from tests.training.runs import arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
    "ignore::gfs_sr.errors.NegativeSkillWarning",
)

DEBUG = """
preset: dl4ds
model:
  network: {family: dl4ds, variables: [t2m], statics: [orog, lsm], output_attention: false, padding: replicate}
data:
  sources: [{name: arpege, files: ["arpege_2m*.grib"]}]
  streams: {frames: {kind: space, batch: 4, patch: 8}}
  validation_stream: {kind: space, batch: 4, patch: 8}
"""
PAIRS = """
model:
  network: {family: dl4ds, variables: [t2m], n_filters: 4, n_blocks: 2, output_attention: false,
    dropout_rate: 0.2, dropout_variant: mcdrop}
  optimizer: {method: adam, lr: 3.0e-3, schedule: constant}
  loss: {weights: {mae: 1.0}}
data:
  sources: [{name: seasonal, files: [fine.nc], coarse: [coarse.nc]}]
  streams: {frames: {kind: space, batch: 2, patch: 5}}
  validation_stream: {kind: space, batch: 2, patch: 5}
"""
BOUND = """
model:
  network: {family: dl4ds, variables: [t2m], n_filters: 4, n_blocks: 1, localcon_grid: [%s]}
data:
  sources: [{name: seasonal, files: [fine.nc]}]
  augment: %s
  streams: {frames: {kind: space, batch: 2, patch: %d, patch_columns: 9}}
  validation_stream: {kind: space, batch: 2, patch: 7, patch_columns: 9}
"""
COARSE_LAT, COARSE_LON = 45.5 - np.arange(7.0), 3.5 + np.arange(9.0)


def write_pair(folder):
    """A coarse product at 1 degree, warmer than its own truth at 0.25 degrees, as of another model."""
    rng = np.random.default_rng(0)
    lat, lon = 46 - 0.25 * (np.arange(28) + 0.5), 3 + 0.25 * (np.arange(36) + 0.5)
    times = np.datetime64("2020-01-01T00", "ns") + np.arange(6) * np.timedelta64(24, "h")
    fine = 280 + 4 * np.sin(lat[:, None]) * np.cos(2 * lon) + rng.standard_normal((6, 28, 36))
    coarse = fine.reshape(6, 7, 4, 9, 4).mean(axis=(2, 4)) + 1.5
    for name, values, rows, columns in (("fine", fine, lat, lon), ("coarse", coarse, COARSE_LAT, COARSE_LON)):
        kelvin = {"units": "K", "standard_name": "air_temperature"}
        xr.Dataset(
            {"t2m": (("time", "lat", "lon"), values.astype(np.float32), kelvin)},
            coords={
                "time": times, "lat": ("lat", rows, {"units": "degrees_north"}),
                "lon": ("lon", columns, {"units": "degrees_east"}),
            },
            attrs={"gfs_sr_registration": "cell"},
        ).to_netcdf(folder / f"{name}.nc")  # fmt: skip
    return lat, lon


def test_s003_20_two_epochs_of_six_steps_run_from_end_to_end_within_a_minute(tmp_path):
    start = time.monotonic()
    path = main(arguments(tmp_path, DEBUG, steps=6, epochs=2))
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 12
    artifact = publish_checkpoint(path, tmp_path / "model").artifact
    assert artifact.contract.halo != "global"
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), 280 + np.zeros((2, 6, 7), np.float32), {"units": "K"})},
        coords={"time": [np.datetime64("2020-01-01", "ns"), np.datetime64("2020-01-02", "ns")],
                "lat": 50 - np.arange(6.0), "lon": np.arange(7.0)},
        attrs={"gfs_sr_registration": "cell"},
    ).to_netcdf(tmp_path / "coarse.nc")  # fmt: skip
    model, output = str(tmp_path / "model"), str(tmp_path / "fine.nc")
    result = CliRunner().invoke(app, ["upscale", str(tmp_path / "coarse.nc"), "-o", output, "--model", model])
    assert result.exit_code == 0, result.output
    assert time.monotonic() - start < 60


def test_s003_21_a_coarse_product_of_another_model_is_downscaled_onto_the_fine_grid(tmp_path):
    lat, lon = write_pair(tmp_path)
    options = {"data.folder": str(tmp_path), "data.scalers": '{"t2m": "z"}'}
    path = main(arguments(tmp_path, PAIRS, steps=20, epochs=2, **options))
    assert load_checkpoint(path).contract.inputs == ("t2m",)
    publish_checkpoint(path, tmp_path / "model")
    target = tmp_path / "fine-ours.nc"
    command = ["upscale", str(tmp_path / "coarse.nc"), "-o", str(target), "--model", str(tmp_path / "model"), "--json"]
    result = CliRunner().invoke(app, [*command, "--members", "4", "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["fine_cells"] == 4 * 6 * 28 * 36
    with xr.open_dataset(target) as ours, xr.open_dataset(tmp_path / "fine.nc") as truth:
        np.testing.assert_allclose(ours["lat"], lat)
        np.testing.assert_allclose(ours["lon"], lon)
        assert ours["t2m"].dims == ("realization", "time", "lat", "lon")
        # what the other model gets wrong everywhere is learnt from the pairs: it was 1.5 K too warm
        assert abs(float((ours["t2m"].mean("realization") - truth["t2m"].values).mean())) < 1.0


def test_s003_19_a_report_has_six_scores_as_violins_and_four_as_maps(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    lat, lon = 46 - 0.25 * (np.arange(28) + 0.5), 3 + 0.25 * (np.arange(36) + 0.5)
    wind = 6 + 3 * np.sin(lat[:, None]) * np.cos(2 * lon) + 0.5 * rng.standard_normal((6, 28, 36))
    xr.Dataset(
        {"wspd": (("time", "lat", "lon"), wind.astype(np.float32), {"units": "m s-1", "standard_name": "wind_speed"})},
        coords={"time": np.datetime64("2020-01-01T00", "ns") + np.arange(6) * np.timedelta64(6, "h"),
                "lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})},
        attrs={"gfs_sr_registration": "cell"},
    ).to_netcdf(tmp_path / "fine.nc")  # fmt: skip
    config = {"family": "dl4ds", "variables": ("wspd",), "n_filters": 4, "n_blocks": 1, "output_attention": False}
    publish(make_checkpoint(config, spread=0.05), tmp_path / "model")
    panels, maps = [], []
    monkeypatch.setattr(
        gallery_values,
        "violins_figure",
        lambda name, drawn, inks: panels.extend(drawn) or violins_figure(name, drawn, inks),
    )
    monkeypatch.setattr(gallery_maps, "cell_maps", lambda *given: maps.extend(given[2].values()) or cell_maps(*given))
    run(Settings((tmp_path / "fine.nc",), (str(tmp_path / "model"),), output=tmp_path / "report", tasks=("space",)))
    assert {"violins_wspd.png", "cells_wspd.png"} <= {each.name for each in (tmp_path / "report" / "figures").iterdir()}
    assert {panel.metric for panel in panels} == {"PSNR", "SSIM", "MAE", "RMSE", "correlation", "rank correlation"}
    for each in maps:
        for score in (each.rmse, each.nrmse, each.normalized_bias, each.correlation):
            assert score.shape == each.rmse.shape
            assert np.isfinite(score).all()


@pytest.mark.parametrize(
    ("grid", "augment", "patch", "message"),
    [
        ("45.5, 3.5, 1.0, 7, 9", "false", 7, None),
        ("45.5, 3.5, 1.0, 7, 9", "false", 6, "patches of 6 by 9"),
        ("45.5, 3.5, 1.0, 7, 9", "true", 7, "mirrored"),
        ("44.5, 3.5, 1.0, 7, 9", "false", 7, "not on the grid"),
    ],
)
def test_s003_09_local_weights_are_trained_on_their_whole_grid_alone(tmp_path, grid, augment, patch, message):
    write_pair(tmp_path)
    given = arguments(tmp_path, BOUND % (grid, augment, patch), steps=3, epochs=1, **{"data.folder": str(tmp_path)})
    if message is not None:
        with pytest.raises(UsageError, match=message):
            main(given)
        return
    model, output = str(tmp_path / "model"), str(tmp_path / "ours.nc")
    exported = publish_checkpoint(main(given), tmp_path / "model")
    assert exported.artifact.contract.source_grid.lat == tuple(COARSE_LAT)
    result = CliRunner().invoke(
        app,
        ["upscale", str(tmp_path / "coarse.nc"), "-o", str(tmp_path / "ours.nc"), "--model", str(tmp_path / "model")],
    )
    assert result.exit_code == 0, result.output
    with xr.open_dataset(tmp_path / "coarse.nc") as coarse:
        coarse.isel(lat=slice(1, None)).to_netcdf(tmp_path / "part.nc")
    result = CliRunner().invoke(app, ["upscale", str(tmp_path / "part.nc"), "-o", output, "--model", model])
    assert result.exit_code == 3
    assert "weights for every cell of one grid" in result.output + (result.stderr or "")
