"""An archive that is coarse in time, made of one that is not: whole multiples of a step, cut at gaps."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gfs_sr.data.transitions import regular_runs
from gfs_sr.errors import UsageError
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.fields import Fields


def coarse_in_time(sets: Sequence[Fields], step_hours: float) -> list[Fields]:
    """The frames at 0 UTC and every `step_hours` after it, as even series; nothing else is left of any set.

    Raises:
        UsageError: a set that stays in its files or was built, or a step that no day is a multiple of.
    """
    if 24 % step_hours:
        raise UsageError(f"a day is no multiple of {step_hours:g} h", "data.step_hours", "give 1, 2, 3, 4, 6, 8 or 12")
    step = np.timedelta64(round(step_hours * 3600), "s")
    thinned: list[Fields] = []
    for fields in sets:
        if not isinstance(fields, FieldSet):
            raise UsageError(
                f"{fields.source} is stored or built", "data.step_hours", "hold it in memory, or thin it beforehand"
            )
        since = fields.times - fields.times.astype("datetime64[D]")
        there = np.flatnonzero(since % step == np.timedelta64(0, "ns"))
        for run in regular_runs(fields.times[there], step):
            index = there[run.start : run.stop]
            name = f"{fields.name}@{np.datetime_as_string(fields.times[index[0]], 'h')}"
            thinned.append(
                replace(
                    fields,
                    name=name,
                    values=np.ascontiguousarray(fields.values[:, index]),
                    times=fields.times[index],
                    _coarse={},
                    _filled=None,
                    _moments={},
                )
            )
    return thinned
