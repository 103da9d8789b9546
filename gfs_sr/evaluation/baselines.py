"""Every interpolation that a model is held against, plain and sharpened."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy.typing as npt

from gfs_sr.data.grid import FloatArray, Grid, Registration
from gfs_sr.data.interpolation import BASELINES, HEADLINE, READ_BEYOND, Baseline, upsample_space
from gfs_sr.data.regrid import Method, regrid
from gfs_sr.data.resampling import SPACE, Closure
from gfs_sr.data.sharpening import sharpen
from gfs_sr.data.variables import TimeKind

SHARPENED = "sharpened "
SPACE_HEADLINE = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Setting:
    """What every rival is told about the coarse field."""

    scale_factor: int
    time_factor: int
    registration: Registration
    periodic: bool
    kind: TimeKind = TimeKind.INSTANT
    cells: tuple[Grid, Grid] | None = None  # the coarse and the fine ones, where no whole factor joins them


@dataclass(frozen=True)
class Rival:
    """One interpolation in space, in time too where `time` names one, after sharpening by `a` where that is not 0."""

    space: str
    time: str | None = None  # None: frame by frame
    a: float = 0.0
    headline: bool = False  # among those that skill refers to

    @property
    def name(self) -> str:
        """`bicubic/linear`, `sharpened bicubic/linear`; `bicubic` of single frames."""
        pair = self.space if self.time is None else f"{self.space}/{self.time}"
        return f"{SHARPENED if self.a else ''}{pair}"

    @property
    def closures(self) -> tuple[Closure, ...]:
        """Those that may differ inside the hull: sharpening reads no farther than the domain."""
        beyond = self.space in READ_BEYOND or self.time in READ_BEYOND
        return tuple(Closure) if beyond else (Closure.RAMP,)

    def frames(self, coarse: npt.NDArray[Any], setting: Setting, closure: Closure) -> FloatArray:
        """(T, H, W) -> (r·T, H, W), or (T, H, W) where only space is interpolated: all but the step in space."""
        source = sharpen(coarse, self.a, setting.registration, setting.periodic) if self.a else coarse
        if self.time is None:
            return source
        return Baseline(self.space, self.time).frames(
            source, setting.time_factor, periodic=setting.periodic, closure=closure, kind=setting.kind
        )

    def in_space(self, frames: npt.NDArray[Any], setting: Setting, closure: Closure) -> FloatArray:
        """(T, H, W) of `frames` -> (T, s·H, s·W), or on the fine cells of `setting`."""
        if setting.cells is not None:
            return regrid(frames, *setting.cells, method=cast(Method, self.space))
        return upsample_space(
            frames,
            setting.scale_factor,
            setting.registration,
            self.space,
            periodic=setting.periodic,
            closure=closure,
        )

    def fine(self, coarse: npt.NDArray[Any], setting: Setting, closure: Closure) -> FloatArray:
        """(T, H, W) -> (r·T, s·H, s·W), or (T, s·H, s·W)."""
        return self.in_space(self.frames(coarse, setting, closure), setting, closure)


def rivals(a: float) -> list[Rival]:
    """Every pair of interpolations, as given and after sharpening by `a`; the six of the headline first."""
    order = [*HEADLINE, *(name for name in BASELINES if name not in HEADLINE)]
    return [
        Rival(BASELINES[name].space, BASELINES[name].time, amount, name in HEADLINE)
        for amount in _amounts(a)
        for name in order
    ]


def space_rivals(a: float) -> list[Rival]:
    """The interpolations of single frames, as given and sharpened; bilinear and bicubic are the headline."""
    return [Rival(method, None, amount, method in SPACE_HEADLINE) for amount in _amounts(a) for method in SPACE]


def is_sharpened(name: str) -> bool:
    """True for the name of a sharpened rival."""
    return name.startswith(SHARPENED)


def _amounts(a: float) -> Iterator[float]:
    yield 0.0
    if a:
        yield a
