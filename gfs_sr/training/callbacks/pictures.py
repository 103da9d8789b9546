"""Pictures of what a network gives: at every validation the same samples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from gfs_sr.atomic import whole
from gfs_sr.training.callbacks.validation_scores import ValidationScores
from gfs_sr.training.parcel import Batch
from gfs_sr.training.skill import names_of
from gfs_sr.training.supervised import supervised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Plane = npt.NDArray[np.float32]
Row = tuple[str, dict[str, Plane]]  # a variable, and its fields by name
LINES = {"model": ("#0b4f8a", "-"), "truth": ("black", "-"), "baseline": ("#7a7a7a", "--")}  # as spectra are stacked
TICKS = (2, 3, 5, 10, 20, 50, 100, 200, 500)  # wavelengths
HIGHEST = 0.5**0.5  # frequency in cycles per cell, at the corner of a spectrum


class Pictures(Callback):
    """Truth, model, baseline, their errors and spectra as `pictures/step-N.png` in the run's folder and in the loggers.

    Fields are of the first batch of the validation, spectra of all of it.

    Args:
        every: validations between pictures; 0 draws none.
        rows: samples at most, of the first batch of the validation.
    """

    def __init__(self, every: int = 1, rows: int = 3) -> None:
        if every < 0 or rows < 1:
            raise ValueError("every starts at 0, rows at 1")
        self.every, self.rows = every, rows
        self._seen = 0
        self._rows: list[Row] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep some of the first batch."""
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero or not self.every:
            return
        self._seen += 1
        if (self._seen - 1) % self.every:
            return
        part = batch["validation"]
        names = names_of(part, supervised(pl_module).network.facts.variables)
        self._rows = examples(part["fine"], outputs["prediction"], outputs["base"], names, self.rows)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what was kept."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        scores = next(each for each in cast("Any", trainer).callbacks if isinstance(each, ValidationScores))
        path = Path(trainer.default_root_dir) / "pictures" / f"step-{trainer.global_step:06d}.png"
        image = draw(rows, {name: power.numpy() for name, power in scores.spectra.items()}, path,
                     f"step {trainer.global_step}")  # fmt: skip
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


def examples(truth: Tensor, model: Tensor, baseline: Tensor, names: Sequence[Sequence[str]], count: int) -> list[Row]:
    """Title and planes of up to `count` fields: each variable once before any twice, halfway between coarse frames."""
    fields = [(name, sample, channel) for sample, row in enumerate(names) for channel, name in enumerate(row)]
    met: Counter[str] = Counter()
    turns = []
    for index, (name, _, _) in enumerate(fields):
        turns.append((met[name], index))
        met[name] += 1
    frame = truth.shape[1] // 2
    rows: list[Row] = []
    for _, index in sorted(turns)[:count]:
        name, sample, channel = fields[index]
        planes = {
            label: tensor[sample, frame, channel].detach().float().cpu().numpy()
            for label, tensor in (("truth", truth), ("model", model), ("baseline", baseline))
        }
        rows.append((name, planes))
    return rows


def draw(rows: Sequence[Row], spectra: Mapping[str, Plane], path: Path, heading: str) -> npt.NDArray[np.uint8]:
    """Write the rows on shared color bars, normalized units; the picture as (height, width, 3).

    Args:
        rows: variables with (H, W) fields `truth`, `model` and `baseline`.
        spectra: variable -> (3, n), power of model, truth and baseline in n bins of radial frequency.
        path: of the file.
        heading: above all.
    """
    # imported here: matplotlib takes long to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imsave

    figure = Figure(figsize=(17, 0.7 + 2.5 * len(rows)), dpi=90)
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(heading, y=0.99)
    # fields and errors, a bar each beside them; a fixed grid, since a layout engine would render all of it again
    columns = (1, 1, 1, 0.06, 0.2, 1, 1, 0.06, 0.42, 1)
    top = 1 - 0.6 / figure.get_figheight()
    axes = figure.subplots(
        len(rows), len(columns), squeeze=False,
        gridspec_kw={"width_ratios": columns, "left": 0.03, "right": 0.985, "top": top, "bottom": 0.08, "wspace": 0.06,
                     "hspace": 0.3},
    )  # fmt: skip
    for number, (line, (name, fields)) in enumerate(zip(axes, rows, strict=True)):
        truth = fields["truth"]
        low, high = np.percentile(truth, [1, 99])
        errors = {f"{each} − truth": fields[each] - truth for each in ("model", "baseline")}
        limit = float(np.percentile(np.abs(errors["baseline − truth"]), 99)) or 1.0
        line[4].set_axis_off()
        line[8].set_axis_off()
        _draw_spectra(line[9], spectra[name], is_first=number == 0)
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
        line[0].set_ylabel(f"{name}, normalized")
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    with whole(path) as partial:
        imsave(partial, pixels, format="png")
    return pixels


def wavelengths(bins: int) -> Plane:
    """(n,) cells: of the middles of the n bins of `losses.spectral.radial_power`, longest first."""
    return (bins / ((np.arange(bins) + 0.5) * HIGHEST)).astype(np.float32)


def _draw_spectra(axis: "Axes", powers: Plane, is_first: bool) -> None:
    """Power by wavelength in cells; wavelengths without power have no point."""
    cells = wavelengths(powers.shape[1])
    for (label, (color, dash)), power in zip(LINES.items(), powers, strict=True):
        there = power > 0
        axis.plot(cells[there], power[there], dash, color=color, label=label, linewidth=1.4)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks([each for each in TICKS if cells[-1] <= each <= cells[0]], minor=False)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xticks([], minor=True)
    axis.invert_xaxis()
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    if is_first:
        axis.set_title("power by wavelength in cells", fontsize=10)
        axis.legend(fontsize=8)
