"""Reference, lead and valid time of a forecast's frames."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfs_sr.errors import GapInLeadTimes, UnsortedTimes

TimeArray = npt.NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """Valid times of the frames, and the model start they count from.

    A file with valid times only (a reanalysis) has its first frame's time as reference.
    """

    reference_time: np.datetime64  # ns
    valid_times: TimeArray  # (T,) ns, rising

    @classmethod
    def from_times(cls, reference_time: np.datetime64 | None, valid_times: npt.ArrayLike, where: str) -> "TimeAxis":
        """A checked axis: times rise, none occurs twice, none is missing.

        Raises:
            UnsortedTimes: times fall or repeat.
            GapInLeadTimes: the step changes.
        """
        times = np.atleast_1d(np.asarray(valid_times, "datetime64[ns]"))
        steps = np.diff(times)
        if np.isnat(times).any():
            raise UnsortedTimes("a frame has no valid time", where, "mend the time coordinate")
        if steps.size and steps.min() <= np.timedelta64(0, "ns"):
            bad = int(np.argmax(steps <= np.timedelta64(0, "ns")))
            verb = "occurs twice" if steps[bad] == np.timedelta64(0, "ns") else "comes before the frame ahead of it"
            raise UnsortedTimes(
                f"valid time {np.datetime_as_string(times[bad + 1], 'm')} {verb}",
                where,
                "sort the frames, drop doubles",
            )
        if steps.size and steps.max() != steps.min():
            # the step that occurs most is the intended one
            values, counts = np.unique(steps, return_counts=True)
            step = values[counts.argmax()]
            bad = int(np.argmax(steps != step))
            raise GapInLeadTimes(
                f"frames come every {_hours(step):g} h, but {np.datetime_as_string(times[bad], 'm')} is followed by "
                f"{np.datetime_as_string(times[bad + 1], 'm')}",
                where,
                "supply the missing frames, or select a run of evenly spaced ones",
            )
        start = times[0] if reference_time is None else reference_time.astype("datetime64[ns]")
        return cls(start, times)

    def __len__(self) -> int:
        return int(self.valid_times.size)

    @property
    def lead_times(self) -> npt.NDArray[np.timedelta64]:
        """(T,) valid minus reference time."""
        return self.valid_times - self.reference_time

    @property
    def lead_hours(self) -> npt.NDArray[np.float64]:
        """(T,) lead times in hours."""
        hours: npt.NDArray[np.float64] = self.lead_times / np.timedelta64(3600 * 10**9, "ns")
        return hours

    @property
    def step_hours(self) -> float | None:
        """Hours between frames; None for a single frame."""
        return _hours(self.valid_times[1] - self.valid_times[0]) if len(self) > 1 else None

    def refine(self, time_factor: int, extent: str = "hull") -> "TimeAxis":
        """The fine axis of `instant` variables: coarse frame k on fine frame r·k.

        `hull` ends at the last coarse frame, r·(T-1)+1 frames; `full` holds r·T. A single frame gives a single frame.
        """
        count = len(self)
        if count == 1:
            return self
        step = (self.valid_times[1] - self.valid_times[0]) / time_factor
        frames = time_factor * (count - 1) + 1 if extent == "hull" else time_factor * count
        return TimeAxis(self.reference_time, self.valid_times[0] + step * np.arange(frames))


def _hours(step: np.timedelta64) -> float:
    return float(step / np.timedelta64(3600 * 10**9, "ns"))
