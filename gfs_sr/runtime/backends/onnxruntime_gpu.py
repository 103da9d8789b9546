"""ONNX Runtime on a GPU: tensors stay bound to device memory, and each tile shape replays one CUDA graph.

Written against ONNX Runtime 1.20 to 1.32 and checked with a scripted session; it has not run on a real GPU yet.
"""

import warnings
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gfs_sr.errors import BackendNotInstalled, ProviderMismatch, UsageError
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Backend, DeviceFields, Precision

if TYPE_CHECKING:
    from gfs_sr.runtime.backends.torch_bound import BoundTensors

MEMORY_BYTES: Final = 8 << 30  # most that an arena on the device may take
MOST_SHAPES: Final = 4  # sessions at a time: a job has one tile shape, and a smaller one for its last batch
Shapes = tuple[tuple[int, ...], ...]
INSTALL: Final = "on a machine with an NVIDIA GPU: pip install 'gfs-sr[gpu]'; until then use --backend onnxruntime"


@dataclass(frozen=True, eq=False)
class _Bound:
    """A session for one shape, its tensors on the device, and the binding that ties them together."""

    session: Any
    binding: Any
    inputs: Mapping[str, Any]
    results: dict[str, Any]


class OnnxRuntimeGpuBackend(Backend):
    """A graph on one GPU provider of ONNX Runtime, and on no other.

    CUDA graphs need every node on the device: shapes are fixed when a session is made, so that what computes shapes is
    folded away. Inputs are copied into the same device buffers at every call, since a captured graph knows addresses.
    """

    asked: ClassVar[str]  # the execution provider

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
        device: int = 0,
        memory_bytes: int = MEMORY_BYTES,
        cuda_graph: bool = True,
    ) -> None:
        """Args as in `open_backend`; the number of the GPU, the most memory its arena may take, whether to capture."""
        super().__init__(artifact, precision=precision, threads=threads, role=role)
        if device < 0 or memory_bytes < 1:
            raise UsageError(
                f"GPU {device} with {memory_bytes} bytes cannot run anything", self.name, "give a number from 0 on"
            )
        self._device, self._memory_bytes, self._cuda_graph = device, memory_bytes, cuda_graph
        self._ort: Any = None
        self._axes: dict[str, list[str | int]] = {}
        self._bound: OrderedDict[Shapes, _Bound] = OrderedDict()
        self._there: OrderedDict[Shapes, BoundTensors] = OrderedDict()  # of batches that lie on the device

    @property
    def provider(self) -> str:
        """The execution provider that runs the graph."""
        if not self._bound:
            return self.asked
        return str(next(iter(self._bound.values())).session.get_providers()[0])

    @abstractmethod
    def provider_options(self) -> dict[str, str]:
        """What the provider is told; arenas grow by what is asked for, up to a bound."""

    def _activate(self) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise BackendNotInstalled("ONNX Runtime is not installed", f"--backend {self.name}", INSTALL) from error
        # onnxruntime-gpu lists its providers on machines without a GPU too: the session itself is asked, below
        if self.asked not in ort.get_available_providers():
            raise ProviderMismatch(
                f"{self.asked} was asked for, but this ONNX Runtime has {', '.join(ort.get_available_providers())}",
                f"--backend {self.name}",
                INSTALL,
            )
        self._ort = ort
        names = self._ort.SessionOptions()
        names.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        names.log_severity_level = 3
        plain = ort.InferenceSession(self._graph, names, providers=["CPUExecutionProvider"])
        self._axes = {each.name: list(each.shape) for each in plain.get_inputs()}
        self._check_provider(self._session({}))

    @property
    def _graph(self) -> str:
        return str(self.artifact.graph(self.role))

    def _session(self, sizes: Mapping[str, int]) -> Any:
        options = self._ort.SessionOptions()
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        for axis, size in sizes.items():
            options.add_free_dimension_override_by_name(axis, size)
        settings = self.provider_options() | ({} if sizes else self._uncaptured())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "provider not available": checked by the caller
            return self._ort.InferenceSession(self._graph, options, providers=[(self.asked, settings)])

    @abstractmethod
    def _uncaptured(self) -> dict[str, str]:
        """Settings of a session whose shapes are still open, which no CUDA graph can hold."""

    def _check_provider(self, session: Any) -> None:
        running = session.get_providers()[0]
        if running != self.asked:
            raise ProviderMismatch(
                f"{self.asked} was asked for, but {running} would run", str(self.artifact.path), INSTALL
            )

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        shapes = tuple(inputs[name].shape for name in self.signature.inputs)
        bound = self._bound.pop(shapes, None)
        if bound is None:
            bound = self._bind(inputs)
            if len(self._bound) == MOST_SHAPES:
                self._bound.popitem(last=False)
        self._bound[shapes] = bound  # the last one used comes last
        for name, tensor in bound.inputs.items():
            tensor.update_inplace(np.ascontiguousarray(inputs[name]))
        bound.session.run_with_iobinding(bound.binding)
        return {name: result.numpy() for name, result in bound.results.items()}

    def _fields(self) -> DeviceFields | None:
        """Outside of a graph ONNX Runtime adds nothing up: PyTorch's tensors do, where it sees the same GPU."""
        try:
            from gfs_sr.runtime.backends.torch_bound import cuda_device
            from gfs_sr.runtime.backends.torch_fields import TorchFields
        except ImportError:
            return None
        device = cuda_device(self._device)
        return None if device is None else TorchFields(device, self._infer_there)

    def _infer_there(self, inputs: Mapping[str, Any]) -> Any:
        from gfs_sr.runtime.backends.torch_bound import BoundTensors
        from gfs_sr.runtime.backends.torch_fields import without_values

        shapes = tuple(tuple(inputs[name].shape) for name in self.signature.inputs)
        bound = self._there.pop(shapes, None)
        if bound is None:
            given = without_values(inputs)
            made = self.signature.check(given)
            bound = BoundTensors(self._session_for(given), inputs, made, self._device)
            if len(self._there) == MOST_SHAPES:
                self._there.popitem(last=False)
        self._there[shapes] = bound  # the last one used comes last
        return self._guarded("cannot run the batch", bound.run, inputs)

    def _session_for(self, inputs: Mapping[str, Array]) -> Any:
        sizes = {
            axis: size
            for name, array in inputs.items()
            for axis, size in zip(self._axes[name], array.shape, strict=True)
            if isinstance(axis, str)
        }
        session = self._session(sizes)
        self._check_provider(session)
        return session

    def _bind(self, inputs: Mapping[str, Array]) -> _Bound:
        session = self._session_for(inputs)
        make = self._ort.OrtValue
        tensors = {
            name: make.ortvalue_from_numpy(np.ascontiguousarray(array), "cuda", self._device)
            for name, array in inputs.items()
        }
        results = {
            name: make.ortvalue_from_shape_and_type(list(shape), np.float32, "cuda", self._device)
            for name, shape in self.signature.check(inputs).items()
        }
        binding = session.io_binding()
        for name, tensor in tensors.items():
            binding.bind_ortvalue_input(name, tensor)
        for name, result in results.items():
            binding.bind_ortvalue_output(name, result)
        return _Bound(session, binding, tensors, results)

    def _deactivate(self) -> None:
        self._bound.clear()
        self._there.clear()
        self._ort = None


class CudaBackend(OnnxRuntimeGpuBackend):
    """ONNX Runtime's CUDA provider."""

    name = "onnxruntime-cuda"
    asked = "CUDAExecutionProvider"

    def provider_options(self) -> dict[str, str]:
        """Deterministic choices, no TF32: its 10 bits of mantissa would pass for fp32."""
        return {
            "device_id": str(self._device),
            "gpu_mem_limit": str(self._memory_bytes),
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "use_tf32": "0",
            "enable_cuda_graph": "1" if self._cuda_graph else "0",
        }

    def _uncaptured(self) -> dict[str, str]:
        return {"enable_cuda_graph": "0"}


class TensorRtProviderBackend(OnnxRuntimeGpuBackend):
    """ONNX Runtime's TensorRT provider: an engine is built at the first batch of a shape, and kept in the cache."""

    name = "onnxruntime-tensorrt"
    asked = "TensorrtExecutionProvider"

    def provider_options(self) -> dict[str, str]:
        """The graph's own types decide the precision."""
        from gfs_sr.runtime.backends.choice import cache_folder

        folder: Path = cache_folder() / "tensorrt" / self.artifact.sha256[:32]
        folder.mkdir(parents=True, exist_ok=True)
        return {
            "device_id": str(self._device),
            "trt_max_workspace_size": str(self._memory_bytes),
            "trt_fp16_enable": "0",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
            "trt_cuda_graph_enable": "1" if self._cuda_graph else "0",
        }

    def _uncaptured(self) -> dict[str, str]:
        return {"trt_cuda_graph_enable": "0"}
