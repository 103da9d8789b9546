"""What needs no gradient: the linear filter of `fused` by least squares, its response to the sun by ridge."""

import math
from collections.abc import Sequence
from typing import Any, Final

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gfs_sr.data.coarsen import SIGMA, gauss_decimate
from gfs_sr.data.solar import solar_components
from gfs_sr.data.variables import LAND_SEA_MASK, VARIABLES, base_name
from gfs_sr.models import fused_inputs as inputs
from gfs_sr.models.blocks import crop_space
from gfs_sr.models.fused import Fused
from gfs_sr.models.fused_residual import CORRECTIONS, LINEAR_SIZE
from gfs_sr.models.fused_variables import CLASSES, class_of, scaling_of, unit_of
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.samples import Sampler
from gfs_sr.training.windows import generator

CARRIES_OVER: Final = frozenset(CLASSES) - {"moisture", "wind", "other"}  # the others' days differ from place to place
LAND_MATTERS: Final = "temperature"
POINTS: Final = 6  # per axis and source, for the sun
FILTER_KEY: Final = (1 << 20) + 1  # an epoch of draws that no training reaches


class ClosedForm(Callback):
    """Fits before the first step, and damps what stayed uncertain after the last.

    Args:
        batches: of every stream of single frames, for the filter; 0 leaves it at zero.
        filter_ridge: relative to the mean power of the inputs.
        sun_ridge: the same, of the sun.
        damping: factor on what was learned of the time between frames at the end, corrections of the coarse field and
            increments of the features alike; held-out sources prefer about 0.5.
    """

    def __init__(
        self, batches: int = 30, filter_ridge: float = 1e-3, sun_ridge: float = 0.02, damping: float = 0.5
    ) -> None:
        self.batches, self.filter_ridge, self.sun_ridge, self.damping = batches, filter_ridge, sun_ridge, damping
        self.is_fitted = False  # the weights at the start are those of a run that was fitted

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fit, unless the run is resumed."""
        network = pl_module.network
        if trainer.ckpt_path is not None or self.is_fitted or not isinstance(network, Fused):
            return
        data: TrainingData = trainer.datamodule  # type: ignore[attr-defined]
        if self.batches:
            fit_filter(network, data.samplers("space"), self.batches, data.seed, self.filter_ridge)
        if network.facts.time_factor > 1:
            # whole series are at hand in memory alone
            held = [each for each in data.training_sets if isinstance(each, FieldSet)]
            fit_sun(network, held, self.sun_ridge)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Damp the changes between frames after the last step: the validation that follows scores what ships."""
        network = pl_module.network
        last = trainer.global_step >= trainer.estimated_stepping_batches
        if not last or not isinstance(network, Fused) or self.damping == 1:
            return
        damp(network.residual.between.out, network.settings.width, self.damping)
        averaged: Any = pl_module.averaged
        if averaged is not None:
            for name in ("weight", "bias"):
                rows = averaged[f"residual.between.out.{name}"]
                for part in changes(network.settings.width):
                    rows[part] *= self.damping


def changes(width: int) -> tuple[slice, slice]:
    """Rows of `between.out` that change features and coarse field between frames: all but the filter's strength."""
    filter_strength = width + CORRECTIONS - 1
    return slice(filter_strength), slice(filter_strength + 1, None)


@torch.no_grad()
def damp(layer: torch.nn.Conv2d, width: int, factor: float) -> None:
    """Scale the changes of `between.out`."""
    for part in changes(width):
        layer.weight[part] *= factor
        if layer.bias is not None:
            layer.bias[part] *= factor


@torch.no_grad()
def fit_filter(network: Fused, samplers: Sequence[Sampler], batches: int, seed: int, ridge: float) -> None:
    """The linear filter that best adds to the base what it lacks, every sample counting alike."""
    taps, sub_pixels = LINEAR_SIZE**2, network.facts.scale_factor**2
    normal = torch.zeros(taps, taps, dtype=torch.float64)
    right = torch.zeros(taps, sub_pixels, dtype=torch.float64)
    for number, sampler in enumerate(samplers):
        for batch in range(batches):
            for index in range(sampler.stream.batch):
                sample = sampler.draw(generator(seed, FILTER_KEY, batch, number, index))
                coarse, fine, mask = (torch.from_numpy(sample[key])[None] for key in ("coarse", "fine", "mask"))
                residual = fine - network.space_baseline(coarse)
                count = mask.sum().clamp(min=1)
                power = ((residual.square() * mask).sum() / count).clamp(min=1e-7)
                curvature = inputs.laplacian(crop_space(coarse, network.cells - LINEAR_SIZE // 2 - 1))
                rows = F.unfold(curvature[0], LINEAR_SIZE)[0].T.double()  # (cells, taps)
                targets = F.pixel_unshuffle(residual[0], network.facts.scale_factor)[0].flatten(1).T.double()
                whole = F.pixel_unshuffle(mask[0].float(), network.facts.scale_factor)[0].flatten(1).T.min(dim=1).values
                weight = (whole.double() / power).sqrt()[:, None]
                normal += (rows * weight).T @ (rows * weight)
                right += (rows * weight).T @ (targets * weight)
    scale = normal.diagonal().mean()
    solved = torch.linalg.solve(normal + ridge * scale * torch.eye(taps, dtype=torch.float64), right)
    network.residual.linear.weight.copy_(solved.T.reshape(sub_pixels, 1, LINEAR_SIZE, LINEAR_SIZE).float())


@torch.no_grad()
def fit_sun(network: Fused, sets: Sequence[FieldSet], ridge: float) -> None:
    """How much each class of variables follows the sun between frames, in physical units, from hourly sources."""
    factor, features = network.facts.time_factor, inputs.SUN_FEATURES
    normals = np.zeros((len(CLASSES), 2 * features, 2 * features))
    rights = np.zeros((len(CLASSES), 2 * features))
    for fields in sets:
        if fields.interval_hours != network.settings.interval_hours / factor or fields.shape[0] < 24:
            continue
        sun = _sun(fields)
        if sun is None:
            continue
        starts = np.arange(0, fields.shape[0] - factor, 3 if fields.shape[0] < 1000 else 6)
        for name, values in zip(fields.variables, fields.values, strict=True):
            kind = class_of(name) if base_name(name) in VARIABLES else CLASSES.index("other")
            if CLASSES[kind] not in CARRIES_OVER or not unit_of(name):
                continue
            series = _thinned(fields, values) / (unit_of(name) * scaling_of(name).sd)
            for step in range(1, factor):
                theta = step / factor
                error, rows = (
                    each[starts + step] - (1 - theta) * each[starts] - theta * each[starts + factor]
                    for each in (series, sun)
                )
                rows = np.moveaxis(rows, 1, -1).reshape(-1, 2 * features)
                flat = error.ravel()
                valid = np.isfinite(flat)
                rows, flat = rows[valid], flat[valid]
                if not flat.size or not flat.any():
                    continue
                weight = math.sqrt(starts.size) / (flat.size * np.mean(flat**2))
                normals[kind] += weight * rows.T @ rows
                rights[kind] += weight * rows.T @ flat
    for kind, name in enumerate(CLASSES):
        if not rights[kind].any():
            continue
        used = 2 * features if name == LAND_MATTERS else features
        normal = normals[kind, :used, :used]
        solved = np.linalg.solve(normal + ridge * np.trace(normal) / used * np.eye(used), rights[kind, :used])
        network.residual.between.amplitude.weight[kind, :used] = torch.from_numpy(solved).float()


def _stride(fields: FieldSet) -> int:
    return max(1, min(fields.shape[1:]) // POINTS)


def _thinned(fields: FieldSet, values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    stride = _stride(fields)
    if stride > 1 and np.isfinite(values).all():
        return gauss_decimate(values, SIGMA, stride)
    return np.asarray(values[:, ::stride, ::stride], np.float64)


def _sun(fields: FieldSet) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """(T, 14, h, w) features, and the same over land."""
    positions = fields.positions()
    if positions is None:
        return None
    stride = _stride(fields)
    lat, lon = (each[::stride, ::stride] for each in positions)
    parts: Tensor = torch.from_numpy(solar_components(fields.times, lat, lon))
    features = inputs.sun_features(parts).numpy()
    land = fields.statics((LAND_SEA_MASK,))[0, ::stride, ::stride]
    return np.concatenate([features, features * land], axis=1)
