"""Sources of the configuration as fields: in memory, in their files, or as pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfs_sr.data.built_file import open_built
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.grid import Grid
from gfs_sr.data.locations import FixedLocation
from gfs_sr.data.regrid import regrid
from gfs_sr.data.sources import open_forecast, open_statics
from gfs_sr.data.sources.blocks import open_blocks
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY
from gfs_sr.errors import MissingVariable, UnsupportedGrid, UsageError
from gfs_sr.training.field_set import SourceConfig, paths_of, provenance_of, read_source
from gfs_sr.training.fields import Field, Fields
from gfs_sr.training.fixed_grid_set import FixedGridSet
from gfs_sr.training.paired_set import PairedSet
from gfs_sr.training.stored_set import StoredSet


def open_source(config: SourceConfig, folder: Path, cache: ChunkCache) -> list[Fields]:
    """Every grid and run of times of one source.

    Raises:
        MissingFile: a pattern that matches nothing.
        UsageError: pairs that are to stay in their files, or built ones that are to be paired again.
        InputError: files that cannot be used, or do not fit together.
    """
    if config.stored and config.coarse:
        raise UsageError("real pairs are held in memory", f"source {config.name}", "leave out stored, or coarse")
    if config.built and (config.stored or config.coarse):
        raise UsageError(
            "a built data set holds its pairs, and is read into memory", f"source {config.name}",
            "leave out stored and coarse, or built",
        )  # fmt: skip
    if config.hours and (not config.coarse or len(config.hours) != 2):
        raise UsageError(
            f"hours {config.hours}", f"source {config.name}", "give the first and the last lead time, of real pairs"
        )
    found: list[Fields]
    if config.built:
        paths = paths_of(config.files, config.name, folder)
        found = [FixedGridSet.of(open_built(path), config, number) for number, path in enumerate(paths)]
    elif config.coarse:
        found = [_pair(config, folder)]
    elif config.stored:
        files = open_blocks(paths_of(config.files, config.name, folder), config.variables)
        provenance = provenance_of(config)
        found = [
            StoredSet.of(f"{config.name}-{number}", config.name, file, cache, series=config.series,
                         provenance=provenance)
            for number, file in enumerate(files)
        ]  # fmt: skip
    else:
        found = list(read_source(config, folder))
    if config.location is not None:
        found = [_at(each, config.location) for each in found]
    if config.statics:
        given = _statics(config, folder)
        for each in found:
            each.take_statics(_on(each, given, config.name))
    return found


def _at(fields: Fields, location: FixedLocation) -> Fields:
    if fields.lat is None or fields.lon is None or fields.lat.ndim != 1:
        raise UnsupportedGrid(
            "a place is looked for on a regular grid, and this is none", f"source {fields.source}",
            "leave out location",
        )  # fmt: skip
    at = location.window(Grid(fields.lat, fields.lon))
    rows, columns = range(at.row, at.row + at.rows), range(at.col, at.col + at.cols)
    return fields.part(range(fields.shape[0]), rows, columns)


def _pair(config: SourceConfig, folder: Path) -> PairedSet:
    fine = open_forecast(paths_of(config.files, config.name, folder), config.variables)
    coarse = open_forecast(paths_of(config.coarse, config.name, folder), config.variables)
    if config.variables is None:
        shared = [name for name in fine.variables if name in coarse.variables]
        fine = fine.select(shared or fine.variables)
    if config.hours:
        hours = fine.times.lead_hours
        inside = np.flatnonzero((hours >= config.hours[0]) & (hours <= config.hours[1]))
        fine = fine.isel_time(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0))
    return PairedSet.of(fine, coarse, config, 0)


def _statics(config: SourceConfig, folder: Path) -> Sequence[tuple[str, Field, Grid]]:
    given = []
    for path in paths_of(config.statics, config.name, folder):
        for name in (OROGRAPHY, LAND_SEA_MASK):
            try:
                fields, grid = open_statics(path, [name])
            except MissingVariable:
                continue
            given.append((name, fields[name], grid))
    if not given:
        raise MissingVariable(
            "neither terrain height nor land is in the files", f"source {config.name}, {', '.join(config.statics)}",
            "name files that hold orog or lsm",
        )  # fmt: skip
    return given


def _on(fields: Fields, given: Sequence[tuple[str, Field, Grid]], source: str) -> dict[str, Field]:
    if fields.lat is None or fields.lon is None or fields.lat.ndim != 1:
        raise UnsupportedGrid(
            "statics cannot be laid onto a grid that is not regular", f"source {source}", "leave out statics"
        )
    target = Grid(fields.lat, fields.lon)
    return {name: regrid(field, grid, target, where=f"statics of {source}").astype(np.float32)
            for name, field, grid in given}  # fmt: skip
