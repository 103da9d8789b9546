"""Physics-informed training: samples that know where they lie, terms by weight, and whole runs on real columns."""

import numpy as np
import pytest
import torch

from gfs_sr.data.grid import Registration
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.main import main
from gfs_sr.training.physics import PhysicsConfig, PhysicsInformed
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.windows import generator
from tests.training.runs import arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

NETWORK = {"family": "geodiff", "variables": ["t@1000", "t@850", "t@700"], "scale_factor": 2, "width": 4,
           "multipliers": [1, 2], "heads": 2, "head_width": 4, "stem": 3}  # fmt: skip
REAL = """
training: physics-informed
model:
  network: {family: geodiff, variables: ["t@1000", "t@850", "t@700"], scale_factor: 4, width: 4, multipliers: [1, 2],
    heads: 2, head_width: 4, stem: 3}
  loss: {weights: {charbonnier: 1.0}, relative: true}
  optimizer: {lr: 4.0e-3, schedule: warmup-cosine, warmup_steps: 2}
data:
  sources:
    - {name: marmara, files: ["pressure/era5_marmara_pl_hourly_20210215.nc"], variables: [VARIABLES]}
  augment: false
  streams: {frames: {kind: space, batch: 1, patch: 4}}
  validation_stream: {kind: space, batch: 1, patch: 4}
"""
COLUMNS = ", ".join(f'"{letter}@{level}"' for letter in "tuv" for level in (1000, 850, 700))


def columns(lat, lon, frames=3):
    """Made-up fields of every level on a grid."""
    shape = lat.shape if lat.ndim == 2 else (lat.size, lon.size)
    rng = np.random.default_rng(0)
    names = tuple(f"{letter}@{level}" for letter in "tuv" for level in (1000, 850, 700))
    values = rng.standard_normal((len(names), frames, *shape)).astype(np.float32)
    values[:3] += 270
    times = np.datetime64("2021-02-15T00", "ns") + np.arange(frames) * np.timedelta64(1, "h")
    return FieldSet("x-0", "x", names, values, times, lat, lon)


def task(registration=Registration.CELL):
    module = PhysicsInformed({**NETWORK, "registration": registration.value})
    return module, Task.of(module.network.make_contract(name="x"), Reach())


@pytest.mark.parametrize("registration", list(Registration))
def test_a_sample_knows_where_its_coarse_cells_lie(registration):
    """By cell the middle of two fine cells, by node the first; across the date line too."""
    lat, lon = np.arange(60, 50, -0.25), np.arange(177.0, 184.0, 0.25)
    lon = np.where(lon > 180, lon - 360, lon)
    _, wanted = task(registration)
    sampler = Sampler([columns(lat, lon)], wanted, StreamConfig(kind="space", patch=13))
    place = np.rad2deg(sampler.draw(generator(0, 0), augment=False)["predictor_coarse"])
    assert place.shape == (1, 2, 13, 13)
    steps = np.diff(place[0, 1, 0])
    np.testing.assert_allclose((steps + 180) % 360 - 180, 0.5, atol=1e-4)
    np.testing.assert_allclose(np.diff(place[0, 0, :, 0]), -0.5, atol=1e-4)
    offset = 0.125 if registration is Registration.CELL else 0.0
    fine = (60 - place[0, 0, 0, 0]) / 0.25
    assert fine % 1 == pytest.approx(offset / 0.25, abs=1e-3)


def test_samples_of_a_grid_that_is_not_known_are_refused():
    fields = columns(np.arange(60, 50, -0.25), np.arange(0.0, 7.0, 0.25))
    fields.lat = fields.lon = None
    _, wanted = task()
    with pytest.raises(UsageError, match="where cells lie"):
        Sampler([fields], wanted, StreamConfig(kind="space", patch=8)).draw(generator(0, 0), augment=False)


@pytest.mark.parametrize("off", ["stability", "gradient", "coupling", "weight"])
def test_s002_8_a_term_of_weight_0_is_not_computed(off):
    terms = PhysicsConfig(**{off: 0.0}).terms
    assert off not in terms
    assert len(terms) == (0 if off == "weight" else 2)
    with pytest.raises(ValueError, match="reward"):
        PhysicsConfig(**{off: -1.0})


def test_another_family_is_refused():
    with pytest.raises(UsageError, match="no columns"):
        PhysicsInformed({"family": "factorized"})


def run(tmp_path, shared_data, text=REAL, **more):
    text = text.replace("VARIABLES", COLUMNS)
    given = arguments(tmp_path, text, steps=5, epochs=1, **{"data.folder": str(shared_data), **more})
    return main([*given, "--data.validation_steps=1"])


def test_columns_of_real_files_train_and_the_checkpoint_holds_the_column(tmp_path, shared_data, caplog):
    checkpoint = load_checkpoint(run(tmp_path, shared_data))
    assert checkpoint.contract.inputs[:3] == ("t@1000", "t@850", "t@700")
    assert checkpoint.config["omega"] == "continuity"
    assert "derived from the wind's divergence" in caplog.text  # S002-18: the log says what stands for omega
    # five steps of 0.004 lead a weight by 0.02: the kernel was there before the first
    assert float(checkpoint.state_dict["guiding.kernel.weight"].abs().max()) > 0.04
    zero = [each for name, each in checkpoint.state_dict.items() if ".zero." in name]
    assert all(torch.isfinite(each).all() for each in zero)
    lines = (tmp_path / "run" / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert all(f"train/frames/{term}" in lines for term in ("charbonnier", "stability", "gradient", "coupling"))


def test_turned_samples_are_refused(tmp_path, shared_data):
    with pytest.raises(UsageError, match="laws of motion"):
        run(tmp_path, shared_data, REAL.replace("augment: false", "augment: true"))
