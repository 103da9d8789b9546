"""Pictures of what a network gives: at every validation the same samples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from gfs_sr.training.parcel import Batch
from gfs_sr.training.skill import names_of
from gfs_sr.training.supervised import supervised

Plane = npt.NDArray[np.float32]


class Pictures(Callback):
    """Truth, model, baseline and their errors as `pictures/step-N.png` in the run's folder and in the loggers.

    Args:
        every: validations between pictures; 0 draws none.
        rows: samples at most, of the first batch of the validation.
    """

    def __init__(self, every: int = 1, rows: int = 3) -> None:
        if every < 0 or rows < 1:
            raise ValueError("every starts at 0, rows at 1")
        self.every, self.rows = every, rows
        self._seen = 0

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch."""
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero or not self.every:
            return
        self._seen += 1
        if (self._seen - 1) % self.every:
            return
        part = batch["validation"]
        names = names_of(part, supervised(pl_module).network.facts.variables)
        rows = examples(part["fine"], outputs["prediction"], outputs["base"], names, self.rows)
        path = Path(trainer.default_root_dir) / "pictures" / f"step-{trainer.global_step:06d}.png"
        image = draw(rows, path, f"step {trainer.global_step}")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("examples", image, trainer.global_step, dataformats="HWC")
            elif isinstance(logger, WandbLogger):
                logger.log_image("examples", [image], step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """For the Trainer's checkpoint."""
        return {"seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the Trainer's checkpoint."""
        self._seen = state_dict["seen"]


def examples(
    truth: Tensor, model: Tensor, baseline: Tensor, names: Sequence[Sequence[str]], count: int
) -> list[tuple[str, dict[str, Plane]]]:
    """Title and planes of up to `count` fields: each variable once before any twice, halfway between coarse frames."""
    fields = [(name, sample, channel) for sample, row in enumerate(names) for channel, name in enumerate(row)]
    met: Counter[str] = Counter()
    turns = []
    for index, (name, _, _) in enumerate(fields):
        turns.append((met[name], index))
        met[name] += 1
    frame = truth.shape[1] // 2
    rows: list[tuple[str, dict[str, Plane]]] = []
    for _, index in sorted(turns)[:count]:
        name, sample, channel = fields[index]
        planes = {
            label: tensor[sample, frame, channel].detach().float().cpu().numpy()
            for label, tensor in (("truth", truth), ("model", model), ("baseline", baseline))
        }
        rows.append((name, planes))
    return rows


def draw(rows: Sequence[tuple[str, Mapping[str, Plane]]], path: Path, heading: str) -> npt.NDArray[np.uint8]:
    """Write the rows on shared color bars, normalized units; the picture as (height, width, 3)."""
    # imported here: matplotlib takes long to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imsave

    figure = Figure(figsize=(14, 0.7 + 2.5 * len(rows)), dpi=90)
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(heading, y=0.99)
    # fields and errors, a bar each beside them; a fixed grid, since a layout engine would render all of it again
    columns = (1, 1, 1, 0.06, 0.2, 1, 1, 0.06)
    top = 1 - 0.6 / figure.get_figheight()
    axes = figure.subplots(
        len(rows), len(columns), squeeze=False,
        gridspec_kw={"width_ratios": columns, "left": 0.03, "right": 0.95, "top": top, "bottom": 0.06, "wspace": 0.06},
    )  # fmt: skip
    for number, (line, (name, fields)) in enumerate(zip(axes, rows, strict=True)):
        truth = fields["truth"]
        low, high = np.percentile(truth, [1, 99])
        errors = {f"{each} − truth": fields[each] - truth for each in ("model", "baseline")}
        limit = float(np.percentile(np.abs(errors["baseline − truth"]), 99)) or 1.0
        line[4].set_axis_off()
        for place, (label, field) in zip((0, 1, 2, 5, 6), {**fields, **errors}.items(), strict=True):
            axis, is_error = line[place], label in errors
            image = axis.imshow(
                field,
                cmap="RdBu_r" if is_error else "viridis",
                vmin=-limit if is_error else low,
                vmax=limit if is_error else high,
            )
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(label, fontsize=10)
            if is_error:
                axis.set_xlabel(f"RMSE {np.sqrt(np.mean(field**2)):.3g}", fontsize=9)
            if place in (2, 6):
                figure.colorbar(image, cax=line[place + 1])
        line[0].set_ylabel(name)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, pixels)
    return pixels
