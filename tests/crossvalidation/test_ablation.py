"""The ablation of the regularizers, with a tiny recipe."""

import csv

import numpy as np
import pytest

from crossvalidation.ablation import VARIANTS, main
from gfs_sr.training.field_set import FieldSet, write_packed
from tests.fields import waves

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

CONFIG = """
training: self-supervised
fail_fast: {patience: 0}
pictures: {every: 0}
threads: 1
model:
  name: tiny
  network: {family: temdeep_narrow, width: 4, time_factor: 2, sun: false, terrain: false}
  self_supervised: {tv: 0.01, bend: 0.01, rim: 1}
  loss: {weights: {charbonnier: 1.0}, relative: true}
data:
  packed: PACKED
  validation: [there]
  step_hours: 3
  steps_per_epoch: 2
  validation_steps: 1
  streams:
    cycle: {kind: cycle, batch: 1, patch: 5, time_factors: {1: 1.0}}
    between: {kind: space_time, batch: 1, patch: 5, fractions: 2, longest_hours: 24}
  validation_stream: {kind: space_time, batch: 1, patch: 5, longest_hours: 24}
trainer: {max_steps: 2, max_epochs: -1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false,
  log_every_n_steps: 1}
"""


def source(name: str, seed: int) -> FieldSet:
    times = np.datetime64("2024-01-01", "ns") + np.arange(25) * np.timedelta64(1, "h")
    lat, lon = 55 - 0.25 * np.arange(15), 5 + 0.25 * np.arange(16)
    values = (280 + waves(25, 15, 16, seed)[None]).astype(np.float32)
    return FieldSet(f"{name}-0", name, ("t2m",), values, times, lat, lon, provenance={"fold": name})


def test_s001_10_the_ablation_is_a_table_of_the_four_variants_on_sources_left_out(tmp_path, capsys):
    write_packed([source("here", 1), source("there", 2), source("away", 3)], tmp_path / "set.npz")
    (tmp_path / "config.yaml").write_text(CONFIG.replace("PACKED", str(tmp_path / "set.npz")))
    arguments = ["-c", str(tmp_path / "config.yaml"), "--sources", "away", "--scratch", str(tmp_path / "runs"),
                 "--time-factors", "3", "--figures", str(tmp_path), "-o", str(tmp_path / "ablation.csv")]  # fmt: skip
    assert main(arguments) == 0
    assert (tmp_path / "ablation.png").stat().st_size > 5000
    shown = capsys.readouterr().out.splitlines()
    assert "| hours | times | none | TV | temporal | both |" in shown
    with (tmp_path / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [*dict.fromkeys(row["method"] for row in rows)] == list(VARIANTS)
    assert {row["source"] for row in rows} == {"away"}
    rates = {row["method"]: row["restoration"] for row in rows if (row["fraction"], row["times"]) == ("0.0", "all")}
    assert shown[-2] == f"| 3 | all | {' | '.join(f'{100 * float(rate):.1f} %' for rate in rates.values())} |"
    # each was trained with its own weights
    logged = {}
    for name in VARIANTS:
        with (tmp_path / "runs" / name / "csv" / "metrics.csv").open() as file:
            logged[name] = {key for row in csv.DictReader(file) for key, value in row.items() if value}
    assert {name: "train/cycle/tv" in keys for name, keys in logged.items()} == {
        "none": False, "TV": True, "temporal": False, "both": True,
    }  # fmt: skip
    assert {name: "train/cycle/bend" in keys for name, keys in logged.items()} == {
        "none": False, "TV": False, "temporal": True, "both": True,
    }  # fmt: skip
    assert main(arguments) == 0  # nothing is trained again
