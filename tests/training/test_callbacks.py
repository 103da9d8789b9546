import math
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from gfs_sr.errors import TrainingFailed
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.callbacks import FailFast, StopAtBest, Throughput, ValidationScores
from gfs_sr.training.callbacks.averaged_weights import AveragedWeights
from gfs_sr.training.callbacks.pictures import draw, examples, wavelengths
from gfs_sr.training.callbacks.validation_scores import log_spectral_distance
from gfs_sr.training.losses.spectral import radial_power
from gfs_sr.training.main import main, parse, run
from gfs_sr.training.optim import OptimizerConfig, make_optimizer
from tests.training.runs import FACTORIZED, FUSED, arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)


class Scripted(L.LightningModule):
    """A module whose validation losses are given; it keeps the rate of every step."""

    def __init__(self, losses: list[float], config: OptimizerConfig, steps: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.losses, self.config, self.steps, self.rates = losses, config, steps, []

    def training_step(self, batch, batch_idx):
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return (self.weight * 0.0).sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.tensor(self.losses[self.current_epoch]))

    def configure_optimizers(self):
        return make_optimizer(self.parameters(), self.config, steps=self.steps, epochs=len(self.losses))


def scripted_run(tmp_path: Path, losses: list[float], config: OptimizerConfig, fail_fast: FailFast) -> Scripted:
    """One epoch of two steps per loss."""
    module = Scripted(losses, config, 2 * len(losses))
    loader = DataLoader(TensorDataset(torch.zeros(2, 1)))
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=len(losses), callbacks=[fail_fast], logger=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    return module


STEADY = OptimizerConfig(lr=1.0, min_lr=0.0, schedule="constant")


@pytest.mark.parametrize(("losses", "said"), [([1.0, math.nan, 1.0], "nan"), ([1.0, 0.5, 2.6, 0.1], "5.2 times")])
def test_s000_14_a_loss_that_is_not_finite_or_explodes_ends_the_run(tmp_path, losses, said):
    fail_fast = FailFast()
    module = scripted_run(tmp_path, losses, STEADY, fail_fast)
    failed = losses.index(next(each for each in losses if math.isnan(each) or each == 2.6))
    assert len(module.rates) == 2 * (failed + 1)
    assert said in fail_fast.failure


def test_s000_14_two_flat_epochs_halve_the_rate_and_a_schedule_keeps_it_halved(tmp_path):
    losses = [1.0, 1.0, 1.1, 1.0, 1.0, 0.9]
    config = OptimizerConfig(lr=1.0, min_lr=0.1, schedule="warmup-cosine", warmup_steps=2)
    plain = scripted_run(tmp_path, losses, config, FailFast(patience=0)).rates
    halved = scripted_run(tmp_path, losses, config, FailFast(patience=2)).rates
    # flat in epochs 1 and 2, then in 3 and 4
    factors = [1.0] * 6 + [0.5] * 4 + [0.25] * 2
    # the step before a validation has already set the next one's rate
    assert halved == pytest.approx([rate * factor for rate, factor in zip(plain, factors, strict=True)])


def test_s000_14_halving_stops_at_its_floor(tmp_path):
    module = scripted_run(tmp_path, [1.0] * 9, STEADY, FailFast(patience=1, floor=0.3))
    assert module.rates[::2] == pytest.approx([1.0, 1.0, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])


def test_s000_14_a_failed_run_says_so_and_keeps_its_best_checkpoint(tmp_path):
    class Poison(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                with torch.no_grad():
                    next(pl_module.network.parameters()).fill_(torch.nan)

    command = parse(arguments(tmp_path, FACTORIZED, steps=2, epochs=4))
    command.trainer.callbacks.insert(0, Poison())
    with pytest.raises(TrainingFailed, match="val/loss became nan in epoch 1"):
        run(command)
    assert command.trainer.global_step == 4
    weights = load_checkpoint(tmp_path / "run" / "factorized.ckpt").state_dict
    assert all(torch.isfinite(each).all() for each in weights.values())


# throughput


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_s000_15_throughput_follows_a_fake_clock_and_leaves_validation_out():
    clock, logged = Clock(), {}
    meter = Throughput(every=4, clock=clock)
    trainer = SimpleNamespace(num_training_batches=40)
    module = SimpleNamespace(log_dict=logged.update)
    batch = {"a": {"fine": torch.zeros(3, 2, 1, 4, 5)}, "b": {"fine": torch.zeros(1, 1, 1, 4, 5)}}
    for epoch in range(2):
        meter.on_train_epoch_start(trainer, module)
        for number in range(2):
            clock.now += 0.5  # waits for data
            meter.on_train_batch_start(trainer, module, batch, number)
            clock.now += 1.5  # trains
            meter.on_train_batch_end(trainer, module, None, batch, number)
            if epoch == number == 0:
                clock.now += 100.0
                meter.on_validation_end(trainer, module)
        clock.now += 1000.0  # between epochs
    assert logged["perf/throughput"] == pytest.approx(4 / 2.0, rel=0.05)
    assert logged["perf/fine_cells"] == pytest.approx(140 / 2.0, rel=0.05)
    assert logged["perf/waiting"] == pytest.approx(0.25, rel=0.05)
    assert logged["perf/epoch_seconds"] == pytest.approx(80.0, rel=0.05)


def test_s000_15_a_run_logs_its_throughput_per_window(tmp_path):
    command = parse(arguments(tmp_path, FACTORIZED, steps=4, epochs=2, **{"trainer.log_every_n_steps": "1"}))
    (meter,) = (each for each in command.trainer.callbacks if isinstance(each, Throughput))
    meter.every = 3
    run(command)
    assert float(command.trainer.callback_metrics["perf/throughput"]) > 0
    assert 0 <= float(command.trainer.callback_metrics["perf/waiting"]) <= 1


# averaged weights

COPIED = {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.5, 6: 0.5, 8: 0.5}
YOUNG = {step: min(0.5, (1 + step) / (10 + step)) for step in range(1, 9)}


@pytest.mark.parametrize(
    ("keys", "decays"),
    [
        ({"ema.decay": "0.5"}, {step: min(0.5, (1 + step) / (10 + step)) for step in range(1, 9)}),
        (
            {"ema.decay": "0.5", "ema.every": "2", "ema.copy_until": "3"},
            {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.5, 6: 0.5, 8: 0.5},
        ),
        (
            {"ema.decay": "0.5", "ema.on_cpu": "true"},
            {step: min(0.5, (1 + step) / (10 + step)) for step in range(1, 9)},
        ),
    ],
    ids=["every step", "copied until 3, then every 2", "in main memory"],
)
def test_s004_16_the_average_is_its_recursion_and_validation_and_checkpoints_use_it(tmp_path, keys, decays):
    class Record(Callback):
        def __init__(self) -> None:
            self.weights, self.validated = [], None

        def on_train_start(self, trainer, pl_module):
            self.weights.append(self.of(pl_module))

        def on_train_batch_end(self, trainer, pl_module, *_):
            self.weights.append(self.of(pl_module))

        def on_validation_batch_end(self, trainer, pl_module, *_):
            self.validated = self.of(pl_module)

        def of(self, module):
            return {name: x.detach().clone().double() for name, x in module.network.state_dict().items()}

    command = parse(arguments(tmp_path, FACTORIZED, steps=8, epochs=1, **keys))
    record = Record()
    command.trainer.callbacks.insert(0, record)
    path = run(command)
    expected = record.weights[0]
    for step, decay in decays.items():
        expected = {name: decay * each + (1 - decay) * record.weights[step][name] for name, each in expected.items()}
    for state in (
        load_checkpoint(path).state_dict,
        record.validated,
        load_checkpoint(path.parent / "last.ckpt").state_dict,
    ):
        for name, tensor in expected.items():
            torch.testing.assert_close(state[name].double(), tensor, rtol=1e-5, atol=1e-7)
    trained = command.model.network.state_dict()
    assert any((trained[name].double() - tensor).abs().max() > 1e-5 for name, tensor in expected.items())


def test_s002_12_weights_are_copied_until_step_2000_then_averaged_every_10_steps():
    average = AveragedWeights(0.995, every=10, copy_until=2000)
    assert [average.decay_at(step) for step in (1, 1999, 2000)] == [0.0, 0.0, 0.0]
    assert average.decay_at(2010) == 0.995


def test_without_averaging_the_trained_weights_ship(tmp_path):
    command = parse(arguments(tmp_path, FACTORIZED, steps=3, epochs=1, **{"ema.decay": "0"}))
    shipped = load_checkpoint(run(command)).state_dict
    for name, tensor in command.model.network.state_dict().items():
        assert torch.equal(shipped[name], tensor)


# which weights are kept


def test_s003_14_early_stopping_ends_the_run_and_restores_the_best_weights(tmp_path):
    keys = {"early_stopping.patience": "2", "fail_fast.patience": "0", "fail_fast.explosion": "1e99", "ema.decay": "0"}
    command = parse(arguments(tmp_path, FACTORIZED, steps=2, epochs=9, **keys))
    kept: list[dict[str, torch.Tensor]] = []

    class Spoil(Callback):
        """Good weights in the second epoch, worse ones in every later one."""

        def on_validation_start(self, trainer, pl_module):
            if trainer.sanity_checking:
                return
            state = {name: x.detach().clone() for name, x in pl_module.network.state_dict().items()}
            kept.append(state)
            with torch.no_grad():
                for parameter in pl_module.network.parameters():
                    parameter.add_(abs(trainer.current_epoch - 1) * 0.05)
                kept[-1] = {name: x.detach().clone() for name, x in pl_module.network.state_dict().items()}

    command.trainer.callbacks.insert(0, Spoil())
    (stop,) = (each for each in command.trainer.callbacks if isinstance(each, StopAtBest))
    run(command)
    assert 3 <= stop.stopped_epoch < 8
    best = stop.stopped_epoch - 2
    assert len(kept) == stop.stopped_epoch + 1
    for name, tensor in command.model.network.state_dict().items():
        assert torch.equal(tensor, kept[best][name])


def test_s003_15_the_best_checkpoint_is_not_the_last_where_validation_worsens(tmp_path):
    class Spoil(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch:
                with torch.no_grad():
                    for parameter in pl_module.network.parameters():
                        parameter.add_(0.3)

    keys = {
        "ema.decay": "0",
        "fail_fast.explosion": "1e99",
        "checkpoints.keep_best": "2",
        "checkpoints.every_epochs": "2",
    }
    command = parse(arguments(tmp_path, FACTORIZED, steps=2, epochs=4, **keys))
    command.trainer.callbacks.insert(0, Spoil())
    path = run(command)
    best, last = load_checkpoint(path), load_checkpoint(path.parent / "last.ckpt")
    assert best.skill[0].skill > last.skill[0].skill
    names = sorted(each.name for each in (path.parent / "best").iterdir())
    assert names == ["step-000002.ckpt", "step-000004.ckpt"]
    kept = load_checkpoint(path.parent / "best" / names[0])
    for name, tensor in best.state_dict.items():
        assert torch.equal(kept.state_dict[name], tensor)
    assert sorted(each.name for each in (path.parent / "epochs").iterdir()) == ["epoch-0001.ckpt", "epoch-0003.ckpt"]


def test_the_best_may_be_told_by_another_figure(tmp_path):
    keys = {"checkpoints.monitor": "val/rmse", "checkpoints.mode": "min"}
    assert main(arguments(tmp_path, FACTORIZED, steps=2, epochs=1, **keys)).is_file()


# scores and pictures


def test_validation_scores_are_those_of_numpy_and_scikit_image():
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 1, 2, 20, 20, generator=generator)
    prediction = truth + 0.5 * torch.randn(truth.shape, generator=generator)
    mask = torch.ones_like(truth, dtype=torch.bool)
    scores, logged = ValidationScores(), {}
    module = parse_module()
    module.log_dict = logged.update
    scores.on_validation_epoch_start(None, module)
    for sample in range(2):
        part = {
            "fine": truth[sample : sample + 1],
            "mask": mask[sample : sample + 1],
            "coarse": torch.zeros(1, 1, 2, 4, 4),
        }
        outputs = {"prediction": prediction[sample : sample + 1], "base": 2 * truth[sample : sample + 1]}
        scores.on_validation_batch_end(None, module, outputs, {"validation": part}, sample)
    scores.on_validation_epoch_end(None, module)
    error = (prediction - truth).numpy().astype(np.float64)
    assert logged["val/rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert logged["val/rmse/wspd"] == pytest.approx(np.sqrt((error[:, :, 1] ** 2).mean()), rel=1e-5)
    assert logged["val/psnr"] == pytest.approx(20 * np.log10(4) - 10 * np.log10((error**2).mean()), rel=1e-5)
    planes = zip(prediction.flatten(0, 2).double().numpy(), truth.flatten(0, 2).double().numpy(), strict=True)
    similar = [
        structural_similarity(p, y, data_range=4, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for p, y in planes
    ]
    assert logged["val/ssim"] == pytest.approx(np.mean(similar), rel=1e-4)
    assert logged["val/lsd"] > 0
    model, true, base = scores.spectra["t2m"]
    np.testing.assert_allclose(base, 4 * true, rtol=1e-5)  # power of a doubled field
    assert (model > true).all()  # noise adds power at every wavelength


def parse_module():
    from gfs_sr.training.supervised import Supervised

    return Supervised({"family": "factorized", "variables": ["t2m", "wspd"], "blocks": 1, "width": 4})


def test_the_log_spectral_distance_of_a_tenfold_power_is_ten_decibels():
    power = torch.tensor([3.0, 2.0, 1.0, 0.0])
    assert log_spectral_distance(10 * power, power) == pytest.approx(10.0)
    assert log_spectral_distance(power, power) == 0
    mixed = power * torch.tensor([10.0, 0.1, 1.0, 5.0])
    assert log_spectral_distance(mixed, power) == pytest.approx(math.sqrt(200 / 3), rel=1e-5)


@pytest.mark.parametrize("cells", [4, 8, 16])
def test_a_wave_stands_at_its_length_in_the_picture_of_spectra(cells):
    wave = torch.cos(2 * math.pi * torch.arange(64) / cells).expand(64, 64)
    power = radial_power(wave)
    bins = power.shape[-1]
    assert abs(1 / wavelengths(bins)[int(power.argmax())] - 1 / cells) <= 0.5**0.5 / bins


def test_a_picture_of_examples_shows_the_spectra_at_its_right(tmp_path):
    plane = np.random.Generator(np.random.PCG64(0)).normal(size=(16, 16)).astype(np.float32)
    rows = [("t2m", {"truth": plane, "model": 2 * plane, "baseline": 0 * plane})]
    powers = np.geomspace(100, 1, 8, dtype=np.float32) * np.array([[1.0], [2.0], [0.5]], np.float32)
    one = draw(rows, {"t2m": powers}, tmp_path / "one.png", "")
    other = draw(rows, {"t2m": powers[::-1] ** 2}, tmp_path / "other.png", "")
    changed = np.flatnonzero((one != other).any(axis=(0, 2)))
    assert changed.size
    assert changed.min() > 0.8 * one.shape[1]


@pytest.mark.parametrize("text", [FACTORIZED, FUSED], ids=["factorized", "fused"])
def test_every_validation_leaves_scores_a_picture_and_a_curve(tmp_path, text):
    from matplotlib.image import imread
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = parse(
        arguments(tmp_path, text, steps=2, epochs=2, **{"trainer.log_every_n_steps": "1", "pictures.every": "1"})
    )
    folder = run(command).parent
    metrics = command.trainer.callback_metrics
    for name in ("val/rmse", "val/psnr", "val/ssim", "val/lsd", "val/rmse/t2m"):
        assert torch.isfinite(metrics[name])
    pictures = sorted((folder / "pictures").iterdir())
    assert [each.name for each in pictures] == ["step-000002.png", "step-000004.png"]
    assert imread(pictures[0]).std() > 0.05
    assert imread(folder / "learning_curve.png").std() > 0.02
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Images("examples")] == [2, 4]
    assert {"train/loss", "val/loss", "val/rmse", "val/lsd"} <= set(events.Tags()["scalars"])


def test_examples_show_each_variable_before_any_twice():
    fields = torch.arange(4.0).reshape(4, 1, 1, 1, 1).expand(4, 3, 1, 2, 2)
    rows = examples(fields, fields, fields, [["t2m"], ["t2m"], ["sp"], ["t2m"]], 3)
    assert [name for name, _ in rows] == ["t2m", "sp", "t2m"]
    assert [planes["truth"][0, 0] for _, planes in rows] == [0, 2, 1]
