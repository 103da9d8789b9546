"""Losses of structural similarity, over valid windows; a masked cell has no part in any window.

Where a window holds masked cells, its moments are those of the others; a window counts where its central cell does.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from gfs_sr.errors import UsageError
from gfs_sr.training.distributed import extremes
from gfs_sr.training.losses.masked import MASK_EPSILON, masked_mean, plane_mean

WINDOW = 11  # cells per side
SIGMA = 1.5
K1, K2 = 0.01, 0.03
DATA_RANGE = 4.0  # of normalized fields
POWERS = (0.0448, 0.2856, 0.3001, 0.2363)  # of the scales, finest first
LEAST_SIDE = WINDOW * 2 ** (len(POWERS) - 1)  # so that a window fits on the coarsest scale
LEAST_SIMILARITY = 1e-4  # below it a scale's power has no usable slope


def ssim(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    area: Tensor | None = None,
    *,
    data_range: float | Tensor = DATA_RANGE,
) -> Tensor:
    """Mean 1 - SSIM.

    Source: Wang et al. 2004 (IEEE TIP 13), Gaussian window of 11 by 11, sigma 1.5, population moments.
    """
    luminance, contrast = _similarity(prediction, target, mask, data_range)
    return _window_mean(1 - luminance * contrast, mask, area)


def dssim(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean (1 - SSIM)/2, values counted from the least of prediction and target, R the range of both over the batch.

    One origin for both: with an origin each, a constant bias would cost nothing.
    """
    low, data_range = _common_range(prediction, target, mask)
    return ssim(prediction - low, target - low, mask, area, data_range=data_range) / 2


def msdssim(prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None) -> Tensor:
    """Mean (1 - MS-SSIM)/2 with four scales, each the mean of 2 by 2 cells of the finer one; origin and R as `dssim`.

    Raises:
        UsageError: a side of less than 88 cells.

    Source: Wang, Simoncelli and Bovik 2003 (Asilomar), its first four powers.
    """
    if min(prediction.shape[-2:]) < LEAST_SIDE:
        raise too_small("msdssim", LEAST_SIDE, prediction.shape)
    low, data_range = _common_range(prediction, target, mask)
    similarity = torch.ones(prediction.shape[:-2], device=prediction.device)
    scales = list(_scales(prediction - low, target - low, mask, area))
    for power, (p, y, valid, cells) in zip(POWERS, scales, strict=True):
        luminance, contrast = _similarity(p, y, valid, data_range)
        kept = luminance * contrast if p is scales[-1][0] else contrast  # brightness is compared once, coarsest
        similarity = similarity * _plane_window_mean(kept, valid, cells).clamp(min=LEAST_SIMILARITY) ** power
    return masked_mean(1 - similarity, mask.amax(dim=(-2, -1))) / 2


def too_small(name: str, least: int, shape: torch.Size | tuple[int, ...]) -> UsageError:
    """What a field smaller than the loss needs is answered with."""
    return UsageError(
        f"{name} needs fields of {least} cells a side, these have {shape[-2]} by {shape[-1]}",
        "model.loss.weights",
        "take larger patches (data.streams), or a loss without windows",
    )


def _common_range(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        both = torch.stack([prediction, target])
        low = torch.where(mask > 0, both, torch.inf).amin()
        high = torch.where(mask > 0, both, -torch.inf).amax()
        low, high = extremes(low, high)
        low = torch.where(low.isfinite(), low, 0.0)
        return low, (high - low).clamp(min=MASK_EPSILON)


def _similarity(p: Tensor, y: Tensor, mask: Tensor, data_range: float | Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure, (..., H - 10, W - 10) each."""
    if min(p.shape[-2:]) < WINDOW:
        raise too_small("ssim", WINDOW, p.shape)
    # moments about an origin near the data: sums of squares far from 0 lose the digits that the variance needs
    origin = plane_mean(y, mask).detach()
    a, b = (p - origin) * mask, (y - origin) * mask
    weight = _windowed(mask).clamp(min=MASK_EPSILON)
    mean_p, mean_y = _windowed(a) / weight, _windowed(b) / weight
    var_p = _windowed(a * a) / weight - mean_p**2
    var_y = _windowed(b * b) / weight - mean_y**2
    covariance = _windowed(a * b) / weight - mean_p * mean_y
    mean_p, mean_y = mean_p + origin, mean_y + origin
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_p * mean_y + c1) / (mean_p**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (var_p + var_y + c2)


def _windowed(fields: Tensor) -> Tensor:
    """Gaussian-weighted sum over each window, (..., H - 10, W - 10)."""
    offsets = torch.arange(WINDOW, device=fields.device) - WINDOW // 2
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    planes = fields.flatten(0, -3)[:, None]
    planes = F.conv2d(F.conv2d(planes, kernel[None, None, :, None]), kernel[None, None, None])
    return planes.reshape(*fields.shape[:-2], *planes.shape[-2:])


def _centers(fields: Tensor) -> Tensor:
    half = WINDOW // 2
    return fields[..., half:-half, half:-half]


def _window_mean(values: Tensor, mask: Tensor, area: Tensor | None) -> Tensor:
    return masked_mean(values, _centers(mask), None if area is None else _centers(area))


def _plane_window_mean(values: Tensor, mask: Tensor, area: Tensor | None) -> Tensor:
    """(..., h, w) -> (...); 1 where no window counts."""
    weight = _centers(mask) if area is None else _centers(mask) * _centers(area)
    lost = (1 - values) * weight
    return 1 - lost.sum(dim=(-2, -1)) / (weight.sum(dim=(-2, -1)) + MASK_EPSILON)


def _scales(
    p: Tensor, y: Tensor, mask: Tensor, area: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """Prediction, target, mask and area, then of halved fields: means over the valid ones of 2 by 2 cells."""
    for scale in range(len(POWERS)):
        if scale:
            weight = _halved(mask)
            p, y = (_halved(each * mask) / weight.clamp(min=MASK_EPSILON) for each in (p, y))
            mask = (weight > 0).float()
            area = None if area is None else _halved(area)
        yield p, y, mask, area


def _halved(fields: Tensor) -> Tensor:
    planes = F.avg_pool2d(fields.flatten(0, -3), 2)
    return planes.reshape(*fields.shape[:-2], *planes.shape[-2:])
