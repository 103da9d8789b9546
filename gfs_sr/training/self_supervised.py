"""Self-supervised training of networks of time: from an archive that is coarse in time, and from nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import Checkpoint, load_checkpoint
from gfs_sr.models.cycle import Cycle
from gfs_sr.models.time_model import TimeModel
from gfs_sr.training.losses import named
from gfs_sr.training.losses.compose import compose, relative_scale
from gfs_sr.training.losses.spatial import total_variation
from gfs_sr.training.losses.temporal import bend
from gfs_sr.training.parcel import Batch
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.supervised import Supervised

TRANSITIONS = "transitions.json"  # in the run's folder: which times were drawn from


@dataclass(frozen=True)
class SelfSupervisedConfig:
    """What is asked of the fields that no archive holds, beside leading back to one that it does."""

    tv: float = 0.01  # weight of their total variation in space
    tv_of: Literal["field", "deviation"] = "field"  # of the fields themselves, or of what they add to linear ones
    bend: float = 0.01  # weight of their second difference in time, between the frames around them
    teacher: float = -1.0  # weight of the distance to a frozen network's fields; below 0: none is asked
    teacher_path: str = ""  # its checkpoint
    rim: int = 2  # cells at each side of a patch on which the second pass does not count: it sees the edge continued

    def __post_init__(self) -> None:
        if min(self.tv, self.bend, self.rim) < 0:
            raise ValueError("tv, bend and rim start at 0")
        if (self.teacher > 0) != bool(self.teacher_path):
            raise ValueError("a teacher has both a weight above 0 and a checkpoint, or neither")


DEFAULT_SELF_SUPERVISED = SelfSupervisedConfig()


class SelfSupervised(Supervised):
    """Two stages, told apart by the kinds of the streams and by their first and last steps.

    Streams of the kinds `space_time` and `time` ask for frames between others of the same archive (stage 1: with
    factor 2 the middle from its neighbours; `transitions` keeps the times at which most happens). Streams of the kind
    `cycle` ask for two passes: fields at a fraction θ of consecutive intervals, and between those, at 1 - θ, the frame
    that lies there (stage 2). `data.step_hours` says how coarse the archive is.

    Args:
        self_supervised: what is asked of the fields between.
        options: as `Supervised`.

    Source: Wang et al. 2024 (TemDeep); the composition is that of the specification's section 3.4.
    """

    def __init__(self, self_supervised: SelfSupervisedConfig = DEFAULT_SELF_SUPERVISED, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(self.network, TimeModel):
            raise UsageError(
                f"{self.network.family} makes no frames at any time", "training: self-supervised",
                "use it with the families temdeep, temdeep_narrow and rife",
            )  # fmt: skip
        self.self_supervised = self_supervised
        self.cycle = Cycle(self.network)
        self.teacher = _teacher(self_supervised)

    def stream_losses(
        self, batch: Batch, streams: Mapping[str, StreamConfig], logged: dict[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Of each stream in the batch, times its weight."""
        losses = []
        for name, part in batch.items():
            if streams[name].kind != "cycle":
                losses += super().stream_losses({name: part}, streams, logged)
                continue
            loss, terms = self.cycle_loss(part)
            losses.append(streams[name].weight * loss)
            if logged is not None:
                logged |= named(terms, f"train/{name}")
        return losses

    def cycle_loss(self, part: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The two-pass loss and its regularizers on one stream's samples, and the terms by name."""
        settings = self.self_supervised
        passes = self.cycle(part)
        inner = (..., slice(settings.rim, -settings.rim or None), slice(settings.rim, -settings.rim or None))
        target, mask = part["fine"][inner], part["mask"][inner]
        returned, base = passes.returned[inner], passes.base[inner]
        scale: Tensor | float = 1.0
        if self.loss.relative:
            scale = relative_scale(base, target, mask)
            returned, target = (returned.float() - target) / scale, torch.zeros_like(target)
        total, terms = compose(self.loss, returned, target, mask)
        everywhere = torch.ones_like(passes.between)
        if settings.tv:
            smooth = passes.between - passes.linear if settings.tv_of == "deviation" else passes.between
            terms["tv"] = total_variation(smooth / scale, everywhere, everywhere)
            total = total + settings.tv * terms["tv"]
        if settings.bend:
            terms["bend"] = bend(
                passes.before / scale, passes.between / scale, passes.after / scale, passes.fraction, everywhere
            )
            total = total + settings.bend * terms["bend"]
        if self.teacher is not None:
            with torch.no_grad():
                taught = Cycle(self.teacher).first_pass(part)
            terms["teacher"] = ((passes.between - taught) / scale).abs().mean()
            total = total + settings.teacher * terms["teacher"]
        return total, terms

    def on_fit_start(self) -> None:
        """As in supervised training; the times that are drawn from are written down."""
        super().on_fit_start()
        for name, sampler in self.data.stream_samplers().items():
            for factor, kept in sampler.transitions.items():
                if self.trainer.is_global_zero:
                    path = Path(self.trainer.default_root_dir) / f"{name}-{factor}-{TRANSITIONS}"
                    kept.save(path)

    def check_stream(self, name: str, stream: StreamConfig) -> None:
        """A cycle's patch must be larger than its rim."""
        super().check_stream(name, stream)
        if stream.kind == "cycle" and stream.patch <= 2 * self.self_supervised.rim:
            raise UsageError(
                f"a patch of {stream.patch} cells is all rim", f"data.streams.{name}", "give a larger patch"
            )

    def checkpoint(self) -> Checkpoint:
        """Fit for the archive's own intervals, and for the longer ones that frames between others were made of."""
        made = super().checkpoint()
        hours = {
            hours for name, sampler in self.data.stream_samplers().items() for hours in sampler.all_interval_hours()
        } | set(made.contract.interval_hours)
        contract = made.contract.model_copy(update={"interval_hours": tuple(sorted(hours))})
        return Checkpoint(made.config, contract, made.state_dict, made.sample, made.skill, made.provenance)

    def plan_facts(self) -> dict[str, Any]:
        """What is asked of the fields between, beside the loss."""
        return super().plan_facts() | {"model.self_supervised": asdict(self.self_supervised)}


def _teacher(settings: SelfSupervisedConfig) -> TimeModel | None:
    if not settings.teacher_path:
        return None
    model = load_checkpoint(Path(settings.teacher_path)).model()
    if not isinstance(model, TimeModel):
        raise UsageError(
            f"{model.family} makes no frames at any time",
            "model.self_supervised.teacher_path",
            "give a network of time",
        )
    return model.requires_grad_(False)
