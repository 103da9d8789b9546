"""Losses by the name that the configuration uses; one more is one more row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from gfs_sr.training.losses import pointwise, similarity, spatial, spectral, temporal


@dataclass(frozen=True)
class Loss:
    """A pure function of prediction, target, mask and area, with what must be known before it is asked for."""

    value: Callable[..., Tensor]
    of_error: bool = False  # depends on p - y alone, so that errors may be counted in units of the baseline's
    least_side: int = 1  # fine cells
    even_frames: bool = False  # takes the frames of a sample as evenly spaced


LOSSES: dict[str, Loss] = {
    "l1": Loss(pointwise.l1, of_error=True),
    "mse": Loss(pointwise.mse, of_error=True),
    "huber": Loss(pointwise.huber, of_error=True),
    "charbonnier": Loss(pointwise.charbonnier, of_error=True),
    "dt": Loss(temporal.temporal_coherence, of_error=True),
    "grad": Loss(spatial.gradient),
    "psd": Loss(spectral.spectrum),
    "ssim": Loss(similarity.ssim, least_side=similarity.WINDOW),
    "dssim": Loss(similarity.dssim, least_side=similarity.WINDOW),
    "msdssim": Loss(similarity.msdssim, least_side=similarity.LEAST_SIDE),
    "tv": Loss(spatial.total_variation),
    "d2t": Loss(temporal.smooth_in_time, even_frames=True),
}

MIXTURES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "mae": {"l1": 1.0},
        "dssim_mae": {"dssim": 0.8, "l1": 0.2},
        "dssim_mse": {"dssim": 0.8, "mse": 0.2},
        "dssim_mae_mse": {"dssim": 0.6, "l1": 0.2, "mse": 0.2},
        "msdssim_mae": {"msdssim": 0.8, "l1": 0.2},
        "msdssim_mse": {"msdssim": 0.8, "mse": 0.2},
        "msdssim_mae_mse": {"msdssim": 0.6, "l1": 0.2, "mse": 0.2},
    }
)
"""Named compositions: with `mse`, `dssim` and `msdssim`, the nine of the downscaling family (specification 5.5)."""


def terms_of(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights by name, with mixtures taken apart; terms of weight 0 are gone."""
    terms: dict[str, float] = {}
    for name, weight in weights.items():
        for term, share in MIXTURES.get(name, {name: 1.0}).items():
            terms[term] = terms.get(term, 0.0) + weight * share
    return {term: weight for term, weight in terms.items() if weight}
