"""What the user asks of one upscaling, checked against the contract and the data before any work starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import (
    MembersRefused,
    MissingVariable,
    NothingToUpscale,
    RegistrationMismatch,
    ShapeMismatch,
    UsageError,
)
from gfs_sr.runtime.noise import check_seed
from gfs_sr.runtime.window import HorizontalWindow, horizontal_window, parse_extent

INTERVAL_TOLERANCE_HOURS = 1e-3
SAME_PLACE_DEG = 1e-4


@dataclass(frozen=True)
class Request:
    """The options of one upscaling."""

    variables: tuple[str, ...] | None = None  # canonical names; None is all that model and input share
    registration: Registration | None = None  # overrides what the file says
    extent: str = "hull"  # hull, full, or N,W,S,E
    tile: int | None = None  # side of a core in coarse cells; None lets the planner choose
    halo: str = "exact"  # or auto:EPS
    members: int = 1
    seed: int = 0  # of a stochastic model
    statics: Path | None = None
    memory_bytes: int | None = None  # a promise; None lets the planner take part of what is free


@dataclass(frozen=True, eq=False)
class Job:
    """A request that was found possible: all that the pipeline has to know beside the plan."""

    contract: Contract
    forecast: Forecast  # holds exactly `inputs`, in the model's order
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_channels: tuple[int, ...]  # of the model's output channels, those that are written
    horizontal: HorizontalWindow
    fine_times: TimeAxis
    bucket_step: np.timedelta64 | None  # length of a fine bucket where the outputs are accumulated or averaged
    trained_interval: bool
    extrapolated_frames: int  # at the end of `fine_times`
    members: int = 1
    seed: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def output_cells(self) -> int:
        """Values written in all: members by frames by variables by rows by columns."""
        cells = self.horizontal.rows.size * self.horizontal.columns.size
        return self.members * len(self.fine_times) * len(self.outputs) * cells


def prepare(contract: Contract, forecast: Forecast, request: Request) -> Job:
    """Check a request and settle what is read, computed and written.

    Raises:
        MembersRefused: several members of a deterministic model.
        RegistrationMismatch: the file says another registration than the model was trained for.
        MissingVariable: a variable that was asked for, or that the model cannot do without, is absent.
        NothingToUpscale: model and input share no variable.
        UsageError: an extent or halo that cannot be.
    """
    refuse_members(contract, request.members)
    if request.halo != "exact":
        raise UsageError(
            f"halo {request.halo!r} is not offered for {contract.name}",
            "--halo",
            "use --halo exact: this graph computes each layer only where it is needed, so a shorter halo saves nothing",
        )
    warnings = [*forecast.notes, *check_registration(contract, forecast, request.registration)]
    inputs, outputs, notes = _choose_variables(contract, forecast.variables, request.variables, forecast.source)
    chosen = forecast.select(inputs)
    extent = parse_extent(request.extent)
    horizontal = horizontal_window(chosen.grid, contract.scale_factor, contract.registration, extent)
    _check_source_grid(contract, horizontal.coarse, forecast.source)
    bucket = _all_buckets(outputs)
    step = chosen.times.step_hours
    trained = _is_trained(contract, step)
    if not trained:
        hours = ", ".join(f"{hours:g}" for hours in contract.interval_hours)
        warnings.append(
            f"frames come every {step:g} h; {contract.name} was trained on intervals of {hours} h: "
            "the output is flagged"
        )
    fine_times, extrapolated = _fine_times(chosen.times, contract.time_factor, bucket, full=extent == "full")
    return Job(
        contract=contract,
        forecast=chosen,
        inputs=inputs,
        outputs=outputs,
        output_channels=tuple((inputs if contract.any_subset else contract.outputs).index(name) for name in outputs),
        horizontal=horizontal,
        fine_times=fine_times,
        bucket_step=_bucket_step(chosen, outputs, contract) if bucket else None,
        trained_interval=trained,
        extrapolated_frames=extrapolated,
        members=request.members,
        seed=check_seed(request.seed),
        warnings=[*warnings, *notes],
    )


def _check_source_grid(contract: Contract, grid: Grid, source: str) -> None:
    """Raise where a model with weights for every cell is given other cells.

    Raises:
        ShapeMismatch: another grid, or the same one turned, as for a box across its seam.
    """
    bound = contract.source_grid
    if bound is None:
        return
    for axis, wanted in ((grid.lat, np.array(bound.lat)), (grid.lon, np.array(bound.lon))):
        if axis.shape != wanted.shape or np.abs(axis - wanted).max() > SAME_PLACE_DEG:
            raise ShapeMismatch(
                f"{contract.name} has weights for every cell of one grid: {len(bound.lat)} by {len(bound.lon)} cells "
                f"from {bound.lat[0]:g} N, {bound.lon[0]:g} E on; these are {grid.lat.size} by {grid.lon.size} "
                f"from {grid.lat[0]:g} N, {grid.lon[0]:g} E on",
                source,
                "give the grid that the model was trained on, or use a model without localized convolution",
            )


def refuse_members(contract: Contract, members: int) -> None:
    """Raise where an ensemble is asked of a model that has none.

    Raises:
        MembersRefused: more than one member of a deterministic model.
        UsageError: no member at all.
    """
    if members < 1:
        raise UsageError(f"{members} members", "--members", "give 1 or more")
    if members > 1 and not contract.stochastic:
        raise MembersRefused(
            f"{members} members were asked of {contract.name}, which is deterministic: all would be equal",
            "--members",
            "leave --members out, or use a stochastic model",
        )


def check_registration(contract: Contract, forecast: Forecast, override: Registration | None) -> list[str]:
    """Warnings about the registration, if any.

    Raises:
        RegistrationMismatch: the data are of the other registration.
    """
    given = override or forecast.registration
    if given is not None and given is not contract.registration:
        said = "--registration" if override is not None else "attribute gfs_sr_registration"
        raise RegistrationMismatch(
            f"the data are registered by {given}, {contract.name} was trained for {contract.registration}",
            f"{forecast.source}, {said}",
            f"use a model trained for {given}, or --registration {contract.registration} if the file is wrong",
        )
    if given is None and contract.registration is Registration.CELL:
        return [
            "the file does not say how it is registered; it is taken as cell means, as the model was trained "
            "(--registration cell says so and silences this)"
        ]
    return []


def _choose_variables(
    contract: Contract, present: Sequence[str], asked: tuple[str, ...] | None, source: str
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """(model inputs, outputs to write, warnings)."""
    shared = [name for name in contract.outputs if name in present or not contract.any_subset]
    for name in asked or ():
        if name not in contract.outputs:
            raise MissingVariable(
                f"{contract.name} does not give {name}", "--variables", f"it gives: {', '.join(contract.outputs)}"
            )
        if name in contract.inputs and name not in present:
            raise _missing(name, present, source)
    if not set(contract.inputs) & set(present):
        raise NothingToUpscale(
            f"none of the model's variables is in the input, which has {', '.join(present) or 'none of the table'}",
            source,
            f"{contract.name} takes: {', '.join(contract.inputs)}",
        )
    outputs = tuple(name for name in contract.outputs if name in (asked if asked is not None else shared))
    inputs = outputs if contract.any_subset else contract.inputs
    for name in inputs:
        if name not in present:
            raise _missing(name, present, source)
    left = [name for name in present if name not in contract.inputs]
    notes = [f"not upscaled, since {contract.name} was not trained for them: {', '.join(left)}"] if left else []
    return inputs, outputs, notes


def _missing(name: str, present: Sequence[str], source: str) -> MissingVariable:
    return MissingVariable(
        f"variable {name} is not in the input",
        f"{source}, which has {', '.join(present) or 'none of the table'}",
        f"add {name} to the input, or leave it out of --variables where the model allows it",
    )


def _all_buckets(outputs: Sequence[str]) -> bool:
    buckets = [name for name in outputs if lookup(name).time_kind in {TimeKind.ACCUMULATED, TimeKind.AVERAGED}]
    if buckets and len(buckets) < len(outputs):
        raise UsageError(
            f"{', '.join(buckets)} cover intervals and the others hold at instants, which share no time axis",
            "--variables",
            "upscale the two groups one after the other",
        )
    return bool(buckets)


def _is_trained(contract: Contract, step_hours: float | None) -> bool:
    if step_hours is None or not contract.interval_hours:
        return True
    return any(abs(step_hours - hours) < INTERVAL_TOLERANCE_HOURS for hours in contract.interval_hours)


def _fine_times(times: TimeAxis, time_factor: int, bucket: bool, *, full: bool) -> tuple[TimeAxis, int]:
    """(fine axis, how many of its last frames lie after the last coarse one)."""
    if len(times) == 1:
        return times, 0
    if not bucket:
        fine = times.refine(time_factor, "full" if full else "hull")
        return fine, time_factor - 1 if full else 0
    step = (times.valid_times[1] - times.valid_times[0]) / time_factor
    count = time_factor * len(times)
    return TimeAxis(times.reference_time, times.valid_times[0] + step * (np.arange(count) - time_factor + 1)), 0


def _bucket_step(forecast: Forecast, outputs: Sequence[str], contract: Contract) -> np.timedelta64:
    """Length of one fine bucket."""
    given = [forecast.buckets[name] for name in outputs if name in forecast.buckets]
    times = forecast.times.valid_times
    coarse = given[0] if given else times[1] - times[0] if times.size > 1 else np.timedelta64(1, "h")
    return coarse / contract.time_factor
