"""A certificate for an artifact: tiled = whole, streamed = batch, backend = backend, in the variables' own units."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import lookup
from gfs_sr.errors import ParityFailed, UsageError
from gfs_sr.runtime.artifact import FRAME, Artifact
from gfs_sr.runtime.backends.base import TOLERANCE_SD
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import FloatField
from gfs_sr.runtime.upscaler import FineForecast, Upscaler

TILING_TOLERANCE_SD = 1e-5  # an engine may choose another kernel for another batch size; nothing else may differ
MOST_FRAMES = 6  # of the user's file: a certificate, not a run
WAVES = (19, 36, 3)  # rows, columns, frames of the made-up global forecast: both poles and the dateline


def verify_artifact(
    artifact: str | Path, source: Path | None = None, backends: Sequence[str] = ("onnxruntime",)
) -> dict[str, object]:
    """Run the artifact in several ways that must agree.

    Args:
        artifact: folder or bundled name.
        source: a real forecast; without one, smooth waves on a global grid are taken.
        backends: the first is the reference, and is the one tiled and streamed.

    Returns:
        A report: each check with the largest difference per variable, its units and its tolerance.

    Raises:
        ParityFailed: two ways differ by more than the tolerance, or mask different cells.
        UsageError: there is but one way to run it.
    """
    if not backends or "" in backends:
        raise UsageError("no backend to verify", "--backends", "give names separated by commas")
    opened = Artifact.open(artifact)
    contract = opened.contract
    forecast = _waves(contract) if source is None else _real(contract, source)
    drawn = contract.denoising
    if drawn is not None and not drawn.temporal:
        forecast = forecast.isel_time(slice(0, 1))  # every step takes the denoiser once
    height, width = forecast.grid.shape
    is_tiled = contract.halo != "global" and (drawn is None or drawn.halo != "global")
    one_tile = Request(tile=max(height, width) if is_tiled else None)
    checks: list[dict[str, object]] = []
    with Upscaler.open(opened, backend=backends[0]) as upscaler:
        engine, provider = upscaler.backend.name, upscaler.backend.provider
        whole = upscaler.upscale_forecast(forecast, one_tile)
        if is_tiled:
            side = max(1, -(-min(height, width) // 3) - 1)  # several tiles a side, the last one overhanging
            tiled = upscaler.upscale_forecast(forecast, Request(tile=side))
            checks += _compare(contract, f"tiled ({side}) = whole", whole, tiled.values, TILING_TOLERANCE_SD)
        if contract.halo != "global" and drawn is None:
            checks += _compare(
                contract, "streamed = batch", whole, _streamed(upscaler, forecast, one_tile), TILING_TOLERANCE_SD
            )
        if contract.stochastic:
            company = upscaler.upscale_forecast(forecast, replace(one_tile, members=2))
            checks += _compare(contract, "in company = alone", whole, company.members[0], TILING_TOLERANCE_SD)
        if len(forecast.times) > 1 and (opened.has_graph(FRAME) or (contract.frames_apart and drawn is None)):
            alone = upscaler.upscale_forecast(forecast.isel_time(slice(0, 1)), one_tile)
            first = replace(whole, members=whole.members[:, :1])
            checks += _compare(contract, "lone frame = series", first, alone.values, TOLERANCE_SD[contract.precision])
    for name in backends[1:]:
        with Upscaler.open(opened, backend=name) as other:
            fine = other.upscale_forecast(forecast, one_tile)
            label = f"{other.backend.name} ({other.backend.provider}) = {engine}"
        checks += _compare(contract, label, whole, fine.values, TOLERANCE_SD[contract.precision])
    if not checks:
        raise UsageError(
            f"{contract.name} sees whole fields: there is no other way to run it on {engine}",
            f"--backends {engine}", f"give a second one, as in --backends {engine},torch",
        )  # fmt: skip
    _require(checks, str(opened.path))
    return {
        "artifact": str(opened.path),
        "model": contract.name,
        "model_sha256": opened.sha256,
        "backend": engine,
        "provider": provider,
        "precision": contract.precision,
        "input": forecast.source,
        "grid": list(forecast.grid.shape),
        "frames": len(forecast.times),
        "checks": checks,
        "certified": True,
        "warnings": list(opened.warnings),
    }


def _streamed(upscaler: Upscaler, forecast: Forecast, request: Request) -> FloatField:
    frames = ((time, forecast.frame(index)) for index, time in enumerate(forecast.times.valid_times))
    fine = upscaler.stream(frames, forecast.variables, forecast.grid, request)
    return np.stack([frame.values for frame in fine])


def _compare(
    contract: Contract, check: str, reference: FineForecast, values: FloatField, tolerance_sd: float
) -> list[dict[str, object]]:
    if values.shape != reference.values.shape:
        raise ParityFailed(
            f"{check}: {values.shape} values instead of {reference.values.shape}", contract.name, "report the model"
        )
    lines: list[dict[str, object]] = []
    for channel, name in enumerate(reference.variables):
        truth, other = (np.asarray(each[:, channel], np.float64) for each in (reference.values, values))
        masks_agree = np.array_equal(np.isnan(truth), np.isnan(other))
        differences = np.abs(np.nan_to_num(other - truth))
        allowed = contract.normalization[name].physical_step(np.nan_to_num(truth), tolerance_sd)
        # the output is stored in fp32: a value near 1e5 cannot be told better than its last bit
        allowed += float(np.spacing(np.float32(np.nanmax(np.abs(truth)))))
        worst = np.unravel_index(int(np.argmax(differences / allowed)), differences.shape)
        difference, tolerance = float(differences[worst]), float(allowed[worst])
        lines.append(
            {
                "check": check,
                "variable": name,
                "units": lookup(name).units,
                "max_abs": difference,
                "tolerance": tolerance,
                "passed": bool(masks_agree and difference <= tolerance),
            }
        )
    return lines


def _require(checks: Sequence[dict[str, object]], where: str) -> None:
    failed = [
        f"{line['check']}: {line['variable']} by {line['max_abs']:.3g} {line['units']}, allowed {line['tolerance']:.3g}"
        for line in checks
        if not line["passed"]
    ]
    if failed:
        raise ParityFailed(
            "; ".join(failed), where, "do not use this artifact for these data; export it again, or report the model"
        )


def _real(contract: Contract, source: Path) -> Forecast:
    from gfs_sr.data.sources import open_forecast

    forecast = open_forecast([source])
    chosen = tuple(name for name in contract.inputs if name in forecast.variables)
    if not contract.any_subset or not chosen:
        chosen = contract.inputs  # `select` names what is missing
    return forecast.select(chosen).isel_time(slice(0, MOST_FRAMES))


def _waves(contract: Contract) -> Forecast:
    """Each variable's mean and spread on a global grid, smooth over the poles and across the dateline."""
    rows, columns, frames = WAVES
    lat = 90 - 180 / (rows - 1) * np.arange(rows)
    lon = 360 / columns * np.arange(columns)
    hours = contract.interval_hours[0] if contract.interval_hours else 6.0
    start = np.datetime64("2024-03-20T00", "ns")
    times = start + np.arange(frames) * np.timedelta64(round(hours * 3600e9), "ns")
    phi, meridian, turn = np.deg2rad(lat)[:, None], np.deg2rad(lon), 0.4 * np.arange(frames)[:, None, None]
    fields = []
    for index, name in enumerate(contract.inputs):
        row = lookup(name)
        scale = contract.normalization[name]
        wave = np.cos(phi) * np.cos(meridian + turn + index) + 0.5 * np.sin(3 * phi) * np.cos(phi) ** 2 * np.sin(
            2 * meridian - turn
        )
        fields.append(np.clip(scale.denormalize(wave), *row.bounds))
    return Forecast.from_arrays(
        np.stack(fields, 1).astype(np.float32),
        contract.inputs,
        Grid.from_axes(lat, lon, "waves"),
        TimeAxis.from_times(start, times, "waves"),
        source="waves on a global grid",
    )
