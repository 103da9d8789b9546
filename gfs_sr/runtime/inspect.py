"""`gfs-sr inspect`: what an artifact or a data file is, whether it runs here, and what is missing."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gfs_sr.contract import Denoising
from gfs_sr.errors import GfsSrError
from gfs_sr.runtime.artifact import MANIFEST, Artifact, bundled_aliases, list_bundled
from gfs_sr.runtime.backends.choice import choose_engine
from gfs_sr.runtime.upscaler import Upscaler, sides

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch", "tensorrt": "tensorrt"}


def inspect_target(target: Path) -> dict[str, Any]:
    """Facts about an artifact folder, a bundled artifact's name or alias, or a forecast file.

    Raises:
        ArtifactError: a damaged artifact.
        InputError: a file that cannot be used.
    """
    bundled = {*list_bundled(), *bundled_aliases()}
    if (target.is_dir() and (target / MANIFEST).exists()) or (not target.exists() and str(target) in bundled):
        return inspect_artifact(target)
    return inspect_forecast(target)


def inspect_artifact(target: Path) -> dict[str, Any]:
    """What the manifest promises, after every digest was checked."""
    artifact = Artifact.open(target)
    contract = artifact.contract
    return {
        "kind": "artifact",
        "name": contract.name,
        "family": contract.family,
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "variables": list(contract.inputs),
        "any_subset": contract.any_subset,
        "factors": {"space": contract.scale_factor, "time": contract.time_factor},
        "registration": str(contract.registration),
        "trained_intervals_hours": list(contract.interval_hours),
        "receptive_field": sides(contract.halo),
        "stochastic": contract.stochastic,
        **({} if contract.denoising is None else {"drawing": _drawing(contract.denoising)}),
        "needs": {
            "statics": [*dict.fromkeys((*contract.statics_coarse, *contract.statics_fine))],
            "predictors": [f"{each.name} on {each.grid}" for each in contract.predictors],
        },
        "precision": contract.precision,
        "parameters": artifact.manifest.parameters,
        "flops_per_fine_cell": artifact.manifest.flops_per_fine_cell,
        "files": {name: entry.size for name, entry in artifact.manifest.files.items()},
        "parity": [line.model_dump() for line in artifact.manifest.parity],
        "skill": [line.model_dump() for line in artifact.manifest.skill],
        "provenance": artifact.manifest.provenance,
        "runs_here": {name: runs(artifact, name) for name in PACKAGES},
        "auto": choose_engine(artifact).model_dump(),
        "warnings": list(artifact.warnings),
    }


def _drawing(denoising: Denoising) -> dict[str, Any]:
    return {
        "sampler": denoising.sampling.sampler.model_dump(),
        "schedule": denoising.sampling.schedule.model_dump(),
        "evaluations": denoising.sampling.evaluations,
        "frames_together": denoising.temporal,
        "step_field": sides(denoising.halo),
    }


def runs(artifact: Artifact, backend: str) -> str:
    """`yes`, or why not."""
    if find_spec(PACKAGES[backend]) is None:
        return f"no: the package {PACKAGES[backend]} is not installed"
    try:
        with Upscaler.open(artifact, backend=backend) as upscaler:
            return f"yes, on {upscaler.backend.provider}"
    except GfsSrError as error:
        return f"no: {error.what}"


def inspect_forecast(target: Path) -> dict[str, Any]:
    """Variables, grid and times of a data file."""
    from gfs_sr.data.sources import open_forecast

    forecast = open_forecast([target])
    grid, times = forecast.grid, forecast.times
    return {
        "kind": "forecast",
        "variables": list(forecast.variables),
        "frames": len(times),
        "reference_time": np.datetime_as_string(times.reference_time, "s"),
        "valid_times": [np.datetime_as_string(times.valid_times[index], "s") for index in (0, -1)],
        "interval_hours": times.step_hours,
        "shape": list(grid.shape),
        "latitudes": [float(grid.lat[0]), float(grid.lat[-1])],
        "longitudes": [float(grid.lon[0]), float(grid.lon[-1])],
        "spacing_deg": list(grid.spacing_deg),
        "periodic": grid.is_periodic,
        "registration": "not stated" if forecast.registration is None else str(forecast.registration),
        "warnings": list(forecast.warnings),
    }
