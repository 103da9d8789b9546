"""docs/guide/flags.md is held to the programs it speaks of."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from export.onnx import app as onnx_app
from gfs_sr import models
from gfs_sr.cli.app import app
from gfs_sr.training.field_set import SourceConfig
from gfs_sr.training.main import TRAININGS, known_keys, parse
from gfs_sr.training.presets import PRESETS
from gfs_sr.training.samples import StreamConfig

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "flags.md"
ROW = re.compile(r"^\| `([^`]+)` \| (?:`([^`]+)`(?: of `([^`]+)`)?|(dropped)) \| (.*) \|$")
ITEMS = {"data.streams": StreamConfig, "data.sources": SourceConfig}

# what the specification names, system by system
FLAGS = {
    "S000": """--data_root --ext --cache_dir --variables --split --train_ratio --val_ratio --train_start_date
        --train_end_date --val_start_date --val_end_date --test_start_date --test_end_date --seed --batch_size
        --max_epochs --lr --min_lr --lambda_dt --use_huber --huber_delta --lambda_grad --lambda_psd --weight_decay
        --precision --grad_clip --num_workers --preset --lr_schedule --warmup_steps --resume_ckpt --resume_wandb_id
        --temporal_factor --spatial_factor --hr_patch --temporal_method --spatial_sigma --project --run_name
        --out_dir --wandb_mode --ckpt --stats_json --temporal_mode --batch_device --results_csv --num_examples
        --example_hours --example_var --scales""",
    "S001": """--nodes --nr --model_path --epoch_num --model --save --name --dataset --resume --workers --gpus --fp16
        --lr
        --lr_scheduler --lr_gamma --lr_step --lr_milestones --clip_gradients --batch_size --wd --seed --optimizer
        --print_freq --save_freq --start_epoch --epochs --train_file --val_file --crop_size --train_n_batches
        --val_n_batches --sample_rate --step_size --num_interp --val_sample_rate --val_step_size --val_num_interp
        --val_batch_size --initial_eval --start_index --flow_scale --skip_aug --teacher_weight --write_video
        --video_fps --write_images --stride --post_fix --local_rank --distributed_backend""",
    "S003": """train test metrics debug trainer paired_samples data_module backbone upsampling time_window n_filters
        n_blocks n_disc_filters n_disc_blocks normalization dropout_rate dropout_variant attention activation
        output_activation localcon_layer decoder_upsampling rc_interpolation device save save_path scale epochs loss
        interpolation patch_size batch_size learning_rate gpu_memory_growth use_multiprocessing lr_decay_after
        early_stopping patience min_delta show_plot save_bestmodel verbose checkpoints_frequency
        inference_array_in_hr inference_save_fname""",
    "S004": """-c -C -s -p build_dataset run_name project_name base_output_dir model_type diffusion_type precision
        residuals training.batch_size training.n_epochs training.loss_weights training.loss
        training.loss_buffer_width training.save_n_epochs training.loss_config.content_loss
        training.loss_config.content_batch training.loss_config.lambda_content training.loss_config.lambda_gp
        data.image_size data.dataset_path data.variables data.variable_scaler_map data.train_indices
        data.eval_indices data.variable_location data.location_config data.time_inputs data.training_coords model.nf
        model.ch_mult model.num_res_blocks model.attn_resolutions model.attention_type model.resamp_with_conv
        model.conditional model.dropout model.nonlinearity model.embedding_type model.cascade_conditioning
        model.side_conditioning model.location_parameters model.ema_rate model.diffusion optim.optimizer optim.lr
        optim.beta1 optim.eps optim.weight_decay optim.warmup optim.grad_clip optim.lr_schedule batch_size
        eval_dataset training_dataset data_scaler_path output_format eval_indices.split eval_indices.date_range
        eval.location_config eval.eval_output_dir eval.checkpoint_name eval.n_samples sampling.sampler.integrator
        sampling.sampler.s_churn sampling.sampler.s_noise sampling.sampler.s_tmin sampling.sampler.s_tmax
        sampling.sampler.sde_type sampling.schedule.type sampling.schedule.n sampling.schedule.rho
        sampling.schedule.sigma_min sampling.schedule.sigma_max sampling.schedule.beta_d sampling.schedule.beta_min""",
}


def rows() -> list[tuple[str, str, str | None, str | None, bool, str]]:
    """System, flag, key or command, family, dropped, remark."""
    found, system = [], ""
    for line in GUIDE.read_text().splitlines():
        heading = re.match(r"## .*\((S\d+)\)$", line)
        if heading:
            system = heading[1]
        elif line.startswith("| `"):
            row = ROW.match(line)
            assert row, f"not a row of flag, place and remark: {line}"
            found.append((system, row[1], row[2], row[3], row[4] is not None, row[5]))
    return found


def options(command: str) -> set[str]:
    """Of `gfs-sr NAME` or `python -m export.onnx`."""
    if command.startswith("python -m"):
        assert command == "python -m export.onnx"
        click = typer.main.get_command(onnx_app)
    else:
        click = typer.main.get_command(app).commands[command.removeprefix("gfs-sr ")]
    return {option for parameter in click.params for option in (*parameter.opts, *parameter.secondary_opts)}


def missing(system: str) -> set[str]:
    """Flags of a system without a row."""
    return set(FLAGS[system].split()) - {flag for of, flag, *_ in rows() if of == system}


def test_s000_22_every_flag_of_the_first_system_has_its_row():
    assert not missing("S000")


def test_s003_22_every_flag_of_the_downscaling_family_has_its_row():
    assert not missing("S003")


def test_every_flag_of_the_self_supervised_system_has_its_row():
    assert not missing("S001")


def test_s004_26_every_key_of_the_diffusion_system_has_its_row():
    assert not missing("S004")


KEYS = set(known_keys())


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]} {row[1]}")
def test_s000_22_every_place_a_flag_is_given_exists(row):
    _, _, place, family, dropped, remark = row
    if dropped:
        assert len(remark) > 5, "a flag is not dropped without a reason"
    elif place.startswith(("gfs-sr ", "python ")):
        command, _, option = place.rpartition(" ")
        assert option in options(command)
    elif family is not None:
        key = place.removeprefix("model.network.")
        assert key in {each.name for each in fields(models.FAMILIES[family].config)}
    elif ".*." in place:
        group, _, key = place.partition(".*.")
        assert group in KEYS
        assert key in {each.name for each in fields(ITEMS[group])}
    else:
        assert place in KEYS


# specification sections 6.5 and 6.6: rate, epochs between its steps, precision, weights of the variables, epochs
RATES_OF_PRESETS = {
    "diffusion_p": ("diffusion", "edm", 4e-4, 100, "bf16-mixed", {}, 250),
    "diffusion_pT": ("diffusion", "edm", 2e-4, 10, "32-true", {"tp": 1.0, "t2m": 0.3}, 250),
    "diffusion_pT_gcm": ("diffusion", "edm", 4e-4, 100, "32-true", {"tp": 0.2, "t2m": 1.0}, 250),
    "vp_p": ("diffusion", "vp", 2e-4, 30, "32-true", {}, 250),
    "vp_pT": ("diffusion", "vp", 2e-4, 50, "bf16-mixed", {}, 250),
    "gan": ("adversarial", "gan", 2e-4, None, "32-true", {}, 300),
    "cnn_p": ("supervised", "unet", 1e-4, 10, "32-true", {}, 250),
    "cnn_T": ("supervised", "unet", 1e-4, 10, "32-true", {}, 250),
}


@pytest.mark.parametrize("preset", RATES_OF_PRESETS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*:UserWarning:lightning")
def test_s004_26_the_presets_load_with_the_figures_of_the_specification(preset, tmp_path):
    training, family, lr, every, precision, weights, epochs = RATES_OF_PRESETS[preset]
    network = f"{{family: {family}, variables: [tp], width: 4, multipliers: [1], attention_heads: 2, time_factor: 1}}"
    asked = ["--preset", preset, "--model.network", network, "--output", str(tmp_path / "run"),
             "--trainer.accelerator=cpu"]  # fmt: skip
    command = parse(asked)
    model, optimizer, trainer = command.model, command.model.optimizer_config, command.trainer
    assert type(model) is TRAININGS[training]
    assert (optimizer.method, optimizer.lr, optimizer.betas) == ("adam", lr, (0.9, 0.999))
    assert (optimizer.eps, optimizer.weight_decay, trainer.gradient_clip_val) == (1e-8, 0.0, 1.0)
    assert (trainer.precision, trainer.max_epochs) == (precision, epochs)
    assert dict(model.loss.variables) == weights
    if every is None:
        assert (optimizer.schedule, model.adversarial.lr) == ("constant", 1e-5)
    else:
        assert (optimizer.schedule, optimizer.every, optimizer.gamma) == ("step", every, 0.9)


def test_s004_26_every_preset_of_the_diffusion_system_is_there():
    assert set(RATES_OF_PRESETS) <= set(PRESETS)


def test_a_row_that_names_no_key_would_be_seen():
    for broken in ("model.loss.weight", "data.streams.batch", "optimizer.lr"):
        assert broken not in KEYS
