"""What networks that refine time alone have in common: fractions of the interval, of their own or as an input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gfs_sr.data.grid import Registration
from gfs_sr.models.model import Model, ModelConfig


@dataclass(frozen=True, kw_only=True)
class TimeConfig(ModelConfig):
    """Settings of every such network."""

    scale_factor: int = 1
    time_factor: int = 6  # where nothing else is asked for
    fractions: tuple[float, ...] = ()  # trained and exported as one stack; empty: any, as an input of the graph
    interval_hours: float = 6.0  # between coarse frames, where forward() is not told otherwise

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_factor != 1 or self.registration is not Registration.NODE or self.sharpening:
            raise ValueError("a network of time alone keeps the cells: scale_factor 1, registration node, sharpening 0")
        if self.time != "linear":
            raise ValueError(f"untrained it is linear in time, not {self.time}")
        if self.time_factor < 2 or self.interval_hours <= 0:
            raise ValueError("time_factor starts at 2, interval_hours above 0")
        rises = all(one < other for one, other in zip(self.fractions, self.fractions[1:], strict=False))
        if self.fractions and not (rises and self.fractions[0] >= 0 and self.fractions[-1] < 1):
            raise ValueError(f"fractions rise from 0 to below 1, got {self.fractions}")
        if self.fractions and len(self.fractions) != self.time_factor:
            raise ValueError(f"{len(self.fractions)} fractions and a time_factor of {self.time_factor}: give as many")


class TimeModel(Model):
    """Fields at fractions of the intervals between frames; the cells stay as they are."""

    def __init__(self, config: TimeConfig) -> None:
        super().__init__(config)
        self.times = config
        r = config.time_factor
        own = torch.tensor(config.fractions) if config.fractions else torch.arange(r) / r
        self.register_buffer("_fraction", own[None, None], persistent=False)
        self.register_buffer("_hours", torch.tensor([config.interval_hours]), persistent=False)

    _fraction: Tensor
    _hours: Tensor
    takes: ClassVar[tuple[str, ...]] = ("coarse", "static_coarse", "fraction", "hours")

    @property
    def any_time(self) -> bool:
        """Whether fractions are an input."""
        return not self.times.fractions

    @property
    def fractions(self) -> tuple[float, ...]:
        """Those it is bound to."""
        return self.times.fractions

    def fraction_of(self, given: Tensor | None) -> Tensor:
        """(B or 1, T or 1, M): as given, (B or 1, M) meaning the same for every interval, or the network's own."""
        if given is None:
            return self._fraction
        return given[:, None] if given.dim() == 2 else given

    def hours_of(self, given: Tensor | None) -> Tensor:
        """(B or 1,): as given, or the configuration's."""
        return self._hours if given is None else given

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prediction and baseline of frames between others, of fields or of series of single places.

        Raises:
            ValueError: another kind.
        """
        if kind not in ("space_time", "time"):
            raise ValueError(f"{self.family} learns from frames between others, not from {kind}")
        fine: Tensor = self(**self.inputs_of(inputs))
        return fine, self.baseline(inputs["coarse"], inputs.get("fraction"))

    def flows(self, **inputs: Tensor) -> Tensor | None:
        """Where things go from each frame to the next, as the network sees it.

        Args:
            inputs: as `forward` takes them.

        Returns:
            (B, T, C or 1, 2, H, W) cells southward and eastward; None of a network that moves nothing.
        """
        raise NotImplementedError

    def inputs_of(self, part: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a training batch, what `forward` takes."""
        return {name: part[name] for name in self.takes if name in part}

    def baseline(self, coarse: Tensor, fraction: Tensor | None = None) -> Tensor:
        """Linear in time: what the untrained network gives for the same input."""
        raise NotImplementedError


def linear_between(before: Tensor, after: Tensor, fraction: Tensor) -> Tensor:
    """(B, T, C, H, W) twice and t (B or 1, T or 1, M) -> (B, T·M, C, H, W)."""
    t = fraction[:, :, :, None, None, None]
    return ((1 - t) * before[:, :, None] + t * after[:, :, None]).flatten(1, 2)
