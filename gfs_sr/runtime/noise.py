"""Noise keyed on what it belongs to: the same for any tiling, batch, order of members, thread count and machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gfs_sr import _core
from gfs_sr.contract import NoiseDistribution
from gfs_sr.errors import UsageError

Microdegrees = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

LARGEST_SEED: Final = 2**63
_WORD: Final = 2**64 - 1
_FULL_CIRCLE: Final = 360_000_000
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


@dataclass(frozen=True)
class NoiseKey:
    """What one field of noise belongs to."""

    seed: int
    member: int
    variable: str  # canonical name, or the noise input's
    valid_time: np.datetime64

    @property
    def word(self) -> int:
        """64 bits; every part changes all of them.

        Source: the finalizer of SplitMix64 (Steele, Lea & Flood 2014), chained; FNV-1a for the name.
        """
        seconds = int(self.valid_time.astype("datetime64[s]").astype(np.int64))
        state = 0
        for part in (self.seed, self.member, _fnv1a(self.variable), seconds):
            state = _mix(state ^ (part & _WORD))
        return state


def check_seed(seed: int) -> int:
    """The seed, if it can be one.

    Raises:
        UsageError: negative, or too large for every file format that records it.
    """
    if not 0 <= seed < LARGEST_SEED:
        raise UsageError(f"seed {seed} is out of range", "--seed", f"give a whole number from 0 to {LARGEST_SEED - 1}")
    return seed


def microdegrees(lat: npt.NDArray[Any], lon: npt.NDArray[Any]) -> tuple[Microdegrees, Microdegrees]:
    """Whole microdegrees of latitudes and longitudes, those from 0 to 360: a sub-region's cells are the region's."""
    rows = np.rint(np.asarray(lat, np.float64) * 1e6).astype(np.int64)
    columns = np.rint(np.asarray(lon, np.float64) * 1e6).astype(np.int64) % _FULL_CIRCLE
    return rows.astype(np.int32), columns.astype(np.int32)


def fill_normals(
    out: FloatArray, key: NoiseKey, lat: Microdegrees, lon: Microdegrees, step: int, threads: int = 0
) -> None:
    """Standard normals of every cell of lat x lon at one step of a sampler, into `out` (H, W)."""
    _core.fill_normals(key.word, lat, lon, step, out, threads)


def fill_channels(
    out: FloatArray, word: int, lat: Microdegrees, lon: Microdegrees, distribution: NoiseDistribution, threads: int = 0
) -> None:
    """Numbers of every cell into `out` (C, cells), channel c what `fill_normals` gives at step c.

    Args:
        out: float32, contiguous.
        word: of the key.
        lat: (cells,), each cell's own.
        lon: (cells,).
        distribution: normal, or uniform: multiples of 2⁻²⁴ below 1.
        threads: 0 for one per processor.
    """
    _core.fill_channels(word, lat, lon, distribution is NoiseDistribution.UNIFORM, out, threads)


def normals(
    seed: int,
    member: int,
    variables: Sequence[str],
    valid_times: Sequence[np.datetime64],
    lat: Microdegrees,
    lon: Microdegrees,
    step: int,
    threads: int = 0,
) -> FloatArray:
    """(T, C, H, W) standard normals of one member."""
    out = np.empty((len(valid_times), len(variables), lat.size, lon.size), np.float32)
    for frame, time in enumerate(valid_times):
        for channel, variable in enumerate(variables):
            fill_normals(out[frame, channel], NoiseKey(seed, member, variable, time), lat, lon, step, threads)
    return out


def _mix(word: int) -> int:
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def _fnv1a(name: str) -> int:
    state = _FNV_OFFSET
    for byte in name.encode():
        state = ((state ^ byte) * _FNV_PRIME) & _WORD
    return state
