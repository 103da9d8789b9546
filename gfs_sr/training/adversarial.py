"""Adversarial training: a network that refines, against one that tells its fields from true ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from gfs_sr.errors import UsageError
from gfs_sr.models.dl4ds import Dl4ds
from gfs_sr.models.gan import Discriminator, DiscriminatorConfig, PatchGlobalDiscriminator
from gfs_sr.models.interpolation import Interpolation, pad_edges
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import crop
from gfs_sr.training.distributed import means
from gfs_sr.training.losses import named
from gfs_sr.training.members import Drawing, keyed, noise_inputs
from gfs_sr.training.parcel import Batch
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.skill import names_of

Logits = tuple[Tensor, ...]  # of each head

LARGEST_BALANCE: Final = 100.0  # that a verdict counts
BALANCE_FLOOR: Final = 1e-4  # of the verdict's slope
VALIDATION_KEY: Final = 1 << 41


@dataclass(frozen=True)
class AdversarialConfig(DiscriminatorConfig):
    """The discriminator, its learning rate, who learns when, and what the pixels count beside its verdict."""

    lr: float = 2e-4  # of the discriminator, at the start; the schedule is the generator's
    pixel_weight: float = 100.0  # of the loss, against 1 of the verdict
    # seed: as the diffusion system's benchmark had it, whose discriminator gains without bound
    objective: Literal["non-saturating", "seed"] = "non-saturating"
    members: int = 1  # whose mean the loss is of; the first of them is judged
    content_steps: int = 0  # at the start, that learn from the loss alone
    alternate: bool = False  # generator and discriminator by turns, a step each; else both at every step
    adaptive: bool = False  # the verdict counts as much as the loss does at the last layer, see `balance`
    gradient_penalty: float = 0.0  # of the discriminator's slope on mixtures of true and made fields

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in ("non-saturating", "seed"):
            raise ValueError(f"objective {self.objective!r} is neither non-saturating nor seed")
        if self.lr <= 0 or min(self.pixel_weight, self.gradient_penalty) < 0:
            raise ValueError("lr is above 0, pixel_weight and gradient_penalty not below")
        if self.members < 1 or self.content_steps < 0:
            raise ValueError("members start at 1, content_steps at 0")


class Turn(StrEnum):
    """Who learns in a step."""

    CONTENT = "content"  # the generator, from the loss alone
    GENERATOR = "generator"
    DISCRIMINATOR = "discriminator"
    BOTH = "both"

    @classmethod
    def of(cls, step: int, config: AdversarialConfig) -> "Turn":
        """The turn of an optimizer's step."""
        if step < config.content_steps:
            return cls.CONTENT
        if not config.alternate:
            return cls.BOTH
        return cls.DISCRIMINATOR if (step - config.content_steps) % 2 else cls.GENERATOR


DEFAULT_ADVERSARIAL = AdversarialConfig()


class Adversarial(Drawing):
    """A conditional GAN: each network learns from its own loss, both at once or by turns.

    With D's logits of field and condition, L_G = softplus(-D(x, G(x))) + w · loss(mean of members) and
    L_D = softplus(-D(x, y)) + softplus(D(x, G(x))), each a mean over a head's logits, heads added: cross-entropy with 1
    and 0. The objective `seed` has -softplus(D(x, G(x))) and -softplus(D(x, y)) in their place.

    One optimizer holds both as groups with a rate of their own, so that a step, its schedule and its checkpoint are
    what they are in supervised training; each gradient comes from the weights before the step, and whose turn it is not
    has none: neither its weights nor its moments move. Gradients are clipped for each network by itself.

    A validation of a network that draws members counts the skill of their mean and their fair CRPS, at noise that is
    the same every time.

    Args:
        adversarial: the discriminator, its rate, and the schedule.
        validation_members: that a validation draws, of networks that draw any.
        options: as `Supervised`.

    Source: Isola et al. 2017, as in DL4DS; alternation, the mean of members and the balance: specification section 6.5
        (the balance as of Esser et al. 2021).
    """

    def __init__(
        self, adversarial: AdversarialConfig = DEFAULT_ADVERSARIAL, validation_members: int = 4, **options: Any
    ) -> None:
        super().__init__(**options)
        self.adversarial, self.members = adversarial, validation_members
        self.discriminator = discriminator_of(self.network, adversarial)
        facts = self.network.facts
        self._to_fine = Interpolation(facts.scale_factor, facts.time_factor, facts.registration)
        if adversarial.members > 1 and not self.network.stochastic:
            raise UsageError(
                f"{self.network.family} as configured draws one field, always the same",
                "model.adversarial.members",
                "give 1, or a network that takes noise",
            )
        if validation_members < 1:
            raise UsageError("no members", "model.validation_members", "give 1 or more")
        if adversarial.adaptive and self.network.output_weight is None:
            raise UsageError(
                f"{self.network.family} has no one last layer", "model.adversarial.adaptive", "leave it false"
            )
        if adversarial.adaptive and options.get("compile"):
            raise UsageError(
                "a compiled step forgets what its balance needs", "model.compile", "leave it or adaptive false"
            )

    def stream_losses(
        self, batch: Batch, streams: Mapping[str, StreamConfig], logged: dict[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Both losses of each stream in the batch, or that of whose turn it is, times its weight."""
        turn = Turn.of(self.global_step, self.adversarial)
        losses = []
        for name, part in batch.items():
            loss, terms = self._learned(turn, streams[name].kind, part)
            losses.append(streams[name].weight * loss)
            if logged is not None:
                logged |= named(terms, f"train/{name}")
        return losses

    def _learned(self, turn: Turn, kind: str, part: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """(Loss, terms of the log) of one stream."""
        config, count = self.adversarial, self.adversarial.members
        if turn is Turn.DISCRIMINATOR:
            with torch.no_grad():
                members, _ = self._members(kind, part, 1)
            discriminator = self._own_loss(self._known(part), part, members[0])
            return discriminator, {"discriminator": discriminator}
        members, base = self._members(kind, part, count)
        prediction = members[0] if count == 1 else members.mean(dim=0)
        pixel, terms = self._loss(part, prediction, base)
        content = config.pixel_weight * pixel
        if turn is Turn.CONTENT:
            return content, {"generator": content} | terms
        known = self._known(part)
        verdict = self._verdict(known, members[0])
        told = {"verdict": verdict}
        if config.adaptive:
            told["balance"] = balance(content, verdict, self._output_weight)
            verdict = told["balance"] * verdict
        generator = verdict + content
        terms = {"generator": generator} | told | terms
        if turn is Turn.GENERATOR:
            return generator, terms
        discriminator = self._own_loss(known, part, members[0])
        return generator + discriminator, {"discriminator": discriminator} | terms

    def _members(self, kind: str, part: dict[str, Tensor], count: int) -> tuple[Tensor, Tensor]:
        """(M, B, T, C, H, W) of one pass over the batch M times, and the baseline."""
        many = {name: each.repeat(count, *[1] * (each.dim() - 1)) for name, each in part.items()} if count > 1 else part
        prediction, base = self._predict(kind, many)
        size = part["fine"].shape[0]
        return prediction.reshape(count, size, *prediction.shape[1:]), base[:size]

    def _verdict(self, known: Tensor, prediction: Tensor) -> Tensor:
        """What the discriminator, as it stands, costs the generator."""
        frozen = {name: each.detach() for name, each in self.discriminator.named_parameters()}
        fooled = _heads(functional_call(self.discriminator, frozen, (known, prediction)))
        return total(fooled, 1.0) if self.adversarial.objective == "non-saturating" else -total(fooled, 0.0)

    def _own_loss(self, known: Tensor, part: Mapping[str, Tensor], prediction: Tensor) -> Tensor:
        """What the discriminator costs itself."""
        made = prediction.detach()
        truth = torch.where(part["mask"].bool(), part["fine"], made)  # what is missing tells nothing
        real, fake = (_heads(self.discriminator(known, each)) for each in (truth, made))
        plain = self.adversarial.objective == "non-saturating"
        loss = (total(real, 1.0) if plain else -total(real, 0.0)) + total(fake, 0.0)
        if self.adversarial.gradient_penalty:
            loss = loss + self.adversarial.gradient_penalty * self._slope(known, truth, made)
        return loss

    def _slope(self, known: Tensor, truth: Tensor, made: Tensor) -> Tensor:
        """Mean of (|gradient of D by the field| - 1)² on mixtures (Gulrajani et al. 2017)."""
        share = torch.rand(truth.shape[0], *[1] * (truth.dim() - 1), device=truth.device)
        mixed = (share * truth + (1 - share) * made).requires_grad_()
        judged = sum(each.float().mean() for each in _heads(self.discriminator(known, mixed)))
        (gradient,) = torch.autograd.grad(judged, mixed, create_graph=True)  # type: ignore[arg-type]  # heads there are
        sizes = gradient.flatten(1).square().sum(dim=1)
        # logits are means over the batch here: each sample's own gradient is as many times larger
        return ((truth.shape[0] * (sizes + 1e-12).sqrt() - 1) ** 2).mean()

    @property
    def _output_weight(self) -> Tensor:
        weight = self.network.output_weight
        assert weight is not None  # else `adaptive` was refused
        return weight

    def _known(self, part: Mapping[str, Tensor]) -> Tensor:
        """What the discriminator is told beside a field: the coarse field, on the cells that it takes."""
        coarse = crop(part["coarse"], self._margin())
        own = self.discriminator
        if isinstance(own, Discriminator):
            return coarse if own.scale_factor > 1 else self._on_fine(coarse)
        fine = self._on_fine(coarse)
        if "static_fine" not in part:
            return fine
        around = replace(self._margin(), before=0, after=0)
        planes = F.pixel_shuffle(crop(part["static_fine"], around)[:, 0], self.network.facts.scale_factor)
        return torch.cat([fine, planes[:, None].expand(-1, fine.shape[1], -1, -1, -1)], dim=2)

    def _on_fine(self, coarse: Tensor) -> Tensor:
        fine: Tensor = self._to_fine(pad_edges(coarse, self._to_fine.reach))
        return fine

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As ever; of a network that draws members, of their mean, and with their CRPS."""
        if not self.network.stochastic:
            return super().validation_step(batch, batch_idx)
        part, drawn = batch["validation"], []
        for member in range(self.members):
            key = keyed(self.data.seed, self.global_rank, VALIDATION_KEY + member, batch_idx)
            given = part | noise_inputs(self.network, part["coarse"], key)
            prediction, base = self._predict(self.data.validation_stream.kind, given)
            drawn.append(prediction)
        members = torch.stack(drawn)
        prediction = members.mean(dim=0)
        self.meter.update(prediction, part, self._margin(), names_of(part, self.network.facts.variables))
        loss, _ = self._loss(part, prediction, base)
        self._losses.append((float(loss), prediction.shape[0]))
        if self.members > 1:
            self._crps.update(members, part["fine"], part["mask"])
        return {"prediction": prediction, "base": base}

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


def balance(content: Tensor, verdict: Tensor, weight: Tensor) -> Tensor:
    """What a verdict counts, so that it moves `weight` as much as the content does: from 0 to 100, without gradient.

    Source: specification section 6.5; Esser et al. 2021, equation 7.
    """
    slopes = [torch.autograd.grad(each, weight, retain_graph=True)[0].float().norm() for each in (content, verdict)]
    found = (slopes[0] / (slopes[1] + BALANCE_FLOOR)).clamp(0.0, LARGEST_BALANCE)
    return means({"balance": found.detach()})["balance"]


def discriminator_of(network: Model, config: DiscriminatorConfig) -> Discriminator | PatchGlobalDiscriminator:
    """One that takes what `network` takes and gives.

    Raises:
        UsageError: a network whose fields the discriminator does not take.
    """
    facts, mend = network.facts, "use it with a network of fixed variables"
    if network.denoising is not None or network.any_subset:
        raise UsageError(f"no discriminator for {network.family}", "training: adversarial", mend)
    if config.discriminator == "patch_global":
        channels = len(facts.variables) + len(network.inputs) + len(network.statics_fine)
        return PatchGlobalDiscriminator(channels, config)
    if facts.time_factor > 1:
        raise UsageError(
            f"no discriminator for {network.family}, which refines time: two_branch compares frame by frame",
            "model.adversarial.discriminator",
            "give patch_global, or a network of time_factor 1",
        )
    scale_factor, is_recurrent = facts.scale_factor, False
    if isinstance(network, Dl4ds):  # as the family has it
        scale_factor = 1 if network.settings.upsampling == "pin" else scale_factor
        is_recurrent = network.settings.is_recurrent
    return Discriminator(len(network.inputs), len(facts.variables), scale_factor, is_recurrent, config)


def total(logits: Logits, label: float) -> Tensor:
    """Cross-entropy with a label, the mean over each head's logits, added: softplus(-D) with 1, softplus(D) with 0."""
    wide = [each.float() for each in logits]
    losses = [F.binary_cross_entropy_with_logits(each, torch.full_like(each, label)) for each in wide]
    return torch.stack(losses).sum()


def _heads(judged: Tensor | Logits) -> Logits:
    return judged if isinstance(judged, tuple) else (judged,)
