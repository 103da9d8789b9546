"""What a long run shows: mean biases, maxima of its years or days, domain means, the frames around a peak."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfs_sr.evaluation.gallery.cast import Cast, first, of
from gfs_sr.evaluation.gallery.section import Group, Section, Skipped
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots.climate import mean_bias_maps, period_maximum_maps
from gfs_sr.evaluation.plots.distributions import maxima_figure
from gfs_sr.evaluation.plots.scatter import mean_scatter
from gfs_sr.evaluation.plots.sheets import peak_windows, time_lapse, variables_lapse
from gfs_sr.evaluation.plots.style import Strand, Values
from gfs_sr.evaluation.plots.units import display
from gfs_sr.evaluation.records import Fields
from gfs_sr.evaluation.result import Evaluation

LEAST_PERIODS = 2
LEAST_DAYS_OF_A_YEAR = 300  # a maximum of half a year is not an annual one
LEAST_HOURS_OF_A_DAY = 18  # from the first to the last frame: of a day in steps of 6 hours
AROUND = 2  # frames either side of a peak
PEAKS = 5
ONE_FRAME = "the data have one frame"
NO_PERIODS = f"the data span less than {LEAST_PERIODS} whole years or days"
EVERY_CELL, DOMAIN_MEAN = "Maximum of every cell, by period", "Maximum of the domain mean, by period"


def long_run_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """Biases over all frames, extremes of the years or days, frames around the peaks."""
    fields = [(cast, found) for cast in casts for found in first(cast, evaluation.fields)]
    several = [(cast, found) for cast, found in fields if len(found.lead_hours) > 1]
    made = {
        "Mean bias": [p for cast, found in several for p in _mean_bias(cast, found)],
        EVERY_CELL: [p for cast, found in several for p in _maximum_maps(cast, found)],
        DOMAIN_MEAN: [p for cast in casts for p in _maximum_means(evaluation, cast)],
        "Domain means": [p for cast in casts for p in _mean_scatter(evaluation, cast)],
        "Around the highest domain means": [p for cast, found in _wettest(several) for p in _peaks(cast, found)],
        "All variables, frame by frame": _variables(several),
    }
    reasons = dict.fromkeys(made, ONE_FRAME) | {EVERY_CELL: NO_PERIODS, DOMAIN_MEAN: NO_PERIODS}
    if len(several) == 1:
        reasons["All variables, frame by frame"] = "the data have one variable"
    return Section(
        "long",
        "Over the whole run",
        "Bias maps are means over all frames of the first forecast. A relative bias is left gray where the truth's "
        "mean is next to nothing.",
        [Group(title, pictures) for title, pictures in made.items() if pictures],
        skipped=[Skipped(title.lower(), reasons[title]) for title, pictures in made.items() if not pictures],
        folded=True,
    )


@dataclass(frozen=True)
class Periods:
    """Whole years of a run, or days of a shorter one."""

    unit: str  # year or day
    word: str  # annual or daily
    frames: dict[int, Values]  # indices of the frames of each

    @property
    def count(self) -> str:
        """In words."""
        return f"{len(self.frames)} {self.unit}s"


def periods_of(valid_times: Values) -> Periods | None:
    """Whole years if there are two, else whole days if there are two."""
    days, hours = (valid_times.astype(f"datetime64[{unit}]").astype(int) for unit in "Dh")
    years = valid_times.astype("datetime64[Y]").astype(int) + 1970
    for unit, word, label, clock, least in (
        ("year", "annual", years, days, LEAST_DAYS_OF_A_YEAR),
        ("day", "daily", days, hours, LEAST_HOURS_OF_A_DAY),
    ):
        found = {int(each): np.flatnonzero(label == each) for each in np.unique(label)}
        whole = {each: at for each, at in found.items() if np.ptp(clock[at]) >= least}
        if len(whole) >= LEAST_PERIODS:
            return Periods(unit, word, whole)
    return None


def _mean_bias(cast: Cast, fields: Fields) -> list[Picture]:
    model = cast.models[0]
    drawing = mean_bias_maps(
        cast.name,
        cast.variable,
        fields.truth.mean(axis=0, dtype=np.float64),
        fields.methods[model.method].mean(axis=0, dtype=np.float64),
        model.label,
        fields.lat,
        fields.lon,
    )
    return [picture(f"bias_{cast.variable}", drawing, "First forecast.", "map")]


def _maximum_maps(cast: Cast, fields: Fields) -> list[Picture]:
    periods = periods_of(fields.valid_times)
    if periods is None:
        return []
    model = cast.models[0]
    members = fields.members.get(model.method, fields.methods[model.method][None])
    truth = np.stack([fields.truth[at].max(axis=0) for at in periods.frames.values()])
    predicted = np.stack([members[:, at].max(axis=1) for at in periods.frames.values()], axis=1)
    in_units, in_spreads = period_maximum_maps(
        cast.name, cast.variable, truth, predicted, model.label, fields.lat, fields.lon, (periods.unit, periods.word)
    )
    caption = f"{periods.count}, {len(members)} member{'s' * (len(members) != 1)}."
    return [
        picture(f"{periods.word}_bias_{cast.variable}", in_units, caption, "map"),
        picture(f"{periods.word}_sigma_{cast.variable}", in_spreads, caption, "map"),
    ]


def _maximum_means(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown, model = display(cast.variable), cast.models[0]
    made = []
    for found in of(cast, evaluation.domain_means()):
        periods = periods_of(found.valid_times)
        if periods is None:
            continue
        members = found.members.get(model.method, found.methods[model.method][None])
        maxima = np.concatenate([members[:, at].max(axis=1) for at in periods.frames.values()])
        observed = np.array([found.truth[at].max() for at in periods.frames.values()])
        drawing = maxima_figure(
            cast.name, shown.field(maxima), shown.field(observed), model.label, f"{cast.variable} ({shown.units})",
            periods.word,
        )  # fmt: skip
        made.append(picture(f"{periods.word}_maxima_{cast.variable}", drawing, f"{periods.count}."))
    return made


def _mean_scatter(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown, model = display(cast.variable), cast.models[0]
    return [
        picture(
            f"scatter_{cast.variable}",
            mean_scatter(
                cast.name,
                shown.field(found.truth),
                Strand(model.label, model.ink, shown.field(found.methods[model.method])),
                f"{cast.variable} ({shown.units})",
            ),
            "One point per frame.",
        )
        for found in of(cast, evaluation.domain_means())
        if found.truth.size > 1 and model.method in found.methods
    ]


def _peaks(cast: Cast, fields: Fields) -> list[Picture]:
    weights = np.cos(np.deg2rad(fields.lat))[:, None]
    means = np.nanmean(fields.truth * weights, axis=(1, 2))
    windows = peak_windows(means, PEAKS if len(means) >= PEAKS * (2 * AROUND + 1) * 2 else 1, AROUND)
    model = cast.models[0]
    made = []
    for k, frames in enumerate(windows):
        when = np.datetime_as_string(fields.valid_times[frames[len(frames) // 2]], "h").replace("T", " ")
        drawing = time_lapse(
            cast.name,
            cast.variable,
            {"truth": fields.truth[frames], model.label: fields.methods[model.method][frames]},
            _labels(fields, frames),
            fields.lat,
            fields.lon,
            f"Around a highest domain mean, {when} UTC",
        )
        made.append(picture(f"peak_{cast.variable}_{k + 1}", drawing, "First forecast.", "map"))
    return made


def _wettest(several: Sequence[tuple[Cast, Fields]]) -> Sequence[tuple[Cast, Fields]]:
    """Precipitation where there is some, else the first variable: five sheets of each would be too many."""
    amounts = [(cast, found) for cast, found in several if found.bucket]
    return (amounts or several)[:1]


def _variables(several: Sequence[tuple[Cast, Fields]]) -> list[Picture]:
    same = [(cast, found) for cast, found in several if found.truth.shape[1:] == several[0][1].truth.shape[1:]]
    if len(same) < 2:
        return []
    common = same[0][1].valid_times
    for _, found in same[1:]:
        common = np.intersect1d(common, found.valid_times)
    if common.size < 2:
        return []
    chosen = common[np.unique(np.linspace(0, common.size - 1, 5).round().astype(int))]
    model, first_fields = same[0][0].models[0], same[0][1]
    series = {
        cast.variable: found.methods[model.method][np.searchsorted(found.valid_times, chosen)] for cast, found in same
    }
    frames = np.searchsorted(first_fields.valid_times, chosen).tolist()
    drawing = variables_lapse(
        series,
        _labels(first_fields, frames),
        first_fields.lat,
        first_fields.lon,
        f"All variables of {model.label} through the forecast",
    )
    return [picture("variables", drawing, f"{model.method}, first forecast.", "map")]


def _labels(fields: Fields, frames: Sequence[int]) -> list[str]:
    return [f"{fields.lead_hours[k]:g} h" for k in frames]
