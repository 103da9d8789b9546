"""Which times are wanted of a model that gives any: `15min`, lead times, valid times, or fractions of intervals."""

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract
from gfs_sr.data.time_axis import TimeArray, TimeAxis
from gfs_sr.errors import UsageError

SECOND: Final = np.timedelta64(10**9, "ns")
_SECONDS: Final = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "hours": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_MEND: Final = (
    "give a step (15min), lead times (1h,90min,4h), valid times (2026-03-01T01:30,…) or fractions of every interval "
    "(0,0.1,0.37)"
)
SAME_MOMENT: Final = 1e-6  # of an interval: closer to a frame is the frame


@dataclass(frozen=True)
class OutputTimes:
    """A wish, before it meets a forecast."""

    kind: Literal["step", "leads", "moments", "fractions"]
    seconds: tuple[float, ...] = ()  # a step, or lead times
    moments: tuple[str, ...] = ()  # valid times, ISO 8601
    shares: tuple[float, ...] = ()  # of every interval, 0 … 1 without 1

    @classmethod
    def parse(cls, text: str) -> "OutputTimes":
        """What `--times` says.

        Raises:
            UsageError: no times.
        """
        parts = [part.strip() for part in text.lower().split(",")]
        durations = [_seconds(part) for part in parts]
        if all(each is not None for each in durations):
            seconds = tuple(each for each in durations if each is not None)
            if len(seconds) == 1:
                if not seconds[0] > 0:
                    raise UsageError(f"a step of {text} leads nowhere", f"--times {text}", _MEND)
                return cls("step", seconds)
            return cls("leads", tuple(sorted(set(seconds))))
        try:
            return cls("fractions", shares=_checked(tuple(sorted({float(part) for part in parts})), text))
        except ValueError:
            pass
        try:
            moments = np.sort(np.array([part.upper().removesuffix("Z") for part in parts], "datetime64[ns]"))
        except ValueError as error:
            raise UsageError(f"{text!r} names no times", f"--times {text}", _MEND) from error
        return cls("moments", moments=tuple(str(each) for each in np.unique(moments)))

    @classmethod
    def of_contract(cls, contract: Contract) -> "OutputTimes":
        """What a model gives where nothing is asked for."""
        r = contract.time_factor
        return cls("fractions", shares=contract.fractions or tuple(m / r for m in range(r)))


@dataclass(frozen=True, eq=False)
class Slots:
    """Room for M fields between each frame and the next; of an interval with fewer some are computed and not kept."""

    fractions: npt.NDArray[np.float32]  # (T, M), of the interval that each frame begins
    kept: npt.NDArray[np.bool_]  # (T·M,)
    all_times: TimeArray  # (T·M,) valid times, those that are not kept too
    hours: float  # of an interval
    times: TimeAxis  # of what is kept

    @property
    def count(self) -> int:
        """M."""
        return int(self.fractions.shape[1])

    @property
    def is_frame(self) -> npt.NDArray[np.bool_]:
        """(T·M,) whether a slot is a frame of the input, which passes through as it is."""
        frames: npt.NDArray[np.bool_] = self.fractions.ravel() == 0
        return frames

    def place(self, slot: int) -> int:
        """Where a slot is written, or the next kept one."""
        return int(self.kept[:slot].sum())


def slots(wish: OutputTimes, times: TimeAxis, trained_hours: tuple[float, ...], where: str) -> Slots:
    """The fields that a wish asks for between the frames of a forecast.

    Args:
        wish: which times.
        times: of the frames.
        trained_hours: intervals of the model, the first of which a lone frame is thought to begin.
        where: for messages.

    Raises:
        UsageError: times outside the forecast, or none.
    """
    frames = times.valid_times
    if frames.size > 1:
        interval = frames[1] - frames[0]
    else:
        interval = np.timedelta64(round((trained_hours[0] if trained_hours else 1.0) * 3600e9), "ns")
    positions = _positions(wish, times, interval, where)
    whole = np.minimum(np.floor(positions + SAME_MOMENT), frames.size - 1).astype(np.int64)
    share = positions - whole
    share[np.abs(share) < SAME_MOMENT] = 0.0
    per_frame = np.bincount(whole, minlength=frames.size)
    count = int(per_frame.max())
    fractions = np.zeros((frames.size, count), np.float32)
    kept = np.zeros((frames.size, count), bool)
    order = np.arange(positions.size) - np.searchsorted(whole, whole)  # within its interval
    fractions[whole, order] = share
    kept[whole, order] = True
    exact = np.zeros((frames.size, count))
    exact[whole, order] = share
    nanoseconds = np.rint(exact * (interval / np.timedelta64(1, "ns"))).astype("timedelta64[ns]")
    all_times = (frames[:, None] + nanoseconds).ravel()
    chosen = kept.ravel()
    axis = TimeAxis(times.reference_time, all_times[chosen])
    return Slots(fractions, chosen, all_times, float(interval / np.timedelta64(3600 * 10**9, "ns")), axis)


def _positions(wish: OutputTimes, times: TimeAxis, interval: np.timedelta64, where: str) -> npt.NDArray[np.float64]:
    """Wanted times in intervals after the first frame, rising."""
    frames = times.valid_times
    last = frames.size - 1
    if wish.kind == "fractions":
        shares = np.asarray(wish.shares)
        positions: npt.NDArray[np.float64] = (np.arange(frames.size)[:, None] + shares).ravel()
        return positions[positions <= last]
    seconds = float(interval / SECOND)
    start = float(times.lead_times[0] / SECOND) / seconds  # of the first frame, since the reference
    if wish.kind == "step":
        step = wish.seconds[0] / seconds
        if step > last > 0:
            raise UsageError(
                f"a step of {wish.seconds[0] / 3600:g} h is longer than the forecast",
                f"--times; {where} lasts {last * seconds / 3600:g} h",
                "give a shorter step; one lead time alone is given by its valid time",
            )
        first, stop = np.ceil(start / step - SAME_MOMENT), np.floor((start + last) / step + SAME_MOMENT)
        positions = np.arange(first, stop + 1) * step - start
    elif wish.kind == "leads":
        positions = np.asarray(wish.seconds) / seconds - start
    else:
        positions = (np.asarray(wish.moments, "datetime64[ns]") - frames[0]) / interval
    outside = (positions < -SAME_MOMENT) | (positions > last + SAME_MOMENT)
    if outside.any() or not positions.size:
        ends = " to ".join(np.datetime_as_string(frames[[0, -1]], "m"))
        raise UsageError(
            f"{int(outside.sum()) or 'no'} of the times asked for lie outside the forecast" if positions.size
            else "no time asked for lies in the forecast",
            f"--times; {where} holds {ends}, lead times {times.lead_hours[0]:g} to {times.lead_hours[-1]:g} h",
            "ask for times between the first frame and the last",
        )  # fmt: skip
    inside: npt.NDArray[np.float64] = np.clip(positions, 0, last)
    return inside


def _seconds(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _SECONDS[found[2]] if found and found[2] in _SECONDS else None


def _checked(shares: tuple[float, ...], text: str) -> tuple[float, ...]:
    if not all(0 <= share < 1 for share in shares):
        raise UsageError(f"fractions lie between 0 and 1, not {text}", f"--times {text}", _MEND)
    return shares
