"""Scalers of the configuration, fitted to the fields that are trained on and to no others."""

from collections.abc import Iterator, Mapping, Sequence

from gfs_sr.contract import Scaling
from gfs_sr.data.scalers import Scaler, Units, make_scaler
from gfs_sr.errors import MissingVariable, UsageError
from gfs_sr.training.fields import Field, Fields


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


def _holders(name: str, sets: Sequence[Fields]) -> Iterator[Fields]:
    return (each for each in sets if name in each.variables)


def _values(name: str, sets: Sequence[Fields]) -> Iterator[Field]:
    for each in sets:
        yield from each.slabs(each.variables.index(name))
