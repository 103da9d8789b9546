"""Sources merged into one data set: fine fields of a region, coarse ones remapped conservatively, statics on both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.archive_series import ArchiveSeries, open_archive_series
from gfs_sr.data.build_config import BuildConfig, CoarseGrid, SourceFiles
from gfs_sr.data.built_file import BuiltGrids, Slab, write_built
from gfs_sr.data.coarsen import coarsen_grid
from gfs_sr.data.conservative import Cells, ConservativeRemap, covering
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.regions import Box, GridPart, part_of
from gfs_sr.data.regrid import regrid
from gfs_sr.data.sources import open_forecast, open_statics
from gfs_sr.data.terrain import terrain_on
from gfs_sr.data.time_axis import TimeArray
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY
from gfs_sr.errors import GapInLeadTimes, MissingFile, ShapeMismatch

Field = npt.NDArray[np.float32]
WHOLE = 0.999  # of a coarse cell that its source has to cover
BYTES_PER_CELL = 24  # while it is read in float64, remapped and written


@dataclass(frozen=True, eq=False)
class _Remapped:
    """A coarse variable: where it is read, and how it is brought to the coarse grid."""

    series: ArchiveSeries
    part: GridPart
    remap: ConservativeRemap


def build(config: BuildConfig, output: Path | None = None) -> Path:
    """Write the data set; it appears when it is complete. Fields are read and written some frames at a time.

    Raises:
        InputError: files that are missing, cannot be used or do not cover what is asked.
        OutputExists: the output is there.
    """
    target = output or Path(config.output)
    folder = Path(config.folder)
    fine = _open(config.fine.sources, folder)
    coarse = _open(config.coarse.sources, folder)
    grid = next(iter(fine.values())).grid
    for series in fine.values():
        if series.grid.shape != grid.shape or not np.allclose(series.grid.lat, grid.lat, rtol=0, atol=1e-4):
            raise ShapeMismatch(
                f"{series.variable} lies on another grid than {next(iter(fine))}", "fine.sources",
                "give fine fields of one grid",
            )  # fmt: skip
    fine_part = part_of(grid, config.fine_box, "fine.box")
    coarse_grid = _coarse_grid(config.coarse.grid, fine_part.grid, folder)
    remapped = {name: _remapped(series, coarse_grid) for name, series in coarse.items()}
    times = _times([*fine.values(), *coarse.values()], config)
    statics = {} if config.statics is None else _statics(config, folder, fine_part.grid, coarse_grid)
    cells = len(fine) * fine_part.grid.lat.size * fine_part.grid.lon.size
    cells += max(each.part.grid.lat.size * each.part.grid.lon.size for each in remapped.values())
    frames = max(1, config.memory_mib * 2**20 // (BYTES_PER_CELL * cells))

    def slabs() -> Iterator[Slab]:
        for first in range(0, times.size, frames):
            some = times[first : first + frames]
            fields: dict[str, Field] = {name: series.read(some, fine_part) for name, series in fine.items()}
            for name, each in remapped.items():
                fields[f"coarse_{name}"] = each.remap(each.series.read(some, each.part)).astype(np.float32)
            yield Slab(some, fields)

    sources = [file.source for series in (*fine.values(), *coarse.values()) for file in series.files]
    write_built(target, BuiltGrids(fine_part.grid, coarse_grid), statics, slabs(), sources)
    return target


def _open(sources: Sequence[SourceFiles], folder: Path) -> dict[str, ArchiveSeries]:
    found: dict[str, ArchiveSeries] = {}
    for source in sources:
        paths: list[Path] = []
        for pattern in source.files:
            matches = [Path(pattern)] if Path(pattern).is_absolute() else sorted(folder.glob(pattern))
            if not matches or not all(path.exists() for path in matches):
                raise MissingFile(f"no file {pattern}", str(folder), "mend the path")
            paths += matches
        for name, series in open_archive_series(paths, source.variables).items():
            if name in found:
                raise ShapeMismatch(f"{name} is in two sources", "sources", "name each variable once")
            found[name] = series
    return found


def _coarse_grid(wanted: CoarseGrid, fine: Grid, folder: Path) -> Grid:
    """The cells of the coarse grid that cover the fine region, and one more on each side."""
    if wanted.scale_factor is not None:
        s = wanted.scale_factor
        if any(size % s for size in fine.shape):
            raise ShapeMismatch(
                f"the fine region of {fine.shape[0]} by {fine.shape[1]} cells is no multiple of {s}", "coarse.grid",
                "change fine.box",
            )  # fmt: skip
        return coarsen_grid(fine, s, Registration.CELL)
    if wanted.spacing is not None:
        return covering(Cells.of(fine), wanted.spacing, wanted.origin)
    whole = open_forecast(folder / str(wanted.file)).grid
    edges = Cells.of(fine)
    box = Box(edges.lat_edges[0], edges.lon_edges[0], edges.lat_edges[-1], edges.lon_edges[-1])
    return part_of(whole, box, "coarse.grid.file", beyond=2).grid


def _remapped(series: ArchiveSeries, grid: Grid) -> _Remapped:
    edges = Cells.of(grid)
    box = Box(edges.lat_edges[0], edges.lon_edges[0], edges.lat_edges[-1], edges.lon_edges[-1])
    part = part_of(series.grid, box, f"coarse variable {series.variable}", beyond=1)
    remap = ConservativeRemap(Cells.of(part.grid), edges)
    share = remap.covered() / edges.areas
    if share.min() < WHOLE:
        row, column = np.unravel_index(np.argmin(share), share.shape)
        place = f"{grid.lat[row]:g}, {grid.lon[column]:g}"
        raise ShapeMismatch(
            f"{series.variable} covers {share.min():.0%} of the coarse cell at {place}: "
            f"cells from {box.north:g}, {box.west:g} to {box.south:g}, {box.east:g} are needed",
            series.files[0].source, "give fields of a larger region, or a smaller fine.box",
        )  # fmt: skip
    return _Remapped(series, part, remap)


def _times(series: Sequence[ArchiveSeries], config: BuildConfig) -> TimeArray:
    """Times that all have, in the period; inside it none may lack one that another has."""
    union = np.unique(np.concatenate([each.times for each in series]))
    first = max(each.times[0] for each in series)
    last = min(each.times[-1] for each in series)
    if config.first is not None:
        first = np.datetime64(config.first, "ns")
    if config.last is not None:
        last = np.datetime64(config.last, "ns") + np.timedelta64(86_400_000_000_000 - 1, "ns")
    times: TimeArray = union[(union >= first) & (union <= last)]
    if not config.leap_days:
        days = times.astype("datetime64[D]").astype(str)
        times = times[[not day.endswith("-02-29") for day in days]]
    if not times.size:
        raise GapInLeadTimes("the sources share no time", "first and last", "choose a period that all sources cover")
    for each in series:
        each.require(times)
    return times


def _statics(config: BuildConfig, folder: Path, fine: Grid, coarse: Grid) -> Mapping[str, Field]:
    """Terrain height by shared area, the land-sea mask by the nearest cell."""
    assert config.statics is not None  # the caller looked
    found: dict[str, Field] = {}
    for name, file in ((OROGRAPHY, config.statics.orog), (LAND_SEA_MASK, config.statics.lsm)):
        if file is None:
            found[name] = terrain_on(fine)[name].astype(np.float32)
            found[f"coarse_{name}"] = terrain_on(coarse)[name].astype(np.float32)
            continue
        fields, grid = open_statics(folder / file, [name])
        for prefix, target in (("", fine), ("coarse_", coarse)):
            method = "nearest" if name == LAND_SEA_MASK else "auto"
            found[prefix + name] = regrid(fields[name], grid, target, method, f"statics.{name}").astype(np.float32)  # type: ignore[arg-type]
    return found
