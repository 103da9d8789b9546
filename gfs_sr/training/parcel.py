"""A batch as one piece of memory, on its way from the process that draws to the one that trains.

Tensors go from process to process one by one, and each costs the receiver half a millisecond; a batch of three streams
has two dozen of them.
"""

from dataclasses import dataclass
from math import prod
from typing import Final

import torch
from torch import Tensor

Batch = dict[str, dict[str, Tensor]]

ALIGNMENT: Final = 64  # bytes: a cache line, and whole numbers of any type


@dataclass(frozen=True)
class Place:
    """Where a tensor lies."""

    stream: str
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int  # byte


@dataclass(frozen=True, eq=False)
class Parcel:
    """All tensors of a batch, one after another."""

    memory: Tensor  # bytes
    places: tuple[Place, ...]

    @classmethod
    def of(cls, batch: Batch) -> "Parcel":
        """Packed, with a copy."""
        places, end = [], 0
        for stream, tensors in batch.items():
            for name, tensor in tensors.items():
                places.append(Place(stream, name, tensor.dtype, tuple(tensor.shape), end))
                end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        made = cls(torch.empty(end, dtype=torch.uint8), tuple(places))
        for place in places:
            made._at(place).copy_(batch[place.stream][place.name])
        return made

    def batch(self) -> Batch:
        """Unpacked, without a copy."""
        found: Batch = {}
        for place in self.places:
            found.setdefault(place.stream, {})[place.name] = self._at(place)
        return found

    def _at(self, place: Place) -> Tensor:
        size = prod(place.shape) * place.dtype.itemsize
        return self.memory[place.start : place.start + size].view(place.dtype).reshape(place.shape)
