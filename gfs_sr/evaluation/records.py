"""What an evaluation tells a report: numbers, curves and fields, as plain records."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfs_sr.metrics.metric import Better

Values = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
Task = Literal["joint", "space"]
Interval = tuple[float, float]  # 95 %

INTERPOLATED, EXTRAPOLATED, ALL = "interpolated", "extrapolated", "all"  # classes of lead time
WHOLE = "all"  # the region that is everything
NO_DIFFERENCE = 0.0005  # of skill: less than what is printed


def percent(value: float) -> str:
    """A skill as a reader writes it; what rounds to nothing has no sign."""
    if not math.isfinite(value):
        return "–"
    return "0.0%" if abs(value) < NO_DIFFERENCE else f"{value:+.1%}".replace("-", "−")


def skill(error: float, reference: float) -> float:
    """1 - error / the baseline's error; NaN where the baseline has none."""
    return 1 - error / reference if reference > 0 else float("nan")


@dataclass(frozen=True)
class Score:
    """One number: of one method on one variable, over all forecasts."""

    method: str
    is_model: bool
    task: Task
    variable: str
    metric: str
    baseline: str  # of a skill: what it refers to; empty else
    region: str
    lead_class: str
    scale: str  # cells per side of the blocks: 1, 4, …; "max 4" for maxima, "8 cells" for windows
    value: float
    ci_low: float  # NaN where there is no interval
    ci_high: float
    units: str
    better: Better
    group: str
    explanation: str
    threshold: float  # NaN where there is none
    forecasts: int


@dataclass(frozen=True)
class Line:
    """Skill of one model on one variable: 1 - RMSE / RMSE of the best of the headline interpolations."""

    model: str
    task: Task
    variable: str
    units: str
    region: str
    lead_class: str
    rmse: float
    best_plain: str
    rmse_plain: float
    skill_plain: float
    best_sharpened: str
    rmse_sharpened: float
    skill_sharpened: float
    skill_plain_ci: Interval | None = None
    skill_sharpened_ci: Interval | None = None


@dataclass(frozen=True)
class Overall:
    """Mean skill of one model over the variables of a task, interpolated leads."""

    model: str
    task: Task
    lead_class: str
    variables: int
    skill_plain: float
    skill_sharpened: float
    skill_plain_ci: Interval | None
    skill_sharpened_ci: Interval | None


@dataclass(frozen=True, eq=False)
class Curve:
    """RMSE by lead time of one method, over the forecasts that have these lead times."""

    method: str
    task: Task
    variable: str
    region: str
    metric: str
    lead_hours: FloatArray  # (T,)
    rmse: FloatArray  # (T,)
    ci_low: FloatArray | None
    ci_high: FloatArray | None


@dataclass(frozen=True, eq=False)
class Fields:
    """One variable of the first forecast, for the eye."""

    task: Task
    variable: str
    case: str
    bucket: bool  # amounts per interval, not instants
    lat: FloatArray  # (H,)
    lon: FloatArray  # (W,)
    lead_hours: FloatArray  # (T,)
    valid_times: npt.NDArray[np.datetime64]  # (T,)
    interval_hours: float | None  # between coarse frames
    time_factor: int
    shown_frame: int  # of T: halfway between two coarse frames in the middle of the forecast
    truth: Values  # (T, H, W)
    methods: dict[str, Values]  # (T, H, W) each
    members: dict[str, Values]  # (M, T, H, W) of the models that have them
    coarse: Values  # (Tc, Hc, Wc)
    coarse_lat: FloatArray
    coarse_lon: FloatArray
    coarse_lead_hours: FloatArray  # (Tc,)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean radial power."""

    task: Task
    variable: str
    wavelength_km: FloatArray  # (K,)
    power: dict[str, FloatArray]  # "truth" and methods: (K,)


@dataclass(frozen=True, eq=False)
class Density:
    """How often which prediction stands for which truth."""

    task: Task
    variable: str
    method: str
    edges: FloatArray  # (B + 1,) of both axes
    counts: FloatArray  # (B, B) truth, prediction


@dataclass(frozen=True, eq=False)
class Distribution:
    """How often which value occurs."""

    task: Task
    variable: str
    edges: FloatArray  # (B + 1,)
    log: bool  # equal steps of the logarithm
    counts: dict[str, FloatArray]  # "truth" and methods: (B,)


@dataclass(frozen=True, eq=False)
class Fractions:
    """Fractions skill score by threshold and scale."""

    task: Task
    variable: str
    thresholds: FloatArray  # (K,)
    scales_cells: FloatArray  # (S,)
    spacing_km: float
    fss: dict[str, FloatArray]  # (K, S) each


@dataclass(frozen=True, eq=False)
class Reliability:
    """Stated against observed frequency of an event."""

    task: Task
    variable: str
    method: str
    threshold: float
    kind: str  # members, or the neighborhood that makes a probability of one forecast
    forecast: FloatArray  # (B,)
    observed: FloatArray  # (B,)
    count: FloatArray  # (B,)


@dataclass(frozen=True, eq=False)
class RankHistogram:
    """Where the truth lies among the members."""

    task: Task
    variable: str
    method: str
    label: str  # of the range of values
    counts: FloatArray  # (M + 1,)


@dataclass(frozen=True, eq=False)
class SpreadSkill:
    """Spread of the members and error of their mean, by lead time."""

    task: Task
    variable: str
    method: str
    lead_hours: FloatArray  # (T,)
    spread: FloatArray  # (T,)
    rmse: FloatArray  # (T,)


@dataclass(frozen=True, eq=False)
class FrameScores:
    """One score of every frame of every forecast."""

    task: Task
    variable: str
    metric: str
    values: dict[str, FloatArray]  # (N,) each


@dataclass(frozen=True, eq=False)
class DomainMeans:
    """Area-weighted means of every frame of every forecast."""

    task: Task
    variable: str
    valid_times: npt.NDArray[np.datetime64]  # (N,)
    truth: FloatArray  # (N,)
    methods: dict[str, FloatArray]  # (N,) each
    members: dict[str, FloatArray] = field(default_factory=dict)  # (M, N) of the models that have them


@dataclass(frozen=True, eq=False)
class CellMaps:
    """Scores of each cell over the frames of the first forecast."""

    task: Task
    variable: str
    lat: FloatArray
    lon: FloatArray
    maps: dict[str, dict[str, FloatArray]]  # method -> "RMSE", "nRMSE" (%), "bias", "NMB" (%), "Pearson" -> (H, W)


@dataclass(frozen=True, eq=False)
class SeedExample:
    """The panels of one of the seed system's figures."""

    date: str  # YYYYMMDD
    variable: str
    hour: int
    scale: Literal["std", "destd"]
    panels: dict[str, Values]  # HR, Model, Bicubic, TempInterp, ST-Combined: (H, W) each
