"""Tensors of PyTorch that a session of ONNX Runtime reads and writes: both see one GPU, and nothing is copied off it.

Written against ONNX Runtime 1.20 to 1.32 and checked with a scripted session; it has not run on a real GPU yet.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gfs_sr.runtime.backends.torch_fields import KINDS


def cuda_device(number: int) -> torch.device | None:
    """A GPU by its number; None where this PyTorch sees none."""
    return torch.device("cuda", number) if torch.cuda.is_available() else None


class BoundTensors:
    """Buffers of one shape whose addresses a session keeps, as a captured graph must.

    Args:
        session: for these shapes.
        example: a batch on the device.
        results: shapes of what comes out of it.
        device: number of the GPU.
    """

    def __init__(
        self, session: Any, example: Mapping[str, Tensor], results: Mapping[str, tuple[int, ...]], device: int
    ) -> None:
        self._session, self._binding = session, session.io_binding()
        self._inputs = {name: torch.empty_like(tensor).contiguous() for name, tensor in example.items()}
        self._place = next(iter(self._inputs.values())).device
        self._results = {
            name: torch.empty(shape, dtype=torch.float32, device=self._place) for name, shape in results.items()
        }
        for bind, tensors in ((self._binding.bind_input, self._inputs), (self._binding.bind_output, self._results)):
            for name, tensor in tensors.items():
                bind(name, "cuda", device, KINDS[tensor.dtype], list(tensor.shape), tensor.data_ptr())

    def run(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The only result; the next call overwrites it."""
        for name, tensor in self._inputs.items():
            tensor.copy_(inputs[name])
        if self._place.type == "cuda":
            # the session computes on a stream of its own, and waits for no other; itself it returns when done
            torch.cuda.current_stream(self._place).synchronize()
        self._session.run_with_iobinding(self._binding)
        (result,) = self._results.values()
        return result
