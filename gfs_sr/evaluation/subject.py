"""What is scored: a model as it is shipped, or any function that makes fine frames from coarse ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES
from gfs_sr.data.transforms import Transform
from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.cases import Case
from gfs_sr.evaluation.prediction import ArrayPrediction, Prediction
from gfs_sr.runtime.request import Request, sampling_of
from gfs_sr.runtime.scratch import ScratchSink
from gfs_sr.runtime.upscaler import Upscaler

Values = npt.NDArray[Any]
Predict = Callable[[Forecast], Values | Prediction]
"""Coarse forecast -> (T_f, C, H_f, W_f) fine values, or (M, T_f, C, H_f, W_f) of an ensemble, whose first cell is fine
index (0, 0, 0), in the coarse forecast's variables; T_f is r·(T - 1) + 1 or more, and 1 for a single coarse frame."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under test."""

    name: str
    predict: Predict
    scale_factor: int
    time_factor: int
    registration: Registration
    variables: tuple[str, ...] | None = None  # that it can do; None is any
    needs: tuple[str, ...] = ()  # that it cannot do without; it is given them all, scored or not
    scaling: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # mean, sd; the table's where absent
    facts: Mapping[str, str] = field(default_factory=dict)  # for the report
    evaluations: int | None = None  # of a denoiser, for each member; None asks none
    warnings: list[str] = field(default_factory=list)  # what it said while it ran

    def run(self, coarse: Forecast) -> Prediction:
        """The fine forecast of a coarse one."""
        made = self.predict(coarse)
        return ArrayPrediction(made) if isinstance(made, np.ndarray) else made

    def offers(self, variable: str) -> bool:
        """True for what it can do."""
        return self.variables is None or variable in self.variables

    def inputs(self, case: Case) -> Forecast:
        """What it is given of a case."""
        coarse = case.coarse
        names = [
            name for name in coarse.variables if name in self.needs or (name in case.variables and self.offers(name))
        ]
        return coarse.select(names)

    def channel(self, case: Case, variable: str) -> int:
        """Where its prediction holds a variable."""
        return [name for name in self.inputs(case).variables if self.offers(name)].index(variable)

    def normalization(self, variable: str) -> tuple[float, float]:
        """Mean and spread that make the normalized scale."""
        return self.scaling.get(variable, lookup(variable).typical)

    @classmethod
    def of(
        cls,
        upscaler: Upscaler,
        statics: Path | None = None,
        *,
        tile: int | None = None,
        name: str | None = None,
        members: int = 1,
        seed: int = 0,
        sampler: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
    ) -> "Subject":
        """A published artifact, run by the runtime as a user would.

        Args:
            upscaler: the opened model.
            statics: as in `Request`.
            tile: as in `Request`.
            name: in the report; the contract's where none is given.
            members: of a stochastic model; a deterministic one gives its one forecast.
            seed: as in `Request`.
            sampler: as in `Request`.
            schedule: as in `Request`.

        Raises:
            UsageError: a sampling that cannot be.
        """
        contract = upscaler.contract
        way = Request(sampler=sampler or {}, schedule=schedule or {})
        sampling = sampling_of(contract, way)
        said: list[str] = []
        s = contract.scale_factor

        def predict(coarse: Forecast) -> Prediction:
            sink = ScratchSink()
            count = members if contract.stochastic else 1
            request = replace(way, extent="full", statics=statics, tile=tile, members=count, seed=seed)
            summary = upscaler.run(coarse, sink, request)
            said.extend(warning for warning in summary.warnings if warning not in said)
            order = tuple(summary.variables.index(each) for each in coarse.variables if each in summary.variables)
            values = sink.values[..., ::-1, :] if sink.description.lat_ascending else sink.values
            core = summary.tile["lat"] * s, summary.tile["lon"] * s
            return ArrayPrediction(values, core, order)

        return cls(
            name=name or contract.name,
            predict=predict,
            scale_factor=s,
            time_factor=contract.time_factor,
            registration=contract.registration,
            variables=contract.outputs,
            needs=() if contract.any_subset else contract.inputs,
            # scores on a scale of their own are linear in the value: bent units have none
            scaling={
                each: (row.mean, row.sd)
                for each, row in contract.normalization.items()
                if row.transform is Transform.LINEAR
            },
            facts={
                "family": contract.family,
                "SHA-256": upscaler.artifact.sha256,
                "backend": f"{upscaler.backend.name} ({upscaler.backend.provider}), {upscaler.backend.precision}",
                **(
                    {}
                    if sampling is None
                    else {"sampler": sampling.sampler.integrator, "evaluations": f"{sampling.evaluations} a member"}
                ),
            },
            evaluations=None if sampling is None else sampling.evaluations,
            warnings=said,
        )


def interpolating(name: str, scale_factor: int, time_factor: int, registration: Registration) -> Subject:
    """One of the baselines as a subject: what its own skill must be 0 for."""

    def predict(coarse: Forecast) -> Values:
        r = time_factor if len(coarse.times) > 1 else 1
        periodic = coarse.grid.is_periodic
        fine = [
            BASELINES[name](
                values, scale_factor, r, registration, periodic=periodic, kind=lookup(variable).time_kind
            ).astype(np.float32)
            for variable, values in zip(coarse.variables, np.moveaxis(coarse.load(), 1, 0), strict=True)
        ]
        return np.stack(fine, axis=1)

    return Subject(f"model {name}", predict, scale_factor, time_factor, registration)
