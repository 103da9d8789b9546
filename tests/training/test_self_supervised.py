"""Self-supervised training of networks of time: backwards in time, with terrain and without, from transitions."""

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.data.transitions import Transitions
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training import main as training
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.windows import draw_cycle, draw_times, generator
from tests.training.runs import Life, arguments, live_all
from tests.training.test_distributed import assert_same_training, doubled

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

TEMDEEP = """
training: self-supervised
fail_fast: {patience: 0}
model:
  name: small
  network: {family: temdeep_narrow, width: 4, time_factor: 2, variables: [t2m, wspd], TERRAIN}
  self_supervised: {tv: 0.01, bend: 0.01, rim: 1}
  loss: {weights: {charbonnier: 1.0}, relative: true}
data:
  sources: [{name: arpege, files: ["arpege_2m*.grib", "arpege_10m*.grib"], variables: [t2m, wspd]}]
  step_hours: 3
  streams:
    between: {kind: space_time, batch: 2, patch: 6, fractions: 2, transitions: 0.5, reverse: 0.5, longest_hours: 24}
    cycle: {kind: cycle, batch: 2, patch: 6, time_factors: {1: 1.0}, reverse: 0.5, weight: 0.5, first_step: 1}
  validation_stream: {kind: space_time, batch: 2, patch: 6, longest_hours: 24}
"""


@pytest.fixture(scope="module")
def fields() -> FieldSet:
    """Every value tells its frame."""
    values = np.broadcast_to(np.arange(13, dtype=np.float32)[None, :, None, None], (1, 13, 9, 11)).copy()
    times = np.datetime64("2024-01-01", "ns") + np.arange(13) * np.timedelta64(3, "h")
    return FieldSet("a", "a", ("t2m",), values, times, np.linspace(50, 48, 9), np.linspace(5, 7.5, 11))


@pytest.mark.parametrize("index", range(12))
def test_s001_06_a_reversed_window_has_the_same_target_between_swapped_frames(index):
    one = draw_times(generator(index), 13, 1, 3, 1, 1, 2, frames_too=False)
    other = one.reversed(13)
    # seen from the series that runs backwards: 12 - k is frame k of this one
    np.testing.assert_array_equal(12 - other.fine, one.fine)
    np.testing.assert_array_equal(12 - other.coarse, one.coarse)
    cycle = draw_cycle(generator(index), 13, 3, 1, 1, 1, 0.1, None)
    np.testing.assert_array_equal(12 - cycle.reversed(13).fine, cycle.fine)


def test_s001_06_samples_that_run_backwards_are_those_of_the_same_frames_in_turn(fields):
    model = models.build({"family": "temdeep_narrow", "width": 4, "variables": ["t2m"], "time_factor": 2}).eval()
    task = Task.of(model.make_contract(name="t"), model.reach)
    facts = {"kind": "space_time", "patch": 3, "fractions": 2, "time_factors": {2: 0.5, 4: 0.5}, "longest_hours": 24.0}
    backwards = Sampler([fields], task, StreamConfig(**facts, reverse=1.0))
    halo, scale = model.reach, model.normalization()["t2m"]
    assert isinstance(halo, Reach)
    falling = 0
    for index in range(10):
        sample = backwards.draw(generator(index))
        frames = np.rint(scale.denormalize(sample["coarse"][:, 0, 0, 0]))
        before, after = frames[halo.before], frames[halo.before + 1]
        falling += before > after
        target = np.rint(scale.denormalize(sample["fine"][:, 0, 0, 0]))
        theta = sample["fraction"]
        np.testing.assert_allclose(target, before + theta * (after - before), atol=1e-3)
        assert not sample["predictor_coarse"].any()  # the sun does not run backwards
        batch = {name: torch.from_numpy(each)[None] for name, each in sample.items()}
        with torch.no_grad():
            made = model(**model.inputs_of(batch))[0].numpy()
        np.testing.assert_allclose(made, sample["fine"], atol=1e-5)  # untrained: linear, whichever way time runs
    assert falling == 10


@pytest.mark.parametrize("terrain", ["true", "false"])
def test_s001_13_it_trains_with_and_without_terrain(tmp_path, terrain):
    text = TEMDEEP.replace("TERRAIN", f"terrain: {terrain}")
    training.run(training.parse(arguments(tmp_path, text, steps=3, epochs=1)))
    checkpoint = load_checkpoint(tmp_path / "run" / "small.ckpt")
    assert bool(checkpoint.contract.statics_coarse) == (terrain == "true")
    start = models.build(checkpoint.config).state_dict()
    assert any((start[name] != tensor).any() for name, tensor in checkpoint.state_dict.items() if "out" in name)
    kept = Transitions.load(tmp_path / "run" / "between-2-transitions.json")
    (name,) = kept.values  # nine frames of three hours, in one series
    assert kept.times[name][0] == np.datetime64("2018-05-01T00")
    assert abs(kept.kept(name).size - 0.5 * kept.values[name].size) <= 1


def test_s001_17_two_processes_give_the_weights_of_one_with_the_doubled_batch(tmp_path):
    text = TEMDEEP.replace("TERRAIN", "terrain: false")
    options = {"steps": 3, "epochs": 1, "trainer.log_every_n_steps": "1"}
    one, two = tmp_path / "one", tmp_path / "two"
    assert live_all(tmp_path, text, [Life(one, options, text=doubled(text)), Life(two, options, ranks=2)]) == [0, 0]
    assert_same_training(one, two, 1e-5)
