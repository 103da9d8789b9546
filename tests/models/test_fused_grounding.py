"""Terrain is no part of what is reduced to sea level."""

import torch

from gfs_sr.data.variables import variable_ids
from gfs_sr.models.fused import Fused, FusedConfig
from tests.models.networks import coarse_input, shake


def test_sea_level_pressure_does_not_see_terrain_and_surface_pressure_does() -> None:
    model = shake(Fused(FusedConfig(width=8))).eval()
    coarse = coarse_input(model.reach, frames=2, channels=2, rows=2, columns=3)
    generator = torch.Generator().manual_seed(4)
    size = coarse.shape[3:]
    terrain = {
        "static_coarse": torch.randn(1, 1, 2, *size, generator=generator),
        "static_fine": torch.randn(1, 1, 72, *size, generator=generator),
    }
    ids = torch.tensor(variable_ids(("msl", "sp")))
    with torch.no_grad():
        plain, grounded = model(coarse, ids), model(coarse, ids, **terrain)
    torch.testing.assert_close(grounded[:, :, 0], plain[:, :, 0], rtol=0, atol=1e-5)
    assert (grounded[:, :, 1] - plain[:, :, 1]).abs().max() > 1e-2
