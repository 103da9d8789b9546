"""Whole runs on real bundled data, a few seconds each."""

import logging
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gfs_sr import models
from gfs_sr.errors import NothingToUpscale, UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.estimate import Cost, Estimate, epoch_seconds, timed_cycle
from gfs_sr.training.main import _prepare, main, parse, run
from gfs_sr.training.presets import PRESETS
from tests.export.checkpoints import write_checkpoint
from tests.training.runs import FACTORIZED, FUSED, arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)


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


def test_a_run_of_no_network_is_told_where_one_is():
    with pytest.raises(UsageError, match=r"model\.network") as caught:
        parse([])
    assert "-c CONFIG.yaml" in caught.value.mend


def test_a_value_of_the_wrong_type_is_refused_by_key(tmp_path):
    with pytest.raises(UsageError, match=r"steps_per_epoch"):
        parse([*arguments(tmp_path, FACTORIZED), "--data.steps_per_epoch=banana"])


def test_sources_that_suit_no_stream_are_refused_before_training(tmp_path):
    with pytest.raises(NothingToUpscale, match="stream whole") as caught:
        main(arguments(tmp_path, FACTORIZED.replace("wspd]", "sp]")))
    assert "arpege lacks sp" in str(caught.value)


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ("intervals: 9", "arpege has 25 frames, 1 h apart, of which no 9 coarse intervals can be made"),
        ("least_cells: 60", "arpege is 58 cells wide, and 60 are the least"),
        ("most_cells: 40", "arpege is 58 cells wide, and fewer than 40 are taken"),
    ],
)
def test_a_source_that_does_not_suit_a_stream_says_why(tmp_path, stream, why):
    text = FACTORIZED.replace("batch: 2, patch: 8, intervals: 3}}", f"batch: 2, patch: 8, {stream}}}}}")
    with pytest.raises(NothingToUpscale) as caught:
        main(arguments(tmp_path, text))
    assert why in str(caught.value)


def test_a_run_that_replaces_another_says_so_and_starts_curves_of_its_own(tmp_path):
    main(arguments(tmp_path, FACTORIZED, steps=2, epochs=2))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        main(arguments(tmp_path, FACTORIZED, steps=2, epochs=1))
    assert any("holds an earlier run, which this one replaces" in str(each.message) for each in told)
    shown = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [point.step for point in shown.Scalars("val/skill")] == [1]  # the second run's only


def test_accumulated_batches_have_one_line_of_the_rate(tmp_path):
    main(arguments(tmp_path, FACTORIZED, steps=6, epochs=1,
                   **{"trainer.log_every_n_steps": "1", "trainer.accumulate_grad_batches": "3"}))  # fmt: skip
    lines = (tmp_path / "run" / "csv" / "metrics.csv").read_text().splitlines()
    assert len(lines) == len(set(lines))


def test_a_start_tells_of_no_platform(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        parse(arguments(tmp_path, FACTORIZED))
    assert "litlogger" not in caplog.text


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("factorized", "factorized"), ("fused", "fused"), ("fixed-grid", "unet"), ("precipitation", "unet"),
        ("edm", "edm"), ("edm-time", "edm"),
    ],
)  # fmt: skip
def test_the_shipped_configurations_parse(tmp_path, name, family):
    root = Path(__file__).resolve().parents[2]
    command = parse(["-c", str(root / "configs" / f"{name}.yaml"), "--output", str(tmp_path / "run"),
                     "--trainer.accelerator=cpu"])  # fmt: skip
    assert command.model.network.family == family
    assert models.build(command.model.network.config).config == command.model.network.config


def test_the_members_of_precipitation_lie_around_the_regression_that_is_configured_for_them(tmp_path):
    folder = Path(__file__).resolve().parents[2] / "configs"
    trainer = ["--output", str(tmp_path / "run"), "--trainer.accelerator=cpu"]
    regression = parse(["-c", str(folder / "precipitation.yaml"), *trainer])
    mean = write_checkpoint(tmp_path / "mean.ckpt", regression.model.network.config)
    command = parse(["-c", str(folder / "edm-precipitation.yaml"), f"--model.mean={mean}", *trainer])
    assert command.model.network.config["mean"] == regression.model.network.config
    assert command.datamodule.scalers == regression.datamodule.scalers == {"tp": "log"}


def test_the_configuration_of_hours_together_is_that_of_single_frames_but_for_them(tmp_path):
    folder = Path(__file__).resolve().parents[2] / "configs"
    trainer = ["--output", str(tmp_path / "run"), "--trainer.accelerator=cpu"]
    frames, hours = (parse(["-c", str(folder / f"{name}.yaml"), *trainer]) for name in ("edm", "edm-time"))
    assert hours.model.network.config == frames.model.network.config | {"temporal": True}
    assert hours.datamodule.streams["hours"].kind == "space_time"


def test_the_cell_configuration_changes_the_network_and_keeps_the_rest(tmp_path):
    folder = Path(__file__).resolve().parents[2] / "configs"
    both = parse(["-c", str(folder / "fused.yaml"), "-c", str(folder / "fused-cell.yaml"),
                  "--output", str(tmp_path / "run"), "--trainer.accelerator=cpu"])  # fmt: skip
    node = parse(["-c", str(folder / "fused.yaml"), "--output", str(tmp_path / "run"), "--trainer.accelerator=cpu"])
    assert both.model.network.facts.registration == "cell"
    assert both.model.offered_as == "fused-cell"
    assert both.datamodule.streams == node.datamodule.streams
    assert both.model.network.config | {"registration": "node", "sharpening": 0.2} == node.model.network.config


def test_changes_between_frames_are_damped_once_in_the_weights_that_are_validated_and_shipped(tmp_path):
    from gfs_sr.training.closed_form import ClosedForm

    kept, damped = tmp_path / "kept", tmp_path / "damped"
    states = []
    for folder, factor in ((kept, 1.0), (damped, 0.5)):
        folder.mkdir()
        command = parse(arguments(folder, FUSED, steps=4, epochs=1))
        (fit,) = (each for each in command.trainer.callbacks if isinstance(each, ClosedForm))
        fit.damping, fit.batches = factor, 1
        states.append(load_checkpoint(run(command)).state_dict["residual.between.out.weight"])
    strength = 6 + 3  # of the filter, after the features and three corrections
    torch.testing.assert_close(states[1][strength], states[0][strength], rtol=0, atol=0)
    for part in (slice(strength), slice(strength + 1, None)):
        torch.testing.assert_close(states[1][part], 0.5 * states[0][part])
        assert states[0][part].any()


# presets


def test_s000_22_a_preset_gives_defaults_and_an_explicit_key_beats_it(tmp_path):
    text = FACTORIZED.replace("  loss: {weights: {huber: 1.0, dt: 0.05}}\n", "")
    text = text.replace(", schedule: warmup-cosine, warmup_steps: 5", "")
    bare = parse(arguments(tmp_path, text)).model
    assert bare.loss.terms == {"l1": 1.0, "dt": 0.05, "grad": 0.03}
    preset = parse([*arguments(tmp_path, text), "--preset=sharp_psd"]).model
    assert preset.loss.terms["psd"] == 0.015
    assert (preset.optimizer_config.schedule, preset.optimizer_config.warmup_steps) == ("warmup-cosine", 1500)
    assert preset.optimizer_config.lr == 4e-3  # the file's
    told = ["--preset=sharp_psd", "--model.optimizer.warmup_steps=7", "--model.loss.weights={l1: 2.0}"]
    explicit = parse([*arguments(tmp_path, text), *told]).model
    assert explicit.optimizer_config.warmup_steps == 7
    assert explicit.loss.terms == {"l1": 2.0}


def test_s000_22_a_preset_in_the_file_is_taken_and_the_command_line_switches_it_off(tmp_path):
    text = "preset: sharp_psd\n" + FACTORIZED.replace(", schedule: warmup-cosine, warmup_steps: 5", "")
    assert parse(arguments(tmp_path, text)).model.optimizer_config.warmup_steps == 1500
    off = parse([*arguments(tmp_path, text), "--preset", "none"])
    assert off.model.optimizer_config.warmup_steps == 800


def test_s000_22_an_unknown_preset_is_answered_with_the_nearest_one(tmp_path):
    with pytest.raises(UsageError, match="sharp_pds") as caught:
        parse([*arguments(tmp_path, FACTORIZED), "--preset=sharp_pds"])
    assert "sharp_psd" in caught.value.mend


# those of members are parsed with their own networks: tests/training/test_flags.py
OF_FIELDS = [name for name, keys in PRESETS.items() if keys.get("training", "supervised") == "supervised"]


@pytest.mark.parametrize("name", OF_FIELDS)
def test_every_preset_parses(tmp_path, name):
    text = FACTORIZED.replace(", schedule: warmup-cosine, warmup_steps: 5", "")
    command = parse([*arguments(tmp_path, text), "--preset", name])
    for key, value in PRESETS[name].items():
        if not key.endswith(("lr", "max_epochs", "weights")):  # those the file gives
            assert command.config[key] == value


# precision, accumulation, clipping, compilation


@pytest.mark.parametrize("precision", ["32", "32-true", "bf16", "bf16-mixed", "64-true"])
def test_a_run_trains_in_every_precision_of_the_cpu(tmp_path, precision):
    command = parse(arguments(tmp_path, FACTORIZED, steps=2, epochs=1, **{"trainer.precision": precision}))
    run(command)
    assert torch.isfinite(command.trainer.callback_metrics["train/loss"])
    assert next(command.model.network.parameters()).dtype == (torch.float64 if "64" in precision else torch.float32)


@pytest.mark.parametrize("precision", ["16", "16-mixed"])
def test_half_precision_on_a_cpu_is_refused_instead_of_replaced(tmp_path, precision):
    with pytest.raises(UsageError, match=f"precision {precision} is for GPUs"):
        parse(arguments(tmp_path, FACTORIZED, **{"trainer.precision": precision}))


def steps_of(tmp_path: Path, **keys: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The training loss of every step, and the weights at the end."""

    class Record(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            losses.append(float(outputs["loss"]))

    losses: list[float] = []
    command = parse(arguments(tmp_path, FACTORIZED, steps=4, epochs=1, **keys))
    command.trainer.callbacks.insert(0, Record())
    run(command)
    return losses, command.model.network.state_dict()


def test_accumulated_steps_are_one_step_of_the_larger_batch(tmp_path):
    (tmp_path / "twice").mkdir()
    steady = {"model.optimizer.schedule": "constant", "trainer.gradient_clip_val": "0.1"}
    losses, accumulated = steps_of(tmp_path, **{"trainer.accumulate_grad_batches": "2"}, **steady)
    assert len(losses) == 4
    _, every = steps_of(tmp_path / "twice", **steady)
    assert any((accumulated[name] - every[name]).abs().max() > 1e-4 for name in every)


@pytest.mark.parametrize("method", ["norm", "value"])
def test_gradients_are_clipped(tmp_path, method):
    class Watch(Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            gradients = [each.grad for each in pl_module.network.parameters() if each.grad is not None]
            if gradients:
                flat = torch.cat([each.flatten() for each in gradients])
                seen.append(float(flat.norm() if method == "norm" else flat.abs().max()))

    seen: list[float] = []
    keys = {"trainer.gradient_clip_val": "0.001", "trainer.gradient_clip_algorithm": method}
    command = parse(arguments(tmp_path, FACTORIZED, steps=3, epochs=1, **keys))
    command.trainer.callbacks.insert(0, Watch())
    run(command)
    assert seen
    assert max(seen) <= 0.001 * (1 + 1e-4)


@pytest.mark.slow
def test_compiled_training_compiles_and_has_the_same_losses(tmp_path):
    from torch._dynamo.utils import counters

    (tmp_path / "compiled").mkdir()
    plain, _ = steps_of(tmp_path)
    counters.clear()
    compiled, _ = steps_of(tmp_path / "compiled", **{"model.compile": "true"})
    assert counters["stats"]["unique_graphs"] > 0
    assert compiled == pytest.approx(plain, rel=1e-4)


# loggers


def test_weights_and_biases_logs_offline_into_the_run_folder(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs the extra: pip install 'gfs-sr[wandb]'")
    monkeypatch.setenv("WANDB_SILENT", "true")
    keys = {"loggers": "[wandb]", "wandb.project": "test", "wandb.name": "tiny", "trainer.log_every_n_steps": "1"}
    folder = main(arguments(tmp_path, FACTORIZED, steps=2, epochs=1, **keys)).parent
    import wandb

    wandb.finish()
    (run_folder,) = (folder / "wandb").glob("offline-run-*")
    assert list(run_folder.glob("run-*.wandb"))
    assert not (folder / "csv").exists()
    assert not (folder / "tensorboard").exists()


def test_weights_and_biases_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("gfs_sr.training.loggers.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed") as caught:
        parse(arguments(tmp_path, FACTORIZED, loggers="[csv, wandb]"))
    assert "gfs-sr[wandb]" in caught.value.mend


def test_a_disabled_logger_is_left_out(tmp_path):
    command = parse(arguments(tmp_path, FACTORIZED, steps=1, epochs=1, loggers="[wandb]", **{"wandb.mode": "disabled"}))
    assert command.trainer.loggers == []
    assert run(command).is_file()


# warm start


def test_a_run_starts_from_another_runs_weights(tmp_path):
    (tmp_path / "next").mkdir()
    first = main(arguments(tmp_path, FACTORIZED, steps=3, epochs=1))
    command = parse(arguments(tmp_path / "next", FACTORIZED, steps=1, epochs=1, **{"weights.path": str(first)}))
    _prepare(command)
    given = load_checkpoint(first).state_dict
    for name, tensor in command.model.network.state_dict().items():
        assert torch.equal(tensor, given[name])


def test_weights_that_do_not_fit_are_refused_unless_they_are_named(tmp_path):
    (tmp_path / "next").mkdir()
    first = main(arguments(tmp_path, FACTORIZED, steps=1, epochs=1))
    deeper = FACTORIZED.replace("blocks: 1", "blocks: 2")
    keys = {"weights.path": str(first)}
    with pytest.raises(UsageError, match=r"do not fit: residual\.spatial\.blocks\.1"):
        run(parse(arguments(tmp_path / "next", deeper, steps=1, epochs=1, **keys)))
    keys["weights.partial"] = "[residual.spatial.blocks.1]"
    assert run(parse(arguments(tmp_path / "next", deeper, steps=1, epochs=1, **keys))).is_file()


def test_a_closed_form_and_given_weights_exclude_each_other(tmp_path):
    with pytest.raises(UsageError, match="closed_form"):
        main(arguments(tmp_path, FUSED, steps=1, epochs=1, **{"weights.path": "some.ckpt"}))


# losses that need more than a stream gives


def test_a_loss_that_a_stream_is_too_small_for_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(UsageError, match="88 cells a side, these have 24") as caught:
        main(arguments(tmp_path, FACTORIZED.replace("{huber: 1.0, dt: 0.05}", "{msdssim_mae: 1.0}"), steps=1, epochs=1))
    assert "patches" in caught.value.mend


# estimate


def test_s000_15_the_estimate_follows_a_fake_clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()

    def draw(number: int) -> dict[str, dict[str, torch.Tensor]]:
        clock.now += 0.25
        return {}

    def step(batch: object) -> None:
        clock.now += 1.5

    drawing, training = timed_cycle(draw, step, 6, clock)
    assert drawing == pytest.approx(0.25, rel=0.05)
    assert training == pytest.approx(1.5, rel=0.05)
    assert epoch_seconds(drawing, training, 0, 100) == pytest.approx(175, rel=0.05)
    assert epoch_seconds(drawing, training, 2, 100) == pytest.approx(150, rel=0.05)  # drawn while it trains
    assert epoch_seconds(8.0, training, 2, 100) == pytest.approx(400, rel=0.05)  # workers that are slower


@pytest.mark.parametrize("text", [FACTORIZED, FUSED], ids=["factorized", "fused"])
def test_s000_15_an_estimate_measures_every_size_and_writes_nothing(tmp_path, text):
    result = main([*arguments(tmp_path, text, steps=7), "--estimate"])
    assert isinstance(result, Estimate)
    assert len(result.rows) == 9
    middle = result.rows[4]
    assert middle.batch == ("2" if text is FACTORIZED else "4/2/3")
    for row in result.rows:
        assert isinstance(row.cost, Cost)
        assert row.cost.epoch_seconds == pytest.approx(7 * (row.cost.draw_seconds + row.cost.step_seconds))
        assert row.cost.memory_bytes > 50 * 2**20
    assert result.rows[-1].cost.step_seconds > result.rows[0].cost.step_seconds
    assert len(str(result).splitlines()) == 10
    assert not (tmp_path / "run").exists()


def test_an_estimate_names_sizes_that_cannot_be(tmp_path):
    text = FACTORIZED.replace("{huber: 1.0, dt: 0.05}", "{ssim: 1.0}").replace("patch: 8, i", "patch: 6, i")
    rows = main([*arguments(tmp_path, text), "--estimate"]).rows
    assert "ssim needs fields of 11 cells" in rows[0].cost
    assert "ssim needs" in str(rows[0].cost)
    assert isinstance(rows[3].cost, Cost)


@pytest.mark.parametrize(
    "option", ["--trainer.logger=true", "--trainer.default_root_dir=x", "--trainer.enable_checkpointing=false"]
)
def test_keys_of_the_trainer_that_would_not_act_are_refused(tmp_path, option):
    with pytest.raises(UsageError, match="no part in a run"):
        parse([*arguments(tmp_path, FACTORIZED), option])
