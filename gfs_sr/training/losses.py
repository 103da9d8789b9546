"""Losses: pure functions of prediction, target and mask, all in float32 on normalized fields.

Shapes are (B, T, C, H, W) throughout. A masked cell (mask 0, whatever its target holds) has no part in any value and
gets no gradient. Source of formulas and default weights: the specification of the seed system, section 2.4.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

MASK_EPSILON = 1e-6  # a batch without a valid cell has loss 0, not NaN
GRADIENT_EPSILON = 1e-12  # keeps the root's slope finite on flat fields
SPECTRUM_EPSILON = 1e-8
MOST_BINS = 64


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the cells where `mask` (of the same shape, 0 or 1) is 1."""
    return (values * mask).sum() / (mask.sum() + MASK_EPSILON)


def l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean |p - y|."""
    return masked_mean((prediction - target).abs(), mask)


def huber(prediction: Tensor, target: Tensor, mask: Tensor, delta: float = 1.0) -> Tensor:
    """Mean of q²/(2δ) + |e| - q with q = min(|e|, δ): quadratic to δ, then linear with slope 1."""
    error = (prediction - target).abs()
    small = error.clamp(max=delta)
    return masked_mean(small**2 / (2 * delta) + error - small, mask)


def temporal_coherence(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean |d_t p - d_t y| where both frames are valid; 0 for a single frame."""
    change = prediction.diff(dim=1) - target.diff(dim=1)
    return masked_mean(change.abs(), mask[:, 1:] * mask[:, :-1])


def gradient(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean |S(p) - S(y)| with S the length of the Sobel gradient, zeros beyond the edge."""
    difference = _sobel_length(prediction) - _sobel_length(target)
    return masked_mean(difference.abs(), mask)


def spectrum(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of the normalized radial power spectra, per frame and channel."""
    return F.mse_loss(radial_spectrum(prediction), radial_spectrum(target))


def radial_spectrum(fields: Tensor) -> Tensor:
    """(..., H, W) -> (..., n): power by radial frequency, n = min(64, H/2) bins of equal width in (0, max], sum 1."""
    height, width = fields.shape[-2:]
    bins = max(1, min(MOST_BINS, height // 2))
    centered = fields.float() - fields.float().mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.rfft2(centered, norm="ortho").abs() ** 2
    rows = torch.fft.fftfreq(height, device=fields.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=fields.device)[None]
    radius = (rows**2 + columns**2).sqrt()
    index = (radius / radius.max() * bins).ceil().long().clamp(1, bins) - 1
    inside = (radius > 0).float()  # the mean is no wave
    shape = (*power.shape[:-2], bins)
    flat = index.flatten()
    total = torch.zeros(shape, device=fields.device).index_add(-1, flat, (power * inside).flatten(-2))
    count = torch.zeros(bins, device=fields.device).index_add(0, flat, inside.flatten())
    curve = total / count.clamp(min=1)
    return curve / (curve.sum(dim=-1, keepdim=True) + SPECTRUM_EPSILON)


def _sobel_length(fields: Tensor) -> Tensor:
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=fields.device)
    planes = fields.flatten(0, 2)[:, None]
    slopes = F.conv2d(planes, torch.stack([kernel, kernel.T])[:, None], padding=1)
    length: Tensor = (slopes.square().sum(dim=1) + GRADIENT_EPSILON).sqrt()
    return length.reshape(fields.shape)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "l1": l1,
    "huber": huber,
    "dt": temporal_coherence,
    "grad": gradient,
    "psd": spectrum,
}
"""By the name the configuration uses."""


@dataclass(frozen=True)
class LossConfig:
    """Weights by name; a term of weight 0 is not computed."""

    weights: dict[str, float] = field(default_factory=lambda: {"l1": 1.0, "dt": 0.05, "grad": 0.03, "psd": 0.0})
    huber_delta: float = 1.0
    relative: bool = False  # errors in units of the baseline's own, sample by sample: every scale counts alike

    def __post_init__(self) -> None:
        unknown = set(self.weights) - set(LOSSES)
        if unknown:
            raise ValueError(f"unknown loss {', '.join(sorted(unknown))}; use: {', '.join(LOSSES)}")


def compose(config: LossConfig, prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and each term by name.

    Args:
        config: which terms, how much of each.
        prediction: (B, T, C, H, W), any float type; compared in float32.
        target: the same shape, may hold anything where masked.
        mask: the same shape or broadcastable to it; true where the target counts.
    """
    prediction = prediction.float()
    valid = mask.bool().expand_as(prediction) & target.isfinite()
    truth = torch.where(valid, target.float(), torch.zeros((), device=target.device))
    # masked cells carry the target, so that no stencil or transform sees a difference there
    filled = torch.where(valid, prediction, truth)
    terms = {
        name: _term(name, config, filled, truth, valid.float()) for name, weight in config.weights.items() if weight
    }
    total = torch.zeros((), device=prediction.device)
    for name, term in terms.items():
        total = total + config.weights[name] * term
    return total, terms


def _term(name: str, config: LossConfig, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    if name == "huber":
        return huber(prediction, target, mask, config.huber_delta)
    return LOSSES[name](prediction, target, mask)


def relative_scale(base: Tensor, target: Tensor, mask: Tensor, floor: float = 2e-4, own: float = 0.8) -> Tensor:
    """(B, 1, 1, 1, 1): the size of the baseline's error, what `relative` divides by.

    Args:
        base: (B, T, C, H, W), the untrained model's output.
        target: the same shape.
        mask: broadcastable; true where the target counts.
        floor: least size, so that a flat sample does not dominate.
        own: how much of it is the sample's own error; the rest is the batch's geometric mean.
    """
    valid = (mask.bool().expand_as(base) & target.isfinite()).float()
    count = valid.sum(dim=(1, 2, 3, 4)).clamp(min=1)
    error = torch.nan_to_num(base.float() - target.float()).square() * valid
    size = (error.sum(dim=(1, 2, 3, 4)) / count).clamp(min=floor**2).sqrt()
    scale: Tensor = (size.log() * own + size.log().mean() * (1 - own)).exp().detach()
    return scale.reshape(-1, 1, 1, 1, 1)


def named(terms: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """For the logs."""
    return {f"{prefix}/{name}": term.detach() for name, term in terms.items()}
