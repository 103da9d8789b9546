"""Columns of a made-up atmosphere above real terrain: what coarse cells lose hangs on the ground, and can be learned.

Temperature falls with terrain height, less so the higher the level; air that is `warmer` does so less too, as moist
air.
"""

from pathlib import Path

import numpy as np

from gfs_sr.training.field_set import FieldSet, write_packed

LEVELS = (1000, 850, 700)
TYPICAL = (288.0, 281.0, 273.0)  # K
LAPSE = (6.5e-3, 4e-3, 2e-3)  # K/m
ROWS, COLUMNS = 40, 44  # of 0.1 degrees, in the Alps
TEXT = """
training: physics-informed
fail_fast: {patience: 0}
model:
  name: toy
  network: {family: geodiff, variables: ["t@1000", "t@850", "t@700"], scale_factor: 4, width: 8, multipliers: [1, 2],
    heads: 2, head_width: 4, stem: 3, statics: [orog]}
  loss: {weights: {charbonnier: 1.0}, relative: true}
  optimizer: {lr: 6.0e-3, schedule: warmup-cosine, warmup_steps: 5}
data:
  packed: PACKED
  validation: [held-out]
  leave_out: [warm]
  augment: false
  streams: {frames: {kind: space, batch: 2, patch: 6}}
  validation_stream: {kind: space, batch: 2, patch: 6}
"""
MEMBERS = """
training: diffusion
fail_fast: {patience: 0}
model:
  name: toy
  mean: LEARNED
  network: {family: geodiff_members, variables: ["t@1000", "t@850", "t@700"], scale_factor: 4, width: 8,
    multipliers: [1, 2], attention_heads: 2, head_width: 4, stem: 3, drop_conditions: 0.2, focus: 0.3,
    schedule: {n: 6, sigma_min: 0.05, sigma_max: 10.0}}
  optimizer: {lr: 4.0e-3, schedule: warmup-cosine, warmup_steps: 5}
""" + TEXT[TEXT.index("data:") :]


def columns(name: str, frames: int = 6, seed: int = 0, warmer: float = 0.0) -> FieldSet:
    """Hourly frames; `warmer` in K."""
    rng = np.random.default_rng(seed)
    lat, lon = 47.5 - 0.1 * np.arange(ROWS), 8 + 0.1 * np.arange(COLUMNS)
    times = np.datetime64("2021-01-01", "ns") + np.arange(frames) * np.timedelta64(1, "h")
    shape = (frames, ROWS, COLUMNS)
    names = tuple(f"{letter}@{level}" for letter in "tuv" for level in LEVELS)
    made = FieldSet(name, name, names, np.zeros((len(names), *shape), np.float32), times, lat, lon)
    height = made.static("orog")
    y, x, t = np.meshgrid(np.arange(ROWS) / ROWS, np.arange(COLUMNS) / COLUMNS, np.arange(frames) / 6, indexing="ij")
    turn = rng.uniform(0, 2 * np.pi, 6)
    for k, (mean, lapse) in enumerate(zip(TYPICAL, LAPSE, strict=True)):
        wave = np.sin(5 * x + 3 * y + 2 * t + turn[k]) + 0.5 * np.cos(4 * y - 2 * x + turn[3 + k])
        field = mean + warmer + 2.0 * wave.transpose(2, 0, 1)
        made.values[k] = field - lapse * (1 - 0.01 * warmer) * height
        made.values[3 + k] = 8 + 4 * np.cos(3 * y + turn[k]).transpose(2, 0, 1)
        made.values[6 + k] = 3 * np.sin(3 * x + turn[k]).transpose(2, 0, 1)
    return made


def packed(folder: Path) -> Path:
    """Cold weather to learn from, more of it that is held out, and warm weather."""
    path = folder / "toy.npz"
    write_packed([columns("cold", 8, 1), columns("held-out", 3, 2), columns("warm", 3, 3, 15.0)], path)
    return path
