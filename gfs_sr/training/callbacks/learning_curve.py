"""The course of a run as one picture."""

from pathlib import Path
from statistics import fmean
from typing import Any, Final

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from gfs_sr.atomic import whole
from gfs_sr.training.parcel import Batch

TRAINED: Final = "train/loss, mean since the last validation"
LOSSES: Final = (TRAINED, "val/loss")
SKILLS: Final = ("val/skill", "val/skill_sharpened")


class LearningCurve(Callback):
    """`learning_curve.png` in the run's folder: losses above, skill below, by step; new after every validation."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, float]]] = {}
        self._losses: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the loss; Lightning has divided it by the batches that are accumulated."""
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One point more."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING or not trainer.is_global_zero:
            return
        if self._losses:
            mean = fmean(map(float, self._losses))
            self.points.setdefault(TRAINED, []).append((trainer.global_step, mean))
            self._losses = []
        for name in ("val/loss", *SKILLS):
            value = trainer.callback_metrics.get(name)
            if value is not None:
                self.points.setdefault(name, []).append((trainer.global_step, float(value)))
        if self.points:
            draw(self.points, Path(trainer.default_root_dir) / "learning_curve.png")

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"points": self.points, "losses": [float(each) for each in self._losses]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self.points = state_dict["points"]
        self._losses = [torch.tensor(each) for each in state_dict["losses"]]


def draw(points: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Write the picture."""
    # imported here: matplotlib takes long to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for axis, names in ((above, LOSSES), (below, SKILLS)):
        for name in names:
            if name in points:
                steps, values = zip(*points[name], strict=True)
                axis.plot(steps, values, marker="o", markersize=3, label=name)
        if axis.lines:
            axis.legend()
        axis.grid(alpha=0.3)
    above.set_ylabel("loss")
    below.set_ylabel("skill")
    below.axhline(0.0, color="0.4", linewidth=0.8)
    below.set_xlabel("step")
    with whole(path) as partial:
        figure.savefig(partial, dpi=100, format="png")
