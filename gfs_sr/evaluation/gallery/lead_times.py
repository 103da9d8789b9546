"""Error by lead time, and series at points."""

from collections.abc import Sequence

import numpy as np

from gfs_sr.evaluation.gallery.cast import Cast, first, of
from gfs_sr.evaluation.gallery.section import Group, Section, Skipped
from gfs_sr.evaluation.picture import Picture, picture
from gfs_sr.evaluation.plots.lines import error_by_lead, point_series
from gfs_sr.evaluation.plots.style import Strand, Values
from gfs_sr.evaluation.plots.units import degrees, display
from gfs_sr.evaluation.records import Fields
from gfs_sr.evaluation.result import Evaluation

ONE_LEAD_TIME = "the data have one lead time"


def lead_times_section(evaluation: Evaluation, casts: Sequence[Cast]) -> Section:
    """A curve of errors and two series per variable."""
    curves = [made for cast in casts for made in _curves(evaluation, cast)]
    series = [
        made for cast in casts for fields in first(cast, evaluation.fields) for made in _series(cast, fields)
    ]  # fmt: skip
    skipped = []
    if not curves:
        skipped.append(Skipped("error by lead time", ONE_LEAD_TIME))
    if not series:
        skipped.append(Skipped("series at a point", ONE_LEAD_TIME))
    known = any(curve.ci_low is not None for curve in evaluation.curves())
    bands = "Bands are 95% intervals. " if known else ""
    groups = [Group(title, made) for title, made in (("Error", curves), ("At one point", series)) if made]
    where = (
        "On a coarse frame only space is restored, so the error is least there; halfway between two it is largest. "
        if any(cast.task == "joint" for cast in casts)
        else "Every frame is a coarse one: only space is restored. "
    )
    return Section(
        "leads",
        "By lead time",
        f"{where}{bands}Of each variable one point is shown where the truth varies most.",
        groups,
        skipped=skipped,
    )


def _curves(evaluation: Evaluation, cast: Cast) -> list[Picture]:
    shown = display(cast.variable)
    found = {curve.method: curve for curve in of(cast, evaluation.curves()) if curve.region == "all"}
    curves = [(part, found[part.method]) for part in cast.parts if part.method in found]
    if not curves or curves[0][1].lead_hours.size < 2:
        return []
    strands = [
        Strand(part.label, part.ink, shown.error(curve.rmse), _error(cast, curve.ci_low), _error(cast, curve.ci_high))
        for part, curve in curves
    ]
    fields = next(iter(first(cast, evaluation.fields)), None)
    coarse_hours = fields.coarse_lead_hours if fields is not None else np.zeros(0)
    drawing = error_by_lead(cast.name, curves[0][1].lead_hours, strands, shown.difference, coarse_hours)
    caption = f"Interpolations: {cast.best.method} and {cast.sharpened.method}."
    return [picture(f"leads_{cast.variable}", drawing, caption)]


def _error(cast: Cast, values: Values | None) -> Values | None:
    return None if values is None else display(cast.variable).error(values)


def _series(cast: Cast, fields: Fields) -> list[Picture]:
    if len(fields.lead_hours) < 2:
        return []
    shown = display(cast.variable)
    row, column = liveliest_point(fields.truth)
    place = _place(float(fields.lat[row]), float(fields.lon[column]))
    strands = [
        Strand("truth", Cast.truth(fields.truth[:, row, column]).ink, shown.field(fields.truth[:, row, column])),
        *cast.strands(
            {name: values[:, row, column] for name, values in fields.methods.items()}, shown.field
        ),
    ]  # fmt: skip
    drawing = point_series(
        cast.name,
        fields.lead_hours,
        strands,
        f"{cast.variable} ({shown.units})",
        shown.difference,
        fields.coarse_lead_hours,
        None,
        place,
    )
    return [picture(f"series_{cast.variable}", drawing, "First forecast.")]


def liveliest_point(truth: Values) -> tuple[int, int]:
    """Row and column of the cell that varies most over the frames, the rim left out."""
    rim = min(3, (min(truth.shape[1:]) - 1) // 2)
    rows, columns = truth.shape[1] - 2 * rim, truth.shape[2] - 2 * rim
    inner = truth[:, rim : rim + rows, rim : rim + columns]
    spread = np.nan_to_num(np.std(inner, axis=0), nan=-1.0)
    row, column = np.unravel_index(int(spread.argmax()), spread.shape)
    return int(row) + rim, int(column) + rim


def _place(lat: float, lon: float) -> str:
    lon = (lon + 180) % 360 - 180
    return f"{degrees(round(lat, 1), 'N', 'S')} {degrees(round(lon, 1), 'E', 'W')}"
