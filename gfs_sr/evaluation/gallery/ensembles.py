"""Members and probabilities: are they honest?"""

from collections.abc import Sequence

import numpy as np

from gfs_sr.evaluation.gallery.cast import Cast, first, of
from gfs_sr.evaluation.gallery.lead_times import ONE_LEAD_TIME
from gfs_sr.evaluation.gallery.section import Group, Section, Skipped
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots.cost import cost_curve
from gfs_sr.evaluation.plots.lines import spread_and_error
from gfs_sr.evaluation.plots.probability import rank_histogram, reliability_figure
from gfs_sr.evaluation.plots.sheets import sample_sheet
from gfs_sr.evaluation.plots.style import PLAIN, Drawing, Strand, Values
from gfs_sr.evaluation.plots.units import display, number
from gfs_sr.evaluation.records import INTERPOLATED, WHOLE, Fields
from gfs_sr.evaluation.result import Evaluation

MOST_RANGES = 3  # of values with a rank histogram of a model: all of them, then the most frequent
MOST_EVENTS = 3  # with a reliability diagram
NO_MEMBERS = "the models give one forecast, no members"


def ensemble_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """Reliability for any model, of neighborhoods where there are no members; the rest needs members."""
    made = {
        "Reliability": [p for cast in casts for p in _reliability(evaluation, cast)],
        "Rank histogram": [p for cast in casts for p in _ranks(evaluation, cast)],
        "Spread and error": [p for cast in casts for p in _spread(evaluation, cast)],
        "Samples": [p for cast in casts for p in _samples(evaluation, cast)],
    }
    if len(evaluation.evaluations) > 1:
        made["Quality against cost"] = [p for cast in casts for p in _costs(evaluation, cast)]
    reasons = dict.fromkeys(made, NO_MEMBERS) | {"Reliability": "no threshold was crossed in these data"}
    if evaluation.spread_skill():
        reasons["Spread and error"] = ONE_LEAD_TIME
    return Section(
        "probability",
        "Are probabilities honest",
        "Of all cells given a chance of 30%, the event should occur in 30%. Without members the chance is the share of "
        "cells in the neighborhood. The truth should fall anywhere among the members equally often, and the members "
        "should differ by as much as their mean is wrong.",
        [Group(title, pictures) for title, pictures in made.items() if pictures],
        skipped=[Skipped(title.lower(), reasons[title]) for title, pictures in made.items() if not pictures],
    )


def _reliability(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    found = of(cast, evaluation.reliability())
    made = []
    for k, threshold in enumerate(dict.fromkeys(one.threshold for one in found)):
        table = {one.method: one for one in found if one.threshold == threshold}
        chosen = [(part, table[part.method]) for part in cast.parts if part.method in table]
        if not chosen or not any(one.count[1:-1].sum() > 0 for _, one in chosen):
            continue
        event = f"{cast.variable} ≥ {number(float(shown.field(float(threshold))), 4)} {shown.units}"
        drawing = reliability_figure(
            cast.name,
            [one.forecast for _, one in chosen],
            [Strand(part.label, part.ink, one.observed) for part, one in chosen],
            [one.count for _, one in chosen],
            event,
            "; ".join(dict.fromkeys(one.kind for _, one in chosen)),
        )
        made.append(picture(f"reliability_{cast.variable}_{k + 1}", drawing, "All frames."))
    return made[:MOST_EVENTS]


def _ranks(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    every = sorted(of(cast, evaluation.ranks()), key=lambda one: -one.counts.sum())
    shown = [
        found
        for method in dict.fromkeys(one.method for one in every)
        for found in [one for one in every if one.method == method and one.counts.sum() > 0][:MOST_RANGES]
    ]
    return [
        picture(
            f"ranks_{cast.variable}_{k + 1}",
            rank_histogram(cast.name, found.counts, found.label),
            f"Members of {found.method}.",
        )
        for k, found in enumerate(shown)
    ]


def _spread(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    fields = next(iter(first(cast, evaluation.fields)), None)
    coarse_hours = fields.coarse_lead_hours if fields is not None else np.zeros(0)
    made = []
    for k, found in enumerate(of(cast, evaluation.spread_skill())):
        if found.lead_hours.size < 2:
            continue
        ink = next((part.ink for part in cast.models if part.method == found.method), cast.models[0].ink)
        drawing = spread_and_error(
            cast.name,
            found.lead_hours,
            Strand("error of the mean", ink, shown.error(found.rmse)),
            Strand("spread of the members", PLAIN, shown.error(found.spread)),
            shown.difference,
            coarse_hours,
        )
        made.append(picture(f"spread_{cast.variable}_{k + 1}", drawing, f"{found.method}."))
    return made


def _samples(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    return [
        picture(
            f"samples_{cast.variable}" + (f"_{k + 1}" if k else ""),
            _sample_sheet(cast, fields, members),
            f"Members of {model}.",
            "map",
        )
        for fields in first(cast, evaluation.fields)
        for k, (model, members) in enumerate(fields.members.items())
    ]


def _costs(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    found = {
        row.method: row.value
        for row in of(cast, evaluation.scores())
        if (row.metric, row.scale, row.region, row.lead_class) == ("CRPS", "1", WHOLE, INTERPOLATED)
    }
    parts = [part for part in cast.models if part.method in evaluation.evaluations and part.method in found]
    if len(parts) < 2:
        return []
    shown = display(cast.variable)
    strands = [Strand(part.label, part.ink, np.array([shown.error(found[part.method])])) for part in parts]
    costs = [evaluation.evaluations[part.method] for part in parts]
    drawing = cost_curve(cast.name, costs, strands, shown.difference)
    return [picture(f"cost_{cast.variable}", drawing, "Interpolated lead times, cell by cell.")]


def _sample_sheet(cast: Cast, fields: Fields, members: Values) -> Drawing:
    frame = fields.shown_frame
    samples = {f"member {m + 1}": members[m, frame] for m in range(len(members))}
    when = f"{fields.lead_hours[frame]:g} h"
    return sample_sheet(cast.name, cast.variable, fields.truth[frame], samples, fields.lat, fields.lon, when)
