"""A loss made of terms by name and weight."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gfs_sr.training.distributed import anywhere, parts, summed
from gfs_sr.training.losses.registry import LOSSES, MIXTURES, terms_of
from gfs_sr.training.losses.similarity import DATA_RANGE, too_small


@dataclass(frozen=True)
class LossConfig:
    """Weights by name; a term of weight 0 is not computed."""

    weights: dict[str, float] = field(default_factory=lambda: {"l1": 1.0, "dt": 0.05, "grad": 0.03, "psd": 0.0})
    huber_delta: float = 1.0
    charbonnier_delta: float = 1e-3
    data_range: float = DATA_RANGE  # R of ssim, normalized units
    relative: bool = False  # errors in units of the baseline's own, sample by sample: every scale counts alike
    variables: dict[str, float] = field(default_factory=dict)  # weights of variables that do not count 1
    buffer: int = 0  # fine cells at each side of a patch that do not count

    def __post_init__(self) -> None:
        known = {**LOSSES, **MIXTURES}
        unknown = set(self.weights) - set(known)
        if unknown:
            raise ValueError(f"unknown loss {', '.join(sorted(unknown))}; use: {', '.join(known)}")
        if min(self.weights.values(), default=0.0) < 0 or min(self.variables.values(), default=0.0) < 0:
            raise ValueError("a loss of negative weight would reward errors")
        if min(self.huber_delta, self.charbonnier_delta, self.data_range) <= 0 or self.buffer < 0:
            raise ValueError("huber_delta, charbonnier_delta and data_range are above 0, buffer is not below")
        absolute = [name for name in terms_of(self.weights) if not LOSSES[name].of_error]
        if self.relative and absolute:
            allowed = ", ".join(name for name, loss in LOSSES.items() if loss.of_error)
            raise ValueError(f"relative errors are all that is left for {', '.join(absolute)}; use: {allowed}")

    @property
    def terms(self) -> dict[str, float]:
        """What is computed, with its weight."""
        return terms_of(self.weights)

    def check(self, side: int, even_frames: bool) -> None:
        """Whether samples of `side` fine cells, their frames evenly spaced or not, suit every term.

        Raises:
            UsageError: they are too small.
            ValueError: a term needs evenly spaced frames.
        """
        for name in self.terms:
            if side - 2 * self.buffer < LOSSES[name].least_side:
                left = side - 2 * self.buffer
                raise too_small(name, LOSSES[name].least_side, (left, left))
            if LOSSES[name].even_frames and not even_frames:
                raise ValueError(f"{name} needs evenly spaced frames: give the stream no fractions")


def compose(
    config: LossConfig, prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and each term by name, in float32 whatever autocast says.

    Args:
        config: which terms, how much of each.
        prediction: (B, T, C, H, W), any float type.
        target: the same shape, may hold anything where masked.
        mask: the same shape or broadcastable to it; true where the target counts.
        area: broadcastable weights of the cells, such as cos(latitude); None weighs all alike.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction = prediction.float()
        valid = mask.bool().expand_as(prediction) & target.isfinite()
        truth = torch.where(valid, target.float(), 0.0)
        # a masked cell carries the same in both, so that it has no error and no gradient
        filled = torch.where(valid, prediction, truth)
        counts = valid.float()
        cells = None if area is None else area.float().expand_as(prediction)
        terms = {name: _value(name, config, filled, truth, counts, cells) for name in config.terms}
        total = torch.zeros((), device=prediction.device)
        for name, weight in config.terms.items():
            total = total + weight * terms[name]
    return total, terms


def _value(
    name: str, config: LossConfig, prediction: Tensor, target: Tensor, mask: Tensor, area: Tensor | None
) -> Tensor:
    settings: dict[str, dict[str, float]] = {
        "huber": {"delta": config.huber_delta},
        "charbonnier": {"delta": config.charbonnier_delta},
        "ssim": {"data_range": config.data_range},
    }
    return LOSSES[name].value(prediction, target, mask, area, **settings.get(name, {}))


def sample_loss(
    config: LossConfig,
    part: Mapping[str, Tensor],
    prediction: Tensor,
    base: Tensor,
    names: Sequence[Sequence[str]] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one stream's samples, and its terms by name.

    Args:
        config: terms and weights.
        part: the samples: `fine`, `mask`, and `area` where cells are weighed.
        prediction: (B, T, C, H, W).
        base: the baseline's, the same shape.
        names: per sample and channel, the variable; with it, each variable named in `config.variables` has its own
            weight and its own line among the terms, and the others are one.
    """
    target, mask, area = part["fine"], part["mask"], part.get("area")
    if config.buffer:
        inner = (..., slice(config.buffer, -config.buffer), slice(config.buffer, -config.buffer))
        prediction, base, target, mask = prediction[inner], base[inner], target[inner], mask[inner]
        area = None if area is None else area[inner]
    if config.relative:
        scale = relative_scale(base, target, mask)
        prediction, target = (prediction.float() - target) / scale, torch.zeros_like(target)
    if not config.variables:
        return compose(config, prediction, target, mask, area)
    assert names is not None  # weights of variables need their names
    total = torch.zeros((), device=prediction.device)
    lines: dict[str, Tensor] = {}
    for group in [*config.variables, None]:
        chosen = [[(each if each in config.variables else None) == group for each in sample] for sample in names]
        if not anywhere(any(map(any, chosen)), mask.device):  # every process must take part in a mean, or none
            continue
        weight = 1.0 if group is None else config.variables[group]
        if not weight:
            continue
        belongs = torch.tensor(chosen, device=mask.device)[:, None, :, None, None]
        loss, terms = compose(config, prediction, target, mask.bool() & belongs, area)
        total = total + weight * loss
        lines |= {f"{name}/{group or 'other'}": term for name, term in terms.items()}
    return total, lines


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
    typical = summed(size.log().mean()) / parts()
    scale: Tensor = (size.log() * own + typical * (1 - own)).exp().detach()
    return scale.reshape(-1, 1, 1, 1, 1)


def named(terms: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """For the logs."""
    return {f"{prefix}/{name}": term.detach() for name, term in terms.items()}
