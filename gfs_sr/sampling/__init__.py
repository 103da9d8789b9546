"""Diffusion without a network: noise levels, solvers and what surrounds a denoiser, on arrays of NumPy or torch alike.

Training (torch) and the runtime (NumPy, no torch) import the same functions: nothing here but arithmetic.
"""

from gfs_sr.sampling.config import SamplerConfig, SamplingConfig, ScheduleConfig
from gfs_sr.sampling.forms import Form, form_of
from gfs_sr.sampling.guidance import guided
from gfs_sr.sampling.run import sample
from gfs_sr.sampling.samplers import SAMPLERS, Denoiser, Noise
from gfs_sr.sampling.schedules import SCHEDULES, CosineProcess, VpProcess

__all__ = [
    "SAMPLERS",
    "SCHEDULES",
    "CosineProcess",
    "Denoiser",
    "Form",
    "Noise",
    "SamplerConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "VpProcess",
    "form_of",
    "guided",
    "sample",
]
