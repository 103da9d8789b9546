"""Whole runs on real bundled data, a few seconds each."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch

from gfs_sr import models
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.main import main, parse, run

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

FACTORIZED = """
model:
  network: {family: factorized, variables: [t2m, wspd], scale_factor: 3, time_factor: 3, blocks: 1, width: 8,
    padding: replicate}
  optimizer: {lr: 4.0e-3, schedule: warmup-cosine, warmup_steps: 5}
  loss: {weights: {huber: 1.0, dt: 0.05}}
data:
  sources: [{name: arpege, files: ["arpege_2m*.grib", "arpege_10m*.grib"]}]
  streams: {whole: {kind: space_time, batch: 2, patch: 8, intervals: 3}}
  validation_stream: {kind: space_time, batch: 2, patch: 8, intervals: 3}
"""
FUSED = """
closed_form: true
model:
  network: {family: fused, width: 6, blocks: 1, scale_factor: 3, time_factor: 3, interval_hours: 3.0}
  optimizer: {lr: 1.5e-3, schedule: warmup-cosine, warmup_steps: 5}
  loss: {weights: {huber: 1.0}, huber_delta: 1.5, relative: true}
data:
  sources: [{name: arpege, files: ["arpege_*.grib"], variables: [t2m, d2m, r2, u10, v10, msl]}]
  streams:
    frames: {kind: space, batch: 4, patch: 8}
    times: {kind: space_time, batch: 2, patch: 6, intervals: 2, fractions: 2, every: 2, repeat_ends: 0.3}
    series: {kind: time, batch: 3, patch: 4, intervals: 1, fractions: 3, every: 2, offset: 1}
  validation_stream: {kind: space_time, batch: 4, patch: 6, intervals: 2}
"""
COMMON = """
threads: 1
trainer: {accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, log_every_n_steps: 5}
"""


def arguments(tmp_path: Path, text: str, steps: int = 20, epochs: int = 2, **more: str) -> list[str]:
    config = tmp_path / "config.yaml"
    config.write_text(text + COMMON)
    options = {
        "data.folder": str(files("gfs_sr.demo") / "sample"), "data.steps_per_epoch": str(steps),
        "data.validation_steps": "2", "trainer.max_epochs": str(epochs), "output": str(tmp_path / "run"),
    } | more  # fmt: skip
    return ["-c", str(config), *(f"--{key}={value}" for key, value in options.items())]


@pytest.mark.parametrize("text", [FACTORIZED, FUSED], ids=["factorized", "fused"])
def test_a_tiny_run_beats_its_own_start_and_leaves_a_checkpoint_that_exports_take(tmp_path, text):
    command = parse(arguments(tmp_path, text))
    (before,) = command.trainer.validate(command.model, command.datamodule, verbose=False)
    path = run(command)
    after = float(command.trainer.callback_metrics["val/skill"])
    assert after > before["val/skill"]
    assert path.name == f"{command.model.network.family}.ckpt"
    checkpoint = load_checkpoint(path)
    assert checkpoint.contract.halo != "global"
    assert checkpoint.provenance["trained on"] == "arpege"
    assert {line.variable for line in checkpoint.skill} <= set(checkpoint.contract.inputs)
    assert checkpoint.sample.variables == checkpoint.contract.inputs
    assert checkpoint.contract.interval_hours == (3.0,)
    assert load_checkpoint(path.parent / "last.ckpt").contract == checkpoint.contract
    assert (path.parent / "csv" / "metrics.csv").is_file()
    assert list((path.parent / "tensorboard").iterdir())
    assert (path.parent / "config.yaml").is_file()


def test_s000_16_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    steady = {"model.optimizer.schedule": "constant"}  # a cosine knows how long the run is
    one = load_checkpoint(main(arguments(whole, FACTORIZED, steps=4, epochs=2, **steady)).parent / "last.ckpt")
    main(arguments(parts, FACTORIZED, steps=4, epochs=1, **steady))
    again = main(arguments(parts, FACTORIZED, steps=4, epochs=2, ckpt_path="last", **steady))
    other = load_checkpoint(again.parent / "last.ckpt")
    for name, tensor in one.state_dict.items():
        torch.testing.assert_close(other.state_dict[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("option", "unknown", "meant"),
    [
        ("--trainer.max_stepz=3", "max_stepz", "max_steps"),
        ("--model.optimizer.lrr=2", "lrr", "lr"),
        ("--data.validation_stepz=2", "validation_stepz", "validation_steps"),
        ("--outputs=x", "outputs", "output"),
    ],
)
def test_s000_22_an_unknown_key_is_answered_with_the_nearest_one(tmp_path, option, unknown, meant):
    with pytest.raises(UsageError, match=unknown) as caught:
        parse([*arguments(tmp_path, FACTORIZED), option])
    assert meant in caught.value.mend


def test_a_value_of_the_wrong_type_is_refused_by_key(tmp_path):
    with pytest.raises(UsageError, match=r"steps_per_epoch"):
        parse([*arguments(tmp_path, FACTORIZED), "--data.steps_per_epoch=banana"])


def test_sources_that_suit_no_stream_are_refused_before_training(tmp_path):
    from gfs_sr.errors import NothingToUpscale

    with pytest.raises(NothingToUpscale, match="stream whole"):
        main(arguments(tmp_path, FACTORIZED.replace("wspd]", "sp]")))


@pytest.mark.parametrize("name", ["factorized", "fused"])
def test_the_shipped_configurations_parse(tmp_path, name):
    root = Path(__file__).resolve().parents[2]
    command = parse(["-c", str(root / "configs" / f"{name}.yaml"), "--output", str(tmp_path / "run"),
                     "--trainer.accelerator=cpu", "--trainer.precision=32"])  # fmt: skip
    assert command.model.network.family == name
    assert models.build(command.model.network.config).config == command.model.network.config


def test_the_cell_configuration_changes_the_network_and_keeps_the_rest(tmp_path):
    folder = Path(__file__).resolve().parents[2] / "configs"
    both = parse(["-c", str(folder / "fused.yaml"), "-c", str(folder / "fused-cell.yaml"),
                  "--output", str(tmp_path / "run"), "--trainer.accelerator=cpu"])  # fmt: skip
    node = parse(["-c", str(folder / "fused.yaml"), "--output", str(tmp_path / "run"), "--trainer.accelerator=cpu"])
    assert both.model.network.facts.registration == "cell"
    assert both.model.offered_as == "fused-cell"
    assert both.datamodule.streams == node.datamodule.streams
    assert both.model.network.config | {"registration": "node", "sharpening": 0.2} == node.model.network.config


def test_corrections_are_damped_once_in_the_weights_that_are_validated_and_shipped(tmp_path):
    from gfs_sr.training.closed_form import ClosedForm

    kept, damped = tmp_path / "kept", tmp_path / "damped"
    states = []
    for folder, factor in ((kept, 1.0), (damped, 0.5)):
        folder.mkdir()
        command = parse(arguments(folder, FUSED, steps=4, epochs=1))
        (fit,) = (each for each in command.trainer.callbacks if isinstance(each, ClosedForm))
        fit.damping, fit.batches = factor, 1
        states.append(load_checkpoint(run(command)).state_dict["residual.between.out.weight"])
    width = 6
    torch.testing.assert_close(states[1][:width], states[0][:width], rtol=0, atol=0)
    torch.testing.assert_close(states[1][width + 4 :], 0.5 * states[0][width + 4 :])
    assert states[0][width + 4 :].any()
