"""Conditional GANs: both networks learn, each from its own loss, and a killed run goes on to the same weights."""

import csv
import math
from importlib.resources import files

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gfs_sr import models
from gfs_sr.data.calendar import season_of
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.gan import Discriminator, DiscriminatorConfig
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.adversarial import Adversarial, AdversarialConfig
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.field_set import SourceConfig
from gfs_sr.training.main import main, parse
from gfs_sr.training.optim import OptimizerConfig, make_optimizer
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.windows import generator
from tests.training.runs import arguments
from tests.training.test_resume import KILLED, assert_same_run, run_lives

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

CGAN = """
training: adversarial
preset: dl4ds-cgan
model:
  network: {{family: dl4ds, variables: [t2m], n_blocks: 2, n_filters: 4, {options}}}
  adversarial: {{n_filters: 4, n_blocks: 1}}
data:
  sources: [{{name: arpege, files: ["arpege_2m*.grib"]}}]
  streams: {{whole: {{kind: {kind}, batch: 2, patch: 6, intervals: 3, longest_hours: 24}}}}
  validation_stream: {{kind: {kind}, batch: 2, patch: 6, intervals: 3, longest_hours: 24}}
"""
PLAIN = CGAN.format(options="dropout_rate: 0.2", kind="space")
WITH_STATICS = CGAN.format(options="statics: [orog, lsm], season: true", kind="space")
RECURRENT = CGAN.format(options="time_window: 3, padding: replicate", kind="space_time")
PIN = CGAN.format(options="upsampling: pin, backbone: convnet", kind="space")


def test_the_preset_of_the_family_says_how_it_learns(tmp_path):
    text = PLAIN.replace("training: adversarial\n", "")
    assert isinstance(parse(arguments(tmp_path, text)).model, Adversarial)


def rows(folder):
    with (folder / "csv" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("text", [PLAIN, WITH_STATICS, RECURRENT, PIN], ids=["plain", "statics", "recurrent", "pin"])
def test_s003_13_a_conditional_gan_trains_and_logs_both_losses(tmp_path, text):
    path = main(arguments(tmp_path, text, steps=6, epochs=2, **{"trainer.log_every_n_steps": "1"}))
    logged = rows(tmp_path / "run")
    for name in ("generator", "discriminator", "verdict", "l1"):
        values = [float(row[f"train/whole/{name}"]) for row in logged if row.get(f"train/whole/{name}")]
        assert len(values) == 12
        assert np.isfinite(values).all()
        assert len(set(values)) > 6  # each step's own
    checkpoint = load_checkpoint(path)
    assert checkpoint.config["family"] == "dl4ds"
    assert not any("discriminator" in name for name in checkpoint.state_dict)  # what is shipped refines, and judges not


@pytest.mark.slow
def test_s003_13_a_killed_run_goes_on_to_the_same_two_networks(tmp_path):
    options = {"data.steps_per_epoch": "4", "checkpoints.every_steps": "2"}
    whole, killed, ends = run_lives(tmp_path, PLAIN, [("after the weights moved", 3), None], **options)
    assert ends == [KILLED, 0]
    assert_same_run(killed, whole)
    state = torch.load(killed / "last.ckpt", weights_only=True)
    names = {name.partition(".")[0] for name in state["state_dict"]}
    assert {"network", "discriminator"} <= names
    trained = [name for name in state["state_dict"] if name.startswith(("network", "discriminator"))]
    assert len(state["optimizer_states"][0]["state"]) == len(trained)


def toy(**adversarial):
    torch.manual_seed(0)
    network = {"family": "dl4ds", "n_blocks": 1, "n_filters": 4, "scale_factor": 2}
    module = Adversarial(
        AdversarialConfig(**{"n_filters": 4, "n_blocks": 1, "dropout": 0.0, "lr": 3e-3} | adversarial),
        network=network,
        optimizer=OptimizerConfig("adam", lr=1e-3, betas=(0.5, 0.999), weight_decay=0.0, schedule="constant"),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(3, 1, 1, 5, 4, generator=generator)
    fine = torch.randn(3, 1, 1, 10, 8, generator=generator)
    batch = {"coarse": coarse, "fine": fine, "mask": torch.ones_like(fine, dtype=torch.bool)}
    return module, batch


def test_both_networks_take_the_step_of_their_own_loss_at_once(monkeypatch):
    module, batch = toy()
    monkeypatch.setattr(Adversarial, "_margin", lambda self: Reach())
    twin, _ = toy()
    twin.load_state_dict(module.state_dict())

    made = make_optimizer(
        module.network.parameters(), module.optimizer_config, steps=9, epochs=1, others=module.parameter_groups()
    )
    logged = {}
    (total,) = module.stream_losses({"whole": batch}, {"whole": StreamConfig(kind="space")}, logged)
    total.backward()
    made["optimizer"].step()

    # two plain optimizers, gradients of each from the weights before both steps
    of_generator = torch.optim.Adam(twin.network.parameters(), lr=1e-3, betas=(0.5, 0.999))
    of_discriminator = torch.optim.Adam(twin.discriminator.parameters(), lr=3e-3, betas=(0.5, 0.999))
    fake = twin.network(batch["coarse"])
    one, none = torch.ones(3), torch.zeros(3)
    pixel, _ = twin._loss(batch, fake, fake)
    loss = F.binary_cross_entropy(torch.sigmoid(twin.discriminator(batch["coarse"], fake)), one) + 100 * pixel
    own = F.binary_cross_entropy(torch.sigmoid(twin.discriminator(batch["coarse"], batch["fine"])), one)
    own = own + F.binary_cross_entropy(torch.sigmoid(twin.discriminator(batch["coarse"], fake.detach())), none)
    slopes = torch.autograd.grad(loss, list(twin.network.parameters()), retain_graph=True, allow_unused=True)
    own_slopes = torch.autograd.grad(own, list(twin.discriminator.parameters()))
    for networks, found in ((twin.network, slopes), (twin.discriminator, own_slopes)):
        for parameter, slope in zip(networks.parameters(), found, strict=True):
            parameter.grad = slope
    of_generator.step()
    of_discriminator.step()

    assert float(logged["train/whole/generator"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert float(logged["train/whole/discriminator"]) == pytest.approx(float(own.detach()), rel=1e-5)
    for (name, have), want in zip(module.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=2e-6, msg=name)


def test_what_is_masked_tells_the_discriminator_nothing(monkeypatch):
    module, batch = toy()
    monkeypatch.setattr(Adversarial, "_margin", lambda self: Reach())
    batch["mask"][..., :5, :] = False
    changed = batch | {"fine": torch.where(batch["mask"], batch["fine"], 99.0)}
    prediction = module.network(batch["coarse"])
    known = module._known(batch)
    assert module._own_loss(known, batch, prediction) == module._own_loss(known, changed, prediction)


def test_each_network_is_clipped_by_itself():
    module, _ = toy()
    for network, slope in ((module.network, 100.0), (module.discriminator, 1e-4)):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, slope)
    module.configure_gradient_clipping(None, 1.0, "norm")

    def norm(network):
        return math.sqrt(sum(float(each.grad.square().sum()) for each in network.parameters()))

    assert norm(module.network) == pytest.approx(1.0, rel=1e-3)
    count = sum(each.numel() for each in module.discriminator.parameters())
    assert norm(module.discriminator) == pytest.approx(1e-4 * math.sqrt(count), rel=1e-3)  # below 1: left alone


@pytest.mark.parametrize(("width", "count"), [(8, 16_473), (32, 252_321)])
def test_the_discriminator_has_the_tabulated_parameters(width, count):
    judge = Discriminator(1, 1, 4, False, DiscriminatorConfig(width))
    assert sum(each.numel() for each in judge.parameters()) == count


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4, 5, 8])
def test_a_verdict_is_one_logit_for_any_factor(scale_factor, recurrent):
    judge = Discriminator(2, 1, scale_factor, recurrent, DiscriminatorConfig(4, 1)).eval()
    with torch.no_grad():
        logits = judge(torch.randn(3, 2, 2, 5, 4), torch.randn(3, 2, 1, 5 * scale_factor, 4 * scale_factor))
        assert logits.shape == (3,)
        assert len(set(logits.tolist())) == 3


def test_patches_too_small_for_a_factor_of_5_are_refused():
    with pytest.raises(ValueError, match="too small"):
        Discriminator(1, 1, 5, False, DiscriminatorConfig(4, 1))(
            torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 1, 10, 10)
        )


def test_a_family_without_a_discriminator_is_refused():
    with pytest.raises(UsageError, match="no discriminator for factorized"):
        Adversarial(network={"family": "factorized", "blocks": 1, "width": 4})


def test_keys_of_adversarial_training_are_unknown_to_supervised_training(tmp_path):
    with pytest.raises(UsageError, match=r"adversarial\.n_filters") as caught:
        main(arguments(tmp_path, PLAIN.replace("training: adversarial", "training: supervised")))
    assert caught.value.mend == "give training: adversarial"


def test_samples_hold_what_is_given_out_and_what_is_taken_in():
    config = {
        "family": "dl4ds", "variables": ["t2m"], "predictor_variables": ["wspd"], "season": True, "statics": ["orog"],
        "scale_factor": 3, "n_blocks": 1,
    }  # fmt: skip
    task = Task.of(models.build(config).make_contract(name="test"), Reach())
    source = SourceConfig("arpege", ["arpege_2m*.grib", "arpege_10m*.grib"])
    sets = TrainingData(folder=str(files("gfs_sr.demo") / "sample"), sources=[source]).read()
    sampler = Sampler(sets, task, StreamConfig(kind="space_time", patch=6, intervals=2))
    sample = sampler.draw(generator(0, 1), augment=False)
    assert sample["coarse"].shape == (2, 2, 6, 6)
    assert sample["fine"].shape == (2, 1, 18, 18)
    assert sample["static_coarse"].shape == (1, 1, 6, 6)
    assert sample["static_fine"].shape == (1, 9, 6, 6)
    assert sample["predictor_coarse"].shape == (2, 4, 6, 6)
    assert (sample["predictor_coarse"][:, season_of(sampler.sets[0].times[0])] == 1).all()
    assert sample["predictor_coarse"].sum(axis=1).max() == 1
