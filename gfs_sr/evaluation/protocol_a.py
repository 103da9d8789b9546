"""Protocol A: the seed system's scores with its own misregistered baselines, to repeat its published tables only."""

import csv
from collections.abc import Iterator, Mapping, Sequence
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
from gfs_sr.evaluation.records import SeedExample
from gfs_sr.evaluation.scoring import CaseScores, SeedScore
from gfs_sr.evaluation.subject import Subject
from gfs_sr.metrics import registry

Values = npt.NDArray[Any]

LIBRARY_A = -0.75  # of the image libraries' bicubic; it does not reproduce even a ramp
METRICS = ("RMSE", "MAE", "PSNR", "SSIM")
METHODS = ("model", "bicubic", "tempinterp", "st_combined")
PANELS = {"model": "Model", "bicubic": "Bicubic", "tempinterp": "TempInterp", "st_combined": "ST-Combined"}
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


def score(case: Case, subject: Subject, protocol: Protocol, example_hours: Sequence[int] = ()) -> CaseScores:
    """The seed's four methods on the whole domain and all frames, normalized and physical.

    Args:
        case: truth and coarse fields.
        subject: the network.
        protocol: A.
        example_hours: lead times whose fields are kept for the seed's figures.
    """
    frames = len(case.truth.times)
    predicted = subject.run(subject.inputs(case))
    records: list[SeedScore] = []
    examples: list[SeedExample] = []
    for variable in case.variables:
        channel = case.truth.variables.index(variable)
        mean, sd = _normalization(variable, subject)
        truth = np.stack([case.truth.readers[channel](k) for k in range(frames)]).astype(np.float64)
        coarse = (np.stack([case.coarse.readers[channel](k) for k in range(len(case.coarse.times))]) - mean) / sd
        made = predicted.read(subject.channel(case, variable), slice(0, frames)).mean(axis=0)
        z = (_all_frames(made, frames) - mean) / sd
        estimates = _estimates(z, coarse, truth.shape, subject.scale_factor)
        for method, estimate in estimates.items():
            estimates[method] = np.clip(estimate, -NORMALIZED_CLIP, NORMALIZED_CLIP)
            for scale, p, y, data_range in (
                ("normalized", estimates[method], (truth - mean) / sd, NORMALIZED_RANGE),
                ("physical", estimates[method] * sd + mean, truth, registry.percentile_range(truth)),
            ):
                scene = registry.Scene(p, y, None, data_range, protocol.ssim_border)
                records += [
                    SeedScore(method, variable, metric, scale, value)
                    for metric, value in registry.score(METRICS, scene).items()
                ]
        examples += _examples(case, variable, truth, estimates, mean, sd, example_hours)
    return CaseScores(
        case.label, case.left_out, seed=tuple(records), examples=tuple(examples), warnings=list(subject.warnings)
    )


def _estimates(z: Values, coarse: Values, shape: tuple[int, ...], scale_factor: int) -> dict[str, FloatArray]:
    """Method -> (T, H, W), normalized."""
    frames, height, width = shape
    raw = (scale_factor * coarse.shape[1], scale_factor * coarse.shape[2])
    spline = resize(stretched_spline(coarse, frames), height, width)
    return {
        # s·N is resized to the domain, as the seed does; any other shape is cut or was the domain already
        "model": resize(z, height, width) if z.shape[1:] == raw != (height, width) else z[:, :height, :width],
        "bicubic": zero_padded_bicubic(coarse, frames, height, width),
        "tempinterp": spline,
        "st_combined": spline,
    }


def _examples(
    case: Case,
    variable: str,
    truth: Values,
    estimates: Mapping[str, Values],
    mean: float,
    sd: float,
    hours: Sequence[int],
) -> Iterator[SeedExample]:
    leads = case.truth.times.lead_hours
    date = np.datetime_as_string(case.truth.times.reference_time, "D").replace("-", "")
    for hour in hours:
        for frame in np.flatnonzero(leads == hour):
            panels = {"HR": (truth[frame] - mean) / sd} | {
                PANELS[name]: each[frame] for name, each in estimates.items()
            }
            yield SeedExample(date, variable, hour, "std", panels)
            physical = {name: field * sd + mean for name, field in panels.items()}
            yield SeedExample(date, variable, hour, "destd", physical)


def write_tables(cases: Sequence[CaseScores], folder: Path) -> list[Path]:
    """metrics_test.csv (scale, variable, metric, value) and table_{scale}_{var}.csv, means over the forecasts."""
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for case in cases:
        for r in case.seed:
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
