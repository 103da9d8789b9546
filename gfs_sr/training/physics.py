"""Physics-informed training: a column of temperature that keeps its stability, its gradients, and what couples both."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor

from gfs_sr.errors import UsageError
from gfs_sr.models.column_physics import metric_of
from gfs_sr.models.geodiff import Geodiff
from gfs_sr.models.interpolation import pad_edges
from gfs_sr.training.datamodule import Share, Steps
from gfs_sr.training.losses import LossConfig
from gfs_sr.training.losses.column import Column, coupling_error, gradient_error, stability_error
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.supervised import Supervised, centered

LOGGER: Final = logging.getLogger(__name__)
CHARBONNIER: Final = LossConfig(weights={"charbonnier": 1.0})
SIZE_STEPS: Final = 16  # that the sizes are measured on
SIZE_KEY: Final = (1 << 20) + 2  # an epoch that neither training, validation nor another measurement reaches


@dataclass(frozen=True)
class PhysicsConfig:
    """Weights; a term of weight 0 is not computed."""

    weight: float = 0.1  # of all terms together, beside the loss of the data
    stability: float = 1.0
    gradient: float = 1.0
    coupling: float = 1.0

    def __post_init__(self) -> None:
        if min(self.weight, self.stability, self.gradient, self.coupling) < 0:
            raise ValueError("a term of negative weight would reward errors")

    @property
    def terms(self) -> dict[str, float]:
        """What is computed, with its weight."""
        weights = {"stability": self.stability, "gradient": self.gradient, "coupling": self.coupling}
        return {name: self.weight * weight for name, weight in weights.items() if self.weight * weight > 0}


DEFAULT_PHYSICS: Final = PhysicsConfig()


class PhysicsInformed(Supervised):
    """Supervised training of `geodiff` with three terms of physics beside the loss of the data.

    Before the first step the sizes of stability, gradients and shear are measured on true fields, so that every term
    counts in typical sizes of what it compares; and the linear part of the network is fitted, which needs no gradient.

    Args:
        network: the configuration of `geodiff`.
        physics: weights of the terms.
        loss: of the data.
        options: as `Supervised`.
    """

    def __init__(
        self,
        network: dict[str, Any],
        physics: PhysicsConfig = DEFAULT_PHYSICS,
        loss: LossConfig = CHARBONNIER,
        **options: Any,
    ) -> None:
        super().__init__(network=network, loss=loss, **options)
        if not isinstance(self.network, Geodiff):
            raise UsageError(
                f"{self.network.family} has no columns", "training: physics-informed", "use it with the family geodiff"
            )
        self.model, self.physics = self.network, physics
        self.column: Column | None = None  # measured before the first step
        self.motion = 1.0  # Pa/s, typical vertical motion

    def on_fit_start(self) -> None:
        """Sizes come before the first step; what the physics will not see is said."""
        super().on_fit_start()
        settings = self.model.settings
        if len(settings.levels) == 1:
            LOGGER.warning("one level alone: the losses of stability and coupling are 0, and the prior has no vertical")
        if settings.prior:
            how = {"continuity": "derived from the wind's divergence", "given": "the forecast's", "none": "left out"}
            LOGGER.warning("prior: vertical motion is %s, heating is left out", how[settings.omega])
        self.column, self.motion = self.measured_sizes()
        kernel = self.model.guiding.kernel
        if kernel is not None and not kernel.weight.any():
            kernel.fit(self._pairs())

    def check_stream(self, name: str, stream: StreamConfig) -> None:
        """Besides what `Supervised` refuses: turned samples, whose winds would no longer fit their places."""
        if self.data.augment and self.model.settings.prior:
            raise UsageError("turned samples do not keep the laws of motion", "data.augment", "give augment: false")
        super().check_stream(name, stream)

    def measured_sizes(self) -> tuple[Column, float]:
        """Of true fields, the same at every start of a run."""
        physics, found, motions = self.model.guiding.physics, [], []
        with torch.no_grad():
            for part in self._first_parts():
                truth, mask = self._truth(part)
                found.append(Column.measured(physics.pressure, physics.slopes, truth, mask))
                omega = self._omega(part, truth)
                motions.append(0.0 if omega is None else float(omega.square().mean()))
        sizes = (
            torch.stack([getattr(each, name) for each in found]).square().mean(dim=0).sqrt()
            for name in ("stability", "gradient", "shear")
        )
        return Column(physics.pressure, physics.slopes, *sizes), max(sum(motions) / len(motions), 1e-12) ** 0.5

    def _first_parts(self) -> Iterator[dict[str, Tensor]]:
        """Samples of the training that nothing learns from by steps."""
        steps = Steps(self.data._train_samplers(), self.data.seed, augment=False, epoch_steps=SIZE_STEPS, share=Share())
        for step in range(SIZE_STEPS):
            for part in steps[SIZE_KEY, step].values():
                yield {name: each.to(self.device) for name, each in part.items()}

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What the kernel is fitted to: coarse fields, what their interpolation misses, and where that is known."""
        levels, base = len(self.model.settings.levels), self.model.base
        for part in self._first_parts():
            truth = part["fine"]
            core = tuple(size // self.model.settings.scale_factor for size in truth.shape[-2:])
            coarse = part["coarse"][:, :, :levels]
            with torch.no_grad():
                made = centered(base(pad_edges(coarse, base.reach)), truth.shape[-2:])
            yield centered(coarse, core), truth - made, part["mask"].expand_as(truth)

    def plan_facts(self) -> dict[str, Any]:
        """See `Supervised`."""
        return {**super().plan_facts(), "model.physics": asdict(self.physics)}

    def _loss(self, part: dict[str, Tensor], prediction: Tensor, base: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        total, terms = super()._loss(part, prediction, base)
        truth, mask = self._truth(part)
        with torch.autocast(prediction.device.type, enabled=False):
            guess = torch.where(mask > 0, self.model.guiding.physics.temperature(prediction.float()), truth)
            for name, weight in self.physics.terms.items():
                terms[name] = self._term(name, guess, truth, mask, part)
                total = total + weight * terms[name]
        return total, terms

    def _term(self, name: str, guess: Tensor, truth: Tensor, mask: Tensor, part: Mapping[str, Tensor]) -> Tensor:
        assert self.column is not None  # measured before the first step
        if name == "stability":
            return stability_error(guess, truth, mask, self.column)
        if name == "gradient":
            return gradient_error(guess, truth, mask, self.column)
        omega = self._omega(part, truth)
        return coupling_error(guess, truth, mask, self.column, None if omega is None else omega / self.motion)

    def _truth(self, part: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(B, T, D, H, W) K, and where it counts."""
        mask = part["mask"].bool().expand_as(part["fine"])
        if self.loss.buffer:
            inner = torch.zeros_like(mask)
            cut = (..., slice(self.loss.buffer, -self.loss.buffer), slice(self.loss.buffer, -self.loss.buffer))
            inner[cut] = mask[cut]
            mask = inner
        return self.model.guiding.physics.temperature(part["fine"].float()), mask.float()

    def _omega(self, part: Mapping[str, Tensor], truth: Tensor) -> Tensor | None:
        """Vertical motion on fine cells, Pa/s; None where none is known."""
        settings, guiding = self.model.settings, self.model.guiding
        if not settings.prior or settings.omega == "none":
            return None
        place = part["predictor_coarse"]
        moves = guiding.physics.physical(part["coarse"])[1:]
        omega = guiding.physics.omega(moves, metric_of(place[:, :, :1], place[:, :, 1:]))
        return guiding.on_fine(omega).reshape(truth.shape)
