"""Fields of a sampler as PyTorch tensors: they lie on a device between the batches of an engine that computes there."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from gfs_sr.models.noise import normals
from gfs_sr.runtime.backends.base import Array

KINDS: Final = {torch.float32: np.float32, torch.int64: np.int64}  # that an engine is given
Infer = Callable[[Mapping[str, Tensor]], Tensor]


class TorchFields:
    """See `DeviceFields`.

    Args:
        device: where the tensors lie.
        infer: of an engine that reads and writes there.
    """

    def __init__(self, device: torch.device, infer: Infer) -> None:
        self.device, self._infer = device, infer

    def put(self, values: Array) -> Tensor:
        """A copy on the device."""
        return torch.tensor(values, device=self.device)

    def fetch(self, field: Tensor) -> Array:
        """A copy on the host."""
        fetched: Array = field.to("cpu", copy=True).numpy()
        return fetched

    def full(self, shape: tuple[int, ...], value: float) -> Tensor:
        """Float32, made on the device."""
        return torch.full(shape, value, dtype=torch.float32, device=self.device)

    def normals(self, word: int, lat: Tensor, lon: Tensor, step: int) -> Tensor:
        """As `gfs_sr.runtime.noise.fill_normals`, to the last bit."""
        return normals(word, lat, lon, step)

    def infer(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """One batch."""
        return self._infer(inputs)


def without_values(inputs: Mapping[str, Tensor]) -> dict[str, Array]:
    """Arrays of the same shapes and types that take no memory, for checks that are written for arrays."""
    return {
        name: np.broadcast_to(np.zeros((), KINDS[tensor.dtype]), tuple(tensor.shape)) for name, tensor in inputs.items()
    }
