"""Many small maps of the same thing: samples of an ensemble, frames around a peak, several variables at once."""

from collections.abc import Mapping, Sequence

import numpy as np

from gfs_sr.evaluation.plots.maps import Axis, Panel, Scale, sheet
from gfs_sr.evaluation.plots.palettes import field_limits, palette
from gfs_sr.evaluation.plots.style import Drawing, Values
from gfs_sr.evaluation.plots.units import display, number

MOST_SAMPLES = 4


def value_scale(variable: str, truth: Values) -> Scale:
    """The color bar of a variable's values, from the truth."""
    shown, colors = display(variable), palette(variable)
    return Scale(shown.units, colors.name, *field_limits(shown.field(truth), colors.centered))


def sample_sheet(
    subject: str, variable: str, truth: Values, samples: Mapping[str, Values], lat: Axis, lon: Axis, when: str
) -> Drawing:
    """The truth and up to four samples (members, or single methods) of one frame.

    Args:
        subject: the variable.
        variable: of the table.
        truth: (H, W), canonical units.
        samples: label -> (H, W).
        lat: (H,).
        lon: (W,).
        when: for the note.
    """
    shown, scale = display(variable), value_scale(variable, truth)
    kept = dict(list(samples.items())[:MOST_SAMPLES])
    panels = [Panel("truth", when, shown.field(truth), lat, lon, scale)]
    panels += [Panel(label, when, shown.field(field), lat, lon, scale) for label, field in kept.items()]
    spread = float(np.nanmean(np.std(np.stack([shown.error(field) for field in kept.values()]), axis=0)))
    finding = f"{when}: {len(kept)} samples differ by {number(spread)} {shown.difference} on average"
    return Drawing(
        sheet(subject, finding, [panels], panel_width=2.3),
        finding,
        f"{subject} at {when}. Maps: the truth and {', '.join(kept)} on one color bar. {finding}.",
    )


def peak_windows(means: Values, count: int, around: int = 2) -> list[list[int]]:
    """Frames around the highest domain means, highest first; windows do not overlap and stay inside.

    Args:
        means: (T,) domain means.
        count: at most so many windows.
        around: frames on either side.
    """
    size = 2 * around + 1
    free = np.ones(means.size, bool)
    windows: list[list[int]] = []
    for peak in np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable"):
        first = int(np.clip(peak - around, 0, max(means.size - size, 0)))
        frames = list(range(first, min(first + size, means.size)))
        if len(windows) < count and free[frames].all():
            windows.append(frames)
            free[frames] = False
    return windows


def time_lapse(
    subject: str, variable: str, fields: Mapping[str, Values], labels: Sequence[str], lat: Axis, lon: Axis, title: str
) -> Drawing:
    """Consecutive frames, a row per method, the truth first.

    Args:
        subject: the variable.
        variable: of the table.
        fields: label -> (T, H, W), canonical units.
        labels: (T,) of the frames.
        lat: (H,).
        lon: (W,).
        title: which frames.
    """
    shown = display(variable)
    scale = value_scale(variable, next(iter(fields.values())))
    rows = [
        [Panel(name, label, shown.field(frame), lat, lon, scale) for label, frame in zip(labels, series, strict=True)]
        for name, series in fields.items()
    ]
    return Drawing(
        sheet(subject, title, rows, panel_width=2.1),
        title,
        f"{subject}. Maps, a row per method ({', '.join(fields)}), a column per frame ({', '.join(labels)}).",
    )


def variables_lapse(fields: Mapping[str, Values], labels: Sequence[str], lat: Axis, lon: Axis, title: str) -> Drawing:
    """Consecutive frames of one method, a row per variable.

    Args:
        fields: variable -> (T, H, W), canonical units.
        labels: (T,) of the frames.
        lat: (H,).
        lon: (W,).
        title: whose frames.
    """
    rows = []
    for variable, series in fields.items():
        shown, scale = display(variable), value_scale(variable, series)
        rows.append(
            [Panel(variable, label, shown.field(frame), lat, lon, scale)
             for label, frame in zip(labels, series, strict=True)]
        )  # fmt: skip
    return Drawing(
        sheet("All variables", title, rows, panel_width=2.1),
        title,
        f"Maps, a row per variable ({', '.join(fields)}), a column per frame ({', '.join(labels)}).",
    )
