"""Fine fields in memory, from files or from a packed set: what training draws its samples from."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.atomic import whole
from gfs_sr.data.coarsen import SIGMA, coarsen_everywhere
from gfs_sr.data.grid import Registration
from gfs_sr.data.locations import FixedLocation
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.sources import open_tensors
from gfs_sr.data.sources.tensor_record import TensorRecord
from gfs_sr.data.variables import VARIABLES, TimeKind, base_name
from gfs_sr.errors import CheckpointInvalid, MissingFile
from gfs_sr.training.fields import Coordinates, Field, Fields, How, Index, taken

SIXTEEN_BITS = 65_534  # levels of a packed variable at most; one more code says missing
MISSING = -32_768
FINEST_STEP = 1 / 2000  # of a variable's standard deviation: what lies below is noise that does not pack
DEGREES = 1e-5  # step of packed coordinates of projected grids, about a meter


@dataclass(frozen=True)
class SourceConfig:
    """Files of one producer, on one grid or several."""

    name: str
    files: list[str]  # below the data folder; patterns are allowed
    variables: list[str] | None = None  # None takes all of the table's
    series: bool = False  # too small or too masked for space: only its series in time are used
    producer: str = ""
    licence: str = ""
    stored: bool = False  # read in parts as samples need them, for files larger than memory
    coarse: list[str] = field(default_factory=list)  # of another source: real pairs instead of coarsened fields
    statics: list[str] = field(default_factory=list)  # files with terrain height or land, in place of the map's
    built: bool = False  # files of gfs-sr build-dataset, with coarse fields of any grid: networks with a target_grid
    location: FixedLocation | None = None  # one place of the files' grid; None takes all of it
    hours: list[float] = field(default_factory=list)  # first and last lead time of real pairs; empty takes all


@dataclass(eq=False)
class FieldSet(Fields):
    """Variables on one grid at one run of times, in memory."""

    name: str
    source: str
    variables: tuple[str, ...]
    values: Field  # (C, T, H, W), canonical units, NaN where missing
    times: npt.NDArray[np.datetime64]  # (T,)
    lat: Coordinates | None  # (H,) or (H, W)
    lon: Coordinates | None
    series: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    _coarse: dict[tuple[Registration, int, float], Field] = field(default_factory=dict, repr=False)
    _statics: dict[str, Field] = field(default_factory=dict, repr=False)
    _moments: dict[int, tuple[float, float]] = field(default_factory=dict, repr=False)
    _filled: Field | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        frames, rows, columns = self.values.shape[1:]
        return frames, rows, columns

    def read(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`."""
        return taken(self.values, channels, frames, rows, columns)

    def read_filled(self, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; filled from the whole field."""
        return taken(self.filled(), channels, frames, rows, columns)

    def read_coarse(self, how: How, channels: Sequence[int], frames: Index, rows: Index, columns: Index) -> Field:
        """See `Fields`; made once for the whole field."""
        return taken(self.coarse_everywhere(*how), channels, frames, rows, columns)

    def thinned(self, channel: int, most: int) -> Field:
        """See `Fields`."""
        values: Field = self.values[channel].ravel()[:: max(1, self.values[channel].size // most)]
        return values

    def slabs(self, channel: int) -> Iterator[Field]:
        """See `Fields`; frame by frame."""
        yield from self.values[channel]

    def part(self, frames: range, rows: range | None = None, columns: range | None = None) -> "FieldSet":
        """See `Fields`."""
        rows, columns = rows or range(self.shape[1]), columns or range(self.shape[2])
        cut = (slice(frames.start, frames.stop), slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        axes = [self.lat, self.lon]
        if self.lat is not None and self.lon is not None:
            is_regular = self.lat.ndim == 1
            axes = [self.lat[cut[1]], self.lon[cut[2]]] if is_regular else [self.lat[cut[1:]], self.lon[cut[1:]]]
        return replace(
            self,
            values=self.values[:, cut[0], cut[1], cut[2]],
            times=self.times[cut[0]],
            lat=axes[0],
            lon=axes[1],
            _coarse={},
            _statics=self._statics_of(rows, columns),
            _filled=None,
            _moments={},
        )

    def mean_and_sd(self, channel: int) -> tuple[float, float]:
        """See `Fields`; of all values, computed once."""
        if channel not in self._moments:
            values = self.values[channel]
            self._moments[channel] = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
        return self._moments[channel]

    def coarse_everywhere(self, registration: Registration, scale_factor: int, sigma: float = SIGMA) -> Field:
        """(C, T, H, W): the coarse value of a coarse cell that starts at each fine one, computed once.

        NODE: the Gaussian blur at that point; CELL: the mean of the s by s cells from there, (H - s + 1, W - s + 1).
        """
        key = (registration, scale_factor, sigma)
        if key not in self._coarse:
            self._coarse[key] = coarsen_everywhere(
                self.filled(), registration, scale_factor, self.lat, self.is_periodic, sigma
            )
        return self._coarse[key]

    def filled(self) -> Field:
        """Values without gaps, computed once."""
        if self._filled is None:
            if np.isfinite(self.values).all():
                self._filled = self.values
            else:
                filled, _ = fill_nearest(self.values, self.is_periodic)
                self._filled = np.nan_to_num(filled).astype(np.float32)
        return self._filled


def read_source(config: SourceConfig, folder: Path) -> list[FieldSet]:
    """Every grid and run of times of one source.

    Raises:
        MissingFile: a pattern that matches nothing.
    """
    paths = paths_of(config.files, config.name, folder)
    records = [
        each for each in open_tensors(paths, config.variables) if each.is_plausible and _is_instant(each.variable)
    ]
    return [
        _join(config, number, group, provenance_of(config))
        for number, group in enumerate(_groups(records))
        if group[0].values.size
    ]


def paths_of(patterns: Sequence[str], name: str, folder: Path) -> list[Path]:
    """Files of a source, in the order of its patterns.

    Raises:
        MissingFile: a pattern that matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]
        if not found or not all(path.exists() for path in found):
            raise MissingFile(f"no file {pattern}", f"source {name}, folder {folder}", "mend the path")
        paths += found
    return paths


def provenance_of(config: SourceConfig) -> dict[str, str]:
    """What a source says about itself."""
    return {"producer": config.producer, "licence": config.licence, "files": ", ".join([*config.files, *config.coarse])}


def _is_instant(name: str) -> bool:
    """Sums and means over time are no frames to interpolate between; statics are no weather."""
    row = VARIABLES.get(base_name(name))
    return row is None or row.time_kind is TimeKind.INSTANT


def _groups(records: Iterable[TensorRecord]) -> list[list[TensorRecord]]:
    """Records on one grid at one run of times belong together."""
    groups: dict[tuple[object, ...], list[TensorRecord]] = {}
    for record in records:
        place = [None if each is None else each.tobytes() for each in (record.lat, record.lon)]
        key: tuple[object, ...] = (record.values.shape, record.valid_times.tobytes(), *place)
        # members and versions hold the same variable at the same place and times: each makes a group of its own
        version = sum(
            record.variable in {each.variable for each in group} for k, group in groups.items() if k[1:] == key
        )
        groups.setdefault((version, *key), []).append(record)
    return list(groups.values())


def _join(config: SourceConfig, number: int, group: list[TensorRecord], provenance: Mapping[str, str]) -> FieldSet:
    fields = {record.variable: record.values for record in group}
    if "u10" in fields and "v10" in fields and "wspd" not in fields:
        fields["wspd"] = np.hypot(fields["u10"], fields["v10"])
    first = group[0]
    return FieldSet(
        name=f"{config.name}-{number}",
        source=config.name,
        variables=tuple(fields),
        values=np.stack(list(fields.values())),
        times=first.valid_times,
        lat=first.lat,
        lon=first.lon,
        series=config.series,
        provenance=provenance,
    )


def write_packed(sets: Sequence[FieldSet], path: Path) -> str:
    """Write all sets into one file of 16-bit fields; the digest of what it holds."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    index = []
    for number, each in enumerate(sets):
        codes = np.empty(each.values.shape, np.int16)
        low, step = np.zeros(len(each.variables)), np.ones(len(each.variables))
        for channel, values in enumerate(each.values):
            low[channel] = np.nanmin(values)
            spread = float(np.nanstd(values, dtype=np.float64))
            step[channel] = max(float(np.nanmax(values) - low[channel]) / SIXTEEN_BITS, FINEST_STEP * spread, 1e-30)
            code = np.rint((values - low[channel]) / step[channel]) - SIXTEEN_BITS // 2
            codes[channel] = np.where(np.isfinite(values), code, MISSING).astype(np.int16)
        # differences along a row are small numbers, which pack well; they wrap around and so do the sums
        arrays[f"{number}.codes"] = np.diff(codes, axis=-1, prepend=np.int16(0))
        arrays[f"{number}.low"], arrays[f"{number}.step"] = low, step
        arrays[f"{number}.times"] = each.times.astype("datetime64[ns]").astype(np.int64)
        for name, axis in (("lat", each.lat), ("lon", each.lon)):
            if axis is not None and axis.ndim == 1:
                arrays[f"{number}.{name}"] = axis.astype(np.float64)
            elif axis is not None:
                steps = np.rint(axis / DEGREES).astype(np.int32)
                arrays[f"{number}.{name}"] = np.diff(np.diff(steps, axis=0, prepend=0), axis=1, prepend=0)
        index.append(
            {"name": each.name, "source": each.source, "variables": each.variables, "series": each.series,
             "provenance": dict(each.provenance)}
        )  # fmt: skip
    text = json.dumps(index)
    arrays["index"] = np.frombuffer(text.encode(), np.uint8)
    digest = sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return digest.hexdigest()


def read_packed(path: Path) -> tuple[list[FieldSet], str]:
    """What `write_packed` wrote, and its digest.

    Raises:
        MissingFile: no such file.
        CheckpointInvalid: not one of ours.
    """
    if not path.is_file():
        raise MissingFile(
            f"no packed training set {path}", "data.packed", "make one with python -m gfs_sr.training.pack"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        index = json.loads(arrays["index"].tobytes())
    except (KeyError, ValueError, OSError) as error:
        raise CheckpointInvalid(f"is no packed training set: {error}", str(path), "pack it again") from error
    digest = sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    sets = []
    for number, entry in enumerate(index):
        codes = np.cumsum(arrays[f"{number}.codes"], axis=-1, dtype=np.int16)
        low, step = (arrays[f"{number}.{key}"][:, None, None, None] for key in ("low", "step"))
        values = ((codes.astype(np.float64) + SIXTEEN_BITS // 2) * step + low).astype(np.float32)
        values[codes == MISSING] = np.nan
        axes = [_axis(arrays.get(f"{number}.{name}")) for name in ("lat", "lon")]
        sets.append(
            FieldSet(
                name=entry["name"],
                source=entry["source"],
                variables=tuple(entry["variables"]),
                values=values,
                times=arrays[f"{number}.times"].view("datetime64[ns]"),
                lat=axes[0],
                lon=axes[1],
                series=entry["series"],
                provenance=entry["provenance"],
            )
        )
    return sets, digest.hexdigest()


def _axis(stored: npt.NDArray[np.generic] | None) -> Coordinates | None:
    if stored is None or stored.ndim == 1:
        return None if stored is None else stored.astype(np.float64)
    steps = stored.astype(np.int32).cumsum(axis=1, dtype=np.int32).cumsum(axis=0, dtype=np.int32)
    return steps * DEGREES
