"""What `fused` and its kin know besides values: a variable's class, unit and scale; terrain; when the sun is where."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gfs_sr.contract import Predictor, PredictorGrid, Scaling
from gfs_sr.data.variables import LAND_SEA_MASK, OROGRAPHY, VARIABLES, base_name, lookup

CLASSES: Final = ("temperature", "moisture", "humidity", "wind", "speed", "pressure", "radiation", "other")
# reduced to sea level: terrain is taken out of it by definition, and every trace left in it is an artifact
UNGROUNDED: Final = ("msl",)
STATICS: Final = (OROGRAPHY, LAND_SEA_MASK)
STATIC_SCALING: Final = {OROGRAPHY: Scaling(mean=0.0, sd=500.0), LAND_SEA_MASK: Scaling(mean=0.0, sd=1.0)}
SUN_PREDICTORS: Final = tuple(
    Predictor(name=name, grid=grid)
    for grid in (PredictorGrid.COARSE, PredictorGrid.COARSE_FINE_TIME)
    for name in ("solar_polar", "solar_cos", "solar_sin")
)


@dataclass(frozen=True)
class _Row:
    kind: str
    unit: float  # a step that means much the same for every variable, canonical units
    mean: float
    sd: float


_TABLE: Final = {
    "t2m": _Row("temperature", 1.0, 285.0, 12.0),
    "d2m": _Row("moisture", 1.0, 279.0, 12.0),
    "r2": _Row("humidity", 10.0, 70.0, 22.0),
    "u10": _Row("wind", 1.0, 0.0, 5.0),
    "v10": _Row("wind", 1.0, 0.0, 5.0),
    "wspd": _Row("speed", 1.0, 6.0, 4.0),
    "sp": _Row("pressure", 100.0, 97500.0, 6000.0),
    "msl": _Row("pressure", 100.0, 101300.0, 1000.0),
    "t": _Row("temperature", 1.0, 265.0, 20.0),
    "u": _Row("wind", 1.0, 0.0, 12.0),
    "v": _Row("wind", 1.0, 0.0, 10.0),
    "r": _Row("humidity", 10.0, 50.0, 30.0),
    "q": _Row("moisture", 5e-4, 4e-3, 4e-3),
}


def scaling_of(name: str) -> Scaling:
    """Fixed for every region: the network scales by local spread itself, its floors are in these units."""
    row = _TABLE.get(base_name(name))
    mean, sd = (row.mean, row.sd) if row is not None else lookup(name).typical
    return Scaling(mean=mean, sd=sd)


def class_of(name: str) -> int:
    """Position in `CLASSES`."""
    row = _TABLE.get(base_name(name))
    return CLASSES.index(row.kind if row is not None else "other")


def unit_of(name: str) -> float:
    """One physical unit on the normalized scale; 0 for variables without one."""
    row = _TABLE.get(base_name(name))
    return row.unit / row.sd if row is not None else 0.0


def tables() -> tuple[Tensor, Tensor, Tensor]:
    """Class (int64), unit and whether terrain shapes it (float32), by variable id: the position in the table."""
    classes = torch.tensor([class_of(name) for name in VARIABLES])
    units = torch.tensor([unit_of(name) for name in VARIABLES])
    return classes, units, torch.tensor([float(name not in UNGROUNDED) for name in VARIABLES])
