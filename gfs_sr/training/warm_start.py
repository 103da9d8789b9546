"""Weights of an earlier run as the start of a new one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.model import Model


@dataclass(frozen=True)
class WarmStart:
    """Where weights come from before the first step."""

    path: str | None = None  # a checkpoint that gfs-sr train left; None starts anew
    partial: list[str] = field(
        default_factory=list
    )  # beginnings of names of weights that may be absent or of other size


def start_from(network: Model, path: Path, partial: Sequence[str]) -> None:
    """Put a checkpoint's weights into `network`; those named in `partial` only where they fit.

    Raises:
        UsageError: weights that do not fit and are not named.
    """
    given, own = load_checkpoint(path).state_dict, network.state_dict()
    fitting = {name for name, tensor in given.items() if name in own and tensor.shape == own[name].shape}
    strange = sorted(name for name in {*given, *own} - fitting if not name.startswith(tuple(partial) or ("\0",)))
    if strange:
        raise UsageError(
            f"weights that do not fit: {', '.join(strange[:5])}{' …' if len(strange) > 5 else ''}",
            f"{path} for {network.family}",
            "build the same network, or name what may differ in weights.partial",
        )
    network.load_state_dict({name: given[name] if name in fitting else own[name] for name in own})
