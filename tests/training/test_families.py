"""Every loss trains every family, every metric scores what it gives: later rows of the tables join by themselves."""

from functools import cache
from importlib.resources import files

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.metrics.registry import METRICS, available
from gfs_sr.metrics.scene import Scene
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.field_set import SourceConfig
from gfs_sr.training.losses import LOSSES, MIXTURES, LossConfig
from gfs_sr.training.losses.registry import terms_of
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.supervised import Supervised
from gfs_sr.training.windows import generator

# smaller than the default, where a family would take long; one that is not here is built as it comes
SMALL = {
    "factorized": {"blocks": 1, "width": 8, "padding": "replicate"},
    "fused": {"blocks": 1, "width": 6},
    "dl4ds": {"n_blocks": 1, "n_filters": 4, "time_factor": 1},
    "unet": {**models.SMALL, "width": 4, "factors": (1,)},
    "gan": {**models.SMALL, "width": 4, "factors": (1,), "latent": "cells"},
    "temdeep": {"scale_factor": 1, "widths": [4, 8]},
    "temdeep_narrow": {"scale_factor": 1, "width": 6, "blocks": 1},
    "rife": {"scale_factor": 1, "width": 6, "dilations": [2, 1]},
}
COMMON = {"variables": ["t2m", "wspd"], "scale_factor": 3, "time_factor": 3}
SIDE = 90  # fine cells, so that the losses of most scales have room


def config_of(family: str) -> dict[str, object]:
    return {"family": family, **COMMON, **SMALL.get(family, {})}


def is_trainable(family: str) -> bool:
    return models.build(config_of(family)).parameters_count > 0


# networks that tell noise from fields have one loss, that of their process; the bundled sample holds no columns
APART = {variant.family for variant in models.VARIANTS if variant.training in ("diffusion", "physics-informed")}
FAMILIES = [family for family in models.FAMILIES if family not in APART and is_trainable(family)]


@cache
def batch_of(family: str) -> dict[str, torch.Tensor]:
    """Real samples for a family."""
    network = models.build(config_of(family))
    margin = network.reach if isinstance(network.reach, Reach) else network.context
    task = Task.of(network.make_contract(name="test"), margin)
    source = SourceConfig("arpege", ["arpege_2m*.grib", "arpege_10m*.grib"])
    sets = TrainingData(folder=str(files("gfs_sr.demo") / "sample"), sources=[source]).read()
    sampler = Sampler(
        sets,
        task,
        StreamConfig(batch=2, patch=SIDE // network.facts.scale_factor, intervals=3 // network.facts.time_factor),
    )
    samples = [sampler.draw(generator(0, index)) for index in range(2)]
    return {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}


@pytest.mark.parametrize("loss", [*LOSSES, *MIXTURES])
@pytest.mark.parametrize("family", FAMILIES)
def test_x_7_every_loss_trains_every_family_one_step(family, loss):
    torch.manual_seed(0)
    batch = batch_of(family)
    if min(batch["fine"].shape[-2:]) < max(LOSSES[term].least_side for term in terms_of({loss: 1.0})):
        pytest.skip(f"samples of {family} are smaller than {loss} needs")
    module = Supervised(config_of(family), LossConfig({loss: 1.0}))
    with torch.no_grad():  # away from the baseline, which is at the very tip of some losses
        for parameter in module.network.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape))
    optimizer = torch.optim.SGD(module.network.parameters(), lr=1.0)
    before = {name: tensor.detach().clone() for name, tensor in module.network.named_parameters()}

    def value() -> torch.Tensor:
        torch.manual_seed(1)  # of networks that draw members
        return module._loss(batch, *module._predict("space_time", batch))[0]

    start = value()
    start.backward()
    slope = torch.cat([each.grad.flatten() for each in module.network.parameters() if each.grad is not None])
    assert torch.isfinite(start)
    assert torch.isfinite(slope).all()
    assert slope.abs().max() > 0
    for group in optimizer.param_groups:
        group["lr"] = 1e-4 * start.item() / slope.square().sum().item()  # to first order, a ten-thousandth less
    optimizer.step()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in module.network.named_parameters())
    with torch.no_grad():
        assert value() < start


@pytest.mark.parametrize("family", FAMILIES)
def test_x_7_every_metric_scores_what_every_family_gives(family):
    batch = batch_of(family)
    module = Supervised(config_of(family))
    with torch.no_grad():
        prediction, _ = module._predict("space_time", batch)
    truth = batch["fine"][0, :, 0].numpy()
    scene = Scene(prediction[0, :, 0].numpy(), truth, weights=np.ones((truth.shape[1], 1)), data_range=4.0)
    scored = available(scene)
    assert {"RMSE", "MAE", "SSIM", "PSNR"} <= set(scored)
    for name in scored:
        assert np.isfinite(METRICS[name].value(METRICS[name].statistic.sums(scene).sum(axis=0))), name
