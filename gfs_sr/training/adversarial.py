"""Adversarial training: a network that refines, against one that tells its fields from true ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from gfs_sr.errors import UsageError
from gfs_sr.models.dl4ds import Dl4ds
from gfs_sr.models.gan import Discriminator, DiscriminatorConfig
from gfs_sr.models.interpolation import SpaceInterpolation
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import crop
from gfs_sr.training.datamodule import Batch
from gfs_sr.training.losses import named
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.supervised import Supervised


@dataclass(frozen=True)
class AdversarialConfig(DiscriminatorConfig):
    """The discriminator, its learning rate, and what the pixels count beside its verdict."""

    lr: float = 2e-4  # at the start; the schedule is the generator's
    pixel_weight: float = 100.0  # of the loss, against 1 of the verdict

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr <= 0 or self.pixel_weight < 0:
            raise ValueError("lr is above 0, pixel_weight not below")


DEFAULT_ADVERSARIAL = AdversarialConfig()


class Adversarial(Supervised):
    """A conditional GAN: both networks take a step at once, each on its own loss.

    L_G = BCE(D(x, G(x)), 1) + w · pixel loss; L_D = BCE(D(x, y), 1) + BCE(D(x, G(x)), 0), from logits.

    One optimizer holds both as groups with a rate of their own, so that a step, its schedule and its checkpoint are
    what they are in supervised training; each gradient comes from the weights before the step. Gradients are clipped
    for each network by itself.

    Args:
        adversarial: the discriminator and its rate.
        options: as `Supervised`.

    Source: Isola et al. 2017; as in DL4DS.
    """

    def __init__(self, adversarial: AdversarialConfig = DEFAULT_ADVERSARIAL, **options: Any) -> None:
        super().__init__(**options)
        self.adversarial = adversarial
        self.discriminator = discriminator_of(self.network, adversarial)
        facts = self.network.facts
        self._to_fine = SpaceInterpolation("bicubic", facts.scale_factor, facts.registration)

    def stream_losses(
        self, batch: Batch, streams: Mapping[str, StreamConfig], logged: dict[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Both losses of each stream in the batch, times its weight."""
        losses = []
        for name, part in batch.items():
            prediction, base = self._predict(streams[name].kind, part)
            pixel, terms = self._loss(part, prediction, base)
            verdict, discriminator = self._verdicts(part, prediction)
            generator = verdict + self.adversarial.pixel_weight * pixel
            losses.append(streams[name].weight * (generator + discriminator))
            if logged is not None:
                terms = {"generator": generator, "discriminator": discriminator, "verdict": verdict} | terms
                logged |= named(terms, f"train/{name}")
        return losses

    def _verdicts(self, part: Mapping[str, Tensor], prediction: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator costs the generator, and what it costs itself."""
        coarse = crop(part["coarse"], self._margin())
        truth = torch.where(part["mask"].bool(), part["fine"], prediction.detach())  # what is missing tells nothing
        frozen = {name: each.detach() for name, each in self.discriminator.named_parameters()}
        on_coarse = self._conditions(coarse)
        fooled = functional_call(self.discriminator, frozen, (on_coarse, prediction))
        real = self.discriminator(on_coarse, truth)
        fake = self.discriminator(on_coarse, prediction.detach())
        return _cross_entropy(fooled, 1.0), _cross_entropy(real, 1.0) + _cross_entropy(fake, 0.0)

    def _conditions(self, coarse: Tensor) -> Tensor:
        """The coarse field, on fine cells where the network itself takes it so."""
        if self.discriminator.scale_factor > 1:
            return coarse
        B, T = coarse.shape[:2]
        reach = self._to_fine.reach
        sides = (reach.west, reach.east, reach.north, reach.south)
        planes = F.pad(coarse.flatten(0, 1), sides, mode="replicate").flatten(0, 1)[:, None]
        fine: Tensor = self._to_fine(planes)
        return fine.reshape(B, T, -1, *fine.shape[-2:])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The discriminator's."""
        return [{"params": list(self.discriminator.parameters()), "lr": self.adversarial.lr}]

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Each network by itself."""
        if not gradient_clip_val:
            return
        for network in (self.network, self.discriminator):
            if gradient_clip_algorithm == "value":
                torch.nn.utils.clip_grad_value_(network.parameters(), gradient_clip_val)
            else:
                torch.nn.utils.clip_grad_norm_(network.parameters(), gradient_clip_val)

    def plan_facts(self) -> dict[str, Any]:
        """The discriminator's settings beside the loss."""
        return super().plan_facts() | {"model.adversarial": asdict(self.adversarial)}


def discriminator_of(network: Model, config: DiscriminatorConfig) -> Discriminator:
    """One that takes what `network` takes and gives.

    Raises:
        UsageError: a family whose fields no discriminator here takes.
    """
    if not isinstance(network, Dl4ds):
        raise UsageError(
            f"no discriminator for {network.family}", "training: adversarial", "use it with the family dl4ds"
        )
    settings = network.settings
    scale_factor = 1 if settings.upsampling == "pin" else settings.scale_factor
    return Discriminator(len(network.inputs), len(settings.variables), scale_factor, settings.is_recurrent, config)


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    wide = logits.float()
    return F.binary_cross_entropy_with_logits(wide, torch.full_like(wide, label))
