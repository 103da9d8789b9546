"""GRIB fields on any grid as tensors."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.sources.buckets import plan_buckets, read_bucket
from gfs_sr.data.sources.grib import match_field, span
from gfs_sr.data.sources.grib_field import GribField, read_coordinates, read_grid_values, read_headers, read_orientation
from gfs_sr.data.sources.tensor_record import TensorRecord, turn
from gfs_sr.data.variables import TimeKind, base_name, lookup
from gfs_sr.errors import AmbiguousField, UnsupportedGrid

GRIDLESS = ("reduced", "sh", "unknown", "unstructured", "healpix")  # no rows and columns to slide over


def grib_tensors(paths: Sequence[Path], variables: Collection[str] | None) -> list[TensorRecord]:
    """Every run of fields of the files, split by variable, grid, member and forecast.

    Raises:
        UnreadableFile: a file is truncated or damaged.
    """
    groups: dict[tuple[str, str, int | None], list[GribField]] = {}
    for path in paths:
        for field in read_headers(path):
            name = _name(field)
            if (variables is None or name in variables) and not field.grid_type.startswith(GRIDLESS):
                groups.setdefault((name, field.grid_digest, field.member), []).append(field)
    records = []
    for (name, *_), fields in groups.items():
        for run in _runs(fields):
            try:
                records.append(_record(name, run))
            except AmbiguousField:
                # accumulations that make no buckets are of no use for training, unless they were asked for
                if variables is not None:
                    raise
    return records


def _runs(fields: Sequence[GribField]) -> list[list[GribField]]:
    """Fields by forecast; analyses, each its own reference, make one run."""
    if all(field.valid_time == field.reference_time for field in fields):
        return [list(fields)]
    by_start: dict[str, list[GribField]] = {}
    for field in fields:
        by_start.setdefault(str(field.reference_time), []).append(field)
    return [each for run in by_start.values() for each in _by_length(run)]


def _by_length(run: Sequence[GribField]) -> list[list[GribField]]:
    """Accumulations of several lengths with one end are no series of buckets: each is a run of its own."""
    if len({field.end for field in run}) > 1:
        return [list(run)]
    by_length: dict[np.timedelta64, list[GribField]] = {}
    for field in run:
        by_length.setdefault(field.end - field.start, []).append(field)
    return [by_length[length] for length in sorted(by_length)]


def _name(field: GribField) -> str:
    match = match_field(field)
    if match is not None:
        return match[0]
    height = f"_{field.level:g}m" if field.type_of_level == "heightAboveGround" and field.level else ""
    return f"{field.short_name}{height}" + ("" if field.step_type == "instant" else f"_{field.step_type}")


def _record(name: str, fields: Sequence[GribField]) -> TensorRecord:
    by_time = {(field.valid_time, field.end - field.start): field for field in fields}
    in_order = [by_time[key] for key in sorted(by_time)]
    first = in_order[0]
    where = f"{first.path}, {first.label}"
    reads: list[Callable[[], npt.NDArray[np.float32]]] = [partial(_values, name, field) for field in in_order]
    times = [field.valid_time for field in in_order]
    if match_field(first) is not None and lookup(name).time_kind is TimeKind.ACCUMULATED:
        whole = tuple(reads)
        buckets, _ = plan_buckets({span(field): index for index, field in enumerate(in_order)}, where)
        reads = [partial(read_bucket, one, lambda index: whole[index](), name, []) for one in buckets]
        times = [times[one.later] for one in buckets]
    values = np.stack([read() for read in reads])
    valid = np.array(times, "datetime64[ns]")
    try:
        orientation = read_orientation(first)
    except UnsupportedGrid:
        lat, lon = read_coordinates(first)
        turned, lat_north, lon_west = turn(values, lat, lon)
        return TensorRecord(name, turned, valid, lat_north, lon_west, where, is_regular=False)
    grid = orientation.grid
    return TensorRecord(name, orientation.apply(values), valid, grid.lat, grid.lon, where, is_regular=True)


def _values(name: str, field: GribField) -> npt.NDArray[np.float32]:
    values = read_grid_values(field)
    if match_field(field) is not None:
        factor, offset = lookup(base_name(name) if "@" in name else name).to_canonical(
            field.units, f"{field.path}, {name}"
        )
        values = values * factor + offset
    return values.astype(np.float32)
