"""Every interpolation that a model is held against, plain and sharpened."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES, HEADLINE, SPACE, Baseline, Closure, FloatArray, upsample_space
from gfs_sr.data.sharpening import sharpen

SHARPENED = "sharpened "


@dataclass(frozen=True)
class Setting:
    """What every rival is told about the coarse field."""

    scale_factor: int
    time_factor: int
    registration: Registration
    periodic: bool


@dataclass(frozen=True)
class Rival:
    """One interpolation, after sharpening by `a` where that is not 0."""

    baseline: Baseline
    a: float = 0.0
    headline: bool = False  # among those that skill refers to

    @property
    def name(self) -> str:
        """`bicubic/linear`, `sharpened bicubic/linear`."""
        return f"{SHARPENED if self.a else ''}{self.baseline.name}"

    def fine(self, coarse: npt.NDArray[Any], setting: Setting, closure: Closure) -> FloatArray:
        """(T, H, W) -> (r·T, s·H, s·W)."""
        source = sharpen(coarse, self.a, setting.registration, setting.periodic) if self.a else coarse
        return self.baseline(
            source,
            setting.scale_factor,
            setting.time_factor,
            setting.registration,
            periodic=setting.periodic,
            closure=closure,
        )


@dataclass(frozen=True)
class SpaceRival:
    """One interpolation of single frames."""

    method: str
    a: float = 0.0
    headline: bool = False

    @property
    def name(self) -> str:
        """`bicubic`, `sharpened bicubic`."""
        return f"{SHARPENED if self.a else ''}{self.method}"

    def fine(self, coarse: npt.NDArray[Any], setting: Setting, closure: Closure) -> FloatArray:
        """(T, H, W) -> (T, s·H, s·W); the time factor is not used."""
        source = sharpen(coarse, self.a, setting.registration, setting.periodic) if self.a else coarse
        return upsample_space(
            source,
            setting.scale_factor,
            setting.registration,
            self.method,
            periodic=setting.periodic,
            closure=closure,
        )


def rivals(a: float) -> list[Rival]:
    """Every pair of interpolations, as given and after sharpening by `a`; the six of the headline first."""
    order = [*HEADLINE, *(name for name in BASELINES if name not in HEADLINE)]
    return [Rival(BASELINES[name], amount, name in HEADLINE) for amount in (0.0, a) for name in order]


def space_rivals(a: float) -> list[SpaceRival]:
    """The interpolations of single frames, as given and sharpened; bilinear and bicubic are the headline."""
    return [SpaceRival(method, amount, method in ("bilinear", "bicubic")) for amount in (0.0, a) for method in SPACE]


def is_sharpened(name: str) -> bool:
    """True for the name of a sharpened rival."""
    return name.startswith(SHARPENED)
