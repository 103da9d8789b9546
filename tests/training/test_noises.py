"""Several noises for one sample: as several samples that are alike."""

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
