"""Noise in training: several for one sample, and none left in what validation takes for the mean of members."""

import numpy as np
import pytest
import torch

from gfs_sr.errors import UsageError
from gfs_sr.models.conditions import Conditions
from gfs_sr.training.diffusion import Diffusing, repeated

NETWORK = {
    "family": "edm", "variables": ["t2m"], "scale_factor": 2, "registration": "node", "width": 16, "multipliers": [1],
    "blocks": 1, "attention": "none", "normalization": "cell", "dropout": 0.0,
}  # fmt: skip


def test_a_sample_at_two_noises_learns_as_two_samples_that_are_alike():
    torch.manual_seed(0)
    module = Diffusing(network=NETWORK, noises=2)
    reach = module.model.conditions.reach
    coarse = torch.randn(2, 1, 1, 6 + reach.north + reach.south, 6 + reach.west + reach.east)
    part = {"coarse": coarse, "fine": torch.randn(2, 1, 1, 12, 12), "mask": torch.ones(2, 1, 1, 12, 12).bool()}
    doubled = {name: torch.stack([each[0], each[0], each[1], each[1]]) for name, each in part.items()}

    def loss_of(given: dict[str, torch.Tensor], times: int) -> torch.Tensor:
        made = module.model.conditions(coarse=given["coarse"])
        many, again = repeated(given, made, times)
        loss, _ = module._denoising_loss(many, again, torch.Generator().manual_seed(1))
        return loss

    torch.testing.assert_close(loss_of(part, 2), loss_of(doubled, 1), rtol=0, atol=1e-7)


def test_once_is_as_it_was():
    made = Conditions(*(torch.zeros(3, 1, 1, 2, 2) for _ in range(3)))
    part = {"fine": torch.from_numpy(np.zeros((3, 1, 1, 2, 2), np.float32))}
    assert repeated(part, made, 1) == (part, made)


def test_no_noise_is_refused():
    with pytest.raises(UsageError, match="noise"):
        Diffusing(network=NETWORK, noises=0)


@pytest.mark.parametrize(("family", "members", "size"), [("edm", 0, 0.0), ("vp", 0, 0.5), ("vp", 9, 1 / 3)])
def test_validation_scores_the_mean_of_members_whatever_the_network_gives(monkeypatch, family, members, size):
    """What is left is a standard normal number in every cell, and the network errs by 5 % of what it gives."""
    schedule = {"n": 12, "sigma_min": 0.03, "sigma_max": 20.0}
    module = Diffusing(network=NETWORK | {"family": family, "schedule": schedule}, validation_members=members)
    rng = torch.Generator().manual_seed(2)

    def denoise(x, fields, level, variable):
        # edm gives the field, of size 1, and vp the noise, which counts as often as its level
        error = 0.05 * torch.randn(x.shape, generator=rng) * (1.0 if family == "edm" else level)
        return x / (1 + level**2) + error

    monkeypatch.setattr(module.model, "denoise", denoise)
    monkeypatch.setattr(module, "_generator", lambda *key: torch.Generator().manual_seed(hash(key)))
    made = Conditions(torch.zeros(2, 1, 1, 40, 40), torch.ones(2, 1, 1, 40, 40), torch.zeros(2, 1, 1, 40, 40))
    drawn = module.members_of({}, made, members, 0) if members else None
    found = module.expected({}, made, drawn, 0)
    assert float(found.square().mean().sqrt()) == pytest.approx(size, abs=0.1)  # vp at its first level: 1
