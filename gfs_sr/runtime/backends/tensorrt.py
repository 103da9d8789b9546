"""TensorRT: engines built on this machine by `python -m export.trt`, one CUDA graph per tile shape.

Device memory, streams and graphs are those of the PyTorch engines. Written against the interfaces of TensorRT 10 and
11, whose names a test checks in the real bindings; it has not run on a real TensorRT yet.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gfs_sr.errors import BackendFailed, BackendNotInstalled, EngineMismatch, UsageError
from gfs_sr.runtime.artifact import FRAME, MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Precision
from gfs_sr.runtime.backends.torch_device import TorchDeviceBackend
from gfs_sr.runtime.engines import INSTALL, REBUILD, check_engine, engine_name, this_device

if TYPE_CHECKING:
    import torch
    from torch import nn


class TensorRtBackend(TorchDeviceBackend):
    """Runs the artifact's engine, if it was built for this very GPU, driver and TensorRT."""

    name = "tensorrt"
    kernels: ClassVar[bool] = False

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
        device: str | None = None,
        engine: Path | None = None,
    ) -> None:
        """Args as in `open_backend`; another engine than the artifact's own."""
        super().__init__(artifact, threads=threads, role=role, device=device)
        built = artifact.contract.precision
        if precision is not None and precision != built:
            raise UsageError(
                f"precision {precision} was asked for, but the engine computes in {built}",
                str(artifact.path),
                f"use --precision {built}, or build an engine by `python -m export.trt --precision {precision}`",
            )
        self.precision = built
        self._path = engine
        self._engine: Any = None

    def _activate(self) -> None:
        trt = _tensorrt()
        if self.role == FRAME:
            raise UsageError(f"engines are built of the whole model, not of its {self.role} graph", self.name, REBUILD)
        device = this_device(str(trt.__version__))
        path = self._path
        if path is None:
            name = engine_name(self.precision, device.compute_capability, self.role)
            path = next((each for each in self.artifact.engines() if each.name == name), None)
        if path is None:
            raise EngineMismatch(f"the artifact has no engine for {device.gpu}", str(self.artifact.path), REBUILD)
        sidecar = check_engine(self.artifact, path, device)
        if sidecar.role != self.role:
            raise EngineMismatch(f"the engine is of the graph {sidecar.role}, not {self.role}", str(path), REBUILD)
        super()._activate()
        self._engine = _deserialized(trt, path.read_bytes())

    def _build(self) -> "nn.Module":
        from torch import nn

        return nn.Identity()  # the engine holds the network

    def _runner(self, example: Mapping[str, "torch.Tensor"]) -> Callable[..., Any]:
        return execution(self._engine, example, self.signature.outputs)

    def _deactivate(self) -> None:
        super()._deactivate()
        self._engine = None


def execution(engine: Any, example: Mapping[str, "torch.Tensor"], outputs: tuple[str, ...]) -> Callable[..., Any]:
    """What runs `engine` on tensors of its device, shaped as `example`, on the current stream."""
    import torch

    context = engine.create_execution_context()
    if context is None:
        raise BackendFailed("TensorRT gave no execution context", "tensorrt", "try a smaller --tile")
    for name, tensor in example.items():
        if not context.set_input_shape(name, tuple(tensor.shape)):
            raise BackendFailed(
                f"the engine does not take {name} as {tuple(tensor.shape)}",
                "tensorrt",
                "give the --tile and batch of the artifact's profile.json, or build an engine for others",
            )
    given: dict[str, torch.Tensor] = {}

    def run(**inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for name, tensor in inputs.items():
            context.set_tensor_address(name, tensor.data_ptr())
            device = tensor.device
        for name in outputs:
            if name not in given:
                shape = tuple(context.get_tensor_shape(name))
                given[name] = torch.empty(shape, dtype=torch.float32, device=device)
            context.set_tensor_address(name, given[name].data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise BackendFailed("TensorRT could not enqueue the batch", "tensorrt", "its own messages stand above")
        return tuple(given[name] for name in outputs)

    return run


def run_plan(plan: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every output of a serialized engine for one batch."""
    import torch

    engine = _deserialized(_tensorrt(), plan)
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    outputs = tuple(name for name in names if name not in inputs)
    given = {name: torch.from_numpy(np.ascontiguousarray(array)).to("cuda") for name, array in inputs.items()}
    results = execution(engine, given, outputs)(**given)
    torch.cuda.synchronize()
    return {name: result.cpu().numpy() for name, result in zip(outputs, results, strict=True)}


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise BackendNotInstalled("TensorRT is not installed", "--backend tensorrt", INSTALL) from error
    return tensorrt


def _deserialized(trt: Any, plan: bytes) -> Any:
    runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineMismatch("TensorRT cannot read the engine", "tensorrt", REBUILD)
    return engine
