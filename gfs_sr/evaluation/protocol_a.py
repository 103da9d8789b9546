"""Protocol A: the seed system's scores with its own misregistered baselines, to repeat its published tables only."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.data.normalization import EPSILON, PRESETS
from gfs_sr.data.resampling import Kernel, keys_weights, resample_axis
from gfs_sr.data.time_interpolation import natural_spline_matrix
from gfs_sr.evaluation.cases import Case
from gfs_sr.evaluation.protocols import NORMALIZED_CLIP, NORMALIZED_RANGE, Protocol
from gfs_sr.evaluation.scoring import CaseScores, Record
from gfs_sr.evaluation.subject import Subject
from gfs_sr.metrics import registry

Values = npt.NDArray[Any]

LIBRARY_A = -0.75  # of the image libraries' bicubic; it does not reproduce even a ramp
METRICS = ("RMSE", "MAE", "PSNR", "SSIM")
METHODS = ("model", "bicubic", "tempinterp", "st_combined")
SCALES = {"normalized": "standard", "physical": "destandard"}

_LIBRARY_KERNEL = Kernel(lambda fraction: keys_weights(fraction, LIBRARY_A), -1)


def half_pixel_positions(size: int, target: int) -> FloatArray:
    """(target,) positions in source index units by the half-pixel map, whatever the registration."""
    return (np.arange(target) + 0.5) * size / target - 0.5


def resize(fields: Values, height: int, width: int) -> FloatArray:
    """(..., H, W) -> (..., height, width) by half-pixel bicubic with a = -0.75, edges replicated."""
    rows = resample_axis(fields, half_pixel_positions(fields.shape[-2], height), _LIBRARY_KERNEL, -2)
    return resample_axis(rows, half_pixel_positions(fields.shape[-1], width), _LIBRARY_KERNEL, -1)


def stretched_spline(coarse: Values, frames: int) -> FloatArray:
    """(T, ...) -> (frames, ...): natural spline on a clock stretched so that the last frames coincide."""
    at = np.linspace(0, coarse.shape[0] - 1, frames)
    return np.tensordot(natural_spline_matrix(coarse.shape[0], at), np.asarray(coarse, np.float64), axes=1)


def zero_padded_bicubic(normalized: Values, frames: int, height: int, width: int) -> FloatArray:
    """(T, H, W) -> (frames, height, width): the coarse frames one after the other, then zeros."""
    fine = np.zeros((frames, height, width))
    count = min(frames, normalized.shape[0])
    fine[:count] = resize(normalized[:count], height, width)
    return fine


def score(case: Case, subject: Subject, protocol: Protocol) -> CaseScores:
    """The seed's four methods on the whole domain and all frames, normalized and physical."""
    frames = len(case.truth.times)
    height, width = case.truth.grid.shape
    predicted = subject.predict(case.coarse)
    s = subject.scale_factor
    raw = (s * case.coarse.grid.shape[0], s * case.coarse.grid.shape[1])
    records: list[Record] = []
    for channel, variable in enumerate(case.truth.variables):
        mean, sd = _normalization(variable, subject)
        truth = np.stack([case.truth.readers[channel](k) for k in range(frames)]).astype(np.float64)
        coarse = (np.stack([case.coarse.readers[channel](k) for k in range(len(case.coarse.times))]) - mean) / sd
        z = (_all_frames(predicted[:, channel], frames) - mean) / sd
        spline = resize(stretched_spline(coarse, frames), height, width)
        # s·N is resized to the domain, as the seed does; any other shape is cut or was the domain already
        model = resize(z, height, width) if z.shape[1:] == raw != (height, width) else z[:, :height, :width]
        estimates = {
            "model": model,
            "bicubic": zero_padded_bicubic(coarse, frames, height, width),
            "tempinterp": spline,
            "st_combined": spline,
        }
        for method, estimate in estimates.items():
            clipped = np.clip(estimate, -NORMALIZED_CLIP, NORMALIZED_CLIP)
            for scale, p, y, data_range in (
                ("normalized", clipped, (truth - mean) / sd, NORMALIZED_RANGE),
                ("physical", clipped * sd + mean, truth, registry.percentile_range(truth)),
            ):
                scene = registry.Scene(p, y, None, data_range, protocol.ssim_border)
                for metric, value in registry.score(METRICS, scene).items():
                    records.append(Record(method, "joint", variable, metric, "all", scale, value))
    return CaseScores(case.label, records, [], [], case.left_out)


def write_tables(cases: Sequence[CaseScores], folder: Path) -> list[Path]:
    """metrics_test.csv (scale, variable, metric, value) and table_{scale}_{var}.csv, means over the forecasts."""
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for case in cases:
        for r in case.records:
            values.setdefault((SCALES[r.scale], r.variable, r.method, r.metric), []).append(r.value)
    written = [folder / "metrics_test.csv"]
    with written[0].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("scale", "variable", "metric", "value"))
        for (scale, variable, method, metric), found in values.items():
            writer.writerow((scale, variable, f"{method}_{metric}", float(np.mean(found))))
    for scale, variable in dict.fromkeys((scale, variable) for scale, variable, _, _ in values):
        written.append(folder / f"table_{scale}_{variable}.csv")
        with written[-1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("method", *METRICS))
            for method in METHODS:
                row = (float(np.mean(values[scale, variable, method, metric])) for metric in METRICS)
                writer.writerow((method, *row))
    return written


def rename(case: CaseScores, old: str, new: str) -> CaseScores:
    """The same with one method under another name: `model` in the seed's tables, its own elsewhere."""
    renamed = [replace(record, method=new) if record.method == old else record for record in case.records]
    return replace(case, records=renamed)


def _all_frames(predicted: Values, frames: int) -> Values:
    if predicted.shape[0] >= frames:
        return predicted[:frames]
    return np.concatenate([predicted, np.repeat(predicted[-1:], frames - predicted.shape[0], axis=0)])


def _normalization(variable: str, subject: Subject) -> tuple[float, float]:
    preset = PRESETS["gfs-india-025"]
    if variable in preset.variables:
        chosen = preset.select((variable,))
        return float(chosen.mean[0]), float(chosen.sd[0] + EPSILON)
    return subject.normalization(variable)
