"""The fields themselves: maps of one frame, the slider through all of them, scores at every cell."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gfs_sr.evaluation.film import Film, animation, film
from gfs_sr.evaluation.gallery.cast import Cast, first
from gfs_sr.evaluation.gallery.section import Group, Section, Skipped
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots.cells import CellScores, cell_maps
from gfs_sr.evaluation.plots.maps import Estimate, comparison
from gfs_sr.evaluation.records import CellMaps, Fields
from gfs_sr.evaluation.result import Evaluation

MOST_FRAMES = 73  # of a slider and an animation: three days of hours
MOST_MODELS_SHOWN = 2  # on a map sheet, beside two interpolations


def maps_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """One sheet per variable, at the frame that is hardest to interpolate."""
    groups = [
        Group(cast.name, [_maps(cast, fields)]) for cast in casts for fields in first(cast, evaluation.fields)
    ]  # fmt: skip
    between = any(cast.task == "joint" for cast in casts)
    which = "One frame halfway between two coarse ones, where interpolation is hardest." if between else "One frame."
    return Section(
        "maps",
        "Maps",
        f"{which} All values share one color bar, all differences another: red is too high, blue too low.",
        groups,
    )


def _maps(cast: Cast, fields: Fields) -> Picture:
    frame = fields.shown_frame
    hour = float(fields.lead_hours[frame])
    held = _coarse_frame(fields, hour)
    coarse_hour = float(fields.coarse_lead_hours[held])
    coarse_when = f"{coarse_hour:g} h"
    if fields.interval_hours and not np.isclose(coarse_hour, hour):
        coarse_when += f", next {coarse_hour + fields.interval_hours:g} h"
    shown = [*cast.models[:MOST_MODELS_SHOWN], cast.best, cast.sharpened]
    estimates = [
        Estimate(part.label, "model" if part.is_model else part.method.removeprefix("sharpened "),
                 fields.methods[part.method][frame])
        for part in shown
    ]  # fmt: skip
    drawing = comparison(
        cast.variable,
        f"{cast.name}, {hour:g} h",
        fields.truth[frame],
        fields.lat,
        fields.lon,
        fields.coarse[held],
        fields.coarse_lat,
        fields.coarse_lon,
        f"{hour:g} h",
        coarse_when,
        estimates,
    )
    return picture(f"maps_{cast.variable}", drawing, f"Valid {_times(fields)[frame]}; first forecast.", "map")


def thinned(fields: Fields) -> Fields:
    """Every k-th frame, so that a slider has steps a hand can tell apart."""
    every = -(-len(fields.lead_hours) // MOST_FRAMES)
    if every == 1:
        return fields
    return replace(
        fields,
        lead_hours=fields.lead_hours[::every],
        valid_times=fields.valid_times[::every],
        truth=fields.truth[::every],
        methods={name: values[::every] for name, values in fields.methods.items()},
        members={},
    )


def films(evaluation: Evaluation, casts: Sequence[Cast], budget: int) -> list[Film]:
    """Frames for the slider, at most about `budget` bytes of them."""
    shown = [
        (cast, thinned(fields))
        for cast in casts
        for fields in first(cast, evaluation.fields)
        if len(fields.lead_hours) > 1
    ]
    return [
        film(
            cast.variable,
            cast.name,
            fields.lead_hours,
            _times(fields),
            fields.truth,
            fields.coarse,
            fields.coarse_lead_hours,
            [(part.label, fields.methods[part.method]) for part in (*cast.models[:MOST_MODELS_SHOWN], cast.best)],
            fields.lat,
            fields.lon,
            budget // len(shown),
        )
        for cast, fields in shown
    ]


def lead_time_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """The slider's section; its films come last, when it is known how large they may be."""
    shown = [
        (cast, fields) for cast in casts for fields in first(cast, evaluation.fields) if len(fields.lead_hours) > 1
    ]
    pictures = [_animation(cast, thinned(fields)) for cast, fields in shown]
    longest = max((len(fields.lead_hours) for _, fields in shown), default=0)
    every = -(-longest // MOST_FRAMES)
    thin = f" Every {every}th frame is shown." if every > 1 else ""
    skipped = [] if pictures else [Skipped("slider and animation through lead times", "the data have one lead time")]
    return Section(
        "through",
        "Through the lead times",
        "Move the slider, or use the arrow keys on it. Ticks stand on the coarse frames; between them the model and "
        f"the interpolation only have what lies before and after.{thin}",
        [Group("", pictures)] if pictures else [],
        skipped=skipped,
    )


def _animation(cast: Cast, fields: Fields) -> Picture:
    return animation(
        cast.variable,
        cast.name,
        [f"{hour:g} h, {when}" for hour, when in zip(fields.lead_hours, _times(fields), strict=True)],
        fields.truth,
        [(part.label, fields.methods[part.method]) for part in (cast.models[0], cast.best)],
        fields.lat,
        fields.lon,
    )


def cells_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """Scores over time at every cell."""
    pictures = [
        _cells(cast, found)
        for cast in casts
        for fields in first(cast, evaluation.fields)
        for found in first(cast, evaluation.cell_maps)
        if len(fields.lead_hours) > 1
    ]
    skipped = [] if pictures else [Skipped("scores over time at every cell", "the data have one lead time")]
    return Section(
        "cells",
        "Where the error lies",
        "Scores over time at every cell of the first forecast. Each column has one color bar for all methods; gray is "
        "undefined.",
        [Group("", pictures)] if pictures else [],
        skipped=skipped,
        folded=True,
    )


def _cells(cast: Cast, found: CellMaps) -> Picture:
    shown = [part for part in (cast.models[0], cast.best) if part.method in found.maps]
    methods = {
        part.label: CellScores(
            rmse=found.maps[part.method]["RMSE"],
            bias=found.maps[part.method]["bias"],
            correlation=found.maps[part.method]["Pearson"],
            nrmse=found.maps[part.method]["nRMSE"],
            normalized_bias=found.maps[part.method]["NMB"],
        )
        for part in shown
    }
    drawing = cell_maps(cast.name, cast.variable, methods, found.lat, found.lon)
    return picture(f"cells_{cast.variable}", drawing, "First forecast.", "map")


def _coarse_frame(fields: Fields, hour: float) -> int:
    return int(np.clip(np.searchsorted(fields.coarse_lead_hours, hour + 1e-6, side="right") - 1, 0, None))


def _times(fields: Fields) -> list[str]:
    return [f"{text.replace('T', ' ')} UTC" for text in np.datetime_as_string(fields.valid_times, "m")]
