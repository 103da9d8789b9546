"""A finished fine forecast as what is scored: no model runs, members and all are read from the file."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from gfs_sr.data.coarsen import Coarsening
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import from_dataset
from gfs_sr.errors import GapInLeadTimes, MissingFile, ShapeMismatch, UsageError
from gfs_sr.evaluation.cases import Case, CaseFiles, open_case
from gfs_sr.evaluation.pairs import cut
from gfs_sr.evaluation.prediction import FilePrediction, Prediction
from gfs_sr.evaluation.subject import Subject

REALIZATION = "realization"
SAME_POINT = 0.02  # of a fine cell


def open_finished(
    path: Path,
    data: Sequence[Path],
    coarse: Sequence[Path],
    variables: Sequence[str] | None,
    hours: tuple[float, float] | None,
    sigma: float,
) -> tuple[Subject, Case]:
    """A fine forecast that `gfs-sr upscale` wrote, or one of another program with the same attributes.

    Args:
        path: the forecast; a dimension `realization` holds its members.
        data: the truth, on the forecast's cells and frames or on more of them.
        coarse: what the forecast was made from; without it the truth is coarsened as the file's attributes say. Of a
            forecast on fine cells of its own it may be of any spacing.
        variables: to score; None is all that truth and forecast share.
        hours: first and last lead time to score; None is all.
        sigma: of the coarsening.

    Raises:
        MissingFile: no such forecast.
        UsageError: the file does not say its factors and registration, or there is nothing coarse.
        ShapeMismatch: its cells are not the truth's.
        GapInLeadTimes: its frames are not the truth's.
    """
    if not path.exists():
        raise MissingFile(f"{path} does not exist", "--forecast", "check the path")
    dataset = xr.open_zarr(path, consolidated=False) if path.suffix == ".zarr" else xr.open_dataset(path)
    how = _coarsening(dataset, path, sigma)
    members = _members(dataset, variables)
    offered = members[0].variables
    files = CaseFiles(tuple(data), offered, tuple(coarse))
    keeps_all = how.scale_factor == how.time_factor == 1
    if keeps_all and not coarse:
        raise UsageError(
            "the forecast has fine cells of its own, and no coarse ones follow from the truth", "--forecast",
            "give what it was made from as --coarse",
        )  # fmt: skip
    case = open_case(files, how, hours, any_grid=keeps_all)
    kept = [member.select(case.variables) for member in members]
    prediction = _placed(kept, case.truth, _tile(dataset, how.scale_factor), str(path))
    subject = Subject(
        name=str(dataset.attrs.get("gfs_sr_model", path.stem)),
        predict=lambda coarse: prediction,
        scale_factor=how.scale_factor,
        time_factor=how.time_factor,
        registration=how.registration,
        variables=offered,
        facts={"forecast": path.name, "members": str(len(members))}
        | {name: str(dataset.attrs[key]) for name, key in FACTS.items() if key in dataset.attrs},
    )
    return subject, case


FACTS = {"SHA-256": "gfs_sr_model_sha256", "backend": "gfs_sr_backend"}


def _members(dataset: xr.Dataset, variables: Sequence[str] | None) -> list[Forecast]:
    if REALIZATION not in dataset.dims:
        return [from_dataset(dataset, variables)]
    return [
        from_dataset(dataset.isel({REALIZATION: member}, drop=True), variables)
        for member in range(dataset.sizes[REALIZATION])
    ]


def _coarsening(dataset: xr.Dataset, path: Path, sigma: float) -> Coarsening:
    attrs = dataset.attrs
    try:
        return Coarsening(
            Registration(str(attrs["gfs_sr_model_registration"])),
            int(attrs["gfs_sr_scale_factor"]),
            int(attrs["gfs_sr_time_factor"]),
            sigma,
            crop=True,
        )
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"the forecast does not say what it was made from: {error}",
            str(path),
            "set its attributes gfs_sr_model_registration (node or cell), gfs_sr_scale_factor and gfs_sr_time_factor",
        ) from error


def _tile(dataset: xr.Dataset, scale_factor: int) -> tuple[int, int] | None:
    found = re.search(r"lat (\d+), lon (\d+)", str(dataset.attrs.get("gfs_sr_tile", "")))
    return None if found is None else (scale_factor * int(found[1]), scale_factor * int(found[2]))


def _placed(members: Sequence[Forecast], truth: Forecast, tile: tuple[int, int] | None, where: str) -> Prediction:
    first = members[0]
    places = []
    for name, own, other, step in (
        ("latitude", first.grid.lat, truth.grid.lat, -truth.grid.spacing_deg[0]),
        ("longitude", first.grid.lon, truth.grid.lon, truth.grid.spacing_deg[1]),
    ):
        turn = 360.0 * np.round((own[0] - other[0]) / 360.0) if name == "longitude" else 0.0
        at = (own - turn - other[0]) / step
        index = np.rint(at).astype(np.int64)
        if np.abs(at - index).max() > SAME_POINT or (np.diff(index) != 1).any():
            raise ShapeMismatch(
                f"the forecast's {name}s are not the truth's", where, "interpolate one of them to the other's cells"
            )
        places.append(int(index[0]))
    return _cut_to(members, truth, places, tile, where)


def _cut_to(
    members: Sequence[Forecast], truth: Forecast, places: Sequence[int], tile: tuple[int, int] | None, where: str
) -> FilePrediction:
    """The part of the file that lies on the truth."""
    height, width = members[0].grid.shape
    spans = [
        (max(0, -place), min(size, total - place))
        for place, size, total in zip(places, (height, width), truth.grid.shape, strict=True)
    ]
    times = {time: index for index, time in enumerate(truth.times.valid_times)}
    index = np.array([times.get(time, -1) for time in members[0].times.valid_times])
    inside = np.flatnonzero(index >= 0)
    if not inside.size or (np.diff(index[inside]) != 1).any():
        raise GapInLeadTimes(
            "the forecast's frames are not the truth's", where, "give truth of the same hours, at the same step"
        )
    if any(stop <= start for start, stop in spans):
        raise ShapeMismatch("forecast and truth do not overlap", where, "give truth of the same region")
    rows, cols = (slice(start, stop) for start, stop in spans)
    kept = [cut(member.isel_time(slice(int(inside[0]), int(inside[-1]) + 1)), rows, cols) for member in members]
    return FilePrediction(
        members_of=kept,
        first_frame=int(index[inside[0]]),
        frames=int(index[inside[-1]]) + 1,
        first_row=max(0, places[0]),
        first_col=max(0, places[1]),
        shape=truth.grid.shape,
        tile=tile,
    )
