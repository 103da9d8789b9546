"""The conditional GAN on the U-Net: whose turn it is, its losses, and runs that go on to the same weights."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.gan import DiscriminatorConfig
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training import presets
from gfs_sr.training.adversarial import Adversarial, AdversarialConfig, Turn, balance, discriminator_of, total
from gfs_sr.training.losses import LossConfig
from gfs_sr.training.main import main, parse
from gfs_sr.training.members import fair_crps, keyed, noise_inputs
from gfs_sr.training.optim import OptimizerConfig, make_optimizer
from gfs_sr.training.samples import StreamConfig
from tests.training.runs import arguments
from tests.training.test_adversarial import rows
from tests.training.test_resume import KILLED, assert_same_run, run_lives

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

NETWORK = {
    "family": "gan", "variables": ["t2m"], "latent": "cells", "scale_factor": 4, "time_factor": 1, "width": 8,
    "multipliers": [1], "blocks": 1, "factors": [], "dropout": 0.0, "normalization": "cell", "attention": "none",
    "padding": "replicate",
}  # fmt: skip
RUN = """
preset: gan
model:
  network: {{family: gan, variables: [t2m], {options}, scale_factor: 4, time_factor: 1, width: 8, multipliers: [1],
    blocks: 1, dropout: 0.0, attention_heads: 2, padding: replicate}}
  adversarial: {{n_filters: 4, n_blocks: 1, content_steps: 3, members: 2, window: 16}}
  validation_members: 2
data:
  sources: [{{name: arpege, files: ["arpege_2m*.grib"]}}]
  streams: {{whole: {{kind: space, batch: 2, patch: 6}}}}
  validation_stream: {{kind: space, batch: 2, patch: 6}}
"""
CELLS = RUN.format(options="latent: cells, normalization: cell, attention: none, statics: [orog]")
VECTOR = RUN.format(options="latent: vector")


def toy(monkeypatch, network=NETWORK, step=0, **adversarial):
    """A module and a batch of three samples, at some step of a run."""
    torch.manual_seed(0)
    config = {"n_filters": 4, "n_blocks": 1, "dropout": 0.0, "discriminator": "patch_global", "members": 4}
    module = Adversarial(
        AdversarialConfig(**config | adversarial),
        network=network,
        loss=LossConfig(weights={"mae": 1.0}),
        optimizer=OptimizerConfig("adam", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0, schedule="constant"),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    monkeypatch.setattr(Adversarial, "_margin", lambda self: Reach())
    monkeypatch.setattr(Adversarial, "global_step", step)
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(3, 1, 1, 5, 4, generator=generator)
    fine = torch.randn(3, 1, 1, 20, 16, generator=generator)
    return module, {"coarse": coarse, "fine": fine, "mask": torch.ones_like(fine, dtype=torch.bool)}


def losses(module, batch, seed=5):
    """Sum and terms of one step, from the same random numbers every time."""
    torch.manual_seed(seed)
    logged = {}
    (loss,) = module.stream_losses({"whole": batch}, {"whole": StreamConfig(kind="space")}, logged)
    return loss, {name.removeprefix("train/whole/"): each for name, each in logged.items()}


def moved(module):
    """Which networks have gradients."""
    return {
        name for name, network in (("generator", module.network), ("discriminator", module.discriminator))
        if any(each.grad is not None for each in network.parameters())
    }  # fmt: skip


# whose turn it is


def test_s004_15_the_preset_learns_content_alone_for_5000_steps_then_by_turns():
    given = {name: each for name, each in presets.PRESETS["gan"].items() if name.startswith("model.adversarial.")}
    config = AdversarialConfig(**{name.removeprefix("model.adversarial."): each for name, each in given.items()})
    turns = [Turn.of(step, config) for step in range(5006)]
    assert set(turns[:5000]) == {Turn.CONTENT}
    assert turns[5000:] == [Turn.GENERATOR, Turn.DISCRIMINATOR] * 3
    assert (config.members, config.pixel_weight, config.lr) == (4, 100.0, 1e-5)
    assert (config.n_filters, config.n_blocks, config.discriminator) == (128, 2, "patch_global")
    assert config.adaptive
    assert config.gradient_penalty == 0


@pytest.mark.parametrize(
    ("step", "learns"), [(0, "generator"), (6, "generator"), (7, "generator"), (8, "discriminator"), (9, "generator")]
)
def test_s004_15_only_whose_turn_it_is_has_gradients(monkeypatch, step, learns):
    module, batch = toy(monkeypatch, step=step, content_steps=7, alternate=True)
    loss, terms = losses(module, batch)
    loss.backward()
    assert moved(module) == {learns}
    assert ("verdict" in terms) == (step in (7, 9))
    assert ("discriminator" in terms) == (step == 8)


def test_without_turns_both_learn_at_once(monkeypatch):
    module, batch = toy(monkeypatch, alternate=False)
    losses(module, batch)[0].backward()
    assert moved(module) == {"generator", "discriminator"}


def test_s004_15_whose_turn_it_is_not_keeps_weights_and_moments(monkeypatch):
    module, batch = toy(monkeypatch, alternate=True)
    made = make_optimizer(
        module.network.parameters(), module.optimizer_config, steps=9, epochs=1, others=module.parameter_groups()
    )["optimizer"]
    for step in range(4):
        monkeypatch.setattr(Adversarial, "global_step", step)
        before = {name: each.detach().clone() for name, each in module.named_parameters()}
        moments = {name: each["exp_avg"].clone() for name, each in made.state.items()}
        made.zero_grad()
        losses(module, batch)[0].backward()
        made.step()
        still = "network" if step % 2 else "discriminator"
        for name, parameter in module.named_parameters():
            if name.startswith(still):
                assert torch.equal(parameter, before[name])
                assert parameter not in moments or torch.equal(made.state[parameter]["exp_avg"], moments[parameter])
        assert any(not torch.equal(each, before[name]) for name, each in module.named_parameters())


# losses


def test_s004_15_the_content_loss_is_of_the_mean_of_four_members(monkeypatch):
    module, batch = toy(monkeypatch, content_steps=1)
    loss, terms = losses(module, batch)
    torch.manual_seed(5)
    given = {"coarse": batch["coarse"].repeat(4, 1, 1, 1, 1)}
    members = module.network(**given).reshape(4, *batch["fine"].shape)
    assert members.std(dim=0).mean() > 1e-3
    wanted = (members.mean(dim=0) - batch["fine"]).abs().mean()
    torch.testing.assert_close(terms["l1"], wanted)
    torch.testing.assert_close(loss, 100 * wanted)


SOFTPLUS = {
    "non-saturating": (lambda d: F.softplus(-d), lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean()),
    "seed": (lambda d: -F.softplus(d), lambda real, fake: -F.softplus(real).mean() + F.softplus(fake).mean()),
}


@pytest.mark.parametrize("objective", SOFTPLUS)
def test_s004_15_both_objectives_are_their_formulas(monkeypatch, objective):
    module, batch = toy(monkeypatch, objective=objective, members=1)
    loss, terms = losses(module, batch)
    torch.manual_seed(5)
    made = module.network(batch["coarse"])
    known = module._on_fine(batch["coarse"])
    fake, real = module.discriminator(known, made), module.discriminator(known, batch["fine"])
    of_generator, of_discriminator = SOFTPLUS[objective]
    torch.testing.assert_close(terms["verdict"], sum(of_generator(each).mean() for each in fake))
    own = sum(of_discriminator(*each) for each in zip(real, fake, strict=True))
    torch.testing.assert_close(terms["discriminator"], own)
    torch.testing.assert_close(loss, terms["verdict"] + 100 * (made - batch["fine"]).abs().mean() + own)


def test_s004_15_a_perfect_discriminator_leaves_the_default_objective_a_slope_and_the_seeds_hardly_one():
    sure = torch.tensor([-30.0], requires_grad=True)  # the field is known to be made
    slopes = [torch.autograd.grad(each, sure)[0].abs().item() for each in (total((sure,), 1.0), -total((sure,), 0.0))]
    assert slopes[0] == pytest.approx(1.0)
    assert slopes[1] < 1e-12


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.3, 40.0, 1e9])
def test_s004_15_the_adaptive_weight_is_the_ratio_of_slopes_between_0_and_100(share):
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    content, verdict = share * 5 * weight.square().sum() / 2, weight @ torch.tensor([0.6, 0.8])
    found = float(balance(content, verdict, weight))  # slopes: share · 5 · 5, and 1
    assert found == pytest.approx(min(100.0, share * 25 / 1.0001), rel=1e-5)
    assert 0 <= found <= 100


def test_s004_15_the_verdict_moves_the_last_layer_as_much_as_the_content_does(monkeypatch):
    module, batch = toy(monkeypatch, adaptive=True, alternate=True, pixel_weight=0.02)
    loss, terms = losses(module, batch)
    assert 0 < terms["balance"] < 100
    module.adversarial = replace(module.adversarial, content_steps=1)
    content, _ = losses(module, batch)
    last = module.network.output_weight
    of_content, of_all = (torch.autograd.grad(each, last)[0] for each in (content, loss))
    assert float((of_all - of_content).norm()) == pytest.approx(float(of_content.norm()), rel=0.01)


def test_the_penalty_is_of_the_slope_on_mixtures(monkeypatch):
    """A discriminator that adds up the field times 3 has a slope of 3·sqrt(cells) everywhere."""
    module, batch = toy(monkeypatch, members=1, alternate=True, step=1)

    class Sum(torch.nn.Module):
        def forward(self, known, fine):
            return (3 * fine.flatten(1).sum(dim=1),)

    module.discriminator = Sum()
    plain, _ = losses(module, batch)
    module.adversarial = AdversarialConfig(members=1, alternate=True, gradient_penalty=0.5)
    penalized, _ = losses(module, batch)
    slope = 3 * math.sqrt(20 * 16)
    assert float(penalized - plain) == pytest.approx(0.5 * (slope - 1) ** 2, rel=1e-4)


@pytest.mark.parametrize(
    ("network", "adversarial", "said"),
    [
        ({"family": "dl4ds", "n_blocks": 1}, {"members": 4}, "draws one field"),
        ({"family": "factorized", "blocks": 1, "width": 4}, {"members": 1}, "which refines time"),
        ({"family": "fused", "width": 4, "blocks": 1}, {"members": 1}, "no discriminator for fused"),
        ({"family": "factorized", "blocks": 1, "width": 4},
         {"members": 1, "discriminator": "patch_global", "adaptive": True}, "no one last layer"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_trained_against_a_discriminator_is_refused(network, adversarial, said):
    with pytest.raises(UsageError, match=said):
        Adversarial(AdversarialConfig(**{"n_filters": 4, "n_blocks": 1} | adversarial), network=network)


def test_any_network_of_fixed_variables_may_be_judged_by_patches(monkeypatch):
    """One that refines time too, and draws nothing."""
    network = {"family": "factorized", "variables": ["t2m", "msl"], "blocks": 1, "width": 4, "scale_factor": 3,
               "time_factor": 3, "padding": "replicate"}  # fmt: skip
    module, _ = toy(monkeypatch, network=network, members=1)
    coarse, fine = torch.randn(2, 2, 2, 5, 6), torch.randn(2, 6, 2, 15, 18)
    batch = {"coarse": coarse, "fine": fine, "mask": torch.ones_like(fine, dtype=torch.bool)}
    (loss,) = module.stream_losses({"all": batch}, {"all": StreamConfig(kind="space_time")})
    loss.backward()
    assert moved(module) == {"generator", "discriminator"}


def test_a_frame_by_frame_network_of_another_family_has_the_two_branches():
    network = {name: each for name, each in NETWORK.items() if name != "latent"} | {"family": "unet"}
    module = Adversarial(AdversarialConfig(4, 1), network=network)
    assert type(module.discriminator).__name__ == "Discriminator"
    assert discriminator_of(module.network, DiscriminatorConfig(4, 1)).scale_factor == 4


# members in validation


def test_noise_of_a_validation_is_the_same_every_time_and_fits_the_contract():
    module = Adversarial(AdversarialConfig(4, 1, discriminator="patch_global"), network={**NETWORK, "latent": "cells"})
    coarse = torch.zeros(2, 1, 1, 3, 5)
    drawn, again, other = (noise_inputs(module.network, coarse, keyed(seed, 0)) for seed in (1, 1, 2))
    assert {name: tuple(each.shape) for name, each in drawn.items()} == {
        "noise_latent": (2, 1, 16, 3, 5), "noise_style": (2, 1, 8, 1, 1),
    }  # fmt: skip
    for name, each in drawn.items():
        assert torch.equal(again[name], each)
        assert not torch.equal(other[name], each)


def test_fair_crps_in_training_is_the_metrics():
    from gfs_sr.metrics.ensemble import crps

    members, truth = torch.randn(5, 3, 4), torch.randn(3, 4)
    np.testing.assert_allclose(fair_crps(members, truth), crps(members.numpy(), truth.numpy()), rtol=1e-4, atol=1e-6)


# whole runs


@pytest.mark.parametrize("text", [CELLS, VECTOR], ids=["cells", "vector"])
def test_s004_15_a_run_has_its_phases_and_ships_the_generator(tmp_path, text):
    path = main(arguments(tmp_path, text, steps=7, epochs=1, **{"trainer.log_every_n_steps": "1"}))
    logged = [row for row in rows(tmp_path / "run") if row.get("train/loss")]
    assert len(logged) == 7
    has = [{name for name in ("l1", "verdict", "balance", "discriminator") if row[f"train/whole/{name}"]}
           for row in logged]  # fmt: skip
    generator, judge = {"l1", "verdict", "balance"}, {"discriminator"}
    assert has == [{"l1"}] * 3 + [generator, judge, generator, judge]
    assert all(0 <= float(row["train/whole/balance"]) <= 100 for row in logged if row["train/whole/balance"])
    assert float(rows(tmp_path / "run")[-1]["val/crps"]) > 0
    checkpoint = load_checkpoint(path)
    assert checkpoint.contract.stochastic
    assert not any("discriminator" in name for name in checkpoint.state_dict)


def test_s004_15_a_killed_run_goes_on_to_the_same_bits_of_both_networks_and_their_moments(tmp_path):
    options = {"data.steps_per_epoch": "4", "checkpoints.every_steps": "2", "trainer.max_epochs": "2",
               "checkpoints.every_epochs": "0"}  # fmt: skip
    deaths = [("after the weights moved", 2), ("after the weights moved", 5), None]
    whole, killed, ends = run_lives(tmp_path, CELLS, deaths, **options)
    assert ends == [KILLED, KILLED, 0]
    assert_same_run(killed, whole)
    state = torch.load(killed / "last.ckpt", weights_only=True)
    trained = [name for name in state["state_dict"] if name.startswith(("network.", "discriminator."))]
    assert {name.partition(".")[0] for name in trained} == {"network", "discriminator"}
    moments = state["optimizer_states"][0]["state"]
    assert len(moments) == len(trained)
    assert {int(each["step"]) for each in moments.values()} == {8 - 2, 2}  # content and generator, discriminator


def test_the_preset_says_how_a_network_learns(tmp_path):
    command = parse(arguments(tmp_path, CELLS))
    assert isinstance(command.model, Adversarial)
    assert command.config["training"] == "adversarial"
