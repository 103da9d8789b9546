"""Supervised training of any family: streams in, losses composed, our checkpoint out."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import lightning as L
import numpy as np
import torch
from torch import Tensor

from gfs_sr import models
from gfs_sr.contract import Skill
from gfs_sr.errors import UsageError
from gfs_sr.models.blocks import Padding
from gfs_sr.models.checkpoint import KEY, Checkpoint, pack
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.bound import check_bound
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.distributed import broadcast, gathered, means, whole_batch
from gfs_sr.training.fields import Fields
from gfs_sr.training.losses import LossConfig, named, sample_loss
from gfs_sr.training.optim import OptimizerConfig, make_optimizer
from gfs_sr.training.parcel import Batch
from gfs_sr.training.sample import validation_sample
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.skill import SkillMeter, names_of

NOT_INPUTS = ("fine", "mask", "area")
DEFAULT_LOSS, DEFAULT_OPTIMIZER = LossConfig(), OptimizerConfig()
# streams have few shapes, so each gets a graph of its own; where torch 2.13 chooses layouts on a CPU, it refuses the
# convolutions' own output (as in https://github.com/pytorch/pytorch/issues/184013)
COMPILATION: Final[dict[str, Any]] = {"dynamic": False, "options": {"layout_optimization": False}}


class Supervised(L.LightningModule):
    """A network that learns fine fields from coarse ones.

    Args:
        network: the model's configuration, as `gfs_sr.models.build` takes it.
        loss: terms and weights.
        optimizer: its method, rate and schedule.
        name: of the model on offer; the family's where none is given.
        compile: let `torch.compile` fuse the operations of training steps; needs a C++ compiler on CPUs.
    """

    def __init__(
        self,
        network: dict[str, Any],
        loss: LossConfig = DEFAULT_LOSS,
        optimizer: OptimizerConfig = DEFAULT_OPTIMIZER,
        name: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.network = models.build(network)
        self._learn = torch.compile(self.network.learn, **COMPILATION) if compile else self.network.learn
        self.loss, self.optimizer_config = loss, optimizer
        self.offered_as = name or self.network.family
        facts = self.network.facts
        self.meter = SkillMeter(facts.scale_factor, facts.time_factor, facts.registration)
        self.skill: tuple[Skill, ...] = ()
        self._losses: list[tuple[float, int]] = []  # of this validation, with the samples of each
        self.averaged: dict[str, Tensor] | None = None  # set by the averaging callback

    @property
    def data(self) -> TrainingData:
        """Of the running trainer."""
        data: TrainingData = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def on_fit_start(self) -> None:
        """What cannot be trained is refused before the first step; every process starts from the same weights."""
        broadcast(self.network.state_dict())
        for name, stream in self.data.streams.items():
            self.check_stream(name, stream)

    def check_stream(self, name: str, stream: StreamConfig) -> None:
        """Whether the loss can be had from a stream's samples.

        Raises:
            UsageError: it cannot.
        """
        task = self.data.task
        assert task is not None  # setup came first
        side = stream.patch * (1 if stream.kind == "time" else self.network.facts.scale_factor)
        even = stream.kind == "space" or stream.fractions is None or not task.fractions_given
        try:
            self.loss.check(side, even)
        except ValueError as error:
            raise UsageError(str(error), f"data.streams.{name}", "change the stream or the loss") from error
        grid, sets = self.network.source_grid, self.data.training_sets
        if grid is not None:
            check_bound(grid, self.network.facts, name, stream, sets, self.data.augment)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum over the streams of this step."""
        logged: dict[str, Tensor] = {}
        with whole_batch():
            losses = self.stream_losses(batch, self.data.streams, logged)
        total = sum(losses, start=torch.zeros((), device=self.device))
        logged = means(logged | {"train/loss": total.detach()})
        # a stream without a part in this step has no loss in it: Lightning would repeat its last one
        assert self.trainer._results is not None  # a step is under way
        self.trainer._results.reset(metrics=False, fx="training_step")
        self.log("train/loss", logged.pop("train/loss"), prog_bar=True)
        self.log_dict(logged)
        return total

    def stream_losses(
        self, batch: Batch, streams: Mapping[str, StreamConfig], logged: dict[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Of each stream in the batch, times its weight; the terms go into `logged`."""
        losses = []
        for name, part in batch.items():
            loss, terms = self._loss(part, *self._predict(streams[name].kind, part))
            losses.append(streams[name].weight * loss)
            if logged is not None:
                logged |= named(terms, f"train/{name}")
        return losses

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Count errors of the network and of every baseline; prediction and baseline for who looks on."""
        part = batch["validation"]
        prediction, base = self._predict(self.data.validation_stream.kind, part)
        self.meter.update(prediction, part, self._margin(), names_of(part, self.network.facts.variables))
        loss, _ = self._loss(part, prediction, base)
        self._losses.append((float(loss), prediction.shape[0]))
        return {"prediction": prediction, "base": base}

    def on_validation_epoch_start(self) -> None:
        """A fresh count."""
        self.meter.reset()
        self._losses = []

    def on_validation_epoch_end(self) -> None:
        """The loss, and skill: the mean over variables, and each; over the steps of all processes."""
        losses = [each for part in gathered(self._losses) for each in part]
        if losses:
            self.log("val/loss", sum(loss * count for loss, count in losses) / sum(count for _, count in losses))
        self.skill = self.meter.compute(self.data.validated_on or "training sources")
        for line in self.skill:
            self.log(f"val/skill/{line.variable}", line.skill)
        if self.skill:
            self.log("val/skill", sum(line.skill for line in self.skill) / len(self.skill), prog_bar=True)
            sharpened = sum(line.skill_sharpened for line in self.skill) / len(self.skill)
            self.log("val/skill_sharpened", sharpened)

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule over the whole run."""
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 0:
            epochs = max(1, -(-steps // self.data.steps_per_epoch))
        return make_optimizer(
            self.network.parameters(),
            self.optimizer_config,
            steps=steps,
            epochs=epochs,
            fitted=self.network.fitted_parameters(),
            others=self.parameter_groups(),
            fused="mixed" not in str(self.trainer.precision),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained beside the network, as the optimizer takes it."""
        return []

    def plan_facts(self) -> dict[str, Any]:
        """What the steps learn from, besides data and network: plain containers, by key of the configuration."""
        return {"model.loss": asdict(self.loss)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's own files can be exported too."""
        checkpoint[KEY] = pack(self.checkpoint())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was measured goes with the weights until it is measured again."""
        self.skill = tuple(Skill.model_validate(line) for line in checkpoint[KEY]["skill"])

    def shipped_state(self) -> dict[str, Tensor]:
        """The weights that are validated and shipped: the average, where there is one."""
        return self.network.state_dict() if self.averaged is None else self.averaged

    def checkpoint(self) -> Checkpoint:
        """What this run would ship now."""
        config = dict(self.network.config)
        if config.get("padding") == Padding.REPLICATE.value:
            config["padding"] = Padding.VALID.value  # the same weights: the halo is data where it runs
        shipped = models.build(config)
        state = self.shipped_state()
        contract = shipped.make_contract(
            name=self.offered_as,
            normalization=self.data.scaling,
            envelope=self.data.envelope(),
            # frames refined in space alone may come at any interval
            interval_hours=self.data.interval_hours() or ((6.0,) if shipped.facts.time_factor > 1 else ()),
        )
        return Checkpoint(
            config=config,
            contract=contract,
            state_dict={name: tensor.detach().cpu().clone() for name, tensor in state.items()},
            sample=validation_sample(self.data.validation_sets, self.data.sets, shipped),
            skill=self.skill,
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, str]:
        sets = self.data.training_sets
        sources = sorted({each.source for each in sets})
        licences = sorted({each.provenance.get("licence", "") for each in sets} - {""})
        facts = {
            "trained on": ", ".join(sources),
            "period": _period(sets),
            "validated on": self.data.validated_on,
            "licences": "; ".join(licences),
            "data digest": self.data.digest,
            "seed": str(self.data.seed),
            "steps": str(self.global_step),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        }
        return {name: value for name, value in facts.items() if value}

    def _margin(self) -> Reach:
        task = self.data.task
        assert task is not None  # setup came first
        return task.context

    def _predict(self, kind: str, part: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        inputs = {name: tensor for name, tensor in part.items() if name not in NOT_INPUTS}
        learn = (
            self._learn if torch.is_grad_enabled() else self.network.learn
        )  # a validation is too short to compile for
        prediction, base = learn(kind, inputs)
        size = part["fine"].shape[-2:]
        return centered(prediction, size), centered(base, size)

    def _loss(self, part: dict[str, Tensor], prediction: Tensor, base: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        names = names_of(part, self.network.facts.variables) if self.loss.variables else None
        return sample_loss(self.loss, part, prediction, base, names)


def centered(fine: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of a prediction that covers the context too."""
    rows, columns = ((have - want) // 2 for have, want in zip(fine.shape[-2:], size, strict=True))
    return fine[..., rows : rows + size[0], columns : columns + size[1]]


def _period(sets: Sequence[Fields]) -> str:
    """First and last day of what was trained on."""
    ends = [time for each in sets if each.times.size for time in (each.times.min(), each.times.max())]
    return f"{np.datetime_as_string(min(ends), 'D')} to {np.datetime_as_string(max(ends), 'D')}" if ends else ""


def supervised(module: L.LightningModule) -> Supervised:
    """The module that a callback was handed."""
    assert isinstance(module, Supervised)  # the callbacks that ask are made for no other
    return module
