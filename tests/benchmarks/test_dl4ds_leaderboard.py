"""The leaderboard's way from a plan to its table, on made-up fields and a few steps."""

import csv

import numpy as np
import pytest
import xarray as xr
import yaml

from benchmarks.dl4ds_leaderboard import COLUMNS, main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
        "ignore:.*:UserWarning:lightning",
        "ignore:.*:FutureWarning:lightning",
        "ignore:.*:DeprecationWarning",
    ),
]
NETWORK = {"family": "dl4ds", "variables": ["t2m"], "n_filters": 4, "n_blocks": 1, "output_attention": False}


def write_fine(path, seed):
    rng = np.random.default_rng(seed)
    lat, lon = 46 - 0.25 * (np.arange(32) + 0.5), 3 + 0.25 * (np.arange(36) + 0.5)
    fine = 280 + 4 * np.sin(lat[:, None]) * np.cos(2 * lon) + rng.standard_normal((6, 32, 36))
    times = np.datetime64("2020-01-01T00", "ns") + np.arange(6) * np.timedelta64(6, "h")
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), fine.astype(np.float32), {"units": "K", "standard_name": "air_temperature"})},
        coords={"time": times, "lat": ("lat", lat, {"units": "degrees_north"}),
                "lon": ("lon", lon, {"units": "degrees_east"})},
        attrs={"gfs_sr_registration": "cell"},
    ).to_netcdf(path)  # fmt: skip


def test_members_are_ranked_over_all_tests_and_not_trained_twice(tmp_path):
    for seed, name in enumerate(("train", "one", "two")):
        write_fine(tmp_path / f"{name}.nc", seed)
    base = {
        "preset": "dl4ds", "threads": 1, "fail_fast": {"patience": 0},
        "model": {"network": NETWORK | {"padding": "replicate"}},
        "data": {"sources": [{"name": "train", "files": ["train.nc"]}], "steps_per_epoch": 2, "validation_steps": 1,
                 "streams": {"frames": {"kind": "space", "batch": 2, "patch": 6}},
                 "validation_stream": {"kind": "space", "batch": 2, "patch": 6}},
    }  # fmt: skip
    plan = {
        "base": "base.yaml",
        "common": {"trainer.max_steps": 2, "trainer.max_epochs": -1, "trainer.enable_progress_bar": False},
        "tests": {"one": ["one.nc"], "two": ["two.nc"]},
        "members": {"plain": {}, "direct": {"model.network.baseline_residual": False}},
    }
    for name, content in (("base", base), ("plan", plan)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    given = ["-c", str(tmp_path / "plan.yaml"), "--data", str(tmp_path), "-o", str(tmp_path / "board")]
    main([*given, "--only", "plain"])
    trained = (tmp_path / "board" / "runs" / "plain" / "summary.json").stat().st_mtime_ns
    main(given)
    assert (tmp_path / "board" / "runs" / "plain" / "summary.json").stat().st_mtime_ns == trained
    with (tmp_path / "board" / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    # two steps teach a direct output nothing, and what is over the interpolation stays near it
    assert [(row["model"], row["test"]) for row in rows] == [
        ("plain", "one"), ("plain", "two"), ("direct", "one"), ("direct", "two"),
    ]  # fmt: skip
    for row in rows:
        assert float(row["skill_low"]) <= float(row["skill_percent"]) <= float(row["skill_high"])
        assert float(row["fine_cells_per_s"]) > 0
