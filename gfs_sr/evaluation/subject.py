"""What is scored: a model as it is shipped, or any function that makes fine frames from coarse ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import lookup
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler

Values = npt.NDArray[Any]
Predict = Callable[[Forecast], Values]
"""Coarse forecast -> (T_f, C, H_f, W_f) fine values whose first cell is fine index (0, 0, 0), in the coarse forecast's
variables; T_f is r·(T - 1) + 1 or more, and 1 for a single coarse frame."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under test."""

    name: str
    predict: Predict
    scale_factor: int
    time_factor: int
    registration: Registration
    variables: tuple[str, ...] | None = None  # that it can do; None is any
    scaling: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # mean, sd; the table's where absent
    sharpening: float | None = None  # of the model's own base
    facts: Mapping[str, str] = field(default_factory=dict)  # for the report
    warnings: list[str] = field(default_factory=list)  # what it said while it ran

    def normalization(self, variable: str) -> tuple[float, float]:
        """Mean and spread that make the normalized scale."""
        return self.scaling.get(variable, lookup(variable).typical)

    @classmethod
    def of(cls, upscaler: Upscaler, statics: Path | None = None) -> "Subject":
        """A published artifact, run by the runtime as a user would; `statics` as in `Request`."""
        contract = upscaler.contract
        said: list[str] = []

        def predict(coarse: Forecast) -> Values:
            fine = upscaler.upscale_forecast(coarse, Request(extent="full", statics=statics))
            said.extend(warning for warning in fine.summary.warnings if warning not in said)
            order = [fine.variables.index(name) for name in coarse.variables]
            return fine.values[:, order]

        return cls(
            name=contract.name,
            predict=predict,
            scale_factor=contract.scale_factor,
            time_factor=contract.time_factor,
            registration=contract.registration,
            variables=contract.outputs,
            scaling={name: (row.mean, row.sd) for name, row in contract.normalization.items()},
            sharpening=contract.sharpening or None,
            facts={
                "family": contract.family,
                "SHA-256": upscaler.artifact.sha256,
                "backend": f"{upscaler.backend.name} ({upscaler.backend.provider}), {upscaler.backend.precision}",
            },
            warnings=said,
        )


def interpolating(name: str, scale_factor: int, time_factor: int, registration: Registration) -> Subject:
    """One of the baselines as a subject: what its own skill must be 0 for."""
    from gfs_sr.data.interpolation import BASELINES

    def predict(coarse: Forecast) -> Values:
        r = time_factor if len(coarse.times) > 1 else 1
        fine = BASELINES[name](coarse.load(), scale_factor, r, registration, periodic=coarse.grid.is_periodic)
        return fine.astype(np.float32)

    return Subject(f"model {name}", predict, scale_factor, time_factor, registration)
