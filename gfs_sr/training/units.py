"""Model units: fitted to the fields that are trained on and to no others, and how samples get into them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Scaling
from gfs_sr.data.scalers import Scaler, Units, make_scaler
from gfs_sr.data.transforms import Transform
from gfs_sr.data.variables import VARIABLES, base_name
from gfs_sr.errors import MissingVariable, UsageError
from gfs_sr.training.fields import Field, Fields

Array = npt.NDArray[Any]


def fit_scalings(scalers: Mapping[str, str], sets: Sequence[Fields]) -> dict[str, Scaling]:
    """Model units by variable.

    Args:
        scalers: variable -> name of a scaler; `z_threshold:0.1` counts values above 0.1 alone.
        sets: what is trained on; read one block after another.

    Raises:
        UsageError: no such scaler, or a threshold that is no number.
        MissingVariable: no set has the variable.
    """
    found = {}
    for name, wanted in scalers.items():
        blocks = list(_holders(name, sets))
        if not blocks:
            raise MissingVariable(
                f"no {name} to fit the scaler {wanted} to", "data.scalers", "name variables of the training sources"
            )
        units = scaler_of(wanted).fit(_values(name, blocks))
        found[name] = Scaling(mean=float(units.mean), sd=float(units.sd), transform=units.transform)
    return found


def scaler_of(text: str) -> Scaler:
    """A scaler as the configuration names it."""
    name, colon, threshold = text.partition(":")
    if not colon:
        return make_scaler(name)
    try:
        return make_scaler(name, threshold=float(threshold))
    except ValueError as error:
        raise UsageError(f"the threshold of {text!r} is no number", "data.scalers", "write z_threshold:0.1") from error


def units_of(scaling: Mapping[str, Scaling]) -> dict[str, Units]:
    """What a prepared store is written in."""
    return {name: Units.of(each.transform, each.mean, each.sd) for name, each in scaling.items()}


def in_model_units(values: Array, scales: Sequence[Scaling], signs: Array, given: Sequence[Scaling | None]) -> Array:
    """Values (T, C, h, w) in the network's units, float32.

    Args:
        values: canonical units, or model units of `given`.
        scales: (C,) the network's.
        signs: (C,) -1 for a component that points the other way; only linear scales have one.
        given: (C,) units that the values are in already; None for canonical ones.
    """
    made = np.empty(values.shape, np.float32)
    if all(each is None for each in given) and all(each.transform is Transform.LINEAR for each in scales):
        mean = np.array([scale.mean for scale in scales], np.float32)[:, None, None]
        factor = (signs / np.array([scale.sd for scale in scales])).astype(np.float32)[:, None, None]
        # a component that points the other way has no mean to speak of: vectors are centered at 0
        shift = np.where(signs[:, None, None] < 0, 0.0, mean).astype(np.float32)
        np.subtract(values, shift, out=made)
        made *= factor
        return made
    for k, (scale, units, sign) in enumerate(zip(scales, given, signs, strict=True)):
        if units == scale and sign > 0:
            made[:, k] = values[:, k]
            continue
        physical = values[:, k] if units is None else units.denormalize(values[:, k])
        made[:, k] = scale.normalize(physical) if sign > 0 else -physical / scale.sd
    return made


def scaling_for(scaling: Mapping[str, Scaling], fields: Fields, channel: int) -> Scaling:
    """The network's units of a variable; its own mean and spread where the network does not know it."""
    from gfs_sr.models.fused_variables import scaling_of, unit_of

    name = fields.variables[channel]
    if name in scaling:
        return scaling[name]
    mean, sd = fields.mean_and_sd(channel)
    if base_name(name) in VARIABLES:
        # a level far from the typical one has its own mean; the spread is the one the network counts physical units in
        return Scaling(mean=mean, sd=scaling_of(name).sd if unit_of(name) else sd)
    return Scaling(mean=mean, sd=sd)


def _holders(name: str, sets: Sequence[Fields]) -> Iterator[Fields]:
    return (each for each in sets if name in each.variables)


def _values(name: str, sets: Sequence[Fields]) -> Iterator[Field]:
    for each in sets:
        yield from each.slabs(each.variables.index(name))
