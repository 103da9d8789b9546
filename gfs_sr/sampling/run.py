"""One sample: the start, the levels, the solver."""

from typing import Any

from gfs_sr.sampling.config import SamplingConfig
from gfs_sr.sampling.forms import form_of
from gfs_sr.sampling.samplers import SAMPLERS, Denoiser, Noise
from gfs_sr.sampling.schedules import VpProcess, levels


def sample(denoise: Denoiser, noise: Noise, config: SamplingConfig, process: VpProcess) -> Any:
    """A sample of what `denoise` was trained on.

    Args:
        denoise: (x, sigma) -> the clean field that it expects.
        noise: number of a draw -> standard normals; draw 0 makes the start, draw i + 1 belongs to step i.
        config: solver and levels.
        process: that the denoiser was trained with.

    Returns:
        As `noise` gives it, in the denoiser's units.
    """
    sigmas = levels(config.schedule, process)
    form = form_of(config.sampler.form, process)
    start = sigmas[0] * form.scale(sigmas[0]) * noise(0)
    return SAMPLERS[config.sampler.integrator](denoise, start, sigmas, noise, config.sampler, form)
