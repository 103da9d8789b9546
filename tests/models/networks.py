"""Inputs of the right shapes for any network."""

import torch

from gfs_sr.models.receptive_field import Reach


def coarse_input(margin: Reach, frames: int = 1, channels: int = 5, rows: int = 1, columns: int = 1, batch: int = 1):
    """Random (batch, frames + halo, channels, rows + halo, columns + halo), the same at every call."""
    generator = torch.Generator().manual_seed(1)
    size = (
        batch,
        frames + margin.before + margin.after,
        channels,
        rows + margin.north + margin.south,
        columns + margin.west + margin.east,
    )
    return torch.randn(size, generator=generator)


def shake(model: torch.nn.Module, std: float = 0.1) -> torch.nn.Module:
    """Give every weight a random value, so that layers that start at zero take part."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
    return model
