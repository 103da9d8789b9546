"""RMSE, SSIM, PSNR and spectra of every validation, in normalized units."""

from collections import defaultdict
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gfs_sr.training.distributed import gathered
from gfs_sr.training.losses import similarity, spectral
from gfs_sr.training.losses.masked import plane_mean
from gfs_sr.training.parcel import Batch
from gfs_sr.training.skill import names_of
from gfs_sr.training.supervised import supervised

DATA_RANGE = similarity.DATA_RANGE
Sum = TypeVar("Sum", float, Tensor)


class ValidationScores(Callback):
    """Logs val/rmse (and per variable), val/psnr, val/ssim, and val/lsd: the distance of spectra from the truth's.

    The log-spectral distance is √(mean over radii (10 lg P_model/P_truth)²) in dB, of the mean power over all frames of
    a variable; variables count alike. SSIM is left out where fields are smaller than its window.
    """

    def __init__(self) -> None:
        self.spectra: dict[str, Tensor] = {}  # variable -> (3, n): power of model, truth, baseline by radial frequency
        self._clear()

    def _clear(self) -> None:
        self._squares: defaultdict[str, float | Tensor] = defaultdict(float)
        self._cells: defaultdict[str, float | Tensor] = defaultdict(float)
        self._powers: dict[str, Tensor] = {}
        self._similar: list[Tensor] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A fresh count."""
        self._clear()

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count one batch."""
        part = batch["validation"]
        prediction, truth = outputs["prediction"].float(), part["fine"].float()
        mask = part["mask"].expand_as(truth).float()
        if min(truth.shape[-2:]) >= similarity.WINDOW:
            self._similar.append(1 - similarity.ssim(prediction, truth, mask, data_range=DATA_RANGE))
        weight = mask * part["area"] if "area" in part else mask
        squares = ((prediction - truth).square() * weight).sum(dim=(1, 3, 4))
        cells = weight.sum(dim=(1, 3, 4))
        mean = plane_mean(truth, mask)
        base = outputs["base"].float()
        filled = torch.stack([torch.where(mask > 0, each, mean) for each in (prediction, truth, base)])
        powers = spectral.radial_power(filled).sum(dim=2)  # (3, B, C, n)
        for sample, channels in enumerate(names_of(part, supervised(pl_module).network.facts.variables)):
            for channel, name in enumerate(channels):
                self._squares[name] += squares[sample, channel]
                self._cells[name] += cells[sample, channel]
                power = powers[:, sample, channel]
                self._powers[name] = self._powers[name] + power if name in self._powers else power

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log, over the steps of all processes."""
        squares = _merged({name: float(value) for name, value in self._squares.items()})
        cells = _merged({name: float(value) for name, value in self._cells.items()})
        similar = [each for part in gathered([float(value) for value in self._similar]) for each in part]
        counted = sum(cells.values())
        if not counted:
            return
        mse = torch.tensor(sum(squares.values()) / counted)
        scores = {"val/rmse": mse.sqrt(), "val/psnr": 20 * torch.log10(torch.tensor(DATA_RANGE)) - 10 * mse.log10()}
        if similar:
            scores["val/ssim"] = torch.tensor(similar).mean()
        scores |= {
            f"val/rmse/{name}": torch.tensor((squares[name] / cells[name]) ** 0.5) for name in squares if cells[name]
        }
        self.spectra = _merged({name: power.cpu() for name, power in self._powers.items()})
        scores["val/lsd"] = torch.stack([log_spectral_distance(*each[:2]) for each in self.spectra.values()]).mean()
        pl_module.log_dict(scores)


def _merged(own: dict[str, Sum]) -> dict[str, Sum]:
    """Sums by name, over all processes."""
    merged: dict[str, Sum] = {}
    for part in gathered(own):
        for name, value in part.items():
            merged[name] = merged[name] + value if name in merged else value
    return merged


def log_spectral_distance(power: Tensor, truth: Tensor) -> Tensor:
    """DB between two radial power spectra (n,); radii without power are left out."""
    there = (power > 0) & (truth > 0)
    if not there.any():
        return torch.tensor(0.0)
    return (10 * (power[there] / truth[there]).log10()).square().mean().sqrt()
