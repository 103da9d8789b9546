"""What the user asks of one upscaling, checked against the contract and the data before any work starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

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
from gfs_sr.runtime.amounts import check_conserving
from gfs_sr.runtime.noise import check_seed
from gfs_sr.runtime.output_times import OutputTimes, Slots, slots
from gfs_sr.runtime.target_grid import on_target_grid
from gfs_sr.runtime.window import HorizontalWindow, horizontal_window, parse_extent
from gfs_sr.sampling import SamplerConfig, SamplingConfig, ScheduleConfig

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
    mean: bool = False  # of a model that denoises: the field that members lie around, and no member
    statics: Path | None = None
    memory_bytes: int | None = None  # a promise; None lets the planner take part of what is free
    times: OutputTimes | None = None  # of a model that gives any; None takes its own
    sampler: Mapping[str, Any] = field(default_factory=dict)  # of a model that denoises: what is not as it recommends
    schedule: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False  # members that a stopped run has drawn are kept, and taken up
    conserve: bool = False  # members' amounts are scaled to those of the coarse cells


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
    sampling: SamplingConfig | None = None  # of a model that denoises
    mean: bool = False  # nothing is drawn
    conserve: bool = False
    warnings: list[str] = field(default_factory=list)
    slots: Slots | None = None  # of models that give frames between others: what is computed, and what of it is kept

    @property
    def has_members(self) -> bool:
        """Whether what is written has an axis for them."""
        return self.contract.stochastic and not self.mean

    @property
    def model_frames(self) -> int:
        """Fine frames that are computed."""
        return len(self.fine_times) if self.slots is None else int(self.slots.kept.size)

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
    if request.mean and (contract.denoising is None or request.members > 1 or request.sampler or request.schedule):
        what = (
            "draws nothing around a mean" if contract.denoising is None else "has one mean, which nothing is drawn for"
        )
        raise UsageError(f"{contract.name} {what}", "--mean", "leave --mean out, or members, sampler and schedule")
    if request.halo != "exact":
        raise UsageError(
            f"halo {request.halo!r} is not offered for {contract.name}",
            "--halo",
            "use --halo exact: this graph computes each layer only where it is needed, so a shorter halo saves nothing",
        )
    if contract.keeps_frames:  # cells that stay as they are may be of either kind
        given = request.registration or forecast.registration
        contract = contract if given is None else contract.model_copy(update={"registration": given})
    warnings = [*forecast.notes, *check_registration(contract, forecast, request.registration)]
    inputs, outputs, notes = _choose_variables(contract, forecast.variables, request.variables, forecast.source)
    chosen = on_target_grid(forecast.select(inputs), contract)
    if request.conserve:
        check_conserving(contract, outputs)
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
    room = _slots(contract, chosen, request, outputs)
    if room is not None:
        contract, fine_times, extrapolated = contract.for_times(room.count), room.times, 0
    else:
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
        sampling=sampling_of(contract, request),
        mean=request.mean,
        conserve=request.conserve,
        warnings=[*warnings, *notes],
        slots=room,
    )


def _slots(contract: Contract, forecast: Forecast, request: Request, outputs: Sequence[str]) -> Slots | None:
    """Which fields between frames are wanted; None of models that refine every interval evenly.

    Raises:
        UsageError: times that the model does not give, or variables that hold over intervals.
    """
    if not contract.keeps_frames:
        if request.times is not None:
            raise UsageError(
                f"{contract.name} gives {contract.time_factor} frames per interval and no others",
                "--times",
                "leave --times out, or use a model of any time (--time-model)",
            )
        return None
    if request.times is not None and not contract.any_time:
        raise UsageError(
            f"{contract.name} gives the fractions {', '.join(f'{each:g}' for each in contract.fractions)} alone",
            "--times",
            "leave --times out",
        )
    if _all_buckets(outputs):
        raise UsageError(
            "amounts and means over intervals have no values between them", "--variables", "leave them out"
        )
    wish = request.times or OutputTimes.of_contract(contract)
    return slots(wish, forecast.times, contract.interval_hours, forecast.source)


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


def sampling_of(contract: Contract, request: Request) -> SamplingConfig | None:
    """How members are drawn; None where the model denoises nothing.

    Raises:
        UsageError: settings of a sampler that there is none of, or that cannot be.
    """
    if contract.denoising is None:
        if request.sampler or request.schedule:
            raise UsageError(f"{contract.name} draws nothing by a sampler", "--sampler, --schedule", "leave them out")
        if request.resume:
            raise UsageError(
                f"{contract.name} writes members as it computes them, in one run each: there is nothing to keep",
                "--resume",
                "leave it out, or use a model that draws step by step",
            )
        return None
    try:
        asked = contract.denoising.sampling.changed(dict(request.sampler), dict(request.schedule))
    except ValidationError as error:
        faults = [(*map(str, each["loc"]), each["msg"].removeprefix("Value error, ")) for each in error.errors()]
        raise UsageError(
            "; ".join(": ".join(parts) for parts in faults), "--sampler, --schedule",
            f"give keys of {', '.join([*SamplerConfig.model_fields, *ScheduleConfig.model_fields])}",
        ) from error  # fmt: skip
    if asked.sampler.guidance != 1 and not contract.denoising.guided:
        raise UsageError(
            f"{contract.name} does not know what to expect without its conditions, so nothing guides it away from that",
            "--sampler guidance", "leave guidance out, or train with drop_conditions",
        )  # fmt: skip
    return asked


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
