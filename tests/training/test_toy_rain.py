"""What members are for, on rain whose law is known: they are better than one field, and as rough as the truth."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gfs_sr import models
from gfs_sr.metrics.ensemble import crps
from gfs_sr.models.diffusion import PRECONDITIONING, draw_levels, teach
from gfs_sr.models.receptive_field import crop
from gfs_sr.sampling import sample

SIZE, SCALE, CORE = 128, 4, 8  # fine cells of a field, of a coarse cell; coarse cells that are refined
LITTLE = {
    "variables": ["tp"], "registration": "cell", "scale_factor": SCALE, "width": 16, "multipliers": [1], "factors": [],
    "blocks": 1, "dropout": 0.0, "normalization": "cell", "attention": "none",
}  # fmt: skip
STEPS, BATCH, MEMBERS = 200, 8, 8


def rain(count, generator):
    """(N, 1, 1, 128, 128) logarithms of amounts of a Gaussian process with a spectrum of power -3, none below 0."""
    frequency = torch.fft.fftfreq(SIZE)
    radius = (frequency[:, None] ** 2 + frequency[None] ** 2).sqrt().clamp(min=1 / SIZE)
    white = torch.fft.fft2(torch.randn((count, SIZE, SIZE), generator=generator))
    field = torch.fft.ifft2(white * radius**-1.5).real
    return F.relu(field / field.std())[:, None, None]


def pair(count, generator, reach):
    """(coarse with halo, fine core)."""
    whole = rain(count, generator)
    coarse = F.avg_pool2d(whole[:, :, 0], SCALE)[:, :, None]
    first = (SIZE // SCALE - CORE) // 2
    window = coarse[
        ..., first - reach.north : first + CORE + reach.south, first - reach.west : first + CORE + reach.east
    ]
    return window, whole[..., SCALE * first : SCALE * (first + CORE), SCALE * first : SCALE * (first + CORE)]


def trained(model, loss, generator):
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(*pair(BATCH, generator, model.reach)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def spectrum(fields):
    """Mean power of (..., H, W) by integer radius below half a side."""
    fields = fields.reshape(-1, *fields.shape[-2:])
    power = (np.abs(np.fft.fft2(fields - fields.mean(axis=(1, 2), keepdims=True))) ** 2).mean(axis=0)
    side = fields.shape[-1]
    count = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(count[:, None], count[None])).astype(int)
    return np.array([power[radius == r].mean() for r in range(1, side // 2)])


def ralsd(fields, truth):
    return np.sqrt(np.mean((10 * np.log10(spectrum(truth) / spectrum(fields))) ** 2))


@pytest.mark.slow
def test_s004_12_members_of_toy_rain_beat_the_regressions_error_and_are_rougher():
    torch.manual_seed(0)
    regression = models.build({"family": "unet", **LITTLE})
    generator = torch.Generator().manual_seed(1)
    trained(regression, lambda coarse, fine: F.mse_loss(regression(coarse), fine), generator)
    model = models.build({"family": "edm", **LITTLE, "noise_mean": -0.8, "schedule": {"n": 12, "sigma_max": 10.0}})
    settings, conditions = model.settings, model.conditions
    coarse, fine = pair(64, generator, model.reach)
    with torch.no_grad():
        conditions.sizes.copy_((fine - conditions(coarse).mean).square().mean().sqrt())

    def denoising(coarse, fine):
        made = conditions(coarse)
        z = (fine - made.mean) / made.unit
        sigma = draw_levels(z.shape[0], settings.levels, settings.vp, generator)
        noise = torch.randn(z.shape, generator=generator)
        lesson = teach(lambda x, level: model.network(x, made.fields, level), z, noise, sigma,
                       PRECONDITIONING["edm"], settings.sigma_data)  # fmt: skip
        return F.mse_loss(lesson.output, lesson.target)

    trained(model, denoising, generator)
    reach = regression.reach | model.reach
    coarse, fine = pair(48, torch.Generator().manual_seed(2), reach)
    with torch.no_grad():
        field = regression(crop(coarse, reach - regression.reach)).clamp(min=0)
        made = conditions(crop(coarse, reach - model.reach))
        members = torch.stack([
            made.mean + made.unit * sample(
                lambda x, sigma: model.denoise(x, made.fields, x.new_full((1,), sigma)),
                lambda _: torch.randn(fine.shape, generator=generator), settings.sampling, settings.vp,
            )
            for _ in range(MEMBERS)
        ]).clamp(min=0)  # fmt: skip
    truth, field, drawn = fine.numpy(), field.numpy(), members.numpy()
    score, error = float(crps(drawn, truth).mean()), float(np.abs(field - truth).mean())
    rough, smooth = ralsd(drawn, truth), ralsd(field, truth)
    assert score < 0.9 * error
    assert rough < 0.7 * smooth
