"""Fine fields in memory, from files or from a packed set: what training draws its samples from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfs_sr.data.coarsen import SIGMA, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.data.missing import fill_nearest
from gfs_sr.data.sources import open_tensors
from gfs_sr.data.sources.tensor_record import TensorRecord
from gfs_sr.data.terrain import terrain_at
from gfs_sr.data.variables import VARIABLES, TimeKind, base_name
from gfs_sr.errors import CheckpointInvalid, MissingFile

Field = npt.NDArray[np.float32]
Coordinates = npt.NDArray[np.float64]
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


@dataclass(eq=False)
class FieldSet:
    """Variables on one grid at one run of times."""

    name: str
    source: str
    variables: tuple[str, ...]
    values: Field  # (C, T, H, W), canonical units, NaN where missing
    times: npt.NDArray[np.datetime64]  # (T,)
    lat: Coordinates | None  # (H,) or (H, W)
    lon: Coordinates | None
    series: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    _coarse: dict[tuple[Registration, int], Field] = field(default_factory=dict, repr=False)
    _statics: dict[str, Field] = field(default_factory=dict, repr=False)
    _filled: Field | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        frames, rows, columns = self.values.shape[1:]
        return frames, rows, columns

    @property
    def interval_hours(self) -> float:
        """Between frames; 0 where they are no even series."""
        steps = np.diff(self.times)
        if not steps.size or steps.min() != steps.max() or steps[0] <= np.timedelta64(0, "ns"):
            return 0.0
        return float(steps[0] / np.timedelta64(1, "h"))

    @property
    def is_periodic(self) -> bool:
        """True where the columns go once around the globe."""
        if self.lon is None or self.lon.ndim != 1 or self.lon.size < 2:
            return False
        return bool(abs(self.lon.size * (self.lon[1] - self.lon[0]) - 360.0) < 0.05 * (self.lon[1] - self.lon[0]))

    def positions(self) -> tuple[Coordinates, Coordinates] | None:
        """Latitude and longitude (H, W) of every cell."""
        if self.lat is None or self.lon is None:
            return None
        if self.lat.ndim == 2:
            return self.lat, self.lon
        lat, lon = np.meshgrid(self.lat, self.lon, indexing="ij")
        return lat, lon

    def coarse_everywhere(self, registration: Registration, scale_factor: int) -> Field:
        """(C, T, H, W): the coarse value of a coarse cell that starts at each fine one, computed once.

        NODE: the Gaussian blur at that point; CELL: the mean of the s by s cells from there, (H - s + 1, W - s + 1).
        """
        key = (registration, scale_factor)
        if key not in self._coarse:
            filled = self.filled()
            self._coarse[key] = coarsen_everywhere(filled, registration, scale_factor, self.lat, self.is_periodic)
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

    def statics(self, names: Sequence[str]) -> Field:
        """(K, H, W) terrain and land of the fine cells; zeros where the grid is unknown."""
        positions = self.positions()
        for name in names:
            if name not in self._statics:
                if positions is None:
                    self._statics[name] = np.zeros(self.values.shape[2:], np.float32)
                else:
                    self._statics |= {key: x.astype(np.float32) for key, x in terrain_at(*positions).items()}
        return np.stack([self._statics[name] for name in names])


def coarsen_everywhere(
    fine: npt.NDArray[np.floating], registration: Registration, scale_factor: int,
    lat: Coordinates | None = None, periodic: bool = False,
) -> Field:  # fmt: skip
    """(..., H, W) -> coarse values at every phase; see `FieldSet.coarse_everywhere`."""
    out: list[Field] = []
    flat = fine.reshape(-1, *fine.shape[-2:])
    for plane in flat:
        if registration is Registration.NODE:
            out.append(gauss_decimate(plane, SIGMA, 1, periodic).astype(np.float32))
        else:
            out.append(_sliding_mean(plane, scale_factor, lat).astype(np.float32))
    return np.stack(out).reshape(*fine.shape[:-2], *out[0].shape)


def _sliding_mean(plane: npt.NDArray[np.floating], size: int, lat: Coordinates | None) -> npt.NDArray[np.float64]:
    area = np.ones(plane.shape[0]) if lat is None or lat.ndim != 1 else np.maximum(np.cos(np.deg2rad(lat)), 1e-6)
    weighted = np.asarray(plane, np.float64) * area[:, None]
    rows = np.lib.stride_tricks.sliding_window_view(weighted, size, axis=0).sum(axis=-1)
    rows /= np.lib.stride_tricks.sliding_window_view(area, size).sum(axis=-1)[:, None]
    mean: npt.NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(rows, size, axis=1).mean(axis=-1)
    return mean


def read_source(config: SourceConfig, folder: Path) -> list[FieldSet]:
    """Every grid and run of times of one source.

    Raises:
        MissingFile: a pattern that matches nothing.
    """
    paths: list[Path] = []
    for pattern in config.files:
        found = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]
        if not found or not all(path.exists() for path in found):
            raise MissingFile(f"no file {pattern}", f"source {config.name}, folder {folder}", "mend the path")
        paths += found
    records = [
        each for each in open_tensors(paths, config.variables) if each.is_plausible and _is_instant(each.variable)
    ]
    provenance = {"producer": config.producer, "licence": config.licence, "files": ", ".join(config.files)}
    return [
        _join(config, number, group, provenance)
        for number, group in enumerate(_groups(records))
        if group[0].values.size
    ]


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
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial.npz")
    np.savez_compressed(beside, **arrays)  # type: ignore[arg-type]
    beside.replace(path)
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
