"""A network of time learns what moves, from every third frame of what moves and from nothing between them."""

import numpy as np
import pytest

from crossvalidation.between import network
from crossvalidation.restoration import ALL, restorations
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training import main as training
from gfs_sr.training.field_set import FieldSet, write_packed

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

STEPS = 120
CONFIG = f"""
training: self-supervised
fail_fast: {{patience: 0}}
pictures: {{every: 0}}
threads: 1
model:
  name: blobs
  network: {{NETWORK}}
  self_supervised: {{tv: 0.0, bend: 0.0, rim: 2}}
  loss: {{weights: {{charbonnier: 1.0}}, charbonnier_delta: 0.1, relative: true}}
  optimizer: {{lr: 4.0e-3, schedule: warmup-cosine, warmup_steps: 10}}
data:
  packed: PACKED
  step_hours: 3
  steps_per_epoch: {STEPS}
  validation_steps: 1
  streams:
    between: {{kind: space_time, batch: 6, patch: 14, fractions: 2, time_factors: {{2: 1.0}}, longest_hours: 24}}
    cycle: {{kind: cycle, batch: 4, patch: 14, time_factors: {{1: 1.0}}, first_step: FIRST}}
  validation_stream: {{kind: space_time, batch: 1, patch: 14, longest_hours: 24}}
trainer: {{max_steps: {STEPS}, max_epochs: -1, accelerator: cpu, enable_progress_bar: false,
  enable_model_summary: false, log_every_n_steps: 20}}
"""

NARROW = "family: temdeep_narrow, width: 8, time_factor: 2, sun: false, terrain: false, hours: false"
RIFE = "family: rife, width: 12, time_factor: 2, dilations: [2, 1]"


def blobs(name: str, seed: int) -> FieldSet:
    """Warm and cold blobs, hourly, that one wind of about half a cell an hour carries along."""
    rng = np.random.default_rng(seed)
    frame, row, column = np.ogrid[:37, :28, :30]
    speed, angle = rng.uniform(0.35, 0.6), 2 * np.pi * rng.random()
    total = np.zeros((37, 28, 30))
    for _ in range(7):
        south = rng.uniform(-6, 34) + speed * np.sin(angle) * (frame - 18)
        east = rng.uniform(-6, 36) + speed * np.cos(angle) * (frame - 18)
        size = rng.uniform(4, 9) * rng.choice([-1, 1])
        total += size * np.exp(-((row - south) ** 2 + (column - east) ** 2) / (2 * 2.6**2))
    times = np.datetime64("2024-01-01", "ns") + np.arange(37) * np.timedelta64(1, "h")
    return FieldSet(f"{name}-0", name, ("t2m",), (280 + total)[None].astype(np.float32), times, None, None)


def trained_rate(tmp_path, name: str, first_step: int, network_of: str = NARROW, hours: int = 3) -> float:
    """Mean restoration rate on blobs that no training saw, at the hours between frames so many hours apart."""
    config = tmp_path / f"{name}.yaml"
    text = CONFIG.replace("PACKED", str(tmp_path / "set.npz")).replace("FIRST", str(first_step))
    config.write_text(text.replace("NETWORK", network_of))
    training.run(training.parse(["-c", str(config), f"--output={tmp_path / name}"]))
    method = network(load_checkpoint(tmp_path / name / "blobs.ckpt"))
    rates = [
        line.restoration
        for seed in range(100, 103)
        for line in restorations(blobs("held", seed), hours, {name: method})
        if line.times == ALL and not line.fraction
    ]
    assert len(rates) == 3
    return float(np.mean(rates))


@pytest.fixture
def folder(tmp_path):
    """Where a set lies that holds nothing between every third frame."""
    sets = [blobs(f"seen{seed}", seed) for seed in range(8)]
    for each in sets:
        each.values[:, np.arange(37) % 3 > 0] = np.nan  # whoever looked between the frames would find nothing
    write_packed(sets, tmp_path / "set.npz")
    return tmp_path


def test_s001_09_what_moves_is_restored_between_the_frames_and_better_after_the_second_stage(folder):
    first = trained_rate(folder, "first", STEPS + 1)
    both = trained_rate(folder, "both", STEPS // 2)
    assert first > 0.3
    assert both > first


def test_interpolation_as_of_video_learns_to_move_a_blob(folder):
    # what it learned from frames six hours apart it knows of such frames: it is told no length of the interval
    assert trained_rate(folder, "video", STEPS + 1, RIFE, hours=6) > 0.3
