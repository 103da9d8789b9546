"""Diffusion training: a network learns to take noise of every level off what is left around the mean."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from gfs_sr.errors import UsageError
from gfs_sr.models.conditions import Conditions
from gfs_sr.models.diffusion import PRECONDITIONING, WEIGHTS, draw_levels, teach
from gfs_sr.models.edm import Edm
from gfs_sr.sampling import SamplingConfig, guided, sample
from gfs_sr.training.datamodule import Share, Steps
from gfs_sr.training.losses import LossConfig, named, sample_loss
from gfs_sr.training.mean_model import open_mean
from gfs_sr.training.members import Drawing, keyed
from gfs_sr.training.parcel import Batch
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.skill import names_of
from gfs_sr.training.supervised import NOT_INPUTS

SQUARES: Final = LossConfig(weights={"mse": 1.0})
SIZE_STEPS: Final = 24  # that the sizes are measured on
SIZE_KEY: Final = (1 << 20) + 1  # an epoch that neither training nor validation reaches
VALIDATION_KEY: Final = 1 << 40
LEAST_SIZE: Final = 1e-4  # of what is left around the mean
MEAN_OF, MEAN_LEVELS = 4, 4  # members and noise levels that tell their mean where the denoiser does not


class Diffusing(Drawing):
    """Denoising at random noise levels, around a mean that stays as it is.

    Before the first step the size of what is left around the mean is measured, by variable or kind of variable, so that
    z has unit size. Validation counts the denoising loss at fixed noise, the skill of the mean of members, and, if any
    are drawn, their CRPS. A network of `edm` tells that mean: the denoised field at the first level of the schedule.
    One of `vp` gives the noise there, whose error counts as often as the level: the mean is that of members drawn.

    Args:
        network: the configuration of `edm` or `vp`.
        mean: artifact, name of a bundled model, or checkpoint whose network gives the mean; None: what `network` says.
        validation_members: members that are drawn for every validation sample, as is recommended; 0: none, and of `vp`
            the fewest that tell their mean.
        noises: noise levels that each training sample is shown at; its mean is computed once for all.
        options: as `Supervised`.

    Source: Karras et al. 2022; residual mode as in Mardani et al. 2025 (CorrDiff).
    """

    def __init__(
        self,
        network: dict[str, Any],
        mean: str | None = None,
        validation_members: int = 0,
        noises: int = 1,
        loss: LossConfig = SQUARES,
        **options: Any,
    ) -> None:
        given = None if mean is None else open_mean(Path(mean))
        network = network if given is None else {**network, "mean": given.config}
        super().__init__(network=network, loss=loss, **options)
        if not isinstance(self.network, Edm):
            raise UsageError(
                f"{self.network.family} learns no noise", "training: diffusion", "use it with the families edm and vp"
            )
        self.model = self.network
        if given is not None:
            assert self.model.conditions.mean is not None  # its configuration was given
            self.model.conditions.mean.load_state_dict(given.state_dict())
        if validation_members == 1 or validation_members < 0:
            raise UsageError("one member has no spread", "model.validation_members", "give 0, or 2 and more")
        if noises < 1:
            raise UsageError("a sample without noise teaches no denoiser", "model.noises", "give 1 or more")
        self.members, self.noises = validation_members, noises

    def on_fit_start(self) -> None:
        """The sizes come before the first step; every process then starts from the same."""
        conditions, settings = self.model.conditions, self.model.settings
        if settings.fit_sizes and not bool(conditions.are_sizes_known):
            conditions.sizes.copy_(self.measured_sizes())
            conditions.are_sizes_known.fill_(True)
        super().on_fit_start()

    def measured_sizes(self) -> Tensor:
        """Root mean square of what is left around the mean, in its unit, by kind; their mean where none was seen."""
        conditions = self.model.conditions
        samplers = self.data._train_samplers()
        steps = Steps(samplers, self.data.seed, augment=True, epoch_steps=SIZE_STEPS, share=Share())
        squares, counts = (torch.zeros_like(conditions.sizes, dtype=torch.float64) for _ in range(2))
        for step in range(SIZE_STEPS):
            for part in steps[SIZE_KEY, step].values():
                moved = {name: each.to(self.device) for name, each in part.items()}
                with torch.no_grad():
                    made = conditions(**_inputs(moved))
                z, mask = clean_of(moved, made)
                kinds = conditions.kinds_of(moved.get("variable"), z.shape[2]).expand(z.shape[0], -1)
                squares.index_add_(0, kinds.flatten(), (z.double() ** 2 * mask).sum((1, 3, 4)).flatten())
                counts.index_add_(0, kinds.flatten(), mask.double().sum((1, 3, 4)).flatten())
        seen = counts > 0
        sizes = (squares / counts.clamp(min=1)).sqrt().clamp(min=LEAST_SIZE)
        return torch.where(seen, sizes, sizes[seen].mean()).float()

    def stream_losses(
        self, batch: Batch, streams: Mapping[str, StreamConfig], logged: dict[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Of each stream in the batch, times its weight."""
        losses = []
        for number, (name, part) in enumerate(batch.items()):
            rng = self._generator(self.global_step, number)
            made = self._dropped(self.model.conditions(**_inputs(part)), rng)
            loss, terms = self._denoising_loss(*repeated(part, made, self.noises), rng)
            losses.append(streams[name].weight * loss)
            if logged is not None:
                logged |= named(terms, f"train/{name}")
        return losses

    def _dropped(self, made: Conditions, rng: torch.Generator) -> Conditions:
        """Without the fields that lead the denoiser, in some of the samples."""
        share = self.model.settings.drop_conditions
        if not share:
            return made
        kept = (torch.rand(made.fields.shape[0], generator=rng) >= share).to(made.fields)
        return replace(made, fields=made.fields * kept[:, None, None, None, None])

    def _denoising_loss(
        self, part: Mapping[str, Tensor], made: Conditions, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        settings = self.model.settings
        z, _ = clean_of(part, made)
        sigma = draw_levels(z.shape[0], settings.levels, settings.vp, rng).to(z.device)
        noise = torch.randn(z.shape, generator=rng).to(z.device)
        variable = part.get("variable")
        lesson = teach(
            lambda scaled, level: self.model.network(scaled, made.fields, level, variable),
            z, noise, sigma, PRECONDITIONING[settings.process], settings.sigma_data,
        )  # fmt: skip
        # squares count as the level does: both sides take its root
        root = WEIGHTS[settings.weighting](sigma, settings.sigma_data).sqrt().reshape(-1, 1, 1, 1, 1)
        names = names_of(dict(part), self.network.facts.variables) if self.loss.variables else None
        taught = {**part, "fine": root * lesson.target}
        return sample_loss(self.loss, taught, root * lesson.output, torch.zeros_like(lesson.target), names)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss at fixed noise; errors of the mean of members; the CRPS of some."""
        part = batch["validation"]
        made = self.model.conditions(**_inputs(part))
        loss, _ = self._denoising_loss(part, made, self._generator(VALIDATION_KEY, batch_idx))
        self._losses.append((float(loss), part["fine"].shape[0]))
        drawn = self.members_of(part, made, self.members, batch_idx) if self.members else None
        if drawn is not None:
            self._crps.update(drawn, part["fine"], part["mask"])
        prediction = self.expected(part, made, drawn, batch_idx)
        self.meter.update(prediction, part, self._margin(), names_of(part, self.network.facts.variables))
        return {"prediction": prediction, "base": made.mean}

    def expected(self, part: Mapping[str, Tensor], made: Conditions, drawn: Tensor | None, key: int) -> Tensor:
        """The mean of members: as the denoiser has it behind noise of the schedule's first level, or of those drawn."""
        rng = self._generator(VALIDATION_KEY, key)
        if self.model.settings.process == "vp":
            if drawn is None:
                few = self.model.settings.sampling.changed({"integrator": "euler", "s_churn": 0.0}, {"n": MEAN_LEVELS})
                drawn = self.members_of(part, made, MEAN_OF, key, few)
            return drawn.mean(dim=0)
        level = self.model.settings.sampling.schedule.sigma_max
        noisy = level * torch.randn(made.mean.shape, generator=rng).to(made.mean.device)
        z = self.model.denoise(noisy, made.fields, noisy.new_full((1,), level), part.get("variable"))
        return made.mean + made.unit * z

    def members_of(
        self, part: Mapping[str, Tensor], made: Conditions, count: int, key: int, sampling: SamplingConfig | None = None
    ) -> Tensor:
        """(M, B, T, C, H, W) drawn by the recommended sampling, or another."""
        settings, drawn = self.model.settings, []
        how = sampling or settings.sampling
        for member in range(count):
            rng = self._generator(VALIDATION_KEY + 1 + member, key)
            z = sample(
                guided(
                    lambda x, sigma, told: self.model.denoise(
                        x, made.fields if told else torch.zeros_like(made.fields), x.new_full((1,), sigma),
                        part.get("variable"),
                    ),
                    how.sampler.guidance,
                ),
                lambda _: torch.randn(made.mean.shape, generator=rng).to(made.mean.device),  # noqa: B023 - used at once
                how, settings.vp,
            )  # fmt: skip
            drawn.append(made.mean + made.unit * z)
        return torch.stack(drawn)

    def plan_facts(self) -> dict[str, Any]:
        """As in supervised training; how many noises a sample has decides what a step learns."""
        return super().plan_facts() | {"model.noises": self.noises}

    def _generator(self, *key: int) -> torch.Generator:
        """Noise keyed by what it is for and by the process: the same after a resume."""
        return keyed(self.data.seed, self.global_rank, *key)


def clean_of(part: Mapping[str, Tensor], made: Conditions) -> tuple[Tensor, Tensor]:
    """(z of the truth, 0 where it is missing; where it is not)."""
    mask = part["mask"].bool().expand_as(part["fine"])
    return torch.where(mask, (part["fine"] - made.mean) / made.unit, 0.0), mask


def repeated(part: Mapping[str, Tensor], made: Conditions, times: int) -> tuple[Mapping[str, Tensor], Conditions]:
    """Every sample several times in a row, with what was computed of it."""
    if times == 1:
        return part, made
    again = [each.repeat_interleave(times, dim=0) for each in (made.mean, made.unit, made.fields)]
    many = {name: each.repeat_interleave(times, dim=0) for name, each in part.items()}
    return many, Conditions(again[0], again[1], again[2])


def _inputs(part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in part.items() if name not in NOT_INPUTS}
